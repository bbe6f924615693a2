//! The course of a modification: modifying until the host holds to it, then optimizing for a while, then completed.
//!
//! The last step is a matter of the clock alone, so it is read off and never written.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-modifications.html>

use model::Timestamp;
use model::record::volume::Modification;
use std::time::Duration;

/// How long a volume is optimized: AWS moves data for hours, here there is none to move.
pub const OPTIMIZING: Duration = Duration::from_secs(10);
/// So many modifications may start in [`WINDOW`].
pub const MOST: usize = 4;
pub const WINDOW: Duration = Duration::from_hours(24);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Modifying,
    Optimizing { percent: u8 },
    Completed { at: Timestamp },
}

impl Stage {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modifying => "modifying",
            Self::Optimizing { .. } => "optimizing",
            Self::Completed { .. } => "completed",
        }
    }

    pub const fn percent(self) -> u8 {
        match self {
            Self::Modifying => 0,
            Self::Optimizing { percent } => percent,
            Self::Completed { .. } => 100,
        }
    }
}

pub fn stage(modification: &Modification, now: Timestamp) -> Stage {
    let Some(since) = modification.in_force_since else { return Stage::Modifying };
    let passed = now.since(since);
    if passed >= OPTIMIZING {
        return Stage::Completed { at: since + OPTIMIZING };
    }
    Stage::Optimizing { percent: (passed.as_millis() * 100 / OPTIMIZING.as_millis()) as u8 }
}

/// The starts that still count against the next modification.
pub fn counted(starts: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    starts.iter().copied().filter(|start| now.since(*start) < WINDOW).collect()
}
