//! DHCP: every interface always gets the address that the control plane gave it.
//!
//! There is no pool and no state. An answer goes only to the interface that the packet came in by, and only when its
//! hardware address is that interface's own. A client that asks for it gets its address in one exchange rather than two (Rapid
//! Commit, RFC 4039).
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html>

use crate::directory::Directory;
use ipnet::Ipv4Net;
use model::{Mac, NetworkInterfaceId};
use std::net::Ipv4Addr;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS: usize = 240;
const LEASE: u32 = 3600;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const RESOLVERS: u8 = 6;
const HOSTNAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const NTP: u8 = 42;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLIENT: u8 = 61;
const RAPID: u8 = 80;

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const NAK: u8 = 6;
const INFORM: u8 = 8;

/// What an interface is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    pub resolver: Option<Ipv4Addr>,
    pub hostname: String,
    pub domain: String,
    pub mtu: u16,
}

impl Lease {
    fn gateway(&self) -> Ipv4Addr {
        plan::net::gateway(self.subnet)
    }
}

/// A reply and where it goes, always to port 68 by the interface that the request came in by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub source: Ipv4Addr,
    pub to: Ipv4Addr,
}

/// The lease of an interface, if an instance of this host has it and it has an IPv4 address.
pub fn lease(directory: &Directory, interface: NetworkInterfaceId) -> Option<Lease> {
    let occupant = directory.behind(interface)?;
    let interface = occupant.interface();
    let vpc = directory.vpc(interface.vpc);
    let resolver = match vpc {
        Some(vpc) if vpc.dns_support => vpc.cidrs.first().map(|first| plan::net::resolver(*first)),
        Some(_) => None,
        None => Some(plan::net::RESOLVER),
    };
    Some(Lease {
        mac: interface.mac,
        address: interface.addresses.first()?.private,
        subnet: interface.subnet_cidr?,
        resolver,
        hostname: interface.hostname.clone(),
        domain: interface.domain.clone(),
        mtu: plan::net::MTU,
    })
}

/// Answers a client's packet from the interface that holds `lease`.
pub fn answer(packet: &[u8], lease: &Lease) -> Option<Answer> {
    let request = Request::parse(packet)?;
    if request.mac != lease.mac || !request.relay.is_unspecified() {
        return None;
    }
    let gateway = lease.gateway();
    if request.server.is_some_and(|server| server != gateway) {
        return None;
    }
    let kind = match request.kind {
        DISCOVER if request.is_rapid => ACK,
        DISCOVER => OFFER,
        INFORM if request.client_address == lease.address => ACK,
        REQUEST => {
            let claimed = request.requested.unwrap_or(request.client_address);
            if claimed == lease.address { ACK } else { NAK }
        }
        // Release and decline change nothing: the address stays the interface's.
        _ => return None,
    };
    let to = if kind == NAK || (request.client_address.is_unspecified() && request.broadcast) {
        Ipv4Addr::BROADCAST
    } else {
        lease.address
    };
    Some(Answer { bytes: reply(packet, &request, kind, lease), source: gateway, to })
}

fn reply(packet: &[u8], request: &Request, kind: u8, lease: &Lease) -> Vec<u8> {
    let mut out = vec![0; OPTIONS];
    // Operation, hardware type and length; then the client's transaction, flags, address and hardware address.
    out[..3].copy_from_slice(&[2, 1, 6]);
    out[4..8].copy_from_slice(&packet[4..8]);
    out[10..12].copy_from_slice(&packet[10..12]);
    out[28..44].copy_from_slice(&packet[28..44]);
    out[236..240].copy_from_slice(&COOKIE);
    if kind == ACK {
        out[12..16].copy_from_slice(&packet[12..16]);
    }
    if kind != NAK && request.kind != INFORM {
        out[16..20].copy_from_slice(&lease.address.octets());
    }
    let mut option = |code: u8, value: &[u8]| {
        if let (false, Ok(length)) = (value.is_empty(), u8::try_from(value.len())) {
            out.extend_from_slice(&[code, length]);
            out.extend_from_slice(value);
        }
    };
    let gateway = lease.gateway().octets();
    option(KIND, &[kind]);
    option(SERVER, &gateway);
    if let Some(client) = request.client {
        option(CLIENT, client);
    }
    if kind != NAK {
        if request.kind != INFORM {
            option(LEASE_TIME, &LEASE.to_be_bytes());
            option(RENEW, &(LEASE / 2).to_be_bytes());
            option(REBIND, &(LEASE / 8 * 7).to_be_bytes());
        }
        option(MASK, &lease.subnet.netmask().octets());
        option(ROUTER, &gateway);
        if let Some(resolver) = lease.resolver {
            option(RESOLVERS, &resolver.octets());
        }
        option(HOSTNAME, lease.hostname.as_bytes());
        option(DOMAIN, lease.domain.as_bytes());
        option(MTU, &lease.mtu.to_be_bytes());
        option(NTP, &plan::net::TIME.octets());
    }
    if kind == ACK && request.kind == DISCOVER {
        out.extend([RAPID, 0]);
    }
    out.push(255);
    // Old clients drop what is shorter than a BOOTP packet.
    out.resize(out.len().max(300), 0);
    out
}

struct Request<'a> {
    kind: u8,
    mac: Mac,
    broadcast: bool,
    client_address: Ipv4Addr,
    relay: Ipv4Addr,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    client: Option<&'a [u8]>,
    is_rapid: bool,
}

impl<'a> Request<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        if packet.len() < OPTIONS || packet[..3] != [1, 1, 6] || packet[236..240] != COOKIE {
            return None;
        }
        let mut request = Self {
            kind: 0,
            mac: Mac(packet[28..34].try_into().ok()?),
            broadcast: packet[10] & 0x80 != 0,
            client_address: address(&packet[12..16])?,
            relay: address(&packet[24..28])?,
            requested: None,
            server: None,
            client: None,
            is_rapid: false,
        };
        let mut rest = &packet[OPTIONS..];
        while let [code, tail @ ..] = rest {
            if *code == 0 {
                rest = tail;
                continue;
            }
            if *code == 255 {
                break;
            }
            let [length, tail @ ..] = tail else { break };
            let Some(value) = tail.get(..usize::from(*length)) else { break };
            match *code {
                KIND => request.kind = *value.first()?,
                REQUESTED => request.requested = Some(address(value)?),
                SERVER => request.server = Some(address(value)?),
                CLIENT => request.client = Some(value),
                RAPID => request.is_rapid = true,
                _ => {}
            }
            rest = &tail[value.len()..];
        }
        Some(request)
    }
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_lease() -> Lease {
        Lease {
            mac: Mac([10, 1, 2, 3, 4, 5]),
            address: Ipv4Addr::new(172, 31, 16, 9),
            subnet: "172.31.16.0/20".parse().unwrap(),
            resolver: Some(Ipv4Addr::new(172, 31, 0, 2)),
            hostname: "ip-172-31-16-9".into(),
            domain: "ec2.internal".into(),
            mtu: 1500,
        }
    }

    fn packet(kind: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[..3].copy_from_slice(&[1, 1, 6]);
        bytes[4..8].copy_from_slice(b"xid!");
        bytes[28..34].copy_from_slice(&a_lease().mac.0);
        bytes[236..240].copy_from_slice(&COOKIE);
        for (code, value) in [(KIND, &[kind][..])].iter().chain(options) {
            bytes.extend_from_slice(&[*code, value.len() as u8]);
            bytes.extend_from_slice(value);
        }
        bytes.push(255);
        bytes
    }

    fn option(reply: &[u8], wanted: u8) -> Option<Vec<u8>> {
        let mut rest = &reply[OPTIONS..];
        while let [code, length, tail @ ..] = rest {
            if *code == 255 {
                return None;
            }
            if *code == wanted {
                return Some(tail[..usize::from(*length)].to_vec());
            }
            rest = &tail[usize::from(*length)..];
        }
        None
    }

    #[test]
    fn a_discover_is_offered_the_interfaces_own_address() {
        let answer = answer(&packet(DISCOVER, &[]), &a_lease()).unwrap();
        assert_eq!(&answer.bytes[16..20], &[172, 31, 16, 9]);
        assert_eq!(&answer.bytes[4..8], b"xid!");
        assert_eq!(answer.to, a_lease().address);
        for (code, value) in [
            (KIND, &[OFFER][..]),
            (MASK, &[255, 255, 240, 0]),
            (ROUTER, &[172, 31, 16, 1]),
            (RESOLVERS, &[172, 31, 0, 2]),
            (HOSTNAME, b"ip-172-31-16-9"),
            (DOMAIN, b"ec2.internal"),
            (MTU, &[5, 220]),
            (NTP, &[169, 254, 169, 123]),
            (LEASE_TIME, &[0, 0, 14, 16]),
        ] {
            assert_eq!(option(&answer.bytes, code).as_deref(), Some(value), "option {code}");
        }
    }

    #[test]
    fn a_client_that_asks_for_it_gets_its_lease_in_one_exchange() {
        let lease = a_lease();
        let answer = answer(&packet(DISCOVER, &[(RAPID, &[])]), &lease).unwrap();
        assert_eq!(option(&answer.bytes, KIND), Some(vec![ACK]));
        assert_eq!(option(&answer.bytes, RAPID), Some(vec![]));
        assert_eq!(answer.bytes[16..20], lease.address.octets());
    }

    #[test]
    fn a_request_for_another_address_is_refused_to_everyone_on_the_link() {
        let answer = answer(&packet(REQUEST, &[(REQUESTED, &[172, 31, 16, 10])]), &a_lease()).unwrap();
        assert_eq!(option(&answer.bytes, KIND).as_deref(), Some(&[NAK][..]));
        assert_eq!(answer.to, Ipv4Addr::BROADCAST);
        assert_eq!(&answer.bytes[16..20], &[0; 4]);
    }

    #[test]
    fn another_hardware_address_gets_no_answer() {
        let mut bytes = packet(DISCOVER, &[]);
        bytes[33] ^= 1;
        assert_eq!(answer(&bytes, &a_lease()), None);
    }

    #[test]
    fn a_relayed_packet_and_one_for_another_server_get_no_answer() {
        let mut relayed = packet(DISCOVER, &[]);
        relayed[27] = 9;
        assert_eq!(answer(&relayed, &a_lease()), None);
        assert_eq!(answer(&packet(REQUEST, &[(SERVER, &[1, 2, 3, 4])]), &a_lease()), None);
    }

    #[test]
    fn an_inform_gets_the_options_and_no_lease() {
        let mut bytes = packet(INFORM, &[]);
        bytes[12..16].copy_from_slice(&[172, 31, 16, 9]);
        let answer = answer(&bytes, &a_lease()).unwrap();
        assert_eq!(option(&answer.bytes, LEASE_TIME), None);
        assert_eq!(&answer.bytes[16..20], &[0; 4]);
        assert_eq!(option(&answer.bytes, ROUTER).as_deref(), Some(&[172, 31, 16, 1][..]));
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_server_fail(head in prop::collection::vec(any::<u8>(), 0..260), tail in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = answer(&head, &a_lease());
            let mut bytes = packet(REQUEST, &[]);
            bytes.pop();
            bytes.extend_from_slice(&tail);
            let _ = answer(&bytes, &a_lease());
        }
    }
}
