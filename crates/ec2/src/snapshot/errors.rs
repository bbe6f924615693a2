//! EC2's errors about snapshots.

use crate::errors::client;
use control::Result;
use model::record::snapshot::Snapshot;
use model::{SnapshotId, Timestamp, VolumeId};
use std::fmt::Display;
use wire::ApiError;

/// The snapshot's state has no place for what is asked.
pub fn incorrect_state(snapshot: &Snapshot, wanted: &str) -> ApiError {
    client(
        "IncorrectState",
        format!("The snapshot '{}' is '{}', not {wanted}.", snapshot.snapshot, snapshot.state_name()),
    )
}

/// Nothing is made of what is archived.
pub fn must_be_usable(snapshot: &Snapshot, now: Timestamp) -> Result<()> {
    if snapshot.is_usable(now) {
        return Ok(());
    }
    let id = snapshot.snapshot;
    let message =
        format!("The snapshot '{id}' is in the archive tier. It must be restored before it can be used.");
    Err(client("IncorrectState", message))
}

pub fn not_yours(id: SnapshotId) -> ApiError {
    client("AuthFailure", format!("Not authorized for snapshot:{id}"))
}

pub fn in_use(id: SnapshotId, by: impl Display) -> ApiError {
    client("InvalidSnapshot.InUse", format!("The snapshot {id} is currently in use by {by}"))
}

pub fn locked(id: SnapshotId) -> ApiError {
    client("OperationNotPermitted", format!("The snapshot '{id}' is locked and cannot be deleted."))
}

pub fn public_access_is_blocked(what: &str) -> ApiError {
    client(
        "OperationNotPermitted",
        format!("The {what} cannot be made public: the account blocks public access in this region."),
    )
}

pub fn too_many_pending(volume: VolumeId, most: usize) -> ApiError {
    client(
        "ConcurrentSnapshotLimitExceeded",
        format!("The volume '{volume}' has {most} snapshots that are pending, which is the most at a time."),
    )
}
