//! A completed snapshot whose data are to lie elsewhere: in the archive, among the others', in both places, or as a disk besides.
//!
//! What is being made of it is made first; so are the volumes whole that still read it.

use super::{Core, Drivers, LOOK_AGAIN, Next, Outcome, end};
use crate::host::{Block, Fault, Net, Vmm};
use model::host::{ObjectKey, ObservedBody, SnapshotDesired, SnapshotPhase, Tier};
use plan::host::SnapshotRecord;

pub(super) async fn change<V: Vmm, N: Net, B: Block>(
    core: &Core,
    drivers: &Drivers<V, N, B>,
    desired: &SnapshotDesired,
    generation: u64,
) -> Outcome {
    let snapshot = desired.snapshot;
    let key = ObjectKey::Snapshot(snapshot);
    let lacking = core.tables.lock().first_lacking_key(std::iter::once(key), key);
    if let Some(lacking) = lacking {
        return Ok(Next::Blocked(format!("waits for the key of {lacking}")));
    }
    if desired.tier == Tier::Archive {
        if let Some(user) = core.tables.lock().made_of(snapshot, key) {
            return Ok(Next::Blocked(format!("{user} is being made of it")));
        }
        if let Some(volume) = drivers.block.lacking_of(snapshot).await? {
            core.tables.lock().wait(key, ObjectKey::Volume(volume));
            tracing::debug!(%snapshot, %volume, "is archived when this volume lacks nothing of it");
            return Ok(Next::At(core.clock.now() + core.resync));
        }
    }
    match drivers.block.change_tier(desired).await {
        // It has been desired elsewhere since.
        Ok(phase @ SnapshotPhase::Completed { tier, .. }) if tier != desired.tier => {
            core.write_snapshot(snapshot, SnapshotRecord::Ended(phase)).await?;
            Ok(Next::At(core.clock.now()))
        }
        Ok(phase @ SnapshotPhase::Completed { .. }) => {
            end(core, desired, generation, phase).await?;
            Ok(Next::Idle)
        }
        Ok(phase) => {
            core.report(key, generation, ObservedBody::Snapshot(phase));
            Ok(Next::At(core.clock.now() + LOOK_AGAIN))
        }
        Err(error) if error.fault == Fault::Permanent => {
            tracing::warn!(%snapshot, %error, "a snapshot stays in its tier");
            let stays = SnapshotPhase::Unmovable { reason: error.to_string() };
            core.applied(key, generation, ObservedBody::Snapshot(stays)).await?;
            Ok(Next::Idle)
        }
        Err(error) => Err(error.into()),
    }
}
