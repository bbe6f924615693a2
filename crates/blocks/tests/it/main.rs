// Tests start the processes that they kill, and take seeds from the clock.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod collect;
mod crash;
mod damage;
mod directory;
mod ebs;
mod faults;
mod kill;
mod model;
mod nbd;
mod qemu;
mod s3;
mod world;

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
