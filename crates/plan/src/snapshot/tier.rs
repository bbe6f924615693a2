//! Tiers: whether a snapshot can be used, where its host should have its data, and what may be asked of them.
//!
//! ```text
//!             archive                       restore for good
//! standard ──────────► moving ──► archived ──────────────────► moving ──► standard
//!                                   │  ▲ its days are over
//!           restore for some days   ▼  │
//!                        moving ──► restored ──(restore for good)──► moving ──► standard
//! ```
//! From the moment that it is to be archived nothing can be made of it.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>

use super::fast;
use model::Timestamp;
use model::host::{SnapshotPhase, Tier};
use model::record::snapshot::{Snapshot, Stage, Tiering, Way};
use std::ops::RangeInclusive;
use std::time::Duration;

/// For how many days a snapshot may be restored.
pub const DAYS: RangeInclusive<i32> = 1..=180;
const STEP: u8 = 5;

/// Why a snapshot stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotCompleted,
    /// It is on its way.
    Moving,
    Archived,
    NotArchived,
    /// Somebody wants it to be fast.
    Fast,
}

/// Whether it is shown in the archive tier, where it also is while it is restored for some days.
pub fn is_archived(snapshot: &Snapshot) -> bool {
    snapshot.tiering.as_ref().is_some_and(|tiering| tiering.archived_at.is_some())
}

/// Where its host should have its data.
pub fn wanted(snapshot: &Snapshot) -> Tier {
    let standard = if fast::is_on(snapshot) { Tier::Fast } else { Tier::Standard };
    let Some(tiering) = &snapshot.tiering else { return standard };
    let restored = || if tiering.until.is_some() { Tier::Both } else { Tier::Archive };
    match (tiering.way, &tiering.stage) {
        (Way::ToArchive, Stage::Moving { .. } | Stage::Done) => Tier::Archive,
        (Way::ToArchive, Stage::Failed { .. }) | (Way::ForGood, Stage::Moving { .. } | Stage::Done) => {
            standard
        }
        (Way::Temporarily(_), Stage::Moving { .. }) => Tier::Both,
        (Way::Temporarily(_), Stage::Done | Stage::Failed { .. }) | (Way::ForGood, Stage::Failed { .. }) => {
            restored()
        }
    }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 86_400)
}

/// It is to be archived.
pub fn archive(snapshot: &Snapshot, now: Timestamp) -> Result<Tiering, Refusal> {
    if !snapshot.is_completed() {
        return Err(Refusal::NotCompleted);
    }
    if fast::is_on(snapshot) {
        return Err(Refusal::Fast);
    }
    match &snapshot.tiering {
        Some(tiering) if matches!(tiering.stage, Stage::Moving { .. }) => Err(Refusal::Moving),
        Some(tiering) if tiering.archived_at.is_some() => Err(Refusal::Archived),
        Some(_) | None => Ok(Tiering {
            way: Way::ToArchive,
            started_at: now,
            stage: Stage::Moving { percent: 0 },
            archived_at: None,
            until: None,
        }),
    }
}

/// It is to be restored, or to stay so for longer or shorter.
pub fn restore(snapshot: &Snapshot, way: Way, now: Timestamp) -> Result<Tiering, Refusal> {
    let tiering = snapshot.tiering.as_ref().filter(|tiering| tiering.archived_at.is_some());
    let Some(tiering) = tiering else {
        let moves = |tiering: &Tiering| matches!(tiering.stage, Stage::Moving { .. });
        let is_moving = snapshot.tiering.as_ref().is_some_and(moves);
        return Err(if is_moving { Refusal::Moving } else { Refusal::NotArchived });
    };
    if matches!(tiering.stage, Stage::Moving { .. }) {
        return Err(Refusal::Moving);
    }
    let is_restored = tiering.until.is_some_and(|until| now < until);
    let (stage, until) = match way {
        // It is there.
        Way::Temporarily(count) if is_restored => (Stage::Done, Some(now + days(count))),
        Way::Temporarily(_) => (Stage::Moving { percent: 0 }, None),
        Way::ForGood | Way::ToArchive => {
            (Stage::Moving { percent: 0 }, tiering.until.filter(|_| is_restored))
        }
    };
    Ok(Tiering { way, started_at: now, stage, archived_at: tiering.archived_at, until })
}

/// What its host's word changes.
pub fn observe(snapshot: &Snapshot, phase: &SnapshotPhase, now: Timestamp) -> Option<Tiering> {
    let tiering = snapshot.tiering.as_ref()?;
    let Stage::Moving { percent } = tiering.stage else { return None };
    match phase {
        SnapshotPhase::Moving { percent: reached } => {
            let reached = (*reached).min(99) / STEP * STEP;
            let stage = Stage::Moving { percent: reached };
            (reached > percent).then(|| Tiering { stage, ..tiering.clone() })
        }
        SnapshotPhase::Completed { tier, .. } if *tier == wanted(snapshot) => {
            let (archived_at, until) = match tiering.way {
                Way::ToArchive => (Some(now), None),
                Way::Temporarily(count) => (tiering.archived_at, Some(now + days(count))),
                Way::ForGood => (None, None),
            };
            Some(Tiering { stage: Stage::Done, archived_at, until, ..tiering.clone() })
        }
        SnapshotPhase::Unmovable { reason } => {
            Some(Tiering { stage: Stage::Failed { reason: reason.clone() }, ..tiering.clone() })
        }
        SnapshotPhase::Completed { .. }
        | SnapshotPhase::Waiting
        | SnapshotPhase::Pending { .. }
        | SnapshotPhase::Failed { .. } => None,
    }
}

/// What becomes of it when its days are over.
pub fn expired(snapshot: &Snapshot, now: Timestamp) -> Option<Tiering> {
    let tiering = snapshot.tiering.as_ref()?;
    let is_moving = matches!(tiering.stage, Stage::Moving { .. });
    let is_over = tiering.until.is_some_and(|until| until <= now) && !is_moving;
    is_over.then(|| Tiering { until: None, ..tiering.clone() })
}

/// As EC2 spells the latest move.
pub const fn status(tiering: &Tiering) -> &'static str {
    match (tiering.way, &tiering.stage) {
        (Way::ToArchive, Stage::Moving { .. }) => "archival-in-progress",
        (Way::ToArchive, Stage::Done) => "archival-completed",
        (Way::ToArchive, Stage::Failed { .. }) => "archival-failed",
        (Way::Temporarily(_), Stage::Moving { .. }) => "temporary-restore-in-progress",
        (Way::Temporarily(_), Stage::Done) => "temporary-restore-completed",
        (Way::Temporarily(_), Stage::Failed { .. }) => "temporary-restore-failed",
        (Way::ForGood, Stage::Moving { .. }) => "permanent-restore-in-progress",
        (Way::ForGood, Stage::Done) => "permanent-restore-completed",
        (Way::ForGood, Stage::Failed { .. }) => "permanent-restore-failed",
    }
}
