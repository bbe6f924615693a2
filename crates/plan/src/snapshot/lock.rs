//! Locks: how far one is, and how it may be changed.
//!
//! Time alone moves a lock on, so its state is read off and never written.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-lock-concepts.html>

use model::Timestamp;
use model::record::snapshot::{Life, Lock, LockMode, Snapshot, Until};
use std::time::Duration;

/// The longest lock, in days.
pub const MOST_DAYS: u32 = 36_500;
/// The longest cooling-off period, in hours.
pub const MOST_COOL_OFF: u32 = 72;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Governance,
    /// In compliance mode, and still to be undone.
    CoolingOff,
    Compliance,
    Expired,
}

impl Stage {
    /// As EC2 spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::CoolingOff => "compliance-cooloff",
            Self::Compliance => "compliance",
            Self::Expired => "expired",
        }
    }
}

/// Why a lock stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody undoes or weakens it any more.
    Compliance,
    /// There is nothing to undo.
    NotLocked,
}

const fn days(days: u32) -> Duration {
    Duration::from_secs(days as u64 * 86_400)
}

/// From when its duration counts: none as long as the snapshot is pending.
pub fn counts_from(snapshot: &Snapshot, lock: &Lock) -> Option<Timestamp> {
    match snapshot.life {
        Life::Completed { at, .. } => Some(lock.created_at.max(at)),
        Life::Pending { .. } | Life::Failed { .. } | Life::Deleting => None,
    }
}

/// When it ends, as far as that is known.
pub fn expires(snapshot: &Snapshot, lock: &Lock) -> Option<Timestamp> {
    match lock.until {
        Until::Date(at) => Some(at),
        Until::Days(count) => counts_from(snapshot, lock).map(|from| from + days(count)),
    }
}

/// When it can no longer be undone.
pub fn cooled_off(lock: &Lock) -> Option<Timestamp> {
    lock.cool_off.map(|hours| lock.created_at + Duration::from_secs(u64::from(hours) * 3600))
}

pub fn stage(snapshot: &Snapshot, lock: &Lock, now: Timestamp) -> Stage {
    if expires(snapshot, lock).is_some_and(|at| at <= now) {
        return Stage::Expired;
    }
    match lock.mode {
        LockMode::Governance => Stage::Governance,
        LockMode::Compliance if cooled_off(lock).is_some_and(|at| now < at) => Stage::CoolingOff,
        LockMode::Compliance => Stage::Compliance,
    }
}

/// Whether the snapshot must stay.
pub fn holds(snapshot: &Snapshot, now: Timestamp) -> bool {
    snapshot.lock.is_some_and(|lock| stage(snapshot, &lock, now) != Stage::Expired)
}

/// The snapshot's lock after the owner asked for `asked`.
pub fn change(snapshot: &Snapshot, asked: Lock, now: Timestamp) -> Result<Lock, Refusal> {
    let Some(lock) = &snapshot.lock else { return Ok(asked) };
    match stage(snapshot, lock, now) {
        Stage::Expired | Stage::Governance | Stage::CoolingOff => Ok(asked),
        Stage::Compliance => {
            // It started when it started, and only its end may move, away.
            let longer = Lock { until: asked.until, ..*lock };
            let extends = match (lock.until, asked.until) {
                (Until::Days(before), Until::Days(after)) => after >= before,
                _ => expires(snapshot, &longer) >= expires(snapshot, lock),
            };
            if asked.mode == LockMode::Compliance && asked.cool_off.is_none() && extends {
                Ok(longer)
            } else {
                Err(Refusal::Compliance)
            }
        }
    }
}

/// Whether the lock can be undone.
pub fn undo(snapshot: &Snapshot, now: Timestamp) -> Result<(), Refusal> {
    let lock = snapshot.lock.as_ref().ok_or(Refusal::NotLocked)?;
    match stage(snapshot, lock, now) {
        Stage::Governance | Stage::CoolingOff => Ok(()),
        Stage::Compliance => Err(Refusal::Compliance),
        Stage::Expired => Err(Refusal::NotLocked),
    }
}
