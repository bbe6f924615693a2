//! Which calls fail, and how: drawn from one seeded sequence.

use std::time::Duration;

/// Rates, each from 0 to 1, of what can happen to a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Faults {
    /// It fails and has done nothing.
    pub error: f64,
    /// It fails and has done its work.
    pub error_after_work: f64,
    /// It works after a pause of up to `longest_delay`.
    pub delay: f64,
    /// It works, hangs for `longest_delay`, then fails.
    pub timeout: f64,
    /// Some machine is said to have changed, and has not.
    pub lie: f64,
    pub longest_delay: Duration,
}

impl Faults {
    pub const NONE: Self = Self {
        error: 0.0,
        error_after_work: 0.0,
        delay: 0.0,
        timeout: 0.0,
        lie: 0.0,
        longest_delay: Duration::ZERO,
    };

    /// A bad day: every fourth call or so goes wrong.
    pub const HEAVY: Self = Self {
        error: 0.1,
        error_after_work: 0.1,
        delay: 0.2,
        timeout: 0.03,
        lie: 0.1,
        longest_delay: Duration::from_secs(3),
    };
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Work,
    Error,
    ErrorAfterWork,
    Delay(Duration),
    Timeout(Duration),
}

impl Outcome {
    pub fn delay(self) -> Option<Duration> {
        match self {
            Self::Delay(delay) => Some(delay),
            Self::Work | Self::Error | Self::ErrorAfterWork | Self::Timeout(_) => None,
        }
    }

    pub fn fails_before(self) -> bool {
        self == Self::Error
    }
}

/// SplitMix64: small, seeded, good enough for choosing faults.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn outcome(&mut self, faults: Faults) -> Outcome {
        if faults == Faults::NONE {
            return Outcome::Work;
        }
        let mut draw = self.fraction();
        let delay = faults.longest_delay.mul_f64(self.fraction());
        for (rate, outcome) in [
            (faults.error, Outcome::Error),
            (faults.error_after_work, Outcome::ErrorAfterWork),
            (faults.delay, Outcome::Delay(delay)),
            (faults.timeout, Outcome::Timeout(faults.longest_delay)),
        ] {
            if draw < rate {
                return outcome;
            }
            draw -= rate;
        }
        Outcome::Work
    }

    /// Whether to lie now, and about which machine.
    pub fn lie(&mut self, faults: Faults) -> Option<usize> {
        (faults.lie > 0.0 && self.fraction() < faults.lie).then(|| self.next() as usize)
    }
}
