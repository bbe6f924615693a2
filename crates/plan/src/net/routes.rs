//! Policy routing in a VPC's namespace: which table a sender's packets ask, and what stands in it.
//!
//! The main table holds a /32 per interface and `unreachable` for the VPC's ranges. A port marks its packets with its
//! subnet's number. What is for the subnet itself asks the main table, wherever it claims to come from; all else asks the
//! subnet's route table, which holds `throw` for the VPC's ranges beside the desired routes, so the longest prefix wins and
//! the local route leads on to the main table. What a table does not know is dropped. A route to an interface has a
//! blackhole behind it, which the kernel takes by itself when the interface's link is gone.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>

use super::{Version, detour, transit, vpn};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::host::{RouteTarget, SubnetDesired, VpcDesired};
use model::{
    NatGatewayId, NetworkInterfaceId, RouteTableId, SubnetId, TransitGatewayAttachmentId, VpcEndpointId,
    VpcPeeringConnectionId, VpnConnectionId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub const MAIN: u32 = 254;
const WITHIN_SUBNET: u32 = 1000;
const BY_MARK: u32 = 2000;
/// The mark's bit that tells packets whose source nobody vouches for: the sender's check is off and the address not its
/// own.
pub const UNVERIFIED: u32 = 1 << 31;
/// The bits that no such mark has.
const NUMBERS: u32 = !(UNVERIFIED | super::TRACKED);
/// The metric of what stands behind a route that may vanish with its link.
const FALLBACK: u32 = 100;

/// A rule that chooses a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub version: Version,
    pub priority: u32,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    /// The mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    pub table: u32,
}

/// A rule by which packets with a mark ask a table, and no other.
pub(super) const fn by_mark(version: Version, mark: u32, table: u32) -> Rule {
    Rule { version, priority: BY_MARK, from: None, to: None, mark: Some((mark, u32::MAX)), table }
}

/// Whether this priority is one of ours.
pub const fn is_ours(priority: u32) -> bool {
    priority == WITHIN_SUBNET || priority == BY_MARK
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Out by the link to the edge, whether others may come in by it or not.
    Igw,
    /// To the machine behind an interface, if it is there and forwards.
    Interface(NetworkInterfaceId),
    /// Out by the link to another VPC.
    Peering(VpcPeeringConnectionId),
    /// Out by the link from one attachment of a transit gateway, this VPC's, to another.
    Transit([TransitGatewayAttachmentId; 2]),
    /// Into the tunnels of a VPN connection.
    Vpn(VpnConnectionId),
    /// Into a NAT gateway.
    NatGateway(NatGatewayId),
    /// Out by the link to services beside the cloud.
    Service(VpcEndpointId),
    Blackhole,
    Unreachable,
    Throw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub table: u32,
    pub destination: IpNet,
    /// The kernel's: of two routes to the same destination the smaller counts.
    pub metric: u32,
    pub kind: Kind,
}

/// The number of each route table: 30 bits of the id, made unique in the VPC.
pub fn numbers(vpc: &VpcDesired) -> BTreeMap<RouteTableId, u32> {
    numbered(vpc.route_tables.iter().map(|t| (t.route_table, t.route_table.bits())))
}

/// The mark of the packets of each subnet: 30 bits of the id, made unique in the VPC.
pub fn marks(vpc: &VpcDesired) -> BTreeMap<SubnetId, u32> {
    numbered(vpc.subnets.iter().map(|s| (s.subnet, s.subnet.bits())))
}

fn numbered<Id: Ord>(ids: impl Iterator<Item = (Id, u128)>) -> BTreeMap<Id, u32> {
    let ids: BTreeMap<Id, u128> = ids.collect();
    let mut taken = BTreeSet::new();
    ids.into_iter()
        .map(|(id, bits)| {
            // 0 to 255 are the kernel's own tables and no mark.
            let mut number = (bits as u32 & NUMBERS).max(256);
            while !taken.insert(number) {
                number = ((number + 1) & NUMBERS).max(256);
            }
            (id, number)
        })
        .collect()
}

/// Which versions a VPC carries.
pub fn versions(vpc: &VpcDesired) -> impl Iterator<Item = Version> {
    std::iter::once(Version::V4).chain((!vpc.ipv6_cidrs.is_empty()).then_some(Version::V6))
}

/// The VPC's ranges of both versions.
pub fn locals(vpc: &VpcDesired) -> impl Iterator<Item = IpNet> {
    let v6 = vpc.ipv6_cidrs.iter().map(|cidr| IpNet::V6(cidr.trunc()));
    vpc.cidrs.iter().map(|cidr| IpNet::V4(cidr.trunc())).chain(v6)
}

/// A subnet's ranges of both versions.
pub fn of_subnet(subnet: &SubnetDesired) -> impl Iterator<Item = IpNet> {
    let v6 = subnet.ipv6_cidr.map(|cidr| IpNet::V6(cidr.trunc()));
    subnet.cidr.map(|cidr| IpNet::V4(cidr.trunc())).into_iter().chain(v6)
}

pub fn rules(vpc: &VpcDesired) -> BTreeSet<Rule> {
    let (numbers, marks) = (numbers(vpc), marks(vpc));
    let mut rules = BTreeSet::new();
    for subnet in &vpc.subnets {
        let (Some(mark), Some(table)) = (marks.get(&subnet.subnet), numbers.get(&subnet.route_table)) else {
            continue;
        };
        let mark = Some((*mark, !UNVERIFIED));
        for version in versions(vpc) {
            let own = of_subnet(subnet).find(|net| Version::of_net(*net) == version);
            rules.extend(own.map(|own| Rule {
                version,
                priority: WITHIN_SUBNET,
                from: None,
                to: Some(own),
                mark,
                table: MAIN,
            }));
            rules.insert(Rule { version, priority: BY_MARK, from: None, to: None, mark, table: *table });
        }
    }
    rules.extend(detour::rules(vpc));
    rules
}

pub fn routes(vpc: &VpcDesired) -> BTreeSet<Route> {
    let numbers = numbers(vpc);
    let mut routes: BTreeMap<(u32, IpNet, u32), Kind> = BTreeMap::new();
    for local in locals(vpc) {
        routes.insert((MAIN, local, 0), Kind::Unreachable);
    }
    for table in &vpc.route_tables {
        let Some(number) = numbers.get(&table.route_table) else { continue };
        for version in versions(vpc) {
            let everything = match version {
                Version::V4 => Ipv4Net::default().into(),
                Version::V6 => Ipv6Net::default().into(),
            };
            routes.insert((*number, everything, 0), Kind::Blackhole);
        }
        for route in &table.routes {
            let version = Version::of_net(route.destination);
            if !versions(vpc).any(|carried| carried == version) {
                continue;
            }
            if let RouteTarget::TransitGateway(gateway) = route.target
                && let Some(end) = transit::end(vpc, gateway)
            {
                for (part, link) in transit::through(vpc, table, route.destination, end) {
                    let kind = link.map_or(Kind::Blackhole, Kind::Transit);
                    if kind.may_vanish() {
                        routes.insert((*number, part, FALLBACK), Kind::Blackhole);
                    }
                    routes.insert((*number, part, 0), kind);
                }
                continue;
            }
            if let RouteTarget::VpnGateway(gateway) = route.target {
                for (part, connection) in vpn::through(vpc, table, route.destination, gateway) {
                    let kind = connection.map_or(Kind::Blackhole, Kind::Vpn);
                    if kind.may_vanish() {
                        routes.insert((*number, part, FALLBACK), Kind::Blackhole);
                    }
                    routes.insert((*number, part, 0), kind);
                }
                continue;
            }
            let kind = match (&route.target, version) {
                (RouteTarget::InternetGateway, _) | (RouteTarget::EgressOnly, Version::V6) => Kind::Igw,
                (RouteTarget::Interface(interface), _) => Kind::Interface(*interface),
                (RouteTarget::Peering(peering), _) => Kind::Peering(*peering),
                (RouteTarget::NatGateway(gateway), Version::V4) => Kind::NatGateway(*gateway),
                (RouteTarget::GatewayEndpoint(endpoint), Version::V4) => Kind::Service(*endpoint),
                (RouteTarget::Blackhole | RouteTarget::TransitGateway(_) | RouteTarget::VpnGateway(_), _)
                | (RouteTarget::EgressOnly, Version::V4)
                | (RouteTarget::NatGateway(_) | RouteTarget::GatewayEndpoint(_), Version::V6) => {
                    Kind::Blackhole
                }
            };
            let destination = route.destination.trunc();
            if kind.may_vanish() {
                routes.insert((*number, destination, FALLBACK), Kind::Blackhole);
            }
            routes.insert((*number, destination, 0), kind);
        }
        for local in locals(vpc) {
            // The table may lead the VPC's own to a machine.
            routes.entry((*number, local, 0)).or_insert(Kind::Throw);
        }
    }
    let route = |((table, destination, metric), kind)| Route { table, destination, metric, kind };
    routes.into_iter().map(route).collect()
}

impl Kind {
    /// Whether its link can go while the route is wanted.
    const fn may_vanish(self) -> bool {
        match self {
            Self::Interface(_)
            | Self::Peering(_)
            | Self::Transit(_)
            | Self::Vpn(_)
            | Self::NatGateway(_)
            | Self::Service(_) => true,
            Self::Igw | Self::Blackhole | Self::Unreachable | Self::Throw => false,
        }
    }
}

/// Whether some route of the VPC leads to a service beside the cloud.
pub fn lead_to_services(vpc: &VpcDesired) -> bool {
    let mut routes = vpc.route_tables.iter().flat_map(|table| &table.routes);
    routes.any(|route| matches!(route.target, RouteTarget::GatewayEndpoint(_)))
}

/// The subnet that an address lies in.
pub fn subnet_holding(vpc: &VpcDesired, address: IpAddr) -> Option<&SubnetDesired> {
    vpc.subnets.iter().find(|subnet| of_subnet(subnet).any(|net| net.contains(&address)))
}

/// Whether the subnet is public: its route table leads to the internet gateway, or the gateway's leads to it.
pub fn is_public(vpc: &VpcDesired, subnet: &SubnetDesired) -> bool {
    leads_out(vpc, subnet, |_| true) || detour::leads_to(vpc, subnet, Version::V4)
}

/// Whether those outside may begin to speak to the subnet by IPv6: its route table leads to the internet gateway, not only
/// to an egress-only one, or the gateway's leads to it.
pub fn is_open(vpc: &VpcDesired, subnet: &SubnetDesired) -> bool {
    leads_out(vpc, subnet, |to| Version::of_net(to) == Version::V6)
        || detour::leads_to(vpc, subnet, Version::V6)
}

fn leads_out(vpc: &VpcDesired, subnet: &SubnetDesired, counts: impl Fn(IpNet) -> bool) -> bool {
    vpc.route_tables
        .iter()
        .filter(|table| table.route_table == subnet.route_table)
        .flat_map(|table| &table.routes)
        .any(|route| route.target == RouteTarget::InternetGateway && counts(route.destination))
}
