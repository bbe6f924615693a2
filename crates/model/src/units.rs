//! Sizes that say their unit.

use serde::{Deserialize, Serialize};

/// A size in gibibytes, as volumes are sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GiB(pub u32);

impl GiB {
    pub const fn bytes(self) -> u64 {
        (self.0 as u64) << 30
    }
}

/// A size in mebibytes, as memory is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MiB(pub u32);

impl MiB {
    pub const fn bytes(self) -> u64 {
        (self.0 as u64) << 20
    }
}
