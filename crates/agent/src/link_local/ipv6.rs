//! How a guest learns of IPv6: router advertisements and stateful DHCPv6 (RFC 4861, RFC 8415), as functions of packets.
//!
//! The advertisement names the router and says that addresses come by DHCPv6; it names no prefix, so a guest sends all to its
//! router. DHCPv6 has neither pool nor state: an interface always gets its primary address. A client that asks for it gets
//! its address in one exchange (Rapid Commit). Answers go to the link-local address that follows from the interface's own
//! hardware address, and to nobody else.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html#ipv6-addressing>

use crate::directory::Directory;
use model::{Mac, NetworkInterfaceId};
use plan::net::ipv6;
use std::net::Ipv6Addr;

pub const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// How long a guest keeps the router, in seconds.
const ROUTER_LIFETIME: u16 = 1800;
/// "Addresses come by DHCPv6."
const MANAGED: u8 = 0x80;

const SOLICIT: u8 = 1;
const ADVERTISE: u8 = 2;
const REQUEST: u8 = 3;
const CONFIRM: u8 = 4;
const RENEW: u8 = 5;
const REBIND: u8 = 6;
const REPLY: u8 = 7;
const RELEASE: u8 = 8;
const DECLINE: u8 = 9;
const INFORMATION_REQUEST: u8 = 11;

const CLIENT_ID: u16 = 1;
const SERVER_ID: u16 = 2;
const ADDRESSES: u16 = 3;
const ADDRESS: u16 = 5;
const STATUS: u16 = 13;
const RAPID: u16 = 14;
const RESOLVERS: u16 = 23;
const DOMAINS: u16 = 24;

const NO_ADDRESSES: u16 = 2;
const NOT_ON_LINK: u16 = 4;

/// Seconds: half of the lease and seven eighths of it ask for it again.
const LEASE: u32 = 3600;

/// What an interface is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: Mac,
    pub address: Ipv6Addr,
    pub resolver: Option<Ipv6Addr>,
    pub domain: String,
}

/// The lease of an interface, if an instance of this host has it and it has an IPv6 address.
pub fn lease(directory: &Directory, interface: NetworkInterfaceId) -> Option<Lease> {
    let occupant = directory.behind(interface)?;
    let interface = occupant.interface();
    let has_resolver = directory.vpc(interface.vpc).is_none_or(|vpc| vpc.dns_support);
    Some(Lease {
        mac: interface.mac,
        address: *interface.ipv6.first()?,
        resolver: has_resolver.then_some(ipv6::RESOLVER),
        domain: interface.domain.clone(),
    })
}

/// The router's advertisement, without its checksum, which the kernel fills in.
pub fn advertisement() -> Vec<u8> {
    let mut bytes = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, MANAGED];
    bytes.extend(ROUTER_LIFETIME.to_be_bytes());
    bytes.extend([0; 8]);
    // The router's hardware address, and the largest packet.
    bytes.extend([1, 1]);
    bytes.extend(plan::net::GATEWAY_MAC);
    bytes.extend([5, 1, 0, 0]);
    bytes.extend(u32::from(plan::net::MTU).to_be_bytes());
    bytes
}

/// Who serves: the router's hardware address (DUID-LL).
fn server() -> Vec<u8> {
    let mut id = vec![0, 3, 0, 1];
    id.extend(plan::net::GATEWAY_MAC);
    id
}

/// Answers a client's message from the interface that holds `lease`; `from` is its source.
pub fn answer(packet: &[u8], from: Ipv6Addr, lease: &Lease) -> Option<Vec<u8>> {
    if from != ipv6::link_local(lease.mac) {
        return None;
    }
    let (head, mut rest) = packet.split_at_checked(4)?;
    let (mut client, mut for_us, mut rapid, mut asked, mut named) = (None, true, false, None, None);
    while let Some((code, value, left)) = option(rest) {
        match code {
            CLIENT_ID => client = Some(value),
            SERVER_ID => for_us = value == server(),
            RAPID => rapid = true,
            ADDRESSES => {
                let (id, inner) = value.split_first_chunk::<4>()?;
                asked = Some(*id);
                named = inner.get(8..).and_then(option).filter(|(code, ..)| *code == ADDRESS).and_then(
                    |(_, address, _)| {
                        let octets: [u8; 16] = address.get(..16)?.try_into().ok()?;
                        Some(Ipv6Addr::from(octets))
                    },
                );
            }
            _ => {}
        }
        rest = left;
    }
    // Only who wants to know about the network alone may go without a name.
    let known = client.is_some() || head[0] == INFORMATION_REQUEST;
    if !for_us || !known {
        return None;
    }
    let kind = match head[0] {
        SOLICIT if rapid => REPLY,
        SOLICIT => ADVERTISE,
        REQUEST | CONFIRM | RENEW | REBIND | RELEASE | DECLINE | INFORMATION_REQUEST => REPLY,
        _ => return None,
    };
    let mut out = vec![kind];
    out.extend(&head[1..4]);
    if let Some(client) = client {
        put(&mut out, CLIENT_ID, client);
    }
    put(&mut out, SERVER_ID, &server());
    if head[0] == SOLICIT && rapid {
        put(&mut out, RAPID, &[]);
    }
    match head[0] {
        SOLICIT | REQUEST | RENEW | REBIND => {
            if let Some(id) = asked {
                put(&mut out, ADDRESSES, &leased(id, lease, named));
            } else if head[0] != SOLICIT {
                put(&mut out, STATUS, &NO_ADDRESSES.to_be_bytes());
            }
        }
        CONFIRM => {
            let status = if named.is_none_or(|named| named == lease.address) { 0 } else { NOT_ON_LINK };
            put(&mut out, STATUS, &status.to_be_bytes());
        }
        // The address stays the interface's, whatever becomes of it.
        RELEASE | DECLINE => put(&mut out, STATUS, &[0, 0]),
        _ => {}
    }
    if let Some(resolver) = lease.resolver {
        put(&mut out, RESOLVERS, &resolver.octets());
        if let Some(domain) = encoded(&lease.domain) {
            put(&mut out, DOMAINS, &domain);
        }
    }
    Some(out)
}

/// The interface's address for as long as a lease goes, and none longer for another that the client named.
fn leased(id: [u8; 4], lease: &Lease, named: Option<Ipv6Addr>) -> Vec<u8> {
    let mut inner = id.to_vec();
    inner.extend((LEASE / 2).to_be_bytes());
    inner.extend((LEASE / 8 * 7).to_be_bytes());
    let mut address = |address: Ipv6Addr, seconds: u32| {
        let mut value = address.octets().to_vec();
        value.extend(seconds.to_be_bytes());
        value.extend(seconds.to_be_bytes());
        put(&mut inner, ADDRESS, &value);
    };
    address(lease.address, LEASE);
    if let Some(other) = named.filter(|named| *named != lease.address) {
        address(other, 0);
    }
    inner
}

fn put(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let Ok(length) = u16::try_from(value.len()) else { return };
    out.extend(code.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(value);
}

/// The first option: its code, its value, and what follows.
fn option(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (value, rest) = rest.split_at_checked(length)?;
    Some((u16::from_be_bytes([head[0], head[1]]), value, rest))
}

/// A name as DNS writes it; none for what is no name.
fn encoded(name: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        out.push(length);
        out.extend(label.as_bytes());
    }
    out.push(0);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_lease() -> Lease {
        Lease {
            mac: Mac([10, 1, 2, 3, 4, 5]),
            address: "2001:db8::5".parse().unwrap(),
            resolver: Some(ipv6::RESOLVER),
            domain: "ec2.internal".into(),
        }
    }

    fn own() -> Ipv6Addr {
        ipv6::link_local(a_lease().mac)
    }

    fn packet(kind: u8, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![kind, 7, 8, 9];
        put(&mut bytes, CLIENT_ID, b"client");
        for (code, value) in options {
            put(&mut bytes, *code, value);
        }
        bytes
    }

    fn options(reply: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let (mut rest, mut found) = (&reply[4..], Vec::new());
        while let Some((code, value, left)) = option(rest) {
            found.push((code, value.to_vec()));
            rest = left;
        }
        found
    }

    fn value(reply: &[u8], wanted: u16) -> Option<Vec<u8>> {
        options(reply).into_iter().find(|(code, _)| *code == wanted).map(|(_, value)| value)
    }

    #[test]
    fn a_solicit_is_offered_the_interfaces_own_address_and_a_hasty_one_given_it() {
        let association = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        for (extra, kind) in [(&[][..], ADVERTISE), (&[(RAPID, &[][..])], REPLY)] {
            let mut given = vec![(ADDRESSES, &association[..])];
            given.extend(extra);
            let reply = answer(&packet(SOLICIT, &given), own(), &a_lease()).unwrap();
            assert_eq!(reply[..4], [kind, 7, 8, 9]);
            let addresses = value(&reply, ADDRESSES).unwrap();
            assert_eq!(addresses[..4], [1, 2, 3, 4]);
            assert_eq!(addresses[16..32], a_lease().address.octets());
            assert_eq!(value(&reply, CLIENT_ID).unwrap(), b"client");
            assert_eq!(value(&reply, RESOLVERS).unwrap(), ipv6::RESOLVER.octets());
            assert_eq!(value(&reply, DOMAINS).unwrap(), b"\x03ec2\x08internal\0");
        }
    }

    #[test]
    fn an_address_of_others_is_taken_back() {
        let mut association = vec![1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut other = "2001:db8::6".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        other.extend([0; 8]);
        put(&mut association, ADDRESS, &other);
        let reply = answer(&packet(RENEW, &[(ADDRESSES, &association)]), own(), &a_lease()).unwrap();
        let addresses = value(&reply, ADDRESSES).unwrap();
        assert_eq!(addresses[44..60], other[..16]);
        assert_eq!(addresses[60..68], [0; 8]);
    }

    #[test]
    fn nobody_else_and_no_other_servers_client_gets_an_answer() {
        let request = packet(REQUEST, &[(SERVER_ID, b"another")]);
        assert_eq!(answer(&request, own(), &a_lease()), None);
        let stranger = "fe80::99".parse().unwrap();
        assert_eq!(answer(&packet(SOLICIT, &[]), stranger, &a_lease()), None);
        assert_eq!(answer(&packet(ADVERTISE, &[]), own(), &a_lease()), None);
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_server_fail(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = answer(&bytes, own(), &a_lease());
            let mut known = packet(REQUEST, &[]);
            known.extend(bytes);
            let _ = answer(&known, own(), &a_lease());
        }
    }
}
