//! What the clock does to keys: the end of their waiting period, and their rotation.

use crate::rotation;
use control::cloud::Mode;
use control::{Cloud, Result, Txn};
use model::record::kms::{Alias, Grant, Key, KeyId, KeyState};
use model::{Region, Timestamp};
use std::sync::Arc;

fn is_due(key: &Key, now: Timestamp) -> bool {
    key.is_gone(now)
        || (key.state == KeyState::Enabled && key.rotation.is_some_and(|rotation| rotation.next <= now))
}

/// Deletes the keys whose waiting period is over, with their aliases and grants, and rotates those whose time has come.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let due: Vec<(Region, KeyId)> = {
        let tables = cloud.view.read();
        let all = tables.everywhere::<Key>().filter(|(_, key)| is_due(key, now));
        all.map(|(region, key)| (region.clone(), key.key)).collect()
    };
    for (region, id) in due {
        // Alone: nobody gives a key an alias or a grant while it goes.
        cloud.transact(Mode::Exclusive, |txn| settle(cloud, txn, &region, id, now)).await?;
    }
    Ok(())
}

fn settle(cloud: &Cloud, txn: &mut Txn<'_>, region: &Region, id: KeyId, now: Timestamp) -> Result<()> {
    let Some(key) = txn.get::<Key>(region, &id).filter(|key| is_due(key, now)) else { return Ok(()) };
    if key.is_gone(now) {
        let aliases: Vec<String> =
            txn.tables().find::<Alias>(region, "key", id).map(|a| alias_id(a)).collect();
        let grants: Vec<String> =
            txn.tables().find::<Grant>(region, "key", id).map(|grant| grant.grant.clone()).collect();
        for alias in aliases {
            txn.delete::<Alias>(region, &alias);
        }
        for grant in grants {
            txn.delete::<Grant>(region, &grant);
        }
        txn.delete::<Key>(region, &id);
        return Ok(());
    }
    let mut after = rotation::rotated(cloud, &key, now, false);
    after.rotation = after
        .rotation
        .map(|rotation| model::record::kms::Rotation { next: rotation::due(now, rotation.days), ..rotation });
    txn.put(region, after);
    Ok(())
}

fn alias_id(alias: &Alias) -> String {
    Alias::id_of(alias.account, &alias.name)
}
