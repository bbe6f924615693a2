//! How long to wait before trying again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(1);

/// The pause after the `failures`th failure in a row (from 1): doubling from 200 ms to a minute, spread by a quarter
/// either way by `salt`, so that what failed together is not tried together again.
pub fn backoff(salt: u64, failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let mixed = (salt ^ u64::from(failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    doubled.mul_f64(0.75 + 0.5 * (mixed as f64 / 65536.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for salt in 0..100 {
            assert!(
                backoff(salt, 1) >= Duration::from_millis(150)
                    && backoff(salt, 1) <= Duration::from_millis(250)
            );
            assert!(backoff(salt, 4) > backoff(salt, 2));
            assert!(backoff(salt, u32::MAX) >= Duration::from_secs(45));
            assert!(backoff(salt, u32::MAX) <= Duration::from_secs(75));
        }
    }
}
