//! What the clock does: snapshots that nobody goes on with writing fail, and what has been in the recycle bin long enough goes.

use control::cloud::Mode;
use control::{Cloud, Result};
use model::record::image::Image;
use model::record::recycle_bin::Binned;
use model::record::snapshot::{Life, Snapshot};
use model::{Region, SnapshotId, Timestamp};
use std::sync::Arc;
use std::time::Duration;

fn is_over(snapshot: &Snapshot, now: Timestamp) -> bool {
    snapshot
        .is_open()
        .is_some_and(|direct| now.since(direct.touched_at) >= Duration::from_mins(u64::from(direct.timeout)))
}

/// Whether its time in the recycle bin is over.
fn is_spent(binned: Option<Binned>, now: Timestamp) -> bool {
    binned.is_some_and(|binned| binned.until <= now)
}

/// Fails the snapshots that were not written to for their timeout, and empties the recycle bin.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let due: Vec<(Region, SnapshotId)> = {
        let tables = cloud.view.read();
        let all = tables.everywhere::<Snapshot>().filter(|(_, snapshot)| is_over(snapshot, now));
        all.map(|(region, snapshot)| (region.clone(), snapshot.snapshot)).collect()
    };
    for (region, id) in due {
        let fail = |txn: &mut control::Txn<'_>| {
            if let Some(snapshot) = txn.get::<Snapshot>(&region, &id).filter(|held| is_over(held, now)) {
                let reason = "It was not completed in time.".to_owned();
                txn.put(&region, Snapshot { life: Life::Failed { reason }, ..(*snapshot).clone() });
            }
            Ok(())
        };
        cloud.transact(Mode::Shared, fail).await?;
    }
    empty_bin(cloud, now).await
}

async fn empty_bin(cloud: &Arc<Cloud>, now: Timestamp) -> Result<()> {
    let (snapshots, images) = {
        let tables = cloud.view.read();
        let snapshots = tables.everywhere::<Snapshot>();
        let snapshots = snapshots.filter(|(_, held)| !held.is_deleting() && is_spent(held.binned, now));
        let images = tables.everywhere::<Image>();
        let images = images.filter(|(_, held)| is_spent(held.registration.binned, now));
        (
            snapshots.map(|(region, held)| (region.clone(), held.snapshot)).collect::<Vec<_>>(),
            images.map(|(region, held)| (region.clone(), held.image)).collect::<Vec<_>>(),
        )
    };
    // Images first: a snapshot may be theirs.
    for (region, id) in images {
        let remove = |txn: &mut control::Txn<'_>| {
            let held = txn.get::<Image>(&region, &id);
            if let Some(image) = held.filter(|held| is_spent(held.registration.binned, now)) {
                txn.release(&region, &Image::name_claim(image.owner, &image.name));
                txn.delete::<Image>(&region, &id);
            }
            Ok(())
        };
        cloud.transact(Mode::Exclusive, remove).await?;
    }
    for (region, id) in snapshots {
        let remove = |txn: &mut control::Txn<'_>| {
            let held = txn.get::<Snapshot>(&region, &id);
            if let Some(held) = held.filter(|held| !held.is_deleting() && is_spent(held.binned, now)) {
                txn.put(&region, Snapshot { life: Life::Deleting, binned: None, ..(*held).clone() });
            }
            Ok(())
        };
        cloud.transact(Mode::Exclusive, remove).await?;
    }
    Ok(())
}
