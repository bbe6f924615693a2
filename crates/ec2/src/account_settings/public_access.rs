//! Block public access, for images and for snapshots.
//!
//! Snapshots that are public already are withheld from others when all sharing is blocked, and shown again afterwards.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/block-public-access-snapshots.html>

use crate::errors::invalid_parameter_value;
use api_ec2::{
    DisableImageBlockPublicAccessResult, DisableSnapshotBlockPublicAccessResult,
    EnableImageBlockPublicAccessRequest, EnableImageBlockPublicAccessResult,
    EnableSnapshotBlockPublicAccessRequest, EnableSnapshotBlockPublicAccessResult,
    GetImageBlockPublicAccessStateResult, GetSnapshotBlockPublicAccessStateResult,
    ImageBlockPublicAccessDisabledState as ImagesFree, ImageBlockPublicAccessEnabledState as ImagesBlocked,
    ManagedBy, SnapshotBlockPublicAccessState as State,
};
use control::{Context, Result, Tables, Txn};
use model::SnapshotId;
use model::record::account::{PublicSnapshots, Settings};
use model::record::snapshot::Snapshot;
use wire::ApiError;

fn invalid(state: &str) -> ApiError {
    let shown: String = state.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter state is invalid."))
}

pub fn images(ctx: &Context, tables: &Tables) -> GetImageBlockPublicAccessStateResult {
    let blocked = super::now(ctx, tables).images_stay_private;
    let state =
        if blocked { ImagesBlocked::BlockNewSharing.as_str() } else { ImagesFree::Unblocked.as_str() };
    GetImageBlockPublicAccessStateResult {
        image_block_public_access_state: Some(state.to_owned()),
        managed_by: Some(ManagedBy::Account),
    }
}

pub fn block_images(
    ctx: &Context,
    request: &EnableImageBlockPublicAccessRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableImageBlockPublicAccessResult> {
    match &request.image_block_public_access_state {
        ImagesBlocked::BlockNewSharing => {}
        ImagesBlocked::Other(other) => return Err(invalid(other)),
    }
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { images_stay_private: true, ..settings });
    Ok(EnableImageBlockPublicAccessResult {
        image_block_public_access_state: Some(ImagesBlocked::BlockNewSharing),
    })
}

pub fn unblock_images(ctx: &Context, txn: &mut Txn<'_>) -> DisableImageBlockPublicAccessResult {
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { images_stay_private: false, ..settings });
    DisableImageBlockPublicAccessResult { image_block_public_access_state: Some(ImagesFree::Unblocked) }
}

fn shown(state: PublicSnapshots) -> State {
    match state {
        PublicSnapshots::Allowed => State::Unblocked,
        PublicSnapshots::NoNew => State::BlockNewSharing,
        PublicSnapshots::None => State::BlockAllSharing,
    }
}

pub fn snapshots(ctx: &Context, tables: &Tables) -> GetSnapshotBlockPublicAccessStateResult {
    GetSnapshotBlockPublicAccessStateResult {
        state: Some(shown(super::now(ctx, tables).public_snapshots)),
        managed_by: Some(ManagedBy::Account),
    }
}

/// Writes the state, and what it means for the account's snapshots. Exclusive, for it looks at all of them.
fn set_snapshots(ctx: &Context, txn: &mut Txn<'_>, state: PublicSnapshots) -> State {
    let settings = super::of(ctx, txn);
    txn.put(&ctx.region, Settings { public_snapshots: state, ..settings });
    let withheld = state == PublicSnapshots::None;
    let own = txn.tables().find::<Snapshot>(&ctx.region, "account", ctx.account());
    let changed = own.filter(|s| (s.shared.everybody || s.shared.withheld) && s.shared.withheld != withheld);
    let changed: Vec<SnapshotId> = changed.map(|snapshot| snapshot.snapshot).collect();
    for id in changed {
        if let Some(snapshot) = txn.get::<Snapshot>(&ctx.region, &id) {
            let mut snapshot = Snapshot::clone(&snapshot);
            snapshot.shared.withheld = withheld;
            plan::snapshot::fast::end_unshared(&mut snapshot, ctx.now);
            txn.put(&ctx.region, snapshot);
        }
    }
    shown(state)
}

pub fn block_snapshots(
    ctx: &Context,
    request: &EnableSnapshotBlockPublicAccessRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableSnapshotBlockPublicAccessResult> {
    let state = match &request.state {
        State::BlockAllSharing => PublicSnapshots::None,
        State::BlockNewSharing => PublicSnapshots::NoNew,
        State::Unblocked => return Err(invalid("unblocked")),
        State::Other(other) => return Err(invalid(other)),
    };
    Ok(EnableSnapshotBlockPublicAccessResult { state: Some(set_snapshots(ctx, txn, state)) })
}

pub fn unblock_snapshots(ctx: &Context, txn: &mut Txn<'_>) -> DisableSnapshotBlockPublicAccessResult {
    DisableSnapshotBlockPublicAccessResult { state: Some(set_snapshots(ctx, txn, PublicSnapshots::Allowed)) }
}
