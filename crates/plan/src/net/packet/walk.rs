//! The whole way: hop after hop, from a sender to where its packet comes to.

use super::super::detour::{self, Edge};
use super::super::{Version, transit, vpn};
use super::gate::{Passing, border};
use super::hop::{In, Out, is_nobodys, speaks, stays_on_its_link};
use super::{Network, Vpc, holds, routes};
use ipnet::IpNet;
use model::host::{InterfaceDesired, RouteTarget, SubnetDesired, TransitDesired, TransitPeerDesired};
use model::packet::{Component, End, Lead, Obstacle, Packet, Step, Walk};
use model::record::security_group::Direction;
use model::{NatGatewayId, NetworkInterfaceId, VpcId, VpnConnectionId};
use std::net::IpAddr;

/// After so many routers a packet is going in circles.
const MOST_HOPS: usize = 16;

/// Whether rules let it pass, or what is tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Begins,
    Answers,
}

/// A packet at a router.
struct At<'a> {
    vpc: &'a Vpc,
    /// Whose table it asks.
    subnet: Option<&'a SubnetDesired>,
    came: In<'a>,
    packet: Packet,
    vouched: bool,
}

impl Network {
    /// The way of a packet that an interface sends to begin something.
    pub fn opens(&self, from: NetworkInterfaceId, packet: Packet) -> Walk {
        let mut walk = Walk::default();
        if let Some((sender, vpc)) = self.sender(from) {
            self.send(&mut walk, sender, vpc, packet, Flow::Begins, Vec::new());
        }
        walk
    }

    /// The way of a packet that comes from outside the cloud to a VPC's gateway.
    pub fn enters(&self, vpc: VpcId, packet: Packet) -> Walk {
        let mut walk = Walk::default();
        if let Some(vpc) = self.vpcs.get(&vpc) {
            let arrived = self.arrive(&mut walk, vpc, packet, Flow::Begins);
            if let Some(at) = arrived {
                self.go(&mut walk, at, Flow::Begins, Vec::new());
            }
        }
        walk
    }

    /// The way of a packet that a customer's network sends by a VPN connection.
    pub fn comes(&self, vpc: VpcId, connection: VpnConnectionId, packet: Packet) -> Walk {
        let mut walk = Walk::default();
        if let Some(vpc) = self.vpcs.get(&vpc) {
            match come_by_vpn(&mut walk, vpc, connection, packet) {
                Ok(at) => self.go(&mut walk, at, Flow::Begins, Vec::new()),
                Err(obstacle) => walk.obstacles.push(obstacle),
            }
        }
        walk
    }

    /// The way of the answer to a packet that arrived at an interface; none: a forger is not answered, and what is on its way
    /// through a machine is that one's affair.
    pub fn answers(&self, asked: &Walk) -> Option<Walk> {
        let packet = asked.arrives?.answer();
        let first = asked.steps.first()?;
        if let Component::Interface(asker) = first.component
            && !holds(self.interface(asker)?, first.packet.src)
        {
            return None;
        }
        let (mut walk, translated) = (Walk::default(), asked.translated.clone());
        match asked.arrives_at()? {
            End::Interface(at) => {
                let (answerer, vpc) = self.sender(at).filter(|(answerer, _)| holds(answerer, packet.src))?;
                self.send(&mut walk, answerer, vpc, packet, Flow::Answers, translated);
            }
            End::Outside(vpc) => {
                if let Some(at) = self.arrive(&mut walk, self.vpcs.get(&vpc)?, packet, Flow::Answers) {
                    self.go(&mut walk, at, Flow::Answers, translated);
                }
            }
            End::Customer(vpc, connection) => {
                let vpc = self.vpcs.get(&vpc)?;
                // A transit gateway's: its own network is nothing that could be shown.
                if vpn::connection(&vpc.desired, connection)?.arrival.is_some() {
                    return None;
                }
                match come_by_vpn(&mut walk, vpc, connection, packet) {
                    Ok(at) => self.go(&mut walk, at, Flow::Answers, translated),
                    Err(obstacle) => walk.obstacles.push(obstacle),
                }
            }
            End::Service(vpc, endpoint) => {
                let vpc = self.vpcs.get(&vpc)?;
                step(&mut walk, vpc, Component::GatewayEndpoint(endpoint), packet);
                let at = At { vpc, subnet: None, came: In::Service, packet, vouched: true };
                self.go(&mut walk, at, Flow::Answers, translated);
            }
            End::Router(_) => return None,
        }
        Some(walk)
    }

    fn sender(&self, id: NetworkInterfaceId) -> Option<(&InterfaceDesired, &Vpc)> {
        let sender = self.interface(id)?;
        Some((sender, self.vpcs.get(&sender.vpc)?))
    }

    /// From a port: is the sender who it says?
    fn send(
        &self,
        walk: &mut Walk,
        sender: &InterfaceDesired,
        vpc: &Vpc,
        packet: Packet,
        flow: Flow,
        translated: Vec<(NatGatewayId, IpAddr)>,
    ) {
        step(walk, vpc, Component::Interface(sender.interface), packet);
        let vouched = holds(sender, packet.src);
        if !vouched && (sender.source_dest_check || is_nobodys(&vpc.desired, packet.src)) {
            let (interface, direction) = (sender.interface, Direction::Egress);
            walk.obstacles.push(Obstacle::SourceDestinationCheck { interface, direction });
            return;
        }
        let carried = routes::versions(&vpc.desired).any(|carried| carried == Version::of(packet.src));
        if !carried || !speaks(sender, packet.src) || stays_on_its_link(packet) {
            walk.obstacles.push(Obstacle::Kept { vpc: vpc.desired.vpc, address: packet.dst });
            return;
        }
        let subnet = vpc.desired.subnets.iter().find(|subnet| subnet.subnet == sender.subnet);
        let at = At { vpc, subnet, came: In::Port(sender), packet, vouched };
        self.go(walk, at, flow, translated);
    }

    fn go<'a>(
        &'a self,
        walk: &mut Walk,
        mut at: At<'a>,
        flow: Flow,
        mut translated: Vec<(NatGatewayId, IpAddr)>,
    ) {
        for _ in 0..MOST_HOPS {
            match self.hop(walk, at, flow, &mut translated) {
                Ok(Some(next)) => at = next,
                Ok(None) => return,
                Err(obstacle) => {
                    walk.obstacles.push(obstacle);
                    return;
                }
            }
        }
        walk.obstacles.push(Obstacle::Loop { vpc: at.vpc.desired.vpc });
    }

    /// Through one router. What filters is noted and passed over; an error is the end of the way.
    fn hop<'a>(
        &'a self,
        walk: &mut Walk,
        at: At<'a>,
        flow: Flow,
        translated: &mut Vec<(NatGatewayId, IpAddr)>,
    ) -> Result<Option<At<'a>>, Obstacle> {
        let At { vpc, subnet, came, packet, vouched } = at;
        let own = vpc.desired.vpc;
        let way = match came {
            In::Igw => self.way_in(vpc, Edge::Internet, packet.dst),
            In::Vpn => self.way_in(vpc, Edge::Vpn, packet.dst),
            In::Port(_) | In::Peering(_) | In::Transit | In::Nat(_) | In::Service => {
                self.way(vpc, subnet, packet.dst)
            }
        };
        let out = way.as_ref().ok().map(|way| way.out);
        // What is for the router itself passes no gate.
        if matches!(out, Some(Out::Router)) {
            if !matches!(came, In::Port(_)) || !vouched {
                return Err(Obstacle::Kept { vpc: own, address: packet.dst });
            }
            walk.end = Some(End::Router(own));
            walk.arrives = Some(packet);
            return Ok(None);
        }
        if let In::Port(sender) = came {
            self.leave(walk, vpc, sender, out, (packet, vouched), flow);
        }
        let way = way?;
        let egress_only = matches!(
            &way.route,
            Some(Component::Route { target: Lead::Target(RouteTarget::EgressOnly), .. })
        );
        if let Some(route) = way.route {
            step(walk, vpc, route, packet);
        }
        if !vouched && let Out::Transit(end, _) = way.out {
            return Err(Obstacle::TransitForged { gateway: end.gateway, attachment: end.attachment });
        }
        // A machine may forward by a gateway what that gateway leads to it.
        let led = |edge| detour::holds(&vpc.desired, edge, packet.src);
        if !vouched
            && let Out::Vpn(vpn) = way.out
            && !led(Edge::Vpn)
        {
            return Err(Obstacle::VpnRange { gateway: vpn.gateway, connection: vpn.connection });
        }
        let forwarded = matches!(way.out, Out::Igw) && led(Edge::Internet);
        if !vouched && !forwarded && matches!(way.out, Out::Igw | Out::Peering(_)) {
            return Err(Obstacle::Forged { vpc: own, peering: way.out.peering().map(|p| p.peering) });
        }
        let passing = Passing { vpc, packet, vouched, came, goes: way.out };
        match way.out {
            Out::Port(receiver) => {
                self.deliver(walk, receiver, &passing, flow);
                Ok(None)
            }
            Out::Igw => {
                let gateway = if egress_only {
                    Component::EgressOnlyInternetGateway
                } else {
                    Component::InternetGateway
                };
                step(walk, vpc, gateway, packet);
                self.leave_by_gateway(walk, vpc, packet, flow)
            }
            Out::Peering(peering) => {
                step(walk, vpc, Component::Peering(peering.peering), packet);
                let refused = Obstacle::PeeringRange { peering: peering.peering };
                let far = self.vpcs.get(&peering.peer).ok_or_else(|| refused.clone())?;
                let back = far.desired.peerings.iter().find(|other| other.peering == peering.peering);
                let back = back.ok_or_else(|| refused.clone())?;
                let from_there = match packet.src {
                    IpAddr::V4(src) => back.cidrs.iter().any(|cidr| cidr.contains(&src)),
                    IpAddr::V6(src) => back.ipv6_cidrs.iter().any(|cidr| cidr.contains(&src)),
                };
                if !from_there || !routes::locals(&far.desired).any(|own| own.contains(&packet.dst)) {
                    return Err(refused);
                }
                Ok(Some(At { vpc: far, subnet: None, came: In::Peering(back), packet, vouched: true }))
            }
            Out::Transit(end, peer) => self.cross_transit(walk, vpc, (end, peer), subnet, packet),
            Out::Vpn(vpn) => {
                let (gateway, connection) = (vpn.gateway, vpn.connection);
                // The customer's device is told only of the VPC's own.
                if !routes::locals(&vpc.desired).any(|own| own.contains(&packet.src)) {
                    return Err(Obstacle::VpnRange { gateway, connection });
                }
                step(walk, vpc, Component::VpnGateway { gateway, connection }, packet);
                walk.end = Some(End::Customer(own, connection));
                walk.arrives = Some(packet);
                Ok(None)
            }
            Out::Service(endpoint) => {
                let is_own = routes::locals(&vpc.desired).any(|own| own.contains(&packet.src));
                if !vouched || !is_own {
                    return Err(Obstacle::GatewayEndpoint { endpoint });
                }
                step(walk, vpc, Component::GatewayEndpoint(endpoint), packet);
                walk.end = Some(End::Service(own, endpoint));
                walk.arrives = Some(packet);
                Ok(None)
            }
            Out::Nat(gateway) => {
                let inner = vpc.desired.subnets.iter().find(|inner| inner.subnet == gateway.subnet);
                let refused = Obstacle::NatGateway { gateway: gateway.gateway };
                let inner = inner.filter(|_| vouched && packet.dst.is_ipv4()).ok_or(refused)?;
                if !came.is_of(inner) {
                    cross(walk, vpc, inner, Direction::Ingress, packet);
                }
                step(walk, vpc, Component::NatGateway(gateway.gateway), packet);
                walk.translated.push((gateway.gateway, packet.src));
                let packet = Packet { src: gateway.address.private.into(), ..packet };
                if !routes::of_subnet(inner).any(|net| net.contains(&packet.dst)) {
                    cross(walk, vpc, inner, Direction::Egress, packet);
                }
                Ok(Some(At { vpc, subnet: Some(inner), came: In::Nat(gateway), packet, vouched: true }))
            }
            Out::NatBack(gateway) => {
                let place = translated.iter().rposition(|(by, _)| *by == gateway.gateway);
                let place = place.filter(|_| flow == Flow::Answers);
                let place = place.ok_or(Obstacle::NatGateway { gateway: gateway.gateway })?;
                let (_, sender) = translated.remove(place);
                step(walk, vpc, Component::NatGateway(gateway.gateway), packet);
                let packet = Packet { dst: sender, ..packet };
                let inner = vpc.desired.subnets.iter().find(|inner| inner.subnet == gateway.subnet);
                Ok(Some(At { vpc, subnet: inner, came: In::Nat(gateway), packet, vouched: true }))
            }
            Out::Router => Ok(None),
        }
    }

    /// Out by an attachment, and into the VPC that the gateway's table means.
    fn cross_transit<'a>(
        &'a self,
        walk: &mut Walk,
        vpc: &'a Vpc,
        (end, peer): (&'a TransitDesired, &'a TransitPeerDesired),
        subnet: Option<&SubnetDesired>,
        packet: Packet,
    ) -> Result<Option<At<'a>>, Obstacle> {
        let (gateway, attachment, to) = (end.gateway, end.attachment, peer.attachment);
        if let Some(subnet) = subnet.map(|subnet| subnet.subnet)
            && !end.served.contains(&subnet)
        {
            return Err(Obstacle::TransitZone { gateway, attachment, subnet });
        }
        let blackhole = None;
        let refused = || Obstacle::NoTransit { gateway, attachment, table: end.table, blackhole };
        let route = transit::deciding(end, packet.dst.into()).ok_or_else(refused)?;
        let (table, destination) = (end.table.ok_or_else(refused)?, route.destination);
        step(walk, vpc, Component::TransitGateway { gateway, attachment, table, destination, to }, packet);
        let far = self.vpcs.get(&peer.vpc).ok_or_else(refused)?;
        let back = far.desired.transits.iter().find(|back| back.attachment == to).ok_or_else(refused)?;
        if let Some(vpn) = far.desired.vpns.iter().find(|vpn| vpn.arrival.is_some()) {
            walk.end = Some(End::Customer(far.desired.vpc, vpn.connection));
            walk.arrives = Some(packet);
            return Ok(None);
        }
        let own = routes::locals(&far.desired).any(|own| own.contains(&packet.src));
        if own || packet.src.is_ipv6() && !back.ipv6 {
            return Err(Obstacle::TransitForged { gateway, attachment: to });
        }
        let arrival = far.desired.subnets.iter().find(|subnet| subnet.subnet == back.arrival);
        let arrival = arrival.ok_or_else(refused)?;
        Ok(Some(At { vpc: far, subnet: Some(arrival), came: In::Transit, packet, vouched: true }))
    }

    /// Out of a port: the sender's gate, and the ACL of its subnet.
    fn leave(
        &self,
        walk: &mut Walk,
        vpc: &Vpc,
        sender: &InterfaceDesired,
        out: Option<Out<'_>>,
        (packet, vouched): (Packet, bool),
        flow: Flow,
    ) {
        let came = In::Port(sender);
        if flow == Flow::Begins {
            // Where no route leads anywhere, a group still says what it lets out.
            let goes = out.unwrap_or(Out::Igw);
            let gate = self.gate(sender, Direction::Egress, &Passing { vpc, packet, vouched, came, goes });
            note(walk, vpc, gate, packet);
        }
        let subnet = vpc.desired.subnets.iter().find(|subnet| subnet.subnet == sender.subnet);
        if let Some(subnet) = subnet.filter(|subnet| out.is_none_or(|out| !out.is_of(subnet))) {
            cross(walk, vpc, subnet, Direction::Egress, packet);
        }
    }

    /// Into a port: the ACL of its subnet, and the receiver's gate.
    fn deliver(&self, walk: &mut Walk, receiver: &InterfaceDesired, passing: &Passing<'_>, flow: Flow) {
        let (vpc, packet) = (passing.vpc, passing.packet);
        let subnet = vpc.desired.subnets.iter().find(|subnet| subnet.subnet == receiver.subnet);
        if let Some(subnet) = subnet.filter(|subnet| !passing.came.is_of(subnet)) {
            cross(walk, vpc, subnet, Direction::Ingress, packet);
        }
        if flow == Flow::Begins {
            note(walk, vpc, self.gate(receiver, Direction::Ingress, passing), packet);
        }
        step(walk, vpc, Component::Interface(receiver.interface), packet);
        walk.end = Some(End::Interface(receiver.interface));
        walk.arrives = Some(packet);
    }

    /// Out by the gateway: to another VPC by its public addresses, or out of the cloud.
    fn leave_by_gateway<'a>(
        &'a self,
        walk: &mut Walk,
        vpc: &'a Vpc,
        packet: Packet,
        flow: Flow,
    ) -> Result<Option<At<'a>>, Obstacle> {
        let outside = match packet.src {
            IpAddr::V4(src) => {
                let public = self.public_of(vpc, src);
                let missing = Obstacle::NoPublicAddress { vpc: vpc.desired.vpc, address: packet.src };
                Packet { src: public.ok_or(missing)?.into(), ..packet }
            }
            IpAddr::V6(_) => packet,
        };
        let far = match outside.dst {
            IpAddr::V4(dst) => self.behind_public(dst).map(|(far, _)| far),
            IpAddr::V6(dst) => {
                self.vpcs.values().find(|far| far.desired.ipv6_cidrs.iter().any(|block| block.contains(&dst)))
            }
        };
        let Some(far) = far else {
            walk.end = Some(End::Outside(vpc.desired.vpc));
            walk.arrives = Some(outside);
            return Ok(None);
        };
        Ok(self.arrive(walk, far, outside, flow))
    }

    /// In by a gateway.
    fn arrive<'a>(&'a self, walk: &mut Walk, vpc: &'a Vpc, packet: Packet, flow: Flow) -> Option<At<'a>> {
        step(walk, vpc, Component::InternetGateway, packet);
        let refused = Obstacle::NotPublic { vpc: vpc.desired.vpc, address: packet.dst };
        if routes::locals(&vpc.desired).any(|own| own.contains(&packet.src)) {
            walk.obstacles.push(Obstacle::Forged { vpc: vpc.desired.vpc, peering: None });
            return None;
        }
        let packet = match packet.dst {
            IpAddr::V4(dst) => match self.behind_public(dst) {
                Some((far, private)) if far.desired.vpc == vpc.desired.vpc => {
                    Packet { dst: private.into(), ..packet }
                }
                Some(_) | None => {
                    walk.obstacles.push(refused);
                    return None;
                }
            },
            IpAddr::V6(_) => {
                let holder = self.holder(vpc.desired.vpc, packet.dst);
                let subnet = holder.and_then(|holder| {
                    vpc.desired.subnets.iter().find(|subnet| subnet.subnet == holder.subnet)
                });
                let open = subnet.is_some_and(|subnet| routes::is_open(&vpc.desired, subnet));
                if !open && flow == Flow::Begins {
                    walk.obstacles.push(refused);
                    return None;
                }
                packet
            }
        };
        Some(At { vpc, subnet: None, came: In::Igw, packet, vouched: true })
    }
}

/// In by a VPN connection: from what lies behind it, to the VPC's own.
fn come_by_vpn<'a>(
    walk: &mut Walk,
    vpc: &'a Vpc,
    connection: VpnConnectionId,
    packet: Packet,
) -> Result<At<'a>, Obstacle> {
    let own = vpc.desired.vpc;
    let nobody = Obstacle::Nobody { vpc: own, address: packet.dst };
    let vpn = vpn::connection(&vpc.desired, connection).ok_or_else(|| nobody.clone())?;
    step(walk, vpc, Component::VpnGateway { gateway: vpn.gateway, connection }, packet);
    let is_local = |address: IpAddr| routes::locals(&vpc.desired).any(|net| net.contains(&address));
    let is_theirs = vpn.routes.iter().any(|net| IpNet::V4(*net).contains(&packet.src));
    if !is_theirs || is_local(packet.src) {
        return Err(Obstacle::VpnRange { gateway: vpn.gateway, connection });
    }
    if !is_local(packet.dst) {
        return Err(nobody);
    }
    Ok(At { vpc, subnet: None, came: In::Vpn, packet, vouched: true })
}

fn step(walk: &mut Walk, vpc: &Vpc, component: Component, packet: Packet) {
    walk.steps.push(Step { vpc: vpc.desired.vpc, component, packet });
}

fn note(walk: &mut Walk, vpc: &Vpc, passed: Result<Option<Component>, Obstacle>, packet: Packet) {
    match passed {
        Ok(component) => {
            if let Some(component) = component {
                step(walk, vpc, component, packet);
            }
        }
        Err(obstacle) => walk.obstacles.push(obstacle),
    }
}

/// Over the border of a subnet.
fn cross(walk: &mut Walk, vpc: &Vpc, subnet: &SubnetDesired, direction: Direction, packet: Packet) {
    note(walk, vpc, border(vpc, subnet.subnet, direction, packet), packet);
}
