//! What burstable types earn: a share of each virtual CPU that they may use forever, and credits for more.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html>

use super::{Flag, InstanceType};

/// The baseline of a burstable type. A credit is a virtual CPU for a minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    pub credits_per_hour: f64,
}

impl Burst {
    /// The most credits that an instance keeps: those of a day.
    pub fn most_credits(&self) -> f64 {
        self.credits_per_hour * 24.0
    }

    /// The part of each of `vcpus` that is always there, in percent.
    pub fn baseline_percent(&self, vcpus: u32) -> f64 {
        self.credits_per_hour / 60.0 / f64::from(vcpus) * 100.0
    }
}

impl InstanceType {
    /// None for types that are not burstable, and for those whose baseline is not known here.
    pub fn burst(&self) -> Option<Burst> {
        let (family, size) = self.name.split_once('.')?;
        if !self.has(Flag::Burstable) {
            return None;
        }
        let credits_per_hour = match (family, size) {
            ("t2", "nano") => 3.0,
            ("t2", "micro") | ("t3" | "t3a" | "t4g", "nano") => 6.0,
            ("t2", "small") | ("t3" | "t3a" | "t4g", "micro") => 12.0,
            ("t2", "medium") | ("t3" | "t3a" | "t4g", "small" | "medium") => 24.0,
            ("t2" | "t3" | "t3a" | "t4g", "large") => 36.0,
            ("t2", "xlarge") => 54.0,
            ("t2", "2xlarge") => 81.6,
            ("t3" | "t3a" | "t4g", "xlarge") => 96.0,
            ("t3" | "t3a" | "t4g", "2xlarge") => 192.0,
            _ => return None,
        };
        Some(Burst { credits_per_hour })
    }

    /// What an instance of a burstable type does beyond its credits unless its owner says otherwise: `unlimited`, or slow
    /// down (`standard`).
    pub fn default_credits(&self) -> Option<&'static str> {
        self.has(Flag::Burstable).then(|| if self.family() == "t2" { "standard" } else { "unlimited" })
    }
}
