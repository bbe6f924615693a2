//! IPv6: the kernel learns of its router by itself; the address comes by DHCPv6 (RFC 8415), from here.
//!
//! Nothing is asked before a router has shown itself, so a network without IPv6 hears nothing of this. A client with Rapid
//! Commit needs one exchange. The address is asked for again long before its time is over; a server that is silent takes
//! nothing away.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::thread::sleep;
use std::time::Duration;

use crate::console::{report, say};
use crate::netlink::Routing;
use crate::nic::{self, Nic};
use crate::sys;

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// All DHCP servers of the link.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const AGAIN: Duration = Duration::from_mins(25);
/// From linux/rtnetlink.h.
const ROUTE_EVENTS: u32 = 0x400;

const SOLICIT: u8 = 1;
const REPLY: u8 = 7;
const CLIENT_ID: u16 = 1;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const ELAPSED: u16 = 8;
const RAPID: u16 = 14;
const INTERFACE: [u8; 4] = [0, 0, 0, 1];

/// Keeps the interface's address, for as long as the interface is there.
pub fn keep(nic: &Nic) {
    let mut held: Option<Ipv6Addr> = None;
    while nic::is_present(nic) {
        if let Err(error) = wait_for_router(nic) {
            say(&format!("{}: cannot wait for an IPv6 router: {error}", nic.name));
            return;
        }
        match obtain(nic) {
            Ok(Some(address)) => {
                if held != Some(address) {
                    report(&format!("cannot configure {}", nic.name), take(nic, address, held));
                    say(&format!("{}: {address}/128", nic.name));
                    held = Some(address);
                }
                sleep(AGAIN);
            }
            Ok(None) => sleep(Duration::from_secs(5)),
            Err(error) => {
                say(&format!("DHCPv6 on {}: {error}", nic.name));
                sleep(Duration::from_secs(10));
            }
        }
    }
}

fn take(nic: &Nic, address: Ipv6Addr, before: Option<Ipv6Addr>) -> io::Result<()> {
    let routing = Routing::open()?;
    if let Some(before) = before {
        routing.remove_ipv6_address(nic.index, before)?;
    }
    routing.add_ipv6_address(nic.index, address)
}

/// Until a router has advertised itself on the interface.
fn wait_for_router(nic: &Nic) -> io::Result<()> {
    // Subscribed before looking, so that nothing is missed between the two.
    let events = sys::netlink_socket(libc::NETLINK_ROUTE, ROUTE_EVENTS)?;
    let mut buffer = [0u8; 8192];
    while !fs::read_to_string("/proc/net/ipv6_route").is_ok_and(|routes| has_router(&routes, &nic.name)) {
        sys::receive(&events, &mut buffer, Some(Duration::from_mins(1)))?;
    }
    Ok(())
}

/// Whether a default route through a router stands in the kernel's list.
fn has_router(routes: &str, name: &str) -> bool {
    const NONE: &str = "00000000000000000000000000000000";
    routes.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words.as_slice(), [NONE, "00", _, _, gateway, .., link] if *gateway != NONE && *link == name)
    })
}

/// One exchange; none when no server answers.
fn obtain(nic: &Nic) -> io::Result<Option<Ipv6Addr>> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, CLIENT_PORT))?;
    let transaction: [u8; 3] = sys::random();
    let to = SocketAddrV6::new(SERVERS, SERVER_PORT, 0, nic.index);
    let mut buffer = [0u8; 2048];
    for seconds in [1, 2, 4] {
        socket.send_to(&solicit(transaction, nic.mac), to)?;
        socket.set_read_timeout(Some(Duration::from_secs(seconds)))?;
        let end = sys::uptime() + Duration::from_secs(seconds);
        while sys::uptime() < end {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else { break };
            if let Some(address) = given(&buffer[..length], transaction) {
                return Ok(Some(address));
            }
        }
    }
    Ok(None)
}

fn solicit(transaction: [u8; 3], mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![SOLICIT];
    bytes.extend(transaction);
    let mut option = |code: u16, value: &[u8]| {
        bytes.extend(code.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
    };
    option(CLIENT_ID, &[&[0, 3, 0, 1], &mac[..]].concat());
    option(ELAPSED, &[0, 0]);
    option(RAPID, &[]);
    option(ADDRESSES, &[INTERFACE, [0; 4], [0; 4]].concat());
    bytes
}

/// The first address that a reply gives for some time.
fn given(packet: &[u8], transaction: [u8; 3]) -> Option<Ipv6Addr> {
    let (head, rest) = packet.split_at_checked(4)?;
    if head[0] != REPLY || head[1..] != transaction {
        return None;
    }
    let (_, association) = options(rest).find(|(code, _)| *code == ADDRESSES)?;
    options(association.get(12..)?).filter(|(code, _)| *code == ADDRESS).find_map(|(_, value)| {
        let valid = u32::from_be_bytes(value.get(20..24)?.try_into().ok()?);
        let address: [u8; 16] = value.get(..16)?.try_into().ok()?;
        (valid > 0).then(|| Ipv6Addr::from(address))
    })
}

fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        bytes = rest;
        Some((u16::from_be_bytes([head[0], head[1]]), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_from_our_reply_alone() {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let leased = [&address.octets()[..], &[0, 0, 0, 9], &[0, 0, 0, 9]].concat();
        let association = [&[0; 12][..], &[0, 5, 0, 24], &leased].concat();
        let mut packet = vec![REPLY, 1, 2, 3, 0, 3, 0, 40];
        packet.extend(association);
        assert_eq!(given(&packet, [1, 2, 3]), Some(address));
        assert_eq!(given(&packet, [1, 2, 4]), None);
        assert_eq!(given(&packet[..30], [1, 2, 3]), None);
        let last = packet.len() - 1;
        packet[last] = 0;
        assert_eq!(given(&packet, [1, 2, 3]), None);
    }

    #[test]
    fn a_router_is_a_default_route_through_somebody() {
        let none = "0".repeat(32);
        let line = |gateway: &str, name: &str| {
            format!("{none} 00 {none} 00 {gateway} 00000400 00000001 00000000 00450003 {name}\n")
        };
        let router = format!("fe80{}1", "0".repeat(27));
        assert!(has_router(&line(&router, "eth0"), "eth0"));
        assert!(!has_router(&line(&router, "eth1"), "eth0"));
        assert!(!has_router(&line(&none, "eth0"), "eth0"));
        assert!(!has_router("", "eth0"));
    }
}
