//! Services beside the cloud that gateway endpoints lead to: where they may be, and what their lists are called.
//!
//! What a VPC's own send to a service leaves it by a link of its own to the edge, with an address that only the edge knows:
//! [`inside`], which follows from the link, so that the ranges of VPCs may overlap. The edge puts its own address in its
//! place, and the host lets it out as it lets out instances. Nothing else has such an address, so nothing else passes; and
//! the edge tracks no other packet.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>
//! Differs: the services are the operator's, at addresses that the operator names.

use super::names::{EDGE_UPLINK, SERVICES_TABLE};
use super::overlap;
use ipnet::Ipv4Net;
use model::{GatewayService, PrefixListId, Region};
use std::net::Ipv4Addr;

/// Where the addresses are that VPCs have for services, and doors of endpoint services for their nodes: no network uses them.
pub const INSIDE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4);

/// The address of who is at the other end of the link with this index: the edge's to a VPC, a node's to a door.
pub fn inside(link: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(INSIDE.network().to_bits() | link & INSIDE.hostmask().to_bits())
}

/// The edge's table for services at these ranges, in one transaction; nothing when there are none. `own` is the edge's address.
pub fn edge_table(own: Ipv4Addr, cidrs: &[Ipv4Net]) -> String {
    let gone = format!("table inet {SERVICES_TABLE} {{\n}}\ndelete table inet {SERVICES_TABLE}\n");
    if cidrs.is_empty() {
        return gone;
    }
    let cidrs: Vec<String> = cidrs.iter().map(|cidr| cidr.trunc().to_string()).collect();
    let cidrs = cidrs.join(", ");
    format!(
        "{gone}table inet {SERVICES_TABLE} {{
	chain untracked {{
		type filter hook prerouting priority raw; policy accept;
		iifname \"{EDGE_UPLINK}\" ip daddr {own} accept
		ip saddr {INSIDE} accept
		notrack
	}}
	chain forward {{
		type filter hook forward priority filter; policy accept;
		ip daddr {INSIDE} ct state established,related accept
		ip daddr {INSIDE} drop
		ip saddr {INSIDE} oifname != \"{EDGE_UPLINK}\" drop
		ip saddr {INSIDE} ip daddr != {{ {cidrs} }} drop
	}}
	chain source {{
		type nat hook postrouting priority srcnat; policy accept;
		oifname \"{EDGE_UPLINK}\" ip saddr {INSIDE} snat ip to {own}
	}}
}}
"
    )
}

/// How many ranges a service may have.
pub const MOST_RANGES: usize = 64;

/// Whether a service can be there: it is no address that hosts keep for themselves.
pub fn fits(cidr: Ipv4Net) -> bool {
    const KEPT: [(Ipv4Addr, u8); 4] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    !KEPT
        .into_iter()
        .any(|(address, length)| Ipv4Net::new(address, length).is_ok_and(|net| overlap(net, cidr)))
}

/// `com.amazonaws.REGION.SERVICE`, in China with `cn.` before it.
pub fn full_name(region: &Region, service: &str) -> String {
    let country = if region.as_str().starts_with("cn-") { "cn." } else { "" };
    format!("{country}com.amazonaws.{region}.{service}")
}

/// The id of the list of a service's addresses, always the same.
pub fn prefix_list(region: &Region, service: GatewayService) -> PrefixListId {
    let hash = |start: u64| {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        full_name(region, service.as_str()).bytes().fold(start, fold)
    };
    let high = hash(0x6c62_272e_07bb_0142);
    PrefixListId::from_entropy(u128::from(high) << 64 | u128::from(hash(0xcbf2_9ce4_8422_2325)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_where_packets_can_be_routed() {
        let fits = |text: &str| fits(text.parse().unwrap());
        assert!(["192.168.7.20/32", "10.0.0.0/8", "203.0.113.0/24"].into_iter().all(fits));
        assert!(
            !["127.0.0.1/32", "0.0.0.0/0", "169.254.7.0/24", "224.0.0.0/4", "240.0.0.1/32"]
                .into_iter()
                .any(fits)
        );
    }

    #[test]
    fn a_service_of_a_region_has_a_list_of_its_own() {
        let (here, there) = (Region::parse("us-east-1").unwrap(), Region::parse("eu-west-1").unwrap());
        let one = prefix_list(&here, GatewayService::S3);
        assert_eq!(one, prefix_list(&here, GatewayService::S3));
        assert_ne!(one, prefix_list(&there, GatewayService::S3));
        assert_ne!(one, prefix_list(&here, GatewayService::Dynamodb));
        assert_eq!(PrefixListId::parse(&one.to_string()), Ok(one));
    }
}
