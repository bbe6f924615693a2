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
use ipnet::IpNet;
use model::host::{InterfaceDesired, RouteTarget, SubnetDesired, VpcDesired};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::{VpcId, VpcPeeringConnectionId};
use std::net::{IpAddr, Ipv4Addr};

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
    /// Type, code and identifier.
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
    },
    Other(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The interface, by its place in the topology.
    pub at: usize,
    pub packet: Packet,
    pub way: Way,
}

/// Where a packet that opens a flow arrives.
pub fn opens(topology: &Topology, from: usize, packet: Packet) -> Option<Arrival> {
    let sender = &topology.interfaces[from];
    let arrival = carried(topology, from, packet)?;
    let receiver = &topology.interfaces[arrival.at];
    let vouched = holds(sender, packet.src);
    let leaves = groups(topology, sender).any(|group| {
        let member = |interface: &InterfaceDesired| holds(interface, packet.dst);
        group.1.iter().any(|allow| {
            matches(allow.traffic, packet.transport)
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
            matches(allow.traffic, packet.transport)
                && match allow.peer {
                    Peer::Net(net) => covers(net, arrival.packet.src),
                    Peer::PrefixList(_) => false,
                    Peer::Group(named) => {
                        vouched && arrival.way != Way::Internet && sender.security_groups.contains(&named)
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
        Way::Internet => false,
    }
}

/// Where the answer to a packet that arrived comes to: groups have let the flow in already. `None`: nowhere; what would
/// come to somebody else than the asker is not asked here.
pub fn answers(
    topology: &Topology,
    asker: usize,
    asked: Packet,
    arrival: Arrival,
) -> Option<Option<Arrival>> {
    let answer = Packet {
        src: arrival.packet.dst,
        dst: arrival.packet.src,
        transport: match arrival.packet.transport {
            Transport::Tcp { from, to } => Transport::Tcp { from: to, to: from },
            Transport::Udp { from, to } => Transport::Udp { from: to, to: from },
            Transport::Icmp { kind: 8, code, id } => Transport::Icmp { kind: 0, code, id },
            Transport::Icmp { kind, code, id } => Transport::Icmp { kind: kind + 1, code, id },
            other @ Transport::Other(_) => other,
        },
    };
    let (sender, receiver) = (&topology.interfaces[asker], &topology.interfaces[arrival.at]);
    // A forger is not answered, and what is on its way through a machine is that one's affair.
    if !holds(sender, asked.src) || !holds(receiver, arrival.packet.dst) {
        return None;
    }
    let Some(mut back) = carried(topology, arrival.at, answer) else { return Some(None) };
    if back.at != asker || back.way != arrival.way {
        return None;
    }
    // The flow is known by the addresses that it began with.
    back.packet.src = asked.dst;
    back.packet.dst = asked.src;
    Some(Some(back))
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
            Transport::Icmp { kind: 8, code, id } => Transport::Icmp { kind: 0, code, id },
            Transport::Icmp { kind, code, id } => Transport::Icmp { kind: kind + 1, code, id },
            other @ Transport::Other(_) => other,
        },
    }
}

/// Routes and ACLs: all that has no memory.
fn carried(topology: &Topology, from: usize, packet: Packet) -> Option<Arrival> {
    let sender = &topology.interfaces[from];
    let vouched = holds(sender, packet.src);
    let (vpc, subnet) = place(topology, sender)?;
    if !vouched && (sender.source_dest_check || nobodys(vpc, packet.src)) {
        return None;
    }
    let (arrival, crosses) = next(topology, vpc, subnet, packet, vouched)?;
    let receiver = &topology.interfaces[arrival.at];
    let (far, entered) = place(topology, receiver)?;
    if crosses || entered.subnet != subnet.subnet {
        let out = vpc.network_acls.iter().find(|acl| acl.network_acl == subnet.network_acl)?;
        let into = far.network_acls.iter().find(|acl| acl.network_acl == entered.network_acl)?;
        if !admits(&out.egress, packet.dst, packet.transport)
            || !admits(&into.ingress, arrival.packet.src, packet.transport)
        {
            return None;
        }
    }
    Some(arrival)
}

/// Where the sender's route table leads, and whether the way leaves the VPC.
fn next(
    topology: &Topology,
    vpc: &VpcDesired,
    subnet: &SubnetDesired,
    packet: Packet,
    vouched: bool,
) -> Option<(Arrival, bool)> {
    let dst = packet.dst;
    let local = || {
        let at = topology.interfaces.iter().position(|i| i.vpc == vpc.vpc && holds(i, dst))?;
        Some((Arrival { at, packet, way: Way::Within }, false))
    };
    if subnet.cidr.contains(&dst) {
        return local();
    }
    let table = vpc.route_tables.iter().find(|table| table.route_table == subnet.route_table)?;
    let routed = table.routes.iter().filter(|route| covers(route.destination, dst));
    let routed = routed.max_by_key(|route| route.destination.prefix_len());
    let own = vpc.cidrs.iter().filter(|cidr| cidr.contains(&dst)).map(ipnet::Ipv4Net::prefix_len).max();
    let target = match (routed, own) {
        (Some(route), Some(own)) if route.destination.prefix_len() > own => route.target.clone(),
        (_, Some(_)) => return local(),
        (Some(route), None) => route.target.clone(),
        (None, None) => return None,
    };
    match target {
        RouteTarget::Blackhole | RouteTarget::NatGateway(_) => None,
        RouteTarget::Interface(id) => {
            let at = topology.interfaces.iter().position(|i| i.interface == id)?;
            let machine = &topology.interfaces[at];
            let way = if holds(machine, dst) { Way::Within } else { Way::Through };
            (way == Way::Within || !machine.source_dest_check).then_some((Arrival { at, packet, way }, false))
        }
        RouteTarget::Peering(id) => {
            let peering = vpc.peerings.iter().find(|peering| peering.peering == id).filter(|_| vouched)?;
            let at = topology.interfaces.iter().position(|i| i.vpc == peering.peer && holds(i, dst))?;
            Some((Arrival { at, packet, way: Way::Across(id) }, true))
        }
        RouteTarget::InternetGateway => {
            let src = topology.interfaces.iter().filter(|i| i.vpc == vpc.vpc).flat_map(|i| &i.addresses);
            let src = src.filter(|_| vouched).find(|a| a.private == packet.src)?.public?;
            let at =
                topology.interfaces.iter().position(|i| i.addresses.iter().any(|a| a.public == Some(dst)))?;
            let (far, entered) = place(topology, &topology.interfaces[at])?;
            let table = far.route_tables.iter().find(|table| table.route_table == entered.route_table)?;
            if !table.routes.iter().any(|route| route.target == RouteTarget::InternetGateway) {
                return None;
            }
            let private = topology.interfaces[at].addresses.iter().find(|a| a.public == Some(dst))?.private;
            let packet = Packet { src, dst: private, ..packet };
            Some((Arrival { at, packet, way: Way::Internet }, true))
        }
    }
}

fn holds(interface: &InterfaceDesired, address: Ipv4Addr) -> bool {
    interface.addresses.iter().any(|own| own.private == address)
}

/// Sources that no machine can have: beyond unicast, and the router's own.
fn nobodys(vpc: &VpcDesired, address: Ipv4Addr) -> bool {
    let routers = vpc.subnets.iter().map(|subnet| subnet.cidr.network().to_bits() + 1);
    let resolver = vpc.cidrs.first().map(|cidr| cidr.network().to_bits() + 2);
    address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_multicast()
        || address.octets()[0] >= 240
        || routers.chain(resolver).any(|router| router == address.to_bits())
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
fn admits(entries: &[AclEntry], end: Ipv4Addr, transport: Transport) -> bool {
    let matching = entries.iter().filter(|e| covers(e.net, end) && matches(e.traffic, transport));
    matching.min_by_key(|entry| entry.number).is_some_and(|entry| entry.action == AclAction::Allow)
}

fn covers(net: IpNet, address: Ipv4Addr) -> bool {
    net.contains(&IpAddr::V4(address))
}

fn matches(traffic: Traffic, transport: Transport) -> bool {
    match (traffic, transport) {
        (Traffic::All, _) => true,
        (Traffic::Tcp { from, to }, Transport::Tcp { to: port, .. })
        | (Traffic::Udp { from, to }, Transport::Udp { to: port, .. }) => (from..=to).contains(&port),
        (Traffic::Icmp { kind, code }, Transport::Icmp { kind: k, code: c, .. }) => {
            kind.is_none_or(|kind| kind == k) && code.is_none_or(|code| code == c)
        }
        (Traffic::Protocol(number), Transport::Other(other)) => number == other,
        _ => false,
    }
}
