//! Traffic mirroring: which session gets a packet, and the datagram that carries the copy.
//!
//! What a machine and its router say to each other is nobody's traffic: ARP and neighbour discovery, DHCP, the metadata
//! service, time, the cloud's own API. The resolver's is, to filters that name it. A copy is cut to what one packet holds.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/mirroring/traffic-mirroring-how-it-works.html>,
//! <https://docs.aws.amazon.com/vpc/latest/mirroring/traffic-mirroring-packet-formats.html>; VXLAN: RFC 7348.

mod finish;
mod headers;
#[cfg(test)]
mod tests;

pub use finish::Offload;

use crate::net::{MTU, RESOLVER, ipv6, resolver};
use headers::{Headers, ICMPV6, TCP, UDP};
use model::NetworkInterfaceId;
use model::host::VpcDesired;
use model::traffic_mirror::{Action, Direction, MirrorDesired, MirrorRule, Ports};
use std::net::IpAddr;

/// Where copies are sent to.
pub const PORT: u16 = 4789;
const IPV4: usize = 20;
/// IPv4, UDP and VXLAN.
const OUTER: usize = IPV4 + 8 + 8;
/// How much of a packet fits into a copy.
pub const LONGEST: usize = MTU as usize - OUTER;
const DNS: u16 = 53;
/// What copies are marked with on their way: those that stay in a subnet, and those that pass a network ACL. No subnet has
/// such a number.
pub const MARKS: [u32; 2] = [100, 101];

/// What is copied of one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// By number.
    sessions: Vec<MirrorDesired>,
    resolvers: Vec<IpAddr>,
}

impl Mirror {
    /// None: nothing is.
    pub fn of(vpc: &VpcDesired, source: NetworkInterfaceId) -> Option<Self> {
        let mut sessions: Vec<_> = vpc.mirrors.iter().filter(|m| m.source == source).cloned().collect();
        sessions.sort_by_key(|session| session.number);
        let own = vpc.cidrs.first().map(|first| IpAddr::V4(resolver(*first)));
        let resolvers = own.into_iter().chain([IpAddr::V4(RESOLVER), IpAddr::V6(ipv6::RESOLVER)]).collect();
        (!sessions.is_empty()).then_some(Self { sessions, resolvers })
    }

    /// Gives the datagrams that carry a frame's copy, from the IPv4 header on, and the session that gets them. `frame` is
    /// what a packet socket hears; what its sender left to the hardware is done in the copy.
    pub fn copy(
        &self,
        direction: Direction,
        frame: &mut [u8],
        offload: Offload,
        mut give: impl FnMut(&MirrorDesired, &[u8]),
    ) {
        let Some(headers) = Headers::parse(frame) else { return };
        let Some(session) = self.session(direction, &headers) else { return };
        let (length, port) = (session.length.map_or(LONGEST, usize::from), headers.flow());
        let mut datagram = Vec::with_capacity(MTU.into());
        finish::pieces(frame, &headers, offload, |piece| {
            write(session, port, &piece[..piece.len().min(length).min(LONGEST)], &mut datagram);
            give(session, &datagram);
        });
    }

    fn session(&self, direction: Direction, packet: &Headers) -> Option<&MirrorDesired> {
        if self.is_of_resolver(packet) {
            return self.sessions.iter().find(|session| session.filter.dns);
        }
        if is_of_router(packet) {
            return None;
        }
        self.sessions.iter().find(|session| {
            let rules = match direction {
                Direction::Ingress => &session.filter.ingress,
                Direction::Egress => &session.filter.egress,
            };
            let decides = rules.iter().find(|rule| matches(rule, packet));
            decides.is_some_and(|rule| rule.action == Action::Accept)
        })
    }

    fn is_of_resolver(&self, packet: &Headers) -> bool {
        let ends = [
            (packet.source, packet.ports.map(|(from, _)| from)),
            (packet.destination, packet.ports.map(|(_, to)| to)),
        ];
        let is_dns = |port: Option<u16>| port.is_none_or(|port| port == DNS);
        matches!(packet.protocol, TCP | UDP)
            && ends.iter().any(|(end, port)| is_dns(*port) && self.resolvers.contains(end))
    }
}

/// What a router and its machine alone say to each other, and what is said of copies: it would be copied without end where
/// two copy to each other.
fn is_of_router(packet: &Headers) -> bool {
    let own = |end: IpAddr| match end {
        IpAddr::V4(end) => end.is_link_local(),
        IpAddr::V6(end) => end.is_unicast_link_local() || ipv6::KEPT.contains(&end),
    };
    let is_dhcp = packet.protocol == UDP
        && packet.ports.is_some_and(|ports| matches!(ports, (67 | 68, 67 | 68) | (546 | 547, 546 | 547)));
    let is_discovery =
        packet.protocol == ICMPV6 && packet.icmp.is_some_and(|kind| (133..=137).contains(&kind));
    own(packet.source) || own(packet.destination) || is_dhcp || is_discovery || packet.is_complaint
}

fn matches(rule: &MirrorRule, packet: &Headers) -> bool {
    let within = |range: Option<Ports>, port: Option<u16>| {
        range.is_none_or(|range| port.is_some_and(|port| (range.from..=range.to).contains(&port)))
    };
    rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && rule.source.contains(&packet.source)
        && rule.destination.contains(&packet.destination)
        && within(rule.source_ports, packet.ports.map(|(from, _)| from))
        && within(rule.destination_ports, packet.ports.map(|(_, to)| to))
}

/// The datagram of a copy. Its checksum is left out, as VXLAN allows; the header's is the kernel's.
fn write(session: &MirrorDesired, port: u16, copy: &[u8], out: &mut Vec<u8>) {
    let total = (OUTER + copy.len()) as u16;
    out.clear();
    // Not to be cut into fragments; 64 hops; UDP.
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
    out.extend_from_slice(&session.from.octets());
    out.extend_from_slice(&session.to.octets());
    for part in [port, PORT, total - IPV4 as u16, 0] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    out.extend_from_slice(&[0x08, 0, 0, 0]);
    out.extend_from_slice(&(session.network << 8).to_be_bytes());
    out.extend_from_slice(copy);
}
