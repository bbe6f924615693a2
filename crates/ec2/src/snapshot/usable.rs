//! Which snapshots a volume can start from.

use super::errors;
use crate::noun::hold;
use control::{Context, Result, Txn};
use model::SnapshotId;
use model::record::snapshot::Snapshot;
use plan::instance::{DeviceChange, DeviceSpec};
use std::sync::Arc;

/// A snapshot that the caller may use and that is completed, held until the commit.
pub fn usable(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<Snapshot>> {
    let snapshot = hold::<Snapshot>(ctx, txn, id)?;
    if !snapshot.is_completed() {
        return Err(errors::incorrect_state(&snapshot, "'completed'"));
    }
    errors::must_be_usable(&snapshot, ctx.now)?;
    Ok(snapshot)
}

/// Looks up the snapshots that mappings name, but for those that whoever may use an image may use with it.
pub fn resolve(
    ctx: &Context,
    txn: &mut Txn<'_>,
    specs: &mut [DeviceSpec],
    of_image: &[SnapshotId],
) -> Result<()> {
    for spec in specs {
        let DeviceChange::Volume(volume) = &mut spec.change else { continue };
        let Some(id) = volume.snapshot.filter(|id| !of_image.contains(id)) else { continue };
        volume.snapshot_size = Some(usable(ctx, txn, &id.to_string())?.size);
    }
    Ok(())
}
