//! One hop: where a router's tables lead a packet.

use super::super::routes::{self, Kind, Route};
use super::super::{SERVICES, Version, detour, gateway, ipv6, resolver, transit, vpn};
use super::{Network, Vpc, holds};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::VpcEndpointId;
use model::host::{
    InterfaceDesired, NatGatewayDesired, PeeringDesired, RouteTarget, SubnetDesired, TransitDesired,
    TransitPeerDesired, VpcDesired, VpnDesired,
};
use model::packet::{Component, Lead, Obstacle, Packet, Transport};
use model::record::security_group::Direction;
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

/// The link that a packet came by.
#[derive(Debug, Clone, Copy)]
pub(super) enum In<'a> {
    Port(&'a InterfaceDesired),
    Igw,
    Peering(&'a PeeringDesired),
    /// By the VPC's end at a transit gateway.
    Transit,
    /// By a VPN connection.
    Vpn,
    Nat(&'a NatGatewayDesired),
    /// From a service beside the cloud.
    Service,
}

/// The link that it leaves by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Out<'a> {
    Port(&'a InterfaceDesired),
    Igw,
    Peering(&'a PeeringDesired),
    Transit(&'a TransitDesired, &'a TransitPeerDesired),
    Vpn(&'a VpnDesired),
    Nat(&'a NatGatewayDesired),
    /// Back through a gateway, to whom it stands for.
    NatBack(&'a NatGatewayDesired),
    /// To a service beside the cloud.
    Service(VpcEndpointId),
    /// To the router itself.
    Router,
}

impl<'a> In<'a> {
    pub const fn peering(self) -> Option<&'a PeeringDesired> {
        match self {
            Self::Peering(peering) => Some(peering),
            Self::Port(_) | Self::Igw | Self::Transit | Self::Vpn | Self::Nat(_) | Self::Service => None,
        }
    }

    /// Whether its link is one of a subnet's own.
    pub fn is_of(self, subnet: &SubnetDesired) -> bool {
        match self {
            Self::Port(interface) => interface.subnet == subnet.subnet,
            Self::Nat(gateway) => gateway.subnet == subnet.subnet,
            Self::Igw | Self::Peering(_) | Self::Transit | Self::Vpn | Self::Service => false,
        }
    }
}

impl<'a> Out<'a> {
    pub const fn peering(self) -> Option<&'a PeeringDesired> {
        match self {
            Self::Peering(peering) => Some(peering),
            Self::Port(_)
            | Self::Igw
            | Self::Transit(..)
            | Self::Vpn(_)
            | Self::Nat(_)
            | Self::NatBack(_)
            | Self::Service(_)
            | Self::Router => None,
        }
    }

    pub fn is_of(self, subnet: &SubnetDesired) -> bool {
        match self {
            Self::Port(interface) => interface.subnet == subnet.subnet,
            Self::Nat(gateway) | Self::NatBack(gateway) => gateway.subnet == subnet.subnet,
            Self::Igw
            | Self::Peering(_)
            | Self::Transit(..)
            | Self::Vpn(_)
            | Self::Service(_)
            | Self::Router => false,
        }
    }
}

/// A way on, and the route that says so.
pub(super) struct Way<'a> {
    pub out: Out<'a>,
    pub route: Option<Component>,
}

impl Network {
    /// Where a packet goes from a router. A subnet's packets ask its table; others only who is there.
    pub(super) fn way<'a>(
        &'a self,
        vpc: &'a Vpc,
        subnet: Option<&SubnetDesired>,
        dst: IpAddr,
    ) -> Result<Way<'a>, Obstacle> {
        let desired = &vpc.desired;
        if is_routers(desired, dst) {
            return Ok(Way { out: Out::Router, route: None });
        }
        if is_kept(dst) || dst.is_ipv6() && desired.ipv6_cidrs.is_empty() {
            return Err(Obstacle::Kept { vpc: desired.vpc, address: dst });
        }
        let Some(subnet) = subnet else { return Ok(Way { out: self.local(vpc, dst)?, route: None }) };
        let local = |network: &'a Self, destination: IpNet| {
            let route = local_route(subnet, destination);
            Ok(Way { out: network.local(vpc, dst)?, route: Some(route) })
        };
        if let Some(own) = routes::of_subnet(subnet).find(|own| own.contains(&dst)) {
            let block = routes::locals(desired).find(|block| block.contains(&dst)).unwrap_or(own);
            return local(self, block);
        }
        let table = subnet.route_table;
        let no_route = || Obstacle::NoRoute { table, subnet: subnet.subnet };
        let number = vpc.numbers.get(&table).ok_or_else(no_route)?;
        let mut fitting: Vec<&Route> = vpc
            .routes
            .iter()
            .filter(|route| route.table == *number && route.destination.contains(&dst))
            .collect();
        fitting.sort_by_key(|route| (Reverse(route.destination.prefix_len()), route.metric));
        for route in fitting {
            let out = match route.kind {
                Kind::Throw => return local(self, route.destination),
                Kind::Interface(id) => {
                    let machine = self.interface(id).filter(|machine| machine.vpc == desired.vpc);
                    let Some(machine) = machine else { continue };
                    let within = routes::locals(desired).any(|block| block.contains(&route.destination));
                    // What is for the interface itself comes to it, whether it forwards or not.
                    if within && holds(machine, dst) {
                        return local(self, IpNet::from(dst));
                    }
                    if machine.source_dest_check || !speaks(machine, dst) {
                        continue;
                    }
                    Out::Port(machine)
                }
                Kind::Igw => Out::Igw,
                Kind::Peering(id) => {
                    let Some(peering) = self.open_peering(desired, id) else { continue };
                    Out::Peering(peering)
                }
                Kind::Transit([own, to]) => {
                    let Some((end, peer)) = self.open_transit(desired, own, to) else { continue };
                    Out::Transit(end, peer)
                }
                Kind::Vpn(id) => {
                    let Some(vpn) = vpn::connection(desired, id) else { continue };
                    Out::Vpn(vpn)
                }
                Kind::NatGateway(id) => {
                    let Some(gateway) = desired.nat_gateways.iter().find(|g| g.gateway == id) else {
                        continue;
                    };
                    Out::Nat(gateway)
                }
                Kind::Service(endpoint) => Out::Service(endpoint),
                Kind::Blackhole | Kind::Unreachable => {
                    let Some((destination, target)) = target(desired, subnet, route) else {
                        return Err(no_route());
                    };
                    let end = match target {
                        RouteTarget::TransitGateway(gateway) => transit::end(desired, gateway),
                        _ => None,
                    };
                    return Err(match end {
                        Some(end) => no_transit(end, route.destination),
                        None => Obstacle::Blackhole { table, subnet: subnet.subnet, destination, target },
                    });
                }
            };
            let asked = target(desired, subnet, route);
            let destination = asked.as_ref().map_or(route.destination, |(destination, _)| *destination);
            let target = asked.map_or(Lead::Local, |(_, target)| Lead::Target(target));
            let subnet = subnet.subnet;
            let route = Some(Component::Route { table, subnet, destination, target });
            return Ok(Way { out, route });
        }
        Err(no_route())
    }

    /// Where a packet goes that came in by a gateway: to whom it is for, or to a machine before that one.
    pub(super) fn way_in<'a>(
        &'a self,
        vpc: &'a Vpc,
        edge: detour::Edge,
        dst: IpAddr,
    ) -> Result<Way<'a>, Obstacle> {
        let desired = &vpc.desired;
        let kept = is_routers(desired, dst) || is_kept(dst);
        let of_nat = desired.nat_gateways.iter().any(|gateway| dst == gateway.address.private);
        let Some(id) = detour::to(desired, edge, dst).filter(|_| !kept && !of_nat) else {
            return self.way(vpc, None, dst);
        };
        let there = self.interface(id).filter(|machine| machine.vpc == desired.vpc);
        let machine = there.ok_or(Obstacle::Nobody { vpc: desired.vpc, address: dst })?;
        if holds(machine, dst) {
            return self.way(vpc, None, dst);
        }
        if machine.source_dest_check || !speaks(machine, dst) {
            return Err(Obstacle::SourceDestinationCheck { interface: id, direction: Direction::Ingress });
        }
        Ok(Way { out: Out::Port(machine), route: None })
    }

    /// Who in the VPC has an address.
    fn local<'a>(&'a self, vpc: &'a Vpc, dst: IpAddr) -> Result<Out<'a>, Obstacle> {
        let own = vpc.desired.vpc;
        let port = self.holder(own, dst).map(Out::Port);
        let gateways = || vpc.desired.nat_gateways.iter().find(|g| dst == g.address.private);
        port.or_else(|| gateways().map(Out::NatBack)).ok_or(Obstacle::Nobody { vpc: own, address: dst })
    }

    /// A way between two attachments whose other side is here and asks for it too.
    fn open_transit<'a>(
        &self,
        vpc: &'a VpcDesired,
        own: model::TransitGatewayAttachmentId,
        to: model::TransitGatewayAttachmentId,
    ) -> Option<(&'a TransitDesired, &'a TransitPeerDesired)> {
        let end = vpc.transits.iter().find(|end| end.attachment == own)?;
        let peer = end.peers.iter().find(|peer| peer.attachment == to)?;
        let far = self.vpc(peer.vpc)?.transits.iter().find(|far| far.attachment == to)?;
        far.peers.iter().any(|back| back.attachment == own).then_some((end, peer))
    }

    /// A peering whose other side is here and asks for it too.
    fn open_peering<'a>(
        &self,
        vpc: &'a VpcDesired,
        id: model::VpcPeeringConnectionId,
    ) -> Option<&'a PeeringDesired> {
        let peering = vpc.peerings.iter().find(|peering| peering.peering == id)?;
        let far = self.vpc(peering.peer)?;
        far.peerings.iter().any(|other| other.peering == id).then_some(peering)
    }
}

/// The route that the table was given, of which this one came.
fn target(vpc: &VpcDesired, subnet: &SubnetDesired, route: &Route) -> Option<(IpNet, RouteTarget)> {
    let table = vpc.route_tables.iter().find(|table| table.route_table == subnet.route_table)?;
    transit::asked(table, route.destination)
}

/// Why a gateway leads a range nowhere.
fn no_transit(end: &TransitDesired, range: IpNet) -> Obstacle {
    let blackhole = transit::deciding(end, range).map(|route| route.destination);
    Obstacle::NoTransit { gateway: end.gateway, attachment: end.attachment, table: end.table, blackhole }
}

fn local_route(subnet: &SubnetDesired, destination: IpNet) -> Component {
    Component::Route { table: subnet.route_table, subnet: subnet.subnet, destination, target: Lead::Local }
}

/// Whether an interface has the version of an address.
pub(super) const fn speaks(interface: &InterfaceDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => interface.has_ipv4(),
        IpAddr::V6(_) => interface.has_ipv6(),
    }
}

/// Whether an address is the router's own.
fn is_routers(vpc: &VpcDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            SERVICES.contains(&v4)
                || vpc.cidrs.first().is_some_and(|first| resolver(*first) == v4)
                || vpc.subnets.iter().filter_map(|subnet| subnet.cidr).any(|cidr| gateway(cidr) == v4)
        }
        IpAddr::V6(v6) => !vpc.ipv6_cidrs.is_empty() && ipv6::SERVICES.contains(&v6),
    }
}

const LINK_LOCAL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);

/// Whether nothing may be sent there through a router.
fn is_kept(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            LINK_LOCAL.contains(&v4) || v4.is_loopback() || v4.is_unspecified() || v4.octets()[0] >= 224
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_loopback()
                || v6.is_unspecified()
                || ipv6::KEPT.contains(&v6)
        }
    }
}

/// Whether no machine can have an address, forwarding or not.
pub(super) fn is_nobodys(vpc: &VpcDesired, address: IpAddr) -> bool {
    const STANDS_FOR_IPV4: Ipv6Net =
        Ipv6Net::new_assert(std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
    is_kept(address)
        || is_routers(vpc, address)
        || match address {
            IpAddr::V4(v4) => v4.octets()[0] == 0,
            IpAddr::V6(v6) => v6.to_bits() >> 32 == 0 || STANDS_FOR_IPV4.contains(&v6),
        }
}

/// Whether a packet is of a kind that goes no further than to the next router.
pub(super) fn stays_on_its_link(packet: Packet) -> bool {
    Version::of(packet.src) == Version::V6
        && match packet.transport {
            Transport::Icmp { kind, .. } => matches!(kind, 130..=137 | 143 | 151..=153),
            Transport::Udp { from, to } => (from, to) == (547, 546),
            Transport::Tcp { .. } | Transport::Other(_) => false,
        }
}
