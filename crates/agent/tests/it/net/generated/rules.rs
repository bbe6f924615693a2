//! What a single rule, or the nature of an address, says of a packet.

use super::judge::{Packet, Transport};
use ipnet::{IpNet, Ipv6Net};
use model::host::VpcDesired;
use model::net::{AclAction, AclEntry, Traffic};
use std::net::{IpAddr, Ipv6Addr};

/// Sources that no machine can have: beyond unicast, and the router's own.
pub fn nobodys(vpc: &VpcDesired, address: IpAddr) -> bool {
    let address = match address {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(v6) => return nobodys_v6(v6),
    };
    let routers = vpc.subnets.iter().filter_map(|subnet| Some(subnet.cidr?.network().to_bits() + 1));
    let resolver = vpc.cidrs.first().map(|cidr| cidr.network().to_bits() + 2);
    address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.octets()[0] >= 240
        || routers.chain(resolver).any(|router| router == address.to_bits())
}

fn nobodys_v6(address: Ipv6Addr) -> bool {
    // Those that only stand for IPv4's as well.
    address.to_bits() >> 32 == 0
        || address.to_ipv4_mapped().is_some()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || is_service(address)
}

pub fn is_service(address: Ipv6Addr) -> bool {
    "fd00:ec2::/32".parse::<Ipv6Net>().unwrap().contains(&address)
}

/// The entry with the smallest number that matches decides; none denies.
pub fn admits(entries: &[AclEntry], end: IpAddr, packet: Packet) -> bool {
    let matching = entries.iter().filter(|e| covers(e.net, end) && matches(e.traffic, packet));
    matching.min_by_key(|entry| entry.number).is_some_and(|entry| entry.action == AclAction::Allow)
}

pub fn covers(net: IpNet, address: IpAddr) -> bool {
    net.contains(&address)
}

pub fn matches(traffic: Traffic, packet: Packet) -> bool {
    match (traffic, packet.transport) {
        (Traffic::All, _) => true,
        (Traffic::Tcp { from, to }, Transport::Tcp { to: port, .. })
        | (Traffic::Udp { from, to }, Transport::Udp { to: port, .. }) => (from..=to).contains(&port),
        (Traffic::Icmp { .. }, Transport::Icmp { .. }) if packet.src.is_ipv6() => false,
        (Traffic::Icmpv6 { .. }, Transport::Icmp { .. }) if packet.src.is_ipv4() => false,
        (
            Traffic::Icmp { kind, code } | Traffic::Icmpv6 { kind, code },
            Transport::Icmp { kind: k, code: c, .. },
        ) => kind.is_none_or(|kind| kind == k) && code.is_none_or(|code| code == c),
        (Traffic::Protocol(number), Transport::Other(other)) => number == other,
        _ => false,
    }
}
