//! Whether one thing reaches another: the packets that a question leaves open are tried out.
//!
//! Rules judge by ranges, so the ends of their ranges stand for all addresses and ports that are not named. The first packet
//! that arrives, and whose answer does, is the way; else what stops the one that fewest things stop is the explanation.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/reachability/how-reachability-analyzer-works.html>

use super::super::routes;
use super::Network;
use ipnet::IpNet;
use model::host::InterfaceDesired;
use model::net::{Allow, Peer, Traffic};
use model::packet::{End, Obstacle, Packet, Transport, Walk};
use model::{NetworkInterfaceId, VpcId};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// How many packets are tried at most.
const MOST_PACKETS: usize = 4096;
/// Somebody outside, when no rule names anybody (of the addresses kept for documentation).
const SOMEBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Where the ports of those who ask begin, as long as nothing else is said.
const EPHEMERAL: u16 = 32768;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// Where packets come from or go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Interface(NetworkInterfaceId),
    /// The world behind a VPC's gateway.
    Gateway(VpcId),
}

/// What the packets look like at one end. What is not said may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    pub from_ports: Option<RangeInclusive<u16>>,
    pub to_ports: Option<RangeInclusive<u16>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub from: Place,
    /// None: whoever has the address that [`Question::leaving`] names.
    pub to: Option<Place>,
    pub protocol: Protocol,
    pub leaving: Header,
    pub arriving: Header,
}

/// The answer: the way there, and the way back when the packet arrives.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub reaches: bool,
    pub there: Walk,
    pub back: Option<Walk>,
}

impl Network {
    /// Whether some packet of the question arrives, and an answer comes back.
    pub fn reach(&self, question: &Question) -> Found {
        let mut best: Option<(usize, Found)> = None;
        for packet in self.packets(question).into_iter().take(MOST_PACKETS) {
            let found = self.try_packet(question, packet);
            if found.reaches {
                return found;
            }
            // One that arrives, and of those that do not the one with the fewest obstacles.
            let worth = match &found.back {
                Some(back) => back.obstacles.len(),
                None => 100 + found.there.obstacles.len() + if found.there.end.is_none() { 1000 } else { 0 },
            };
            if best.as_ref().is_none_or(|(least, _)| worth < *least) {
                best = Some((worth, found));
            }
        }
        best.map_or_else(|| Found { reaches: false, there: Walk::default(), back: None }, |(_, found)| found)
    }

    fn try_packet(&self, question: &Question, packet: Packet) -> Found {
        let mut there = match question.from {
            Place::Interface(from) => self.opens(from, packet),
            Place::Gateway(vpc) => self.enters(vpc, packet),
        };
        let wanted = |end: End| match question.to {
            Some(Place::Interface(to)) => end == End::Interface(to),
            Some(Place::Gateway(vpc)) => end == End::Outside(vpc),
            None => true,
        };
        if let Some(end) = there.end.filter(|end| !wanted(*end)) {
            there.obstacles.push(Obstacle::Elsewhere { end });
        }
        let fits = there.arrives.is_some_and(|arrives| question.arriving.fits(arrives));
        if !fits && let Some(end) = there.arrives_at() {
            there.obstacles.push(Obstacle::Elsewhere { end });
        }
        let mut back = self.answers(&there);
        if let Some(walk) = &mut back {
            let asker = match question.from {
                Place::Interface(from) => End::Interface(from),
                Place::Gateway(vpc) => End::Outside(vpc),
            };
            if let Some(end) = walk.end.filter(|end| *end != asker) {
                walk.obstacles.push(Obstacle::Elsewhere { end });
            }
        }
        let is_router = matches!(there.arrives_at(), Some(End::Router(_)));
        let reaches = is_router || back.as_ref().is_some_and(|back| back.arrives_at().is_some());
        Found { reaches, there, back }
    }

    /// The packets that stand for all that the question leaves open.
    fn packets(&self, question: &Question) -> Vec<Packet> {
        let (leaving, arriving) = (&question.leaving, &question.arriving);
        let outside = self.outside(question);
        let sources: Vec<IpAddr> = match (leaving.src, question.from) {
            (Some(src), _) => vec![src],
            (None, Place::Interface(id)) => self.interface(id).map(own).unwrap_or_default(),
            (None, Place::Gateway(_)) => arriving.src.map_or_else(|| outside.clone(), |src| vec![src]),
        };
        let destinations: Vec<IpAddr> = match (leaving.dst, question.to) {
            (Some(dst), _) => vec![dst],
            (None, Some(Place::Interface(id))) => {
                let interface = self.interface(id);
                let from_outside = matches!(question.from, Place::Gateway(_));
                interface.map(|to| if from_outside { publics(to) } else { own(to) }).unwrap_or_default()
            }
            (None, Some(Place::Gateway(_)) | None) => outside,
        };
        let given = leaving.to_ports.clone().or_else(|| arriving.to_ports.clone());
        let to_ports = self.ports(given.unwrap_or(0..=u16::MAX), question.protocol);
        let from_ports = leaving.from_ports.clone().or_else(|| arriving.from_ports.clone());
        let from_ports = from_ports.unwrap_or(0..=u16::MAX);
        let from = if from_ports.contains(&EPHEMERAL) { EPHEMERAL } else { *from_ports.start() };
        let mut packets = Vec::new();
        for &src in &sources {
            for &dst in destinations.iter().filter(|dst| dst.is_ipv4() == src.is_ipv4()) {
                packets.extend(to_ports.iter().map(|&to| {
                    let transport = match question.protocol {
                        Protocol::Tcp => Transport::Tcp { from, to },
                        Protocol::Udp => Transport::Udp { from, to },
                    };
                    Packet { src, dst, transport }
                }));
            }
        }
        packets
    }

    /// Who outside may make a difference: the ranges that rules and routes name.
    fn outside(&self, question: &Question) -> Vec<IpAddr> {
        let ours: BTreeSet<VpcId> = [Some(question.from), question.to]
            .into_iter()
            .flatten()
            .filter_map(|place| match place {
                Place::Interface(id) => Some(self.interface(id)?.vpc),
                Place::Gateway(vpc) => Some(vpc),
            })
            .collect();
        let vpcs = ours.iter().filter_map(|vpc| self.vpc(*vpc));
        let mut nets: BTreeSet<IpNet> = BTreeSet::new();
        let mut locals: Vec<IpNet> = Vec::new();
        for vpc in vpcs {
            locals.extend(routes::locals(vpc));
            nets.extend(vpc.route_tables.iter().flat_map(|table| &table.routes).map(|r| r.destination));
            let acls = vpc.network_acls.iter();
            nets.extend(acls.flat_map(|acl| acl.ingress.iter().chain(&acl.egress)).map(|entry| entry.net));
        }
        let groups = self.groups.values().filter(|group| ours.contains(&group.vpc));
        for Allow { peer, .. } in groups.flat_map(|group| group.ingress.iter().chain(&group.egress)) {
            if let Peer::Net(net) = peer {
                nets.insert(*net);
            }
        }
        let first =
            nets.into_iter().map(|net| if net.prefix_len() == 0 { SOMEBODY.into() } else { net.addr() });
        let mut found = vec![IpAddr::V4(SOMEBODY)];
        for address in first.filter(|address| !locals.iter().any(|own| own.contains(address))) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
        found
    }

    /// The ports of a range at which the answer of some rule may change.
    fn ports(&self, range: RangeInclusive<u16>, protocol: Protocol) -> Vec<u16> {
        let groups = self.groups.values().flat_map(|group| group.ingress.iter().chain(&group.egress));
        let acls = self.vpcs.values().flat_map(|vpc| &vpc.desired.network_acls);
        let entries = acls.flat_map(|acl| acl.ingress.iter().chain(&acl.egress)).map(|entry| entry.traffic);
        let edges = groups.map(|allow| allow.traffic).chain(entries).filter_map(|traffic| {
            match (traffic, protocol) {
                (Traffic::Tcp { from, to }, Protocol::Tcp) | (Traffic::Udp { from, to }, Protocol::Udp) => {
                    Some([Some(from), to.checked_add(1)])
                }
                _ => None,
            }
        });
        let edges = edges.flatten().flatten().filter(|port| range.contains(port));
        let ports: BTreeSet<u16> = edges.chain([*range.start()]).collect();
        ports.into_iter().collect()
    }
}

impl Header {
    fn fits(&self, packet: Packet) -> bool {
        let (from, to) = packet.ports();
        self.src.is_none_or(|src| src == packet.src)
            && self.dst.is_none_or(|dst| dst == packet.dst)
            && self.from_ports.as_ref().is_none_or(|ports| ports.contains(&from))
            && self.to_ports.as_ref().is_none_or(|ports| ports.contains(&to))
    }
}

/// Its own addresses, the primary one first.
fn own(interface: &InterfaceDesired) -> Vec<IpAddr> {
    let v4 = interface.own_ipv4().map(IpAddr::V4);
    v4.chain(own_ipv6(interface)).collect()
}

/// Those that it has outside; one that has none is asked for by its own, in vain.
fn publics(interface: &InterfaceDesired) -> Vec<IpAddr> {
    let v4 = interface.addresses.iter().filter_map(|address| address.public).map(IpAddr::V4);
    let all: Vec<IpAddr> = v4.chain(own_ipv6(interface)).collect();
    if all.is_empty() { own(interface) } else { all }
}

/// Of a prefix, the first stands for all.
fn own_ipv6(interface: &InterfaceDesired) -> impl Iterator<Item = IpAddr> {
    let of_prefixes = interface.ipv6_prefixes.iter().map(ipnet::Ipv6Net::network);
    interface.ipv6.iter().copied().chain(of_prefixes).map(IpAddr::V6)
}
