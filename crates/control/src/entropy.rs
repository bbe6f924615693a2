//! Where ids, MAC addresses and secrets come from: the operating system, or a seed in tests.

use parking_lot::Mutex;
use std::cell::RefCell;

/// A source of random bits.
pub trait Entropy: Send + Sync + 'static {
    fn fill(&self, bytes: &mut [u8]);

    fn bits(&self) -> u128 {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}

/// The operating system's generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsEntropy;

/// How much a thread asks for at once for [`Entropy::bits`]: a call of the kernel for each id would cost as much as the rest
/// of making it.
const AT_ONCE: usize = 512;

/// Bits that nobody was given yet.
struct Store {
    bytes: [u8; AT_ONCE],
    left: usize,
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { bytes: [0; AT_ONCE], left: 0 }) };
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel's random generator is always there once the system is up");
    }

    fn bits(&self) -> u128 {
        STORE.with_borrow_mut(|store| {
            if store.left == 0 {
                self.fill(&mut store.bytes);
                store.left = AT_ONCE;
            }
            let mut taken = [0; 16];
            store.left -= taken.len();
            // What was given out is not kept.
            taken.swap_with_slice(&mut store.bytes[store.left..store.left + 16]);
            u128::from_le_bytes(taken)
        })
    }
}

/// A reproducible generator for simulations (SplitMix64). Never for secrets.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = *state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_bits_are_given_out_twice() {
        let drawn = |_| std::thread::spawn(|| (0..1000).map(|_| OsEntropy.bits()).collect::<Vec<_>>());
        let threads: Vec<_> = (0..2).map(drawn).collect();
        let all: Vec<u128> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 2000);
        assert!(all.iter().all(|bits| *bits >> 64 != 0 && bits & u128::from(u64::MAX) != 0));
    }
}
