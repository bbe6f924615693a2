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

use super::rules::{admits, covers, is_service, matches, nobodys};
use super::topology::Topology;
use ipnet::IpNet;
use model::host::{InterfaceDesired, NetworkAclDesired, RouteTarget, SubnetDesired, VpcDesired};
use model::net::{Allow, Peer};
use model::{VpcId, VpcPeeringConnectionId};
use std::net::IpAddr;

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
    /// By a transit gateway.
    Joined,
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
            Way::Within | Way::Across(_) | Way::Internet | Way::Through | Way::Joined => packet,
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
                        let as_itself = !matches!(arrival.way, Way::Internet | Way::Translated | Way::Joined);
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
        // Beyond a transit gateway groups are not known.
        Way::Internet | Way::Translated | Way::Joined => false,
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
    if !speaks(sender, packet.src) {
        return None;
    }
    if of_the_link || goes_no_further || is_v6 && vpc.ipv6_cidrs.is_empty() {
        return None;
    }
    led(topology, (vpc, subnet), Some(subnet), packet, Sender { vouched, begins, turns: 0 })
}

/// Whether the sender is who it says, whether the packet begins a flow, and how many gateways it has passed.
#[derive(Clone, Copy)]
struct Sender {
    vouched: bool,
    begins: bool,
    turns: usize,
}

/// After so many gateways a packet is going in circles.
const MOST_TURNS: usize = 12;

/// To where the table of a subnet leads, over the borders on the way. `left` is the subnet that it comes out of; none: it
/// comes by a transit gateway.
fn led(
    topology: &Topology,
    (vpc, subnet): (&VpcDesired, &SubnetDesired),
    left: Option<&SubnetDesired>,
    packet: Packet,
    sender: Sender,
) -> Option<Arrival> {
    let sender = Sender { turns: sender.turns + 1, ..sender };
    if sender.turns > MOST_TURNS {
        return None;
    }
    if let Lead::Target(RouteTarget::TransitGateway(id)) = lead(vpc, subnet, packet.dst) {
        let gateway = topology.gateways.iter().find(|gateway| gateway.id == *id)?;
        let own = gateway.attachments.iter().find(|attachment| attachment.vpc == vpc.vpc)?;
        let to = gateway.leads(own, packet.dst)?;
        let is_v6 = packet.dst.is_ipv6();
        let enters = sender.vouched && own.served.contains(&subnet.subnet) && (!is_v6 || own.ipv6 && to.ipv6);
        let far = topology.vpcs.iter().find(|far| far.vpc == to.vpc && far.vpc != vpc.vpc)?;
        // Nothing of its own comes to a VPC from beyond.
        if !enters || is_own(far, packet.src) {
            return None;
        }
        if let Some(left) = left
            && !admits(&acl(vpc, left)?.egress, packet.dst, packet)
        {
            return None;
        }
        let arrival = far.subnets.iter().find(|subnet| subnet.subnet == to.arrival)?;
        let arrived = led(topology, (far, arrival), None, packet, sender)?;
        let way = if arrived.way == Way::Translated { Way::Translated } else { Way::Joined };
        return Some(Arrival { way, ..arrived });
    }
    if let Lead::Target(RouteTarget::NatGateway(id)) = lead(vpc, subnet, packet.dst)
        && packet.dst.is_ipv4()
    {
        let gateway = vpc.nat_gateways.iter().find(|gateway| gateway.gateway == *id)?;
        let inner = vpc.subnets.iter().find(|inner| inner.subnet == gateway.subnet)?;
        let crosses = left.is_none_or(|left| left.subnet != inner.subnet);
        if crosses && !borders(vpc, left, packet, vpc, inner, packet) {
            return None;
        }
        let translated = Packet { src: gateway.address.private.into(), ..packet };
        let sender = Sender { vouched: true, ..sender };
        let arrival = led(topology, (vpc, inner), Some(inner), translated, sender)?;
        return Some(Arrival { way: Way::Translated, ..arrival });
    }
    let (arrival, crosses) = next(topology, vpc, subnet, packet, sender)?;
    let (far, entered) = place(topology, &topology.interfaces[arrival.at])?;
    let stays = !crosses && left.is_some_and(|left| left.subnet == entered.subnet);
    (stays || borders(vpc, left, packet, far, entered, arrival.packet)).then_some(arrival)
}

fn acl<'a>(vpc: &'a VpcDesired, of: &SubnetDesired) -> Option<&'a NetworkAclDesired> {
    vpc.network_acls.iter().find(|acl| acl.network_acl == of.network_acl)
}

/// Whether the ACLs let a packet out of one subnet, if it comes out of one, and into another.
fn borders(
    vpc: &VpcDesired,
    left: Option<&SubnetDesired>,
    out: Packet,
    far: &VpcDesired,
    entered: &SubnetDesired,
    into: Packet,
) -> bool {
    let leaves =
        left.is_none_or(|left| acl(vpc, left).is_some_and(|near| admits(&near.egress, out.dst, out)));
    leaves && acl(far, entered).is_some_and(|there| admits(&there.ingress, into.src, into))
}

/// Whether the documents leave open what becomes of a packet: what nobody vouches for, or has no ports to tell flows apart,
/// at a NAT gateway.
pub fn is_open(topology: &Topology, from: usize, packet: Packet) -> bool {
    let sender = &topology.interfaces[from];
    let Some((vpc, subnet)) = place(topology, sender) else { return false };
    let by_nat = packet.dst.is_ipv4()
        && matches!(lead(vpc, subnet, packet.dst), Lead::Target(RouteTarget::NatGateway(_)));
    let has_no_ports = matches!(packet.transport, Transport::Other(_));
    let translated = |arrival: Arrival| arrival.way == Way::Translated;
    by_nat && (!holds(sender, packet.src) || has_no_ports)
        || has_no_ports && carried(topology, from, packet, true).is_some_and(translated)
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
    Sender { vouched, begins, .. }: Sender,
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
        // NAT and transit gateways have been passed before; no generated network has a VPN or a gateway endpoint.
        RouteTarget::Blackhole
        | RouteTarget::GatewayEndpoint(_)
        | RouteTarget::NatGateway(_)
        | RouteTarget::TransitGateway(_)
        | RouteTarget::VpnGateway(_) => None,
        RouteTarget::Interface(id) => {
            let at = topology.interfaces.iter().position(|i| i.interface == *id)?;
            let machine = &topology.interfaces[at];
            if !speaks(machine, dst) {
                return None;
            }
            let way = if holds(machine, dst) { Way::Within } else { Way::Through };
            (way == Way::Within || !machine.source_dest_check).then_some((Arrival { at, packet, way }, false))
        }
        RouteTarget::Peering(id) => {
            let peering = vpc.peerings.iter().find(|peering| peering.peering == *id).filter(|_| vouched)?;
            // A peering carries what is of its two VPCs.
            if !is_own(vpc, packet.src) {
                return None;
            }
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
        IpAddr::V4(v4) => {
            let by_prefix = interface.ipv4_prefixes.iter().any(|prefix| prefix.contains(&v4));
            by_prefix || interface.addresses.iter().any(|own| own.private == v4)
        }
        IpAddr::V6(v6) => {
            interface.ipv6.contains(&v6) || interface.ipv6_prefixes.iter().any(|prefix| prefix.contains(&v6))
        }
    }
}

/// Whether an interface has addresses of the version of this one.
fn speaks(interface: &InterfaceDesired, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !interface.addresses.is_empty(),
        IpAddr::V6(_) => !interface.ipv6.is_empty() || !interface.ipv6_prefixes.is_empty(),
    }
}

/// Whether an address is in a VPC's ranges.
fn is_own(vpc: &VpcDesired, address: IpAddr) -> bool {
    let v4 = vpc.cidrs.iter().copied().map(IpNet::V4);
    v4.chain(vpc.ipv6_cidrs.iter().copied().map(IpNet::V6)).any(|net| net.contains(&address))
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
