//! The public pool: which of its addresses are the cloud's own and which may be given to instances.

use super::nth;
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// The smallest pool that leaves something to give away is a /28, the largest a /15.
pub const PREFIXES: std::ops::RangeInclusive<u8> = 15..=28;

/// The host's own address towards instances.
pub fn host_address(pool: Ipv4Net) -> Ipv4Addr {
    nth(pool, 1)
}

/// The edge's address: the host's next hop into the pool.
pub fn edge_address(pool: Ipv4Net) -> Ipv4Addr {
    nth(pool, 2)
}

/// Whether an instance may have this address. The first four and the last are kept.
pub fn assignable(pool: Ipv4Net, address: Ipv4Addr) -> bool {
    pool.contains(&address) && address >= nth(pool, 4) && address < pool.broadcast()
}

/// The addresses that instances may have, as numbers.
pub fn assignable_range(pool: Ipv4Net) -> RangeInclusive<u32> {
    nth(pool, 4).to_bits()..=pool.broadcast().to_bits() - 1
}

/// Every address that instances may have, in order.
pub fn assignable_addresses(pool: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    assignable_range(pool).map(Ipv4Addr::from_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clouds_own_addresses_are_never_given_away() {
        let pool: Ipv4Net = "198.18.4.0/28".parse().unwrap();
        let all: Vec<_> = assignable_addresses(pool).collect();
        assert_eq!(all.len(), 11);
        assert!(all.iter().all(|a| assignable(pool, *a)));
        for own in [pool.network(), host_address(pool), edge_address(pool), pool.broadcast()] {
            assert!(!all.contains(&own) && !assignable(pool, own));
        }
    }
}
