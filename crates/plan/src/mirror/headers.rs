//! What filters look at in a frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
/// Where the Internet Protocol begins in a frame.
pub const NETWORK: usize = 14;
/// Of the flags and the offset of an IPv4 fragment.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// How many extensions an IPv6 header may have that is looked at.
const MOST_EXTENSIONS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headers {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Where the protocol's own header begins; none in a fragment that is not the first.
    pub transport: Option<usize>,
    /// Source and destination, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    /// The type of an ICMPv6 message.
    pub icmp: Option<u8>,
    /// Whether it says of a copy that nobody takes it.
    pub is_complaint: bool,
}

fn take<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

pub fn number(frame: &[u8], at: usize) -> Option<u16> {
    take(frame, at).map(u16::from_be_bytes)
}

impl Headers {
    /// None: not the Internet Protocol, or broken off.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (source, destination, protocol, transport) = match number(frame, 12)? {
            0x0800 => ipv4(frame)?,
            0x86dd => ipv6(frame)?,
            _ => return None,
        };
        let ports = transport.filter(|_| matches!(protocol, TCP | UDP));
        let ports = ports.and_then(|at| Some((number(frame, at)?, number(frame, at + 2)?)));
        let icmp = transport.filter(|_| protocol == ICMPV6).and_then(|at| frame.get(at).copied());
        let is_complaint =
            protocol == ICMP && transport.is_some_and(|at| frame.get(at..).is_some_and(is_about_copy));
        Some(Self { source, destination, protocol, transport, ports, icmp, is_complaint })
    }

    /// A port for copies, the same for all packets of a flow in either direction: FNV-1a into the dynamic range.
    pub fn flow(&self) -> u16 {
        let end = |address: IpAddr, port: u16| {
            let address = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            let bytes = address.into_iter().chain(port.to_be_bytes()).chain([self.protocol]);
            bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
        };
        let (from, to) = self.ports.unwrap_or_default();
        let hash = end(self.source, from) ^ end(self.destination, to);
        0xc000 | ((hash ^ (hash >> 16)) as u16 & 0x3fff)
    }
}

/// Whether an ICMP message is about a datagram that could not be delivered to the port of copies.
fn is_about_copy(message: &[u8]) -> bool {
    // A plain IPv4 header behind the message's own: copies have no other.
    message.first() == Some(&3)
        && message.get(8) == Some(&0x45)
        && message.get(17) == Some(&UDP)
        && number(message, 30) == Some(super::PORT)
}

type Found = (IpAddr, IpAddr, u8, Option<usize>);

fn ipv4(frame: &[u8]) -> Option<Found> {
    let length = usize::from(frame.get(NETWORK)? & 0xf) * 4;
    let first = number(frame, NETWORK + 6)? & FRAGMENT_OFFSET == 0;
    let address = |at| Some(IpAddr::V4(Ipv4Addr::from(take::<4>(frame, at)?)));
    let protocol = *frame.get(NETWORK + 9)?;
    let transport = (first && length >= 20).then_some(NETWORK + length);
    Some((address(NETWORK + 12)?, address(NETWORK + 16)?, protocol, transport))
}

fn ipv6(frame: &[u8]) -> Option<Found> {
    let address = |at| Some(IpAddr::V6(Ipv6Addr::from(take::<16>(frame, at)?)));
    let (source, destination) = (address(NETWORK + 8)?, address(NETWORK + 24)?);
    let (mut protocol, mut at) = (*frame.get(NETWORK + 6)?, NETWORK + 40);
    for _ in 0..MOST_EXTENSIONS {
        let length = match protocol {
            // Hop by hop, routing, for the destination.
            0 | 43 | 60 => (usize::from(*frame.get(at + 1)?) + 1) * 8,
            // A fragment.
            44 if number(frame, at + 2)? & !0x7 != 0 => {
                return Some((source, destination, *frame.get(at)?, None));
            }
            44 => 8,
            // Authentication.
            51 => (usize::from(*frame.get(at + 1)?) + 2) * 4,
            _ => return Some((source, destination, protocol, Some(at))),
        };
        protocol = *frame.get(at)?;
        at += length;
    }
    Some((source, destination, protocol, None))
}
