//! IPv6: the cloud's pool and its blocks, the router's own addresses, and the link-local address of a guest.
//!
//! The pool is cut into blocks of /56. The first is the cloud's own (the host's end and the edge's); each VPC that asks for
//! one gets another, and cuts it into subnets of /64. Nothing is translated: what a guest has is what everybody sees.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#vpc-sizing-ipv6>

use super::overlap;
use ipnet::Ipv6Net;
use model::{CloudTag, Mac};
use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

/// Where the metadata service answers, on port 80.
pub const METADATA: Ipv6Addr = service(0x254);
/// Where every VPC's resolver answers.
pub const RESOLVER: Ipv6Addr = service(0x253);
/// Where the time service answers.
pub const TIME: Ipv6Addr = service(0x123);
/// Every address of these services that a VPC's router has.
pub const SERVICES: [Ipv6Addr; 3] = [METADATA, RESOLVER, TIME];
/// What the services' addresses lie in; no pool may.
pub const KEPT: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32);
/// The router's address on every port.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The next hop's name on point-to-point links.
pub const NEXT_HOP: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// The length of a VPC's block, and of a subnet's.
pub const BLOCK: u8 = 56;
pub const SUBNET: u8 = 64;
/// The length of an interface's prefix.
pub const PREFIX: u8 = 80;
/// Its bits of an address.
pub(super) const PREFIX_MASK: &str = "ffff:ffff:ffff:ffff:ffff::";
/// The lengths that a pool may have.
pub const PREFIXES: RangeInclusive<u8> = 16..=52;

const fn service(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, last)
}

/// The block that an address would be in as one of an interface's prefix.
pub fn around(address: Ipv6Addr) -> Ipv6Net {
    Ipv6Net::new_assert(address, PREFIX).trunc()
}

/// The link-local address that a guest has by its hardware address (modified EUI-64).
/// AWS: none; RFC 4291, appendix A.
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let octets = mac.0;
    let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let first = pair(octets[0] ^ 2, octets[1]);
    let [second, third] = [pair(octets[2], 0xff), pair(0xfe, octets[3])];
    Ipv6Addr::new(0xfe80, 0, 0, 0, first, second, third, pair(octets[4], octets[5]))
}

/// The pool of a cloud that was given none: a /40 of the unique local addresses, told from its tag.
pub fn default_pool(tag: &CloudTag) -> Ipv6Net {
    // FNV-1a: any spread will do, so that two clouds of a host or a site do not meet.
    let hash = tag.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [.., b, c, d, e] = hash.to_be_bytes();
    // Never fd00::/16, where the services are.
    let first = u16::from_be_bytes([0xfd, b.max(1)]);
    let net = Ipv6Addr::new(first, u16::from_be_bytes([c, d]), u16::from_be_bytes([e, 0]), 0, 0, 0, 0, 0);
    Ipv6Net::new_assert(net, 40).trunc()
}

/// Whether a pool may be this: large enough, of unicast addresses that are nobody else's by definition.
pub fn is_fit(pool: Ipv6Net) -> bool {
    let overlaps = |other: Ipv6Net| overlap(other, pool);
    let special = ["::/8", "fe80::/9", "ff00::/8"].map(|net| net.parse().ok());
    PREFIXES.contains(&pool.prefix_len()) && !overlaps(KEPT) && !special.into_iter().flatten().any(overlaps)
}

/// The host's own address towards instances.
pub fn host_address(pool: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from_bits(pool.network().to_bits() | 1)
}

/// The numbers of the blocks that VPCs may have.
pub fn blocks(pool: Ipv6Net) -> RangeInclusive<u64> {
    1..=(1_u64 << (BLOCK - pool.prefix_len().min(BLOCK - 1))) - 1
}

/// One of them.
pub fn block(pool: Ipv6Net, number: u64) -> Ipv6Net {
    let bits = pool.network().to_bits() | (u128::from(number) << (128 - u32::from(BLOCK)));
    Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), BLOCK)
}

/// The number of a block.
pub fn number(pool: Ipv6Net, block: Ipv6Net) -> u64 {
    ((block.network().to_bits() ^ pool.network().to_bits()) >> (128 - u32::from(BLOCK))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_link_local_address_follows_from_its_hardware_address() {
        let mac = Mac::parse("0a:11:22:33:44:55").unwrap();
        assert_eq!(link_local(mac), "fe80::811:22ff:fe33:4455".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn blocks_lie_in_the_pool_and_none_is_the_clouds_own() {
        for pool in ["fd12:3456:7800::/40", "2001:db8::/52", "2001::/16"] {
            let pool: Ipv6Net = pool.parse().unwrap();
            let (first, last) = blocks(pool).into_inner();
            for at in [first, last] {
                let block = block(pool, at);
                assert!(pool.contains(&block) && !block.contains(&host_address(pool)), "{block}");
                assert_eq!(number(pool, block), at);
            }
        }
    }

    #[test]
    fn a_pool_is_neither_the_services_nor_special_nor_tiny() {
        for pool in
            ["fd00::/16", "fd00:ec2:1::/48", "fe80::/16", "ff00::/16", "::/16", "2001:db8::/56", "2000::/3"]
        {
            assert!(!is_fit(pool.parse().unwrap()), "{pool}");
        }
        for tag in ["abc234", "zzzzzz"] {
            let pool = default_pool(&CloudTag::parse(tag).unwrap());
            assert!(is_fit(pool), "{pool}");
        }
    }
}
