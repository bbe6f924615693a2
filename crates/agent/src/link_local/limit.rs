//! How many questions one address may ask in a second.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use tokio::time::{Duration, Instant};

/// A window of one second for each address.
#[derive(Debug)]
pub struct Limit {
    per_second: u32,
    windows: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Limit {
    pub fn per_second(per_second: u32) -> Self {
        Self { per_second, windows: Mutex::default() }
    }

    /// Counts one question, and says whether it may be answered.
    pub fn admits(&self, from: impl Into<IpAddr>, now: Instant) -> bool {
        let mut windows = self.windows.lock();
        // The filter lets only addresses of interfaces through, so this never grows past a VPC's size.
        if windows.len() > 65536 {
            windows.clear();
        }
        let (start, count) = windows.entry(from.into()).or_insert((now, 0));
        if now.duration_since(*start) >= Duration::from_secs(1) {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        *count <= self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_address_cannot_use_up_anothers_share() {
        let limit = Limit::per_second(2);
        let (now, one, other) = (Instant::now(), Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!([0; 3].map(|_| limit.admits(one, now)), [true, true, false]);
        assert!(limit.admits(other, now));
        assert!(limit.admits(one, now + Duration::from_secs(1)));
    }
}
