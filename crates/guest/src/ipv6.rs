//! IPv6: the kernel learns of its router by itself; the address comes by DHCPv6 (RFC 8415), from here.
//!
//! Nothing is asked before a router has shown itself, so a network without IPv6 hears nothing of this. A client with Rapid
//! Commit needs one exchange. The address is asked for again long before its time is over; a server that is silent takes
//! nothing away. Where there is no IPv4 ([`is_alone`]) the resolver and the services are those of IPv6.

use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use crate::console::{report, say};
use crate::netlink::Routing;
use crate::nic::{self, Nic};
use crate::{parked, sys};

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
const RESOLVERS: u16 = 23;
const DOMAINS: u16 = 24;
const INTERFACE: [u8; 4] = [0, 0, 0, 1];

/// What a server gives.
#[derive(Debug, Clone, PartialEq)]
struct Given {
    address: Ipv6Addr,
    resolvers: Vec<Ipv6Addr>,
    domain: Option<String>,
}

/// By whose hardware address it was begun, and what has come of it.
static BEGUN: Mutex<Option<([u8; 6], Option<Given>)>> = Mutex::new(None);
static ALONE: AtomicBool = AtomicBool::new(false);

/// Begins to keep the primary interface's address, once for each hardware address that it has.
pub fn begin(nic: &Nic) {
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    if begun.as_ref().is_some_and(|(mac, _)| *mac == nic.mac) {
        return;
    }
    *begun = Some((nic.mac, None));
    let nic = nic.clone();
    let keeper = thread::Builder::new().stack_size(128 * 1024).spawn(move || {
        parked::release();
        keep(&nic);
    });
    report("cannot start a thread", keeper);
}

fn held(mac: [u8; 6]) -> Option<Given> {
    let begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    begun.as_ref().filter(|(of, _)| *of == mac)?.1.clone()
}

/// Whether the primary interface has an address.
pub fn is_held(nic: &Nic) -> bool {
    held(nic.mac).is_some()
}

/// Whether the primary interface is known to have IPv6 alone.
pub fn is_alone() -> bool {
    ALONE.load(Ordering::Relaxed)
}

pub fn set_alone(alone: bool) {
    ALONE.store(alone, Ordering::Relaxed);
}

/// The resolver's configuration, as the server gave it.
pub fn resolver(nic: &Nic) -> String {
    let Some(given) = held(nic.mac) else { return String::new() };
    let search = given.domain.iter().map(|domain| format!("search {domain}\n"));
    let servers = given.resolvers.iter().map(|server| format!("nameserver {server}\n"));
    search.chain(servers).collect()
}

/// Keeps the interface's address, for as long as the interface is there.
fn keep(nic: &Nic) {
    let mut held: Option<Ipv6Addr> = None;
    while nic::is_present(nic) {
        if let Err(error) = wait_for_router(nic) {
            say(&format!("{}: cannot wait for an IPv6 router: {error}", nic.name));
            return;
        }
        match obtain(nic) {
            Ok(Some(given)) => {
                let address = given.address;
                if held != Some(address) {
                    report(&format!("cannot configure {}", nic.name), take(nic, address, held));
                    say(&format!("{}: {address}/128", nic.name));
                    held = Some(address);
                }
                let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((_, latest)) = begun.as_mut().filter(|(mac, _)| *mac == nic.mac) {
                    *latest = Some(given);
                }
                drop(begun);
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
fn obtain(nic: &Nic) -> io::Result<Option<Given>> {
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
            if let Some(given) = given(&buffer[..length], transaction) {
                return Ok(Some(given));
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

/// The first address that a reply gives for some time, and what else it tells.
fn given(packet: &[u8], transaction: [u8; 3]) -> Option<Given> {
    let (head, rest) = packet.split_at_checked(4)?;
    if head[0] != REPLY || head[1..] != transaction {
        return None;
    }
    let (_, association) = options(rest).find(|(code, _)| *code == ADDRESSES)?;
    let mut addresses = options(association.get(12..)?).filter(|(code, _)| *code == ADDRESS);
    let address = addresses.find_map(|(_, value)| {
        let valid = u32::from_be_bytes(value.get(20..24)?.try_into().ok()?);
        let address: [u8; 16] = value.get(..16)?.try_into().ok()?;
        (valid > 0).then(|| Ipv6Addr::from(address))
    })?;
    let told = |wanted: u16| options(rest).find(|(code, _)| *code == wanted).map(|(_, value)| value);
    let (resolvers, _) = told(RESOLVERS).unwrap_or_default().as_chunks::<16>();
    Some(Given {
        address,
        resolvers: resolvers.iter().map(|server| Ipv6Addr::from(*server)).collect(),
        domain: told(DOMAINS).and_then(first_name),
    })
}

/// The first of the names that DNS wrote; none for what is no host name.
fn first_name(mut bytes: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        if *length == 0 {
            return (!labels.is_empty()).then(|| labels.join("."));
        }
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        labels.push(std::str::from_utf8(label).ok().filter(|_| label.iter().all(is_plain))?);
        bytes = rest;
    }
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
        let bare = Given { address, resolvers: Vec::new(), domain: None };
        assert_eq!(given(&packet, [1, 2, 3]), Some(bare.clone()));
        assert_eq!(given(&packet, [1, 2, 4]), None);
        assert_eq!(given(&packet[..30], [1, 2, 3]), None);
        let last = packet.len() - 1;
        packet[last] = 0;
        assert_eq!(given(&packet, [1, 2, 3]), None);
    }

    #[test]
    fn a_reply_names_resolvers_and_a_domain() {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let resolver: Ipv6Addr = "fd00:ec2::253".parse().unwrap();
        let mut packet = vec![REPLY, 1, 2, 3, 0, 3, 0, 40];
        packet
            .extend([&[0; 12][..], &[0, 5, 0, 24], &address.octets(), &[0, 0, 0, 9], &[0, 0, 0, 9]].concat());
        packet.extend([&[0, 23, 0, 16][..], &resolver.octets()].concat());
        packet.extend([&[0, 24, 0, 14][..], b"\x03ec2\x08internal\0"].concat());
        let domain = Some("ec2.internal".to_owned());
        assert_eq!(given(&packet, [1, 2, 3]), Some(Given { address, resolvers: vec![resolver], domain }));
        for text in [&b""[..], b"\0", b"\x03ec2", b"\x04a b!\0", b"\x03a\nb\0", b"\x09ab\0"] {
            assert_eq!(first_name(text), None, "{text:?}");
        }
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
