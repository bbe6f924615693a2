//! `DeleteSnapshot`: gone for everybody at once, into the recycle bin if a rule says so; else the record goes once the host has nothing of it left.
//! Its fast restore ends with it, in the bin too.
//!
//! It runs exclusively: that no image uses the snapshot is read off an index, which no version guards.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteSnapshot.html>

use super::{bin, errors, own};
use api_ec2::{DeleteSnapshotRequest, DeleteSnapshotResult};
use control::{Context, Result, Txn};
use model::ImageId;
use model::record::image::Image;
use model::record::recycle_bin::Resource;
use model::record::snapshot::{Life, Shared, Snapshot};

/// Whether a snapshot was deleted.
pub(crate) enum Deletion {
    Done,
    Locked,
    UsedBy(ImageId),
}

/// Deletes a snapshot unless a lock or an image keeps it; images that go in the same transaction do not.
pub(crate) fn remove(
    ctx: &Context,
    txn: &mut Txn<'_>,
    snapshot: &Snapshot,
    going: Option<ImageId>,
) -> Deletion {
    if plan::snapshot::lock::holds(snapshot, ctx.now) {
        return Deletion::Locked;
    }
    let mut users = txn.tables().find::<Image>(&ctx.region, "snapshot", snapshot.snapshot);
    if let Some(user) = users.find(|image| Some(image.image) != going) {
        return Deletion::UsedBy(user.image);
    }
    let binned = bin::retention(ctx, txn.tables(), Resource::Snapshot, &snapshot.tags);
    if binned.is_some() && snapshot.is_completed() {
        txn.put(
            &ctx.region,
            Snapshot {
                binned,
                shared: Shared::default(),
                lock: None,
                fast_restores: Vec::new(),
                ..snapshot.clone()
            },
        );
        return Deletion::Done;
    }
    let gone = Snapshot {
        life: Life::Deleting,
        shared: Shared::default(),
        lock: None,
        fast_restores: Vec::new(),
        ..snapshot.clone()
    };
    txn.put(&ctx.region, gone);
    Deletion::Done
}

pub fn delete(
    ctx: &Context,
    request: &DeleteSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteSnapshotResult> {
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    match remove(ctx, txn, &snapshot, None) {
        Deletion::Done => Ok(DeleteSnapshotResult {}),
        Deletion::Locked => Err(errors::locked(snapshot.snapshot)),
        Deletion::UsedBy(image) => Err(errors::in_use(snapshot.snapshot, image)),
    }
}
