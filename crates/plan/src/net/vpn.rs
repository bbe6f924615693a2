//! Site-to-site VPN: which ranges a virtual private gateway leads where, and the namespace that a connection's tunnels end in.
//!
//! ```text
//! edge ═══ up ─[ connection: IKE and ESP in UDP; tun ipsec0 ]─ vpc ═══ w… ─[ VPC ]
//! ```
//! A connection's namespace has its tunnels' outside addresses, and takes at them nothing but IKE and ESP in UDP from where
//! its customer gateway is. What comes out of a tunnel goes into the VPC and nowhere else, if it comes from the connection's
//! static routes and goes to the VPC's own ranges; the VPC judges that once more, and then as it judges any packet. What
//! comes from the VPC goes into a tunnel and nowhere else. Packets are told apart by the link that they come by, so a static
//! route may hold anything, the customer gateway's own address too.
//!
//! A connection of a transit gateway has a network of its own on the host, made as a VPC's, with no ranges and nobody in it
//! ([`hub`]): links lead from there to the VPCs that the gateway's tables join with it, as between VPCs. Whatever comes out of
//! a tunnel asks the gateway's table there, and whatever a table leads there goes into a tunnel, wherever it is from.
//!
//! A gateway's routes are its connections' static ones, the longest prefix first, of two alike the older connection's. As on
//! AWS, what is the VPC's own stays within it.
//! AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/VPNRoutingTypes.html>,
//! <https://docs.aws.amazon.com/vpn/latest/s2svpn/vpn-route-priority.html>
//! Differs: routes stay while no tunnel is up.

use super::routes::{Rule, by_mark};
use super::transit::divide;
use super::{NEXT_HOP, Version};
use ipnet::{IpNet, Ipv4Net};
use model::host::{
    RouteDesired, RouteTableDesired, RouteTarget, SubnetDesired, TransitDesired, VpcDesired, VpnDesired,
};
use model::record::vpn::hub as network_of;
use model::{
    AccountId, NetworkAclId, Region, RouteTableId, SubnetId, TransitGatewayId, VpnConnectionId, VpnGatewayId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// The link of a connection's namespace to its VPC.
pub const VPC_LINK: &str = "vpc";
/// The device that its tunnels' packets come out of.
pub const TUN: &str = "ipsec0";
/// The table of its rule set, in the `inet` family.
pub const TABLE: &str = "vpn";
/// What TCP is held to, so that its packets fit into a tunnel.
pub const MOST_SEGMENT: u16 = 1360;
/// What no packet comes from or goes to that passes by.
const NOWHERE: &str = "0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3";
/// The marks of packets from the VPC and from the tunnels, and their routing tables.
const FROM_VPC: u32 = 256;
const FROM_TUNNEL: u32 = 257;

/// Where a packet of a connection's namespace goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Vpc,
    Tunnel,
}

/// A route of a connection's namespace; what none knows is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    pub table: u32,
    pub destination: Ipv4Net,
    /// None: dropped.
    pub to: Option<Side>,
}

/// The static routes of a gateway, each destination once, and whose it is.
pub fn ways(vpc: &VpcDesired, gateway: VpnGatewayId) -> Vec<(IpNet, Option<VpnConnectionId>)> {
    let mut ways = BTreeMap::new();
    for vpn in vpc.vpns.iter().filter(|vpn| vpn.gateway == gateway) {
        for route in &vpn.routes {
            ways.entry(IpNet::V4(route.trunc())).or_insert(Some(vpn.connection));
        }
    }
    ways.into_iter().collect()
}

/// What a VPC's route to a gateway becomes: ranges, and the connection that each leads to. None: packets are dropped.
pub fn through(
    vpc: &VpcDesired,
    table: &RouteTableDesired,
    destination: IpNet,
    gateway: VpnGatewayId,
) -> Vec<(IpNet, Option<VpnConnectionId>)> {
    divide(vpc, table, destination.trunc(), &ways(vpc, gateway))
}

/// The rules that choose a table in a connection's namespace.
pub fn rules() -> BTreeSet<Rule> {
    BTreeSet::from([FROM_VPC, FROM_TUNNEL].map(|mark| by_mark(Version::V4, mark, mark)))
}

/// The routes of a connection's namespace, beside the way out.
pub fn routes(vpc: &VpcDesired, vpn: &VpnDesired) -> BTreeSet<Planned> {
    let to = |table, to: Option<Side>| move |net: Ipv4Net| Planned { table, destination: net.trunc(), to };
    let mut routes: BTreeMap<(u32, Ipv4Net), Planned> = BTreeMap::new();
    let dropped = [FROM_VPC, FROM_TUNNEL].map(|table| to(table, None)(Ipv4Net::default()));
    let out = vpn.routes.iter().copied().map(to(FROM_VPC, Some(Side::Tunnel)));
    let back = beside(vpc, vpn).into_iter().map(to(FROM_TUNNEL, Some(Side::Vpc)));
    for planned in dropped.into_iter().chain(out).chain(back) {
        routes.insert((planned.table, planned.destination), planned);
    }
    routes.into_values().collect()
}

/// What lies on the VPC's side: its own ranges, or anything at all.
fn beside(vpc: &VpcDesired, vpn: &VpnDesired) -> Vec<Ipv4Net> {
    if vpn.arrival.is_some() { vec![Ipv4Net::default()] } else { vpc.cidrs.clone() }
}

/// Where packets are in a connection's own network: those for the customer, and those from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hub {
    pub outward: SubnetId,
    pub inward: SubnetId,
    gateway: VpnGatewayId,
}

/// The subnets of a connection's own network, which nobody is in.
pub const fn hub_of(connection: VpnConnectionId) -> Hub {
    let bits = connection.bits();
    Hub {
        outward: SubnetId::from_entropy(bits),
        inward: SubnetId::from_entropy(bits ^ 1),
        gateway: VpnGatewayId::from_entropy(bits),
    }
}

/// The network of a connection of a transit gateway: what its end at the gateway gives goes into the tunnels, what comes out
/// of these is the gateway's.
pub fn hub(
    (account, region): (AccountId, Region),
    vpn: VpnDesired,
    (gateway, end): (TransitGatewayId, Option<TransitDesired>),
) -> VpcDesired {
    let Hub { outward, inward, gateway: own } = hub_of(vpn.connection);
    let all = IpNet::V4(Ipv4Net::default());
    let nobody = |at: u32| Some(Ipv4Net::from(Ipv4Addr::from_bits(at)));
    let place = |subnet: SubnetId, at: u32| SubnetDesired {
        subnet,
        cidr: nobody(at),
        ipv6_cidr: None,
        route_table: RouteTableId::from_entropy(subnet.bits()),
        network_acl: NetworkAclId::from_entropy(vpn.connection.bits()),
    };
    let table = |subnet: SubnetId, target: RouteTarget| RouteTableDesired {
        route_table: RouteTableId::from_entropy(subnet.bits()),
        routes: vec![RouteDesired { destination: all, target }],
    };
    VpcDesired {
        gateway_table: None,
        vpn_table: None,
        vpc: network_of(vpn.connection),
        account,
        region,
        cidrs: Vec::new(),
        ipv6_cidrs: Vec::new(),
        dns_support: false,
        subnets: vec![place(outward, 0), place(inward, 1)],
        route_tables: vec![
            table(outward, RouteTarget::VpnGateway(own)),
            table(inward, RouteTarget::TransitGateway(gateway)),
        ],
        network_acls: Vec::new(),
        peerings: Vec::new(),
        nat_gateways: Vec::new(),
        transits: end.into_iter().collect(),
        vpns: vec![VpnDesired {
            gateway: own,
            arrival: Some(inward),
            routes: vec![Ipv4Net::default()],
            ..vpn
        }],
        endpoints: Vec::new(),
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
    }
}

/// The cloud's and the customer's address inside a tunnel.
pub fn inside(net: Ipv4Net) -> [Ipv4Addr; 2] {
    [1, 2].map(|n| super::nth(net, n))
}

/// The rule set of a connection's namespace, made or replaced in one transaction.
pub fn rule_set(vpc: &VpcDesired, vpn: &VpnDesired) -> String {
    let list = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
    let outside = list(&mut vpn.tunnels.iter().map(|tunnel| tunnel.outside.to_string()));
    let local: Vec<IpNet> = beside(vpc, vpn).into_iter().map(|cidr| IpNet::V4(cidr.trunc())).collect();
    let local = list(&mut IpNet::aggregate(&local).iter().map(ToString::to_string));
    let customer = vpn.customer;
    let mut out = format!("table inet {TABLE} {{\n}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    out.push_str("\tchain pre {\n\t\ttype filter hook prerouting priority raw; policy drop;\n\t\tiifname \"lo\" accept\n");
    if !outside.is_empty() {
        let from = format!("\t\tiifname \"up\" ip saddr {customer} ip daddr {{ {outside} }}");
        let _ = writeln!(out, "{from} udp dport {{ 500, 4500 }} accept");
        // A later fragment of such a packet.
        let _ = writeln!(out, "{from} ip frag-off & 0x1fff != 0 accept");
    }
    for tunnel in &vpn.tunnels {
        let [ours, theirs] = inside(tunnel.inside);
        let _ = writeln!(
            out,
            "\t\tiifname \"{TUN}\" ip saddr {theirs} ip daddr {ours} icmp type echo-request limit rate 100/second accept"
        );
    }
    let _ = writeln!(out, "\t\tip saddr {{ {NOWHERE} }} drop");
    if !local.is_empty() {
        match vpn.arrival {
            None => {
                let _ = writeln!(out, "\t\tiifname \"{TUN}\" ip saddr {{ {local} }} drop");
            }
            // The hosts' own ranges lead nowhere from there.
            Some(_) => {
                let _ = writeln!(out, "\t\tip daddr {{ {NOWHERE} }} drop");
            }
        }
        let remote: Vec<IpNet> = vpn.routes.iter().map(|net| IpNet::V4(net.trunc())).collect();
        let remote = list(&mut IpNet::aggregate(&remote).iter().map(ToString::to_string));
        if !remote.is_empty() {
            let _ = writeln!(
                out,
                "\t\tiifname \"{TUN}\" ip saddr {{ {remote} }} ip daddr {{ {local} }} meta mark set {FROM_TUNNEL} accept"
            );
            let _ = writeln!(
                out,
                "\t\tiifname \"{VPC_LINK}\" ip saddr {{ {local} }} ip daddr {{ {remote} }} meta mark set {FROM_VPC} accept"
            );
        }
    }
    out.push_str("\t\tcounter\n\t}\n");
    let _ = writeln!(
        out,
        "\tchain input {{\n\t\ttype filter hook input priority filter; policy drop;\n\t\tiifname {{ \"lo\", \"up\" }} accept\n\
         \t\tiifname \"{TUN}\" icmp type echo-request accept\n\t}}"
    );
    let _ = writeln!(
        out,
        "\tchain forward {{\n\t\ttype filter hook forward priority filter; policy drop;\n\
         \t\ttcp flags syn tcp option maxseg size set {MOST_SEGMENT}\n\
         \t\tiifname \"{VPC_LINK}\" oifname \"{TUN}\" accept\n\
         \t\tiifname \"{TUN}\" oifname \"{VPC_LINK}\" accept\n\t}}\n}}"
    );
    out
}

/// The next hop's name on links without addresses.
pub const fn next_hop() -> IpAddr {
    IpAddr::V4(NEXT_HOP)
}

/// A VPC's connection.
pub fn connection(vpc: &VpcDesired, id: VpnConnectionId) -> Option<&VpnDesired> {
    vpc.vpns.iter().find(|vpn| vpn.connection == id)
}

#[cfg(test)]
mod tests;
