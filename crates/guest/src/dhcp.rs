//! DHCP messages (RFC 2131, 2132, 3442): written and read, nothing sent. The exchange is in [`crate::lease`].

use std::net::Ipv4Addr;
use std::time::Duration;

pub const SERVER_PORT: u16 = 67;
pub const CLIENT_PORT: u16 = 68;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const FIXED: usize = 236;

/// The kinds of message that a client sends or understands (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Ack = 5,
    Nak = 6,
}

/// What the client asks for.
pub struct Query {
    pub kind: Kind,
    pub transaction: u32,
    pub mac: [u8; 6],
    /// Our address, when we have it and only renew.
    pub current: Option<Ipv4Addr>,
    /// The address and server of the offer that we take.
    pub taken: Option<(Ipv4Addr, Ipv4Addr)>,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub kind: Kind,
    pub lease: Lease,
}

/// A network configuration for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub server: Ipv4Addr,
    /// In the order to be set; classless routes (option 121) override the router option, as RFC 3442 demands.
    pub routes: Vec<Route>,
    pub mtu: Option<u16>,
    pub dns: Vec<Ipv4Addr>,
    pub domain: Option<String>,
    pub hostname: Option<String>,
    /// `None`: for ever.
    pub duration: Option<Duration>,
    pub renew_after: Option<Duration>,
    pub rebind_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    pub destination: Ipv4Addr,
    pub prefix: u8,
    /// Unspecified: on the link.
    pub gateway: Ipv4Addr,
}

impl Lease {
    /// When to ask the same server again: T1, by default half the lease.
    pub fn renew_after(&self) -> Option<Duration> {
        let duration = self.duration?;
        Some(self.renew_after.filter(|t1| *t1 < duration).unwrap_or(duration / 2))
    }

    /// When to ask any server: T2, by default seven eighths of the lease.
    pub fn rebind_after(&self) -> Option<Duration> {
        let duration = self.duration?;
        Some(self.rebind_after.filter(|t2| *t2 <= duration).unwrap_or(duration * 7 / 8))
    }
}

impl Query {
    /// The message, without IP and UDP headers.
    pub fn render(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; FIXED];
        bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
        bytes[4..8].copy_from_slice(&self.transaction.to_be_bytes());
        if let Some(current) = self.current {
            bytes[12..16].copy_from_slice(&current.octets());
        }
        bytes[28..34].copy_from_slice(&self.mac);
        bytes.extend(COOKIE);
        let mut option = |code: u8, value: &[u8]| {
            bytes.extend([code, value.len() as u8]);
            bytes.extend(value);
        };
        option(53, &[self.kind as u8]);
        let mut client = vec![1];
        client.extend(self.mac);
        option(61, &client);
        if let Some((address, server)) = self.taken {
            option(50, &address.octets());
            option(54, &server.octets());
        }
        if self.kind == Kind::Discover {
            // Rapid Commit (RFC 4039): a server that can answers with the lease at once.
            option(80, &[]);
        }
        option(57, &1400u16.to_be_bytes());
        option(55, &[1, 3, 121, 6, 12, 15, 26, 51, 54, 58, 59]);
        bytes.push(255);
        // Old relays drop what is shorter than a BOOTP message.
        bytes.resize(bytes.len().max(300), 0);
        bytes
    }
}

impl Reply {
    /// Reads a message to `mac` about `transaction`; `None` for all others and for what is malformed.
    pub fn parse(bytes: &[u8], transaction: u32, mac: [u8; 6]) -> Option<Reply> {
        if bytes.len() < FIXED + 4
            || bytes[0] != 2
            || bytes[4..8] != transaction.to_be_bytes()
            || bytes[28..34] != mac
            || bytes[FIXED..FIXED + 4] != COOKIE
        {
            return None;
        }
        let mut kind = None;
        let mut lease = Lease {
            address: address(&bytes[16..20])?,
            prefix: 32,
            server: address(&bytes[20..24])?,
            routes: Vec::new(),
            mtu: None,
            dns: Vec::new(),
            domain: None,
            hostname: None,
            duration: None,
            renew_after: None,
            rebind_after: None,
        };
        let mut router = None;
        let mut classless = Vec::new();
        let mut rest = &bytes[FIXED + 4..];
        while let [code, tail @ ..] = rest {
            match code {
                0 => {
                    rest = tail;
                    continue;
                }
                255 => break,
                _ => {}
            }
            let (length, tail) = tail.split_first()?;
            let (value, tail) = tail.split_at_checked(*length as usize)?;
            rest = tail;
            match code {
                1 => lease.prefix = u32::from(address(value)?).leading_ones() as u8,
                3 => router = Some(address(value.get(..4)?)?),
                6 => lease.dns = value.chunks_exact(4).filter_map(address).collect(),
                12 => lease.hostname = text(value),
                15 => lease.domain = text(value),
                26 => lease.mtu = Some(u16::from_be_bytes(value.try_into().ok()?)).filter(|mtu| *mtu >= 576),
                51 => lease.duration = seconds(value)?,
                53 => kind = kind_of(*value.first()?),
                54 => lease.server = address(value)?,
                58 => lease.renew_after = seconds(value)?,
                59 => lease.rebind_after = seconds(value)?,
                // A long option may be split into several of the same code (RFC 3396).
                121 => classless.extend(value),
                _ => {}
            }
        }
        lease.routes = match parse_routes(&classless)? {
            routes if routes.is_empty() => router
                .map(|gateway| Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway })
                .into_iter()
                .collect(),
            routes => routes,
        };
        Some(Reply { kind: kind?, lease })
    }
}

fn parse_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [prefix, tail @ ..] = bytes {
        if *prefix > 32 {
            return None;
        }
        let (significant, tail) = tail.split_at_checked(prefix.div_ceil(8) as usize)?;
        let (gateway, tail) = tail.split_at_checked(4)?;
        let mut destination = [0u8; 4];
        destination[..significant.len()].copy_from_slice(significant);
        routes.push(Route { destination: destination.into(), prefix: *prefix, gateway: address(gateway)? });
        bytes = tail;
    }
    // On-link routes first: the gateways of the others may be reached through them.
    routes.sort_by_key(|route| !route.gateway.is_unspecified());
    Some(routes)
}

fn kind_of(code: u8) -> Option<Kind> {
    [Kind::Discover, Kind::Offer, Kind::Request, Kind::Ack, Kind::Nak]
        .into_iter()
        .find(|kind| *kind as u8 == code)
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

/// Outer `None`: malformed. Inner `None`: for ever.
#[expect(clippy::option_option, reason = "malformed and infinite are two different things")]
fn seconds(bytes: &[u8]) -> Option<Option<Duration>> {
    let seconds = u32::from_be_bytes(bytes.try_into().ok()?);
    Some((seconds != u32::MAX).then(|| Duration::from_secs(seconds.into())))
}

/// Names end in shell scripts and files, so only what a domain name may hold passes.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let sane = |char: char| char.is_ascii_alphanumeric() || "-._ ".contains(char);
    (!text.is_empty() && text.chars().all(sane)).then(|| text.to_owned())
}

/// Wraps a message into UDP and IPv4 from 0.0.0.0 to everyone.
pub fn wrap(message: &[u8]) -> Vec<u8> {
    let udp_length = (8 + message.len()) as u16;
    let mut packet = vec![0x45, 0x10];
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    for field in [CLIENT_PORT, SERVER_PORT, udp_length, 0] {
        // A UDP checksum of 0 says that there is none; IPv4 allows it.
        packet.extend(field.to_be_bytes());
    }
    packet.extend(message);
    packet
}

/// The message inside an IPv4 packet to the client port. Checksums are not looked at: a virtual network card leaves
/// them to be filled in by hardware that does not exist, and the transaction number guards the message.
pub fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let header = (packet.first()? & 0x0f) as usize * 4;
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    let udp = packet.get(header..)?;
    let to_us = packet[0] >> 4 == 4
        && *packet.get(9)? == 17
        && fragment == 0
        && udp.get(2..4)? == CLIENT_PORT.to_be_bytes();
    let length = u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]) as usize;
    udp.get(8..length).filter(|_| to_us)
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 10, 0, 0, 16];

    fn message(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; FIXED];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&7u32.to_be_bytes());
        bytes[16..20].copy_from_slice(&[10, 0, 0, 16]);
        bytes[28..34].copy_from_slice(&MAC);
        bytes.extend(COOKIE);
        bytes.extend(options);
        bytes.push(255);
        bytes
    }

    #[test]
    fn an_acknowledgement_gives_the_whole_configuration() {
        let bytes = message(&[
            53, 1, 5, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 240, 0, 3, 4, 10, 0, 0, 1, 6,
            8, 10, 0, 0, 2, 169, 254, 169, 253, 26, 2, 5, 170, 15, 12, b'e', b'c', b'2', b'.', b'i', b'n',
            b't', b'e', b'r', b'n', b'a', b'l',
        ]);
        let reply = Reply::parse(&bytes, 7, MAC).unwrap();
        assert_eq!(reply.kind, Kind::Ack);
        let lease = reply.lease;
        assert_eq!((lease.address, lease.prefix, lease.mtu), (Ipv4Addr::new(10, 0, 0, 16), 20, Some(1450)));
        assert_eq!(
            lease.routes,
            [Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Ipv4Addr::new(10, 0, 0, 1) }]
        );
        assert_eq!(lease.dns.len(), 2);
        assert_eq!(lease.domain.as_deref(), Some("ec2.internal"));
        assert_eq!(lease.renew_after(), Some(Duration::from_mins(30)));
        assert_eq!(lease.rebind_after(), Some(Duration::from_secs(3150)));
    }

    #[test]
    fn classless_routes_override_the_router_and_on_link_ones_come_first() {
        let bytes = message(&[
            53, 1, 2, 3, 4, 10, 0, 0, 9, 121, 8, 0, 10, 0, 0, 1, 32, 169, 254, 121, 6, 169, 254, 0, 0, 0, 0,
        ]);
        let lease = Reply::parse(&bytes, 7, MAC).unwrap().lease;
        assert_eq!(
            lease.routes[0],
            Route {
                destination: Ipv4Addr::new(169, 254, 169, 254),
                prefix: 32,
                gateway: Ipv4Addr::UNSPECIFIED
            }
        );
        assert_eq!(
            lease.routes[1],
            Route { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway: Ipv4Addr::new(10, 0, 0, 1) }
        );
    }

    #[test]
    fn messages_to_others_and_broken_ones_are_not_read() {
        let good = message(&[53, 1, 5]);
        assert!(Reply::parse(&good, 7, MAC).is_some());
        assert!(Reply::parse(&good, 8, MAC).is_none());
        assert!(Reply::parse(&good, 7, [9; 6]).is_none());
        assert!(Reply::parse(&message(&[53, 9, 5]), 7, MAC).is_none());
        assert!(Reply::parse(&message(&[53, 1, 5, 121, 2, 33, 1]), 7, MAC).is_none());
        for end in 0..good.len() - 4 {
            let _ = Reply::parse(&good[..end], 7, MAC);
        }
    }

    #[test]
    fn an_infinite_lease_is_never_renewed() {
        let lease = Reply::parse(&message(&[53, 1, 5, 51, 4, 255, 255, 255, 255]), 7, MAC).unwrap().lease;
        assert_eq!((lease.duration, lease.renew_after()), (None, None));
    }

    #[test]
    fn a_host_name_with_other_characters_is_dropped() {
        let lease = Reply::parse(&message(&[53, 1, 5, 12, 4, b'a', b';', b'r', b'm']), 7, MAC).unwrap().lease;
        assert_eq!(lease.hostname, None);
    }

    #[test]
    fn a_packet_is_unwrapped_as_it_was_wrapped() {
        let query = Query {
            kind: Kind::Request,
            transaction: 7,
            mac: MAC,
            current: None,
            taken: Some(([10, 0, 0, 16].into(), [10, 0, 0, 1].into())),
        };
        let message = query.render();
        let mut packet = wrap(&message);
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(unwrap(&packet), None);
        packet[22..24].copy_from_slice(&CLIENT_PORT.to_be_bytes());
        assert_eq!(unwrap(&packet), Some(&message[..]));
        for end in 0..28 {
            assert_eq!(unwrap(&packet[..end]), None);
        }
    }
}
