//! Which public addresses a new cloud gets: a /22 inside 198.18.0.0/15 that nobody on this host uses.
//!
//! 198.18.0.0/15 is set aside for benchmarks (RFC 2544) and routed nowhere, so that it collides with no real network.

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The whole of it, for clouds that route nothing.
pub const ALL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
const SHARE: u8 = 22;

/// The first share that overlaps no route of this host.
pub fn free() -> Result<Ipv4Net> {
    let routes = std::fs::read_to_string("/proc/net/route").context("cannot read this host's routes")?;
    choose(&parse_routes(&routes))
        .context("every part of 198.18.0.0/15 is in use on this host; name a --public-pool")
}

fn choose(used: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |share: &Ipv4Net, route: &Ipv4Net| share.contains(route) || route.contains(share);
    ALL.subnets(SHARE)
        .ok()?
        .find(|share| !used.iter().any(|route| route.prefix_len() > 0 && overlaps(share, route)))
}

/// The destinations in the kernel's table, whose numbers are hex in network order as a little-endian word.
fn parse_routes(text: &str) -> Vec<Ipv4Net> {
    let word = |field: &str| u32::from_str_radix(field, 16).ok().map(u32::swap_bytes);
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (destination, mask) = (word(fields.get(1)?)?, word(fields.get(7)?)?);
            Ipv4Net::new(destination.into(), mask.leading_ones() as u8).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_cloud_gets_the_next_share() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                     eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n\
                     nb-abc 000012C6 00000000 0001 0 0 0 00FCFFFF 0 0 0\n";
        let used = parse_routes(table);
        assert_eq!(used[1], "198.18.0.0/22".parse().unwrap());
        assert_eq!(choose(&used), Some("198.18.4.0/22".parse().unwrap()));
    }
}
