// Tests start the processes that they kill, and measure how long they may.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod conformance;
mod crash;
mod disk;
mod faults;
mod file;
mod folder;
mod journal;
mod lag;
mod power;

use std::time::Duration;

use store::{Key, Options};

pub fn key(name: impl AsRef<str>) -> Key {
    Key::new(name).unwrap()
}

/// The database takes commits only when it must.
pub fn journal_alone() -> Options {
    Options { linger: Duration::from_hours(1), segment_bytes: 64 << 10, ..Options::default() }
}

/// Random numbers from a printed seed (`SplitMix64`).
pub struct Dice(pub u64);

impl Dice {
    pub fn seeded() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self(now.as_nanos() as u64)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }
}
