//! The recycle bin, as far as snapshots are in it: listed, restored.
//!
//! A rule of the account that concerns a snapshot when it is deleted keeps it ([`retention`]); then it is in no other listing, and
//! nothing is made of it.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/recycle-bin-working-with-snaps.html>

use super::render;
use crate::errors::SNAPSHOT;
use crate::noun::{Noun as _, wire_time};
use api_ec2::{
    ListSnapshotsInRecycleBinRequest, ListSnapshotsInRecycleBinResult, RestoreSnapshotFromRecycleBinRequest,
    RestoreSnapshotFromRecycleBinResult, SnapshotRecycleBinInfo,
};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables, Txn};
use model::SnapshotId;
use model::record::recycle_bin::{Binned, Resource, Rule};
use model::record::snapshot::Snapshot;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How long something of the caller's that is deleted now stays in the bin: as the most patient rule says.
pub(crate) fn retention(ctx: &Context, tables: &Tables, resource: Resource, tags: &Tags) -> Option<Binned> {
    let rules = tables.find::<Rule>(&ctx.region, "account", ctx.account());
    let fitting = rules.filter(|rule| rule.resource == resource && rule.fits(tags));
    let longest = fitting.map(|rule| rule.retention()).max()?;
    Some(Binned { at: ctx.now, until: ctx.now + longest })
}

fn in_bin(ctx: &Context, snapshot: &Snapshot) -> bool {
    snapshot.account == ctx.account() && snapshot.binned.is_some() && !snapshot.is_deleting()
}

pub fn list(
    ctx: &Context,
    request: &ListSnapshotsInRecycleBinRequest,
    tables: &Tables,
) -> Result<ListSnapshotsInRecycleBinResult> {
    let paging = Paging::<SnapshotId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::from(&request.snapshot_ids),
    )?;
    let wanted = request.snapshot_ids.iter().flatten().map(|id| Snapshot::parse_id(id));
    let wanted = wanted.collect::<Result<BTreeSet<_>>>()?;
    let own = tables.find::<Snapshot>(&ctx.region, "account", ctx.account());
    let found: Vec<&Arc<Snapshot>> = own
        .filter(|snapshot| {
            in_bin(ctx, snapshot) && (wanted.is_empty() || wanted.contains(&snapshot.snapshot))
        })
        .collect();
    if let Some(missing) = wanted.iter().find(|id| !found.iter().any(|held| held.snapshot == **id)) {
        return Err(SNAPSHOT.not_found(missing));
    }
    let (page, next_token) = page::cut(found, &paging, |snapshot| snapshot.snapshot);
    let info = |snapshot: &Arc<Snapshot>| SnapshotRecycleBinInfo {
        snapshot_id: Some(snapshot.snapshot.to_string()),
        recycle_bin_enter_time: snapshot.binned.map(|binned| wire_time(binned.at)),
        recycle_bin_exit_time: snapshot.binned.map(|binned| wire_time(binned.until)),
        description: Some(snapshot.description.clone()),
        volume_id: Some(render::volume(snapshot)),
    };
    Ok(ListSnapshotsInRecycleBinResult { snapshots: Some(page.into_iter().map(info).collect()), next_token })
}

pub fn restore(
    ctx: &Context,
    request: &RestoreSnapshotFromRecycleBinRequest,
    txn: &mut Txn<'_>,
) -> Result<RestoreSnapshotFromRecycleBinResult> {
    let id = Snapshot::parse_id(&request.snapshot_id)?;
    let held = txn.get::<Snapshot>(&ctx.region, &id).filter(|snapshot| in_bin(ctx, snapshot));
    let held = held.ok_or_else(|| SNAPSHOT.not_found(id))?;
    let restored = txn.put(&ctx.region, Snapshot { binned: None, ..(*held).clone() });
    let shown = render::snapshot(&restored);
    Ok(RestoreSnapshotFromRecycleBinResult {
        snapshot_id: shown.snapshot_id,
        description: shown.description,
        encrypted: shown.encrypted,
        owner_id: shown.owner_id,
        progress: shown.progress,
        start_time: shown.start_time,
        state: shown.state,
        volume_id: shown.volume_id,
        volume_size: shown.volume_size,
        ..RestoreSnapshotFromRecycleBinResult::default()
    })
}
