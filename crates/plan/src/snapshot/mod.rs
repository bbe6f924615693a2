//! Snapshots: which one a new one builds upon, what an observation of the host changes, what keeps one from being deleted.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html>

pub mod fast;
pub mod lock;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_fast;
#[cfg(test)]
mod tests_tier;
pub mod tier;

use model::host::{SnapshotPhase, Tier};
use model::record::snapshot::{Life, Snapshot};
use model::record::volume::VolumeType;
use model::{SnapshotId, Timestamp};

/// Steps of the progress that are written down, in percent.
const STEP: u8 = 5;

/// The snapshot that the next one of the same volume builds upon, out of those that there are of it. It builds upon none that is
/// archived, or will be at any moment.
pub fn parent<'a>(of_volume: impl IntoIterator<Item = &'a Snapshot>) -> Option<SnapshotId> {
    let is_standard = |snapshot: &Snapshot| matches!(tier::wanted(snapshot), Tier::Standard | Tier::Fast);
    let completed = of_volume.into_iter().filter(|snapshot| snapshot.is_completed() && is_standard(snapshot));
    completed.max_by_key(|snapshot| (snapshot.started_at, snapshot.snapshot)).map(|latest| latest.snapshot)
}

/// How many snapshots of one volume may be pending at a time.
pub const fn most_pending(volume_type: VolumeType) -> usize {
    match volume_type {
        VolumeType::St1 | VolumeType::Sc1 => 1,
        VolumeType::Standard | VolumeType::Gp2 | VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2 => 5,
    }
}

/// What an observation changes. Completed and failed ones stay so: what is told later is told again.
pub fn observe(life: &Life, phase: &SnapshotPhase, now: Timestamp) -> Option<Life> {
    let Life::Pending { taken, percent } = *life else { return None };
    match phase {
        SnapshotPhase::Waiting => None,
        SnapshotPhase::Pending { percent: reached } => {
            let reached = (*reached).min(99) / STEP * STEP;
            let news = !taken || reached > percent;
            news.then(|| Life::Pending { taken: true, percent: percent.max(reached) })
        }
        SnapshotPhase::Completed { full, .. } => Some(Life::Completed { at: now, full: *full }),
        SnapshotPhase::Failed { reason } => Some(Life::Failed { reason: reason.clone() }),
        SnapshotPhase::Moving { .. } | SnapshotPhase::Unmovable { .. } => None,
    }
}
