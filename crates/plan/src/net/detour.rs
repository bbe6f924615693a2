//! Detours of what comes in by a gateway, the internet's or a virtual private one: the gateway's own route table leads whole
//! subnets to a machine that forwards (a firewall, say) instead of straight to whom a packet is for.
//!
//! A machine on the way sees private addresses, and the same flow passes the router twice. So here the public address is
//! translated without state, before the flow is tracked and after it: both passes are one flow, in either direction. What
//! comes in has a mark of its own and asks the gateway's table. What the machine forwards for such a subnet may leave by
//! the gateway, though nobody vouches for its source. By a VPN connection nothing is translated; all else is alike.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/gateway-route-tables.html>
//! Differs: an ICMP error from outside that quotes a packet of such a subnet is not translated inside and not delivered;
//! answers to a NAT gateway in such a subnet come to it straight.

use super::routes::{self, Rule, by_mark, locals, of_subnet, versions};
use super::{Version, names::VPC_TABLE};
use ipnet::IpNet;
use model::host::{RouteDesired, RouteTarget, SubnetDesired, VpcDesired};
use model::{NetworkInterfaceId, RouteTableId};
use std::fmt::Write as _;
use std::net::IpAddr;

/// A gateway that may have a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Internet,
    /// The VPC's end of its VPN connections, which carry IPv4 alone.
    Vpn,
}

impl Edge {
    const ALL: [Self; 2] = [Self::Internet, Self::Vpn];

    /// The mark of what asks the gateway's table; a subnet's is never so small.
    const fn mark(self) -> u32 {
        match self {
            Self::Internet => 1,
            Self::Vpn => 2,
        }
    }

    const fn table(self, vpc: &VpcDesired) -> Option<RouteTableId> {
        match self {
            Self::Internet => vpc.gateway_table,
            Self::Vpn => vpc.vpn_table,
        }
    }

    fn versions(self, vpc: &VpcDesired) -> impl Iterator<Item = Version> {
        versions(vpc).filter(move |version| self == Self::Internet || *version == Version::V4)
    }
}

/// Who comes by the internet gateway.
const INTO: &str = "detour_in";
/// The same for what comes by a VPN connection, its source judged.
const BY_VPN: &str = "detour_vpn_in";
/// Who leaves by the internet gateway. Hooked only where there are detours: every packet would pass it.
const OUT: &str = "detour_out";

fn led(vpc: &VpcDesired, edge: Edge) -> impl Iterator<Item = (&RouteDesired, NetworkInterfaceId)> {
    let own = edge.table(vpc);
    let tables = vpc.route_tables.iter().filter(move |table| Some(table.route_table) == own);
    tables.flat_map(|table| &table.routes).filter_map(move |route| {
        let carried = edge.versions(vpc).any(|version| version == Version::of_net(route.destination));
        let own = locals(vpc).any(|local| local.contains(&route.destination));
        match route.target {
            RouteTarget::Interface(interface) if carried && own => Some((route, interface)),
            _ => None,
        }
    })
}

/// The ranges that are led, none within another.
pub fn nets(vpc: &VpcDesired, edge: Edge) -> Vec<IpNet> {
    IpNet::aggregate(&led(vpc, edge).map(|(route, _)| route.destination.trunc()).collect())
}

/// The interface that a packet is led to which comes by a gateway.
pub fn to(vpc: &VpcDesired, edge: Edge, dst: IpAddr) -> Option<NetworkInterfaceId> {
    let fitting = led(vpc, edge).filter(|(route, _)| route.destination.contains(&dst));
    fitting.max_by_key(|(route, _)| route.destination.prefix_len()).map(|(_, interface)| interface)
}

/// Whether what is for a subnet comes from the internet by a detour.
pub fn leads_to(vpc: &VpcDesired, subnet: &SubnetDesired, version: Version) -> bool {
    let own = of_subnet(subnet).find(|own| Version::of_net(*own) == version);
    own.is_some_and(|own| led(vpc, Edge::Internet).any(|(route, _)| route.destination.contains(&own)))
}

/// Whether what comes in for an address may be led elsewhere first. It has its public one translated without state, then.
pub fn holds(vpc: &VpcDesired, edge: Edge, address: IpAddr) -> bool {
    led(vpc, edge).any(|(route, _)| route.destination.contains(&address))
}

pub(super) fn rules(vpc: &VpcDesired) -> Vec<Rule> {
    let numbers = routes::numbers(vpc);
    let edges = Edge::ALL.into_iter().filter(|edge| led(vpc, *edge).next().is_some());
    let tables = edges.filter_map(|edge| Some((edge, *numbers.get(&edge.table(vpc)?)?)));
    let asks = |(edge, table): (Edge, u32)| {
        edge.versions(vpc).map(move |version| by_mark(version, edge.mark(), table)).collect::<Vec<_>>()
    };
    tables.flat_map(asks).collect()
}

/// The chain that what comes by the internet gateway passes, if there is any detour.
pub(super) fn arrival(vpc: &VpcDesired) -> Option<(String, Vec<String>)> {
    led(vpc, Edge::Internet).next()?;
    let mark = format!("meta mark set {} accept", Edge::Internet.mark());
    let rules = [
        "ip daddr @local drop".to_owned(),
        "ip daddr set ip daddr map @detour_dnat".to_owned(),
        format!("ip daddr @detour {mark}"),
        format!("ip6 daddr @detour6 {mark}"),
        "accept".to_owned(),
    ];
    Some((INTO.to_owned(), rules.to_vec()))
}

/// The chain that what comes by a VPN connection for the VPC's own passes, if there is any detour.
pub(super) fn arrival_by_vpn(vpc: &VpcDesired) -> Option<(String, Vec<String>)> {
    led(vpc, Edge::Vpn).next()?;
    let mark = format!("ip daddr @detour_vpn meta mark set {} accept", Edge::Vpn.mark());
    Some((BY_VPN.to_owned(), vec![mark, "accept".to_owned()]))
}

/// The way into [`arrival`], as an element of `link_pre`.
pub(super) fn entrance() -> String {
    format!("\"{}\" : goto {INTO}", super::names::IGW)
}

/// Fills the sets, and hooks in the chain of what leaves or takes it away.
pub(super) fn body(out: &mut String, vpc: &VpcDesired) {
    for set in ["detour", "detour6", "detour_vpn"] {
        let _ = writeln!(out, "flush set inet {VPC_TABLE} {set}");
    }
    let nets = nets(vpc, Edge::Internet);
    for net in &nets {
        let set = if matches!(net, IpNet::V4(_)) { "detour" } else { "detour6" };
        let _ = writeln!(out, "add element inet {VPC_TABLE} {set} {{ {net} }}");
    }
    for net in self::nets(vpc, Edge::Vpn) {
        let _ = writeln!(out, "add element inet {VPC_TABLE} detour_vpn {{ {net} }}");
    }
    if nets.is_empty() {
        // Named first, so that there is something to delete.
        let _ = writeln!(out, "add chain inet {VPC_TABLE} {OUT}\ndelete chain inet {VPC_TABLE} {OUT}");
        return;
    }
    let igw = super::names::IGW;
    let hook = "type filter hook postrouting priority 300; policy accept;";
    let _ =
        writeln!(out, "add chain inet {VPC_TABLE} {OUT} {{ {hook} }}\nflush chain inet {VPC_TABLE} {OUT}");
    for rule in ["set ip saddr map @detour_snat", "@detour drop"] {
        let _ = writeln!(out, "add rule inet {VPC_TABLE} {OUT} oifname \"{igw}\" ip saddr {rule}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::host::RouteTableDesired;

    #[test]
    fn the_gateways_table_is_asked_by_what_comes_in_and_only_of_what_it_leads() {
        let mut vpc = super::super::golden::vpc();
        vpc.gateway_table = None;
        assert!(nets(&vpc, Edge::Internet).is_empty() && rules(&vpc).is_empty() && arrival(&vpc).is_none());
        let table = RouteTableId::from_entropy(1 << 40);
        vpc.gateway_table = Some(table);
        vpc.route_tables.push(RouteTableDesired { route_table: table, routes: Vec::new() });
        assert!(rules(&vpc).is_empty(), "all of it is local");

        let subnet = vpc.subnets[0].clone();
        let interface = NetworkInterfaceId::from_entropy(7);
        let route =
            |destination: IpNet| RouteDesired { destination, target: RouteTarget::Interface(interface) };
        let local = IpNet::V4(vpc.cidrs[0]);
        let own = subnet.cidr.unwrap();
        let routes = vec![route(own.into()), route(local), route("192.0.2.0/24".parse().unwrap())];
        vpc.route_tables.last_mut().unwrap().routes = routes;
        assert_eq!(
            nets(&vpc, Edge::Internet),
            [local.trunc()],
            "what lies within is named once, what lies outside never"
        );
        assert_eq!(to(&vpc, Edge::Internet, own.network().into()), Some(interface));
        assert_eq!(to(&vpc, Edge::Internet, "192.0.2.1".parse().unwrap()), None);
        assert!(leads_to(&vpc, &subnet, Version::V4) && !leads_to(&vpc, &subnet, Version::V6));
        let number = routes::numbers(&vpc)[&table];
        assert_eq!(rules(&vpc).len(), versions(&vpc).count());
        assert!(routes::rules(&vpc).contains(&by_mark(Version::V4, 1, number)));
        // The local route of this table leads to the machine.
        let planned = routes::routes(&vpc);
        let kinds = planned.iter().filter(|r| r.table == number && r.destination == local.trunc());
        assert!(kinds.clone().any(|r| r.kind == routes::Kind::Interface(interface)));
        assert!(kinds.clone().all(|r| r.kind != routes::Kind::Throw));

        // The same table for who comes by a VPN connection, which carries IPv4 alone.
        vpc.gateway_table = None;
        vpc.vpn_table = Some(table);
        assert_eq!(nets(&vpc, Edge::Vpn), [local.trunc()]);
        assert!(nets(&vpc, Edge::Internet).is_empty() && !leads_to(&vpc, &subnet, Version::V4));
        assert_eq!(rules(&vpc), [by_mark(Version::V4, 2, number)]);
    }
}
