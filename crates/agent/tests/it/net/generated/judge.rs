//! Whether and where a packet arrives, told from AWS's documents alone: nothing here is compiled, nothing is tracked.
//!
//! It walks as a reader of the documents would: may the sender say so, where does its route table lead, what do the ACLs
//! of both subnets say, what do the groups at both ends say. It shares the types of the desired objects with the driver and
//! not a line of what makes rules of them.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>,
//! <https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html>
//! Differs, as the cloud's own documents say: what nobody vouches for leaves neither by the gateway nor by a peering and is
//! no member of a group; a public address is in force only in a public subnet.

use super::topology::Topology;
use ipnet::{IpNet, Ipv6Net};
use model::host::{InterfaceDesired, RouteTarget, SubnetDesired, VpcDesired};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::{VpcId, VpcPeeringConnectionId};
use std::net::{IpAddr, Ipv6Addr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp {
        from: u16,
        to: u16,
    },
    Udp {
        from: u16,
        to: u16,
    },
    /// Type, code and identifier, of the packet's own version of it.
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
    },
    Other(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub transport: Transport,
}

/// How a packet went from one interface to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Within,
    Across(VpcPeeringConnectionId),
    Internet,
    /// To a machine that is to forward it.
    Through,
    /// By a NAT gateway, with a source port that the gateway chose.
    Translated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The interface, by its place in the topology.
    pub at: usize,
    pub packet: Packet,
    pub way: Way,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Arrives(Arrival),
    Lost,
    /// Nothing is said of it here: it would come to somebody else, or another way.
    Unasked,
}

impl Arrival {
    /// Whether this is how it looks when it arrives; a NAT gateway may choose another source port.
    pub fn is(&self, packet: Packet) -> bool {
        let by_name = |transport: Transport| match transport {
            Transport::Tcp { to, .. } => Transport::Tcp { from: 0, to },
            Transport::Udp { to, .. } => Transport::Udp { from: 0, to },
            Transport::Icmp { kind, code, .. } => Transport::Icmp { kind, code, id: 0 },
            other @ Transport::Other(_) => other,
        };
        let known = |packet: Packet| match self.way {
            Way::Translated => Packet { transport: by_name(packet.transport), ..packet },
            Way::Within | Way::Across(_) | Way::Internet | Way::Through => packet,
        };
        known(packet) == known(self.packet)
    }
}

/// Where a packet that opens a flow arrives.
pub fn opens(topology: &Topology, from: usize, packet: Packet) -> Option<Arrival> {
    let sender = &topology.interfaces[from];
    let arrival = carried(topology, from, packet, true)?;
    let receiver = &topology.interfaces[arrival.at];
    let vouched = holds(sender, packet.src);
    let leaves = groups(topology, sender).any(|group| {
        let member = |interface: &InterfaceDesired| holds(interface, packet.dst);
        group.1.iter().any(|allow| {
            matches(allow.traffic, packet)
                && match allow.peer {
                    Peer::Net(net) => covers(net, packet.dst),
                    Peer::PrefixList(_) => false,
                    Peer::Group(named) => topology.interfaces.iter().any(|i| {
                        i.security_groups.contains(&named)
                            && member(i)
                            && is_there(topology, i.vpc, sender.vpc, arrival)
                    }),
                }
        })
    });
    let enters = groups(topology, receiver).any(|group| {
        group.0.iter().any(|allow| {
            matches(allow.traffic, packet)
                && match allow.peer {
                    Peer::Net(net) => covers(net, arrival.packet.src),
                    Peer::PrefixList(_) => false,
                    Peer::Group(named) => {
                        let as_itself = !matches!(arrival.way, Way::Internet | Way::Translated);
                        vouched && as_itself && sender.security_groups.contains(&named)
                    }
                }
        })
    });
    (leaves && enters).then_some(arrival)
}

/// Whether a member in `vpc` is whom a packet out of `own` that arrives so is meant for.
fn is_there(topology: &Topology, vpc: VpcId, own: VpcId, arrival: Arrival) -> bool {
    match arrival.way {
        Way::Within | Way::Through => vpc == own,
        Way::Across(_) => vpc == topology.interfaces[arrival.at].vpc,
        Way::Internet | Way::Translated => false,
    }
}

/// Where the answer to a packet that arrived comes to: groups have let the flow in already.
pub fn answers(topology: &Topology, asker: usize, asked: Packet, arrival: Arrival) -> Answer {
    let answer = answer(&arrival);
    let (sender, receiver) = (&topology.interfaces[asker], &topology.interfaces[arrival.at]);
    // A forger is not answered, what is on its way through a machine is that one's affair, and what a NAT gateway tells
    // apart by ports of its own is not told here.
    let honest = holds(sender, asked.src) && holds(receiver, arrival.packet.dst);
    if !honest || arrival.way == Way::Translated {
        return Answer::Unasked;
    }
    let Some(mut back) = carried(topology, arrival.at, answer, false) else { return Answer::Lost };
    if back.at != asker || back.way != arrival.way {
        return Answer::Unasked;
    }
    // The flow is known by the addresses that it began with.
    back.packet.src = asked.dst;
    back.packet.dst = asked.src;
    Answer::Arrives(back)
}

/// Where another packet comes to of a flow whose first one arrived so under earlier rules, and was answered: groups are not
/// asked again, routes and ACLs are.
pub fn goes_on(topology: &Topology, asker: usize, asked: Packet, arrived: Arrival) -> Answer {
    match carried(topology, asker, asked, false) {
        None => Answer::Lost,
        Some(arrival) if arrival == arrived => Answer::Arrives(arrival),
        Some(_) => Answer::Unasked,
    }
}

/// The packet that answers, as the receiver sends it.
pub fn answer(arrival: &Arrival) -> Packet {
    let packet = arrival.packet;
    Packet {
        src: packet.dst,
        dst: packet.src,
        transport: match packet.transport {
            Transport::Tcp { from, to } => Transport::Tcp { from: to, to: from },
            Transport::Udp { from, to } => Transport::Udp { from: to, to: from },
            Transport::Icmp { kind: 8, code, id } if packet.src.is_ipv4() => {
                Transport::Icmp { kind: 0, code, id }
            }
            Transport::Icmp { kind, code, id } => Transport::Icmp { kind: kind + 1, code, id },
            other @ Transport::Other(_) => other,
        },
    }
}

/// Routes and ACLs: all that has no memory.
fn carried(topology: &Topology, from: usize, packet: Packet, begins: bool) -> Option<Arrival> {
    let sender = &topology.interfaces[from];
    let vouched = holds(sender, packet.src);
    let (vpc, subnet) = place(topology, sender)?;
    if !vouched && (sender.source_dest_check || nobodys(vpc, packet.src)) {
        return None;
    }
    // What neighbours, routers and their servers say to each other goes no further than to the next router.
    let is_v6 = packet.src.is_ipv6();
    let of_the_link = match packet.transport {
        Transport::Icmp { kind, .. } => is_v6 && (130..=137).contains(&kind),
        Transport::Udp { from, to } => is_v6 && (from, to) == (547, 546),
        Transport::Tcp { .. } | Transport::Other(_) => false,
    };
    // Nor does what is for a link's own addresses, for many at once, for whoever has it, or for a service that the router
    // is asked for.
    let goes_no_further = match packet.dst {
        IpAddr::V6(dst) => {
            dst.is_unicast_link_local() || dst.is_multicast() || dst.is_loopback() || is_service(dst)
        }
        IpAddr::V4(_) => false,
    };
    // What has no IPv4 neither sends nor forwards it.
    let has_version = if is_v6 { !sender.ipv6.is_empty() } else { !sender.addresses.is_empty() };
    if !has_version {
        return None;
    }
    if of_the_link || goes_no_further || is_v6 && vpc.ipv6_cidrs.is_empty() {
        return None;
    }
    led(topology, vpc, subnet, packet, Sender { vouched, begins })
}

/// Whether the sender is who it says, and whether the packet begins a flow.
#[derive(Clone, Copy)]
struct Sender {
    vouched: bool,
    begins: bool,
}

/// From a subnet to where its table leads, over the borders on the way.
fn led(
    topology: &Topology,
    vpc: &VpcDesired,
    subnet: &SubnetDesired,
    packet: Packet,
    sender: Sender,
) -> Option<Arrival> {
    if let Lead::Target(RouteTarget::NatGateway(id)) = lead(vpc, subnet, packet.dst)
        && packet.dst.is_ipv4()
    {
        let gateway = vpc.nat_gateways.iter().find(|gateway| gateway.gateway == *id)?;
        let inner = vpc.subnets.iter().find(|inner| inner.subnet == gateway.subnet)?;
        if inner.subnet != subnet.subnet && !borders(vpc, subnet, packet, vpc, inner, packet) {
            return None;
        }
        let translated = Packet { src: gateway.address.private.into(), ..packet };
        let arrival = led(topology, vpc, inner, translated, Sender { vouched: true, ..sender })?;
        return Some(Arrival { way: Way::Translated, ..arrival });
    }
    let (arrival, crosses) = next(topology, vpc, subnet, packet, sender)?;
    let (far, entered) = place(topology, &topology.interfaces[arrival.at])?;
    let stays = !crosses && entered.subnet == subnet.subnet;
    (stays || borders(vpc, subnet, packet, far, entered, arrival.packet)).then_some(arrival)
}

/// Whether both ACLs let a packet out of one subnet and into another.
fn borders(
    vpc: &VpcDesired,
    left: &SubnetDesired,
    out: Packet,
    far: &VpcDesired,
    entered: &SubnetDesired,
    into: Packet,
) -> bool {
    let acl = |vpc: &VpcDesired, of: &SubnetDesired| {
        vpc.network_acls.iter().find(|acl| acl.network_acl == of.network_acl).cloned()
    };
    let (Some(near), Some(there)) = (acl(vpc, left), acl(far, entered)) else { return false };
    admits(&near.egress, out.dst, out) && admits(&there.ingress, into.src, into)
}

/// Whether the documents leave open what becomes of a packet: what nobody vouches for, or has no ports to tell flows apart,
/// at a NAT gateway.
pub fn is_open(topology: &Topology, from: usize, packet: Packet) -> bool {
    let sender = &topology.interfaces[from];
    let Some((vpc, subnet)) = place(topology, sender) else { return false };
    let by_nat = packet.dst.is_ipv4()
        && matches!(lead(vpc, subnet, packet.dst), Lead::Target(RouteTarget::NatGateway(_)));
    by_nat && (!holds(sender, packet.src) || matches!(packet.transport, Transport::Other(_)))
}

enum Lead<'a> {
    Local,
    Target(&'a RouteTarget),
    Nowhere,
}

/// What the table of a subnet says of a destination.
fn lead<'a>(vpc: &'a VpcDesired, subnet: &SubnetDesired, dst: IpAddr) -> Lead<'a> {
    let mut own = subnet.ipv6_cidr.map(IpNet::V6).into_iter().chain(subnet.cidr.map(IpNet::V4));
    if own.any(|net| net.contains(&dst)) {
        return Lead::Local;
    }
    let table = vpc.route_tables.iter().find(|table| table.route_table == subnet.route_table);
    let routes = table.into_iter().flat_map(|table| &table.routes);
    let routed = routes.filter(|route| covers(route.destination, dst));
    let routed = routed.max_by_key(|route| route.destination.prefix_len());
    let blocks = vpc.cidrs.iter().copied().map(IpNet::V4);
    let blocks = blocks.chain(vpc.ipv6_cidrs.iter().copied().map(IpNet::V6));
    let own = blocks.filter(|net| net.contains(&dst)).map(|net| net.prefix_len()).max();
    match (routed, own) {
        (Some(route), Some(own)) if route.destination.prefix_len() > own => Lead::Target(&route.target),
        (_, Some(_)) => Lead::Local,
        (Some(route), None) => Lead::Target(&route.target),
        (None, None) => Lead::Nowhere,
    }
}

/// Where the sender's route table leads, and whether the way leaves the VPC.
fn next(
    topology: &Topology,
    vpc: &VpcDesired,
    subnet: &SubnetDesired,
    packet: Packet,
    Sender { vouched, begins }: Sender,
) -> Option<(Arrival, bool)> {
    let dst = packet.dst;
    let local = || {
        let at = topology.interfaces.iter().position(|i| i.vpc == vpc.vpc && holds(i, dst))?;
        Some((Arrival { at, packet, way: Way::Within }, false))
    };
    let target = match lead(vpc, subnet, dst) {
        Lead::Local => return local(),
        Lead::Target(target) => target,
        Lead::Nowhere => return None,
    };
    match target {
        // No generated network has a transit gateway, a VPN or a gateway endpoint.
        RouteTarget::Blackhole
        | RouteTarget::GatewayEndpoint(_)
        | RouteTarget::NatGateway(_)
        | RouteTarget::TransitGateway(_)
        | RouteTarget::VpnGateway(_) => None,
        RouteTarget::Interface(id) => {
            let at = topology.interfaces.iter().position(|i| i.interface == *id)?;
            let machine = &topology.interfaces[at];
            if if dst.is_ipv6() { machine.ipv6.is_empty() } else { machine.addresses.is_empty() } {
                return None;
            }
            let way = if holds(machine, dst) { Way::Within } else { Way::Through };
            (way == Way::Within || !machine.source_dest_check).then_some((Arrival { at, packet, way }, false))
        }
        RouteTarget::Peering(id) => {
            let peering = vpc.peerings.iter().find(|peering| peering.peering == *id).filter(|_| vouched)?;
            let at = topology.interfaces.iter().position(|i| i.vpc == peering.peer && holds(i, dst))?;
            Some((Arrival { at, packet, way: Way::Across(*id) }, true))
        }
        RouteTarget::InternetGateway | RouteTarget::EgressOnly if dst.is_ipv6() => {
            let at = topology
                .interfaces
                .iter()
                .position(|i| i.vpc != vpc.vpc && holds(i, dst))
                .filter(|_| vouched)?;
            let (far, entered) = place(topology, &topology.interfaces[at])?;
            let table = far.route_tables.iter().find(|table| table.route_table == entered.route_table)?;
            let is_open = table.routes.iter().any(|route| {
                route.target == RouteTarget::InternetGateway && matches!(route.destination, IpNet::V6(_))
            });
            (is_open || !begins).then_some((Arrival { at, packet, way: Way::Internet }, true))
        }
        RouteTarget::EgressOnly => None,
        RouteTarget::InternetGateway => {
            let src = topology.interfaces.iter().filter(|i| i.vpc == vpc.vpc).flat_map(|i| &i.addresses);
            let src = src.chain(vpc.nat_gateways.iter().map(|gateway| &gateway.address));
            let src = src.filter(|_| vouched).find(|a| packet.src == a.private)?.public?;
            let at = topology
                .interfaces
                .iter()
                .position(|i| i.addresses.iter().any(|a| a.public.is_some_and(|public| dst == public)))?;
            let (far, entered) = place(topology, &topology.interfaces[at])?;
            let table = far.route_tables.iter().find(|table| table.route_table == entered.route_table)?;
            if !table.routes.iter().any(|route| route.target == RouteTarget::InternetGateway) {
                return None;
            }
            let private = topology.interfaces[at]
                .addresses
                .iter()
                .find(|a| a.public.is_some_and(|public| dst == public))?
                .private;
            let packet = Packet { src: src.into(), dst: private.into(), ..packet };
            Some((Arrival { at, packet, way: Way::Internet }, true))
        }
    }
}

fn holds(interface: &InterfaceDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => interface.addresses.iter().any(|own| own.private == v4),
        IpAddr::V6(v6) => interface.ipv6.contains(&v6),
    }
}

/// Sources that no machine can have: beyond unicast, and the router's own.
fn nobodys(vpc: &VpcDesired, address: IpAddr) -> bool {
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

fn is_service(address: Ipv6Addr) -> bool {
    "fd00:ec2::/32".parse::<Ipv6Net>().unwrap().contains(&address)
}

fn place<'a>(
    topology: &'a Topology,
    interface: &InterfaceDesired,
) -> Option<(&'a VpcDesired, &'a SubnetDesired)> {
    let vpc = topology.vpcs.iter().find(|vpc| vpc.vpc == interface.vpc)?;
    Some((vpc, vpc.subnets.iter().find(|subnet| subnet.subnet == interface.subnet)?))
}

/// The ingress and egress rules of an interface's groups.
fn groups<'a>(
    topology: &'a Topology,
    interface: &'a InterfaceDesired,
) -> impl Iterator<Item = (&'a Vec<Allow>, &'a Vec<Allow>)> {
    let mine = topology.groups.iter().filter(|group| interface.security_groups.contains(&group.group));
    mine.map(|group| (&group.ingress, &group.egress))
}

/// The entry with the smallest number that matches decides; none denies.
fn admits(entries: &[AclEntry], end: IpAddr, packet: Packet) -> bool {
    let matching = entries.iter().filter(|e| covers(e.net, end) && matches(e.traffic, packet));
    matching.min_by_key(|entry| entry.number).is_some_and(|entry| entry.action == AclAction::Allow)
}

fn covers(net: IpNet, address: IpAddr) -> bool {
    net.contains(&address)
}

fn matches(traffic: Traffic, packet: Packet) -> bool {
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
