//! Policy routing in a VPC's namespace: which table a sender's packets ask, and what stands in it.
//!
//! The main table holds a /32 per interface and `unreachable` for the VPC's ranges. A port marks its packets with its
//! subnet's number. What is for the subnet itself asks the main table, wherever it claims to come from; all else asks the
//! subnet's route table, which holds `throw` for the VPC's ranges beside the desired routes, so the longest prefix wins and
//! the local route leads on to the main table. What a table does not know is dropped. A route to an interface has a
//! blackhole behind it, which the kernel takes by itself when the interface's link is gone.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>

use ipnet::{IpNet, Ipv4Net};
use model::host::{RouteTarget, SubnetDesired, VpcDesired};
use model::{NatGatewayId, NetworkInterfaceId, RouteTableId, SubnetId, VpcPeeringConnectionId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

pub const MAIN: u32 = 254;
const WITHIN_SUBNET: u32 = 1000;
const BY_MARK: u32 = 2000;
/// The mark's bit that tells packets whose source nobody vouches for: the sender's check is off and the address not its
/// own.
pub const UNVERIFIED: u32 = 1 << 31;
/// The metric of what stands behind a route that may vanish with its link.
const FALLBACK: u32 = 100;

/// A rule that chooses a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub priority: u32,
    pub from: Option<Ipv4Net>,
    pub to: Option<Ipv4Net>,
    /// The mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    pub table: u32,
}

/// Whether this priority is one of ours.
pub const fn is_ours(priority: u32) -> bool {
    priority == WITHIN_SUBNET || priority == BY_MARK
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Out by the link to the edge.
    Igw,
    /// To the machine behind an interface, if it is there and forwards.
    Interface(NetworkInterfaceId),
    /// Out by the link to another VPC.
    Peering(VpcPeeringConnectionId),
    /// Into a NAT gateway.
    NatGateway(NatGatewayId),
    Blackhole,
    Unreachable,
    Throw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub table: u32,
    pub destination: Ipv4Net,
    /// The kernel's: of two routes to the same destination the smaller counts.
    pub metric: u32,
    pub kind: Kind,
}

/// The number of each route table: 31 bits of the id, made unique in the VPC.
pub fn numbers(vpc: &VpcDesired) -> BTreeMap<RouteTableId, u32> {
    numbered(vpc.route_tables.iter().map(|t| (t.route_table, t.route_table.bits())))
}

/// The mark of the packets of each subnet: 31 bits of the id, made unique in the VPC.
pub fn marks(vpc: &VpcDesired) -> BTreeMap<SubnetId, u32> {
    numbered(vpc.subnets.iter().map(|s| (s.subnet, s.subnet.bits())))
}

fn numbered<Id: Ord>(ids: impl Iterator<Item = (Id, u128)>) -> BTreeMap<Id, u32> {
    let ids: BTreeMap<Id, u128> = ids.collect();
    let mut taken = BTreeSet::new();
    ids.into_iter()
        .map(|(id, bits)| {
            // 0 to 255 are the kernel's own tables and no mark.
            let mut number = ((bits as u32) & !UNVERIFIED).max(256);
            while !taken.insert(number) {
                number = (number + 1).max(256);
            }
            (id, number)
        })
        .collect()
}

pub fn rules(vpc: &VpcDesired) -> BTreeSet<Rule> {
    let (numbers, marks) = (numbers(vpc), marks(vpc));
    let of_subnet = |subnet: &SubnetDesired| {
        let mark = Some((*marks.get(&subnet.subnet)?, !UNVERIFIED));
        let within =
            Rule { priority: WITHIN_SUBNET, from: None, to: Some(subnet.cidr.trunc()), mark, table: MAIN };
        let table = *numbers.get(&subnet.route_table)?;
        Some([within, Rule { priority: BY_MARK, from: None, to: None, mark, table }])
    };
    vpc.subnets.iter().filter_map(of_subnet).flatten().collect()
}

pub fn routes(vpc: &VpcDesired) -> BTreeSet<Route> {
    let numbers = numbers(vpc);
    let mut routes: BTreeMap<(u32, Ipv4Net, u32), Kind> = BTreeMap::new();
    for cidr in &vpc.cidrs {
        routes.insert((MAIN, cidr.trunc(), 0), Kind::Unreachable);
    }
    for table in &vpc.route_tables {
        let Some(number) = numbers.get(&table.route_table) else { continue };
        routes.insert((*number, Ipv4Net::default(), 0), Kind::Blackhole);
        for route in &table.routes {
            let IpNet::V4(destination) = route.destination else { continue };
            let kind = match route.target {
                RouteTarget::InternetGateway => Kind::Igw,
                RouteTarget::Interface(interface) => Kind::Interface(interface),
                RouteTarget::Peering(peering) => Kind::Peering(peering),
                RouteTarget::NatGateway(gateway) => Kind::NatGateway(gateway),
                RouteTarget::Blackhole => Kind::Blackhole,
            };
            if kind.may_vanish() {
                routes.insert((*number, destination.trunc(), FALLBACK), Kind::Blackhole);
            }
            routes.insert((*number, destination.trunc(), 0), kind);
        }
        for cidr in &vpc.cidrs {
            routes.insert((*number, cidr.trunc(), 0), Kind::Throw);
        }
    }
    let route = |((table, destination, metric), kind)| Route { table, destination, metric, kind };
    routes.into_iter().map(route).collect()
}

impl Kind {
    /// Whether its link can go while the route is wanted.
    const fn may_vanish(self) -> bool {
        match self {
            Self::Interface(_) | Self::Peering(_) | Self::NatGateway(_) => true,
            Self::Igw | Self::Blackhole | Self::Unreachable | Self::Throw => false,
        }
    }
}

/// The subnet that an address lies in.
pub fn subnet_of(vpc: &VpcDesired, address: Ipv4Addr) -> Option<&SubnetDesired> {
    vpc.subnets.iter().find(|subnet| subnet.cidr.contains(&address))
}

/// Whether the subnet is public: its route table leads to the internet gateway.
pub fn is_public(vpc: &VpcDesired, subnet: &SubnetDesired) -> bool {
    vpc.route_tables
        .iter()
        .filter(|table| table.route_table == subnet.route_table)
        .flat_map(|table| &table.routes)
        .any(|route| route.target == RouteTarget::InternetGateway)
}
