//! Tracked connections: they outlive the rules and mappings that let them in, so some must be ended by hand.

use super::netlink::{Message, Socket, as_u32, attr};
use ipnet::IpNet;
use plan::flow_log::{Count, Tracked, Tuple};
use plan::net::ipv6;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const PROTOCOL_INFO: u16 = 4;
const COUNTERS_ORIGINAL: u16 = 9;
const COUNTERS_REPLY: u16 = 10;
const ID: u16 = 12;
/// The parts of a tuple that hold addresses: source and destination, of IPv4 and of IPv6.
const ENDS: [u16; 4] = [1, 2, 3, 4];
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// Ends every connection of the socket's namespace that has one of these addresses, or one of these IPv6 prefixes, at an end, before or behind
/// translation. Returns how many.
pub fn forget(socket: &mut Socket, ends: &BTreeSet<IpNet>) -> io::Result<usize> {
    if ends.is_empty() {
        return Ok(0);
    }
    let mut ended = 0;
    for entry in socket.dump(Message::new(GET, 0, &[0, 0, 0, 0]))? {
        let Some(attributes) = entry.get(4..) else { continue };
        let concerned = [ORIGINAL, REPLY].into_iter().any(|direction| {
            let Some(ip) = attr(attributes, direction).and_then(|tuple| attr(tuple, 1)) else { return false };
            ENDS.into_iter()
                .any(|end| attr(ip, end).and_then(as_address).is_some_and(|address| is_among(ends, address)))
        });
        let Some(tuple) = attr(attributes, ORIGINAL).filter(|_| concerned) else { continue };
        let mut message = Message::new(DELETE, 0, &[entry[0], 0, 0, 0]);
        message.nest(ORIGINAL, |m| {
            m.raw(tuple);
        });
        match socket.request(message) {
            // It has ended by itself.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            done => {
                done?;
                ended += 1;
            }
        }
    }
    Ok(ended)
}

fn is_among(ends: &BTreeSet<IpNet>, address: IpAddr) -> bool {
    let of_prefix = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => ends.contains(&IpNet::V6(ipv6::around(v6))),
    };
    of_prefix || ends.contains(&IpNet::from(address))
}

/// Every connection of the socket's namespace that is counted, with what it has carried.
pub fn carried(socket: &mut Socket) -> io::Result<Vec<Tracked>> {
    let found = socket.dump(Message::new(GET, 0, &[0, 0, 0, 0]))?;
    Ok(found.iter().filter_map(|entry| tracked(entry.get(4..)?)).collect())
}

fn tracked(attributes: &[u8]) -> Option<Tracked> {
    let count = |kind| {
        let counters = attr(attributes, kind)?;
        let number = |kind| attr(counters, kind)?.try_into().map(u64::from_be_bytes).ok();
        Some(Count { packets: number(1)?, bytes: number(2)? })
    };
    let tcp = attr(attributes, PROTOCOL_INFO).and_then(|info| attr(info, 1));
    Some(Tracked {
        id: attr(attributes, ID).map_or(0, as_u32),
        original: tuple(attr(attributes, ORIGINAL)?)?,
        reply: tuple(attr(attributes, REPLY)?)?,
        forth: count(COUNTERS_ORIGINAL)?,
        back: count(COUNTERS_REPLY)?,
        state: tcp.and_then(|tcp| attr(tcp, 1)?.first().copied()),
    })
}

fn tuple(attributes: &[u8]) -> Option<Tuple> {
    let (ip, protocol) = (attr(attributes, 1)?, attr(attributes, 2)?);
    let address = |v4, v6| attr(ip, v4).or_else(|| attr(ip, v6)).and_then(as_address);
    let port =
        |kind| attr(protocol, kind).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
    Some(Tuple {
        src: address(ENDS[0], ENDS[2])?,
        dst: address(ENDS[1], ENDS[3])?,
        protocol: *attr(protocol, 1)?.first()?,
        src_port: port(2),
        dst_port: port(3),
    })
}

fn as_address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|v4| Ipv4Addr::from(v4).into()),
        16 => <[u8; 16]>::try_from(value).ok().map(|v6| Ipv6Addr::from(v6).into()),
        _ => None,
    }
}
