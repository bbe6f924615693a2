//! Raw frames at a port: a guest without a stack.

use super::judge::{Packet, Transport};
use crate::net::world::{checksum, ethernet};
use agent::host::Tap;
use model::host::InterfaceDesired;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

const VNET_HEADER: usize = 10;
const MAGIC: &[u8; 4] = b"NUBE";

/// A port that has been opened for an interface.
pub struct Port {
    mac: [u8; 6],
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Port {
    pub fn new(interface: &InterfaceDesired, tap: Tap) -> Self {
        let fd = tap.fd.unwrap();
        rustix::io::ioctl_fionbio(&fd, true).unwrap();
        Self { mac: interface.mac.0, fd, buffer: vec![0; 4096] }
    }

    pub fn send(&self, packet: Packet, probe: u32) {
        let mut frame = vec![0; VNET_HEADER];
        let kind = if packet.src.is_ipv6() { 0x86dd } else { 0x0800 };
        frame.extend(ethernet(plan::net::GATEWAY_MAC, self.mac, kind, &bytes(packet, probe)));
        rustix::io::write(&self.fd, &frame).unwrap();
    }

    /// The next packet of a test that has come; everything else that a router says is passed over.
    pub fn heard(&mut self) -> Option<(Packet, u32)> {
        loop {
            let length = rustix::io::read(&self.fd, self.buffer.as_mut_slice()).ok()?;
            let frame = &self.buffer[VNET_HEADER..length];
            if frame.len() > 14
                && let Some(found) = match frame[12..14] {
                    [8, 0] => parse(&frame[14..]),
                    [0x86, 0xdd] => parse_v6(&frame[14..]),
                    _ => None,
                }
            {
                assert_eq!(frame[..6], self.mac, "the frame is for somebody else");
                return Some(found);
            }
        }
    }
}

fn bytes(packet: Packet, probe: u32) -> Vec<u8> {
    let payload = [MAGIC.as_slice(), &probe.to_be_bytes()].concat();
    let (protocol, mut body) = match packet.transport {
        Transport::Tcp { from, to } => {
            // An answer's flags and numbers follow from the side that it is on.
            let opens = from >= super::EPHEMERAL;
            let mut tcp = [from.to_be_bytes(), to.to_be_bytes()].concat();
            let (sequence, acknowledged, flags) =
                if opens { (1000u32, 0u32, 2u8) } else { (5000, 1009, 0x12) };
            tcp.extend(sequence.to_be_bytes());
            tcp.extend(acknowledged.to_be_bytes());
            tcp.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            (6, tcp)
        }
        Transport::Udp { from, to } => {
            let length = (8 + payload.len()) as u16;
            (17, [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat())
        }
        Transport::Icmp { kind, code, id } => {
            let protocol = if packet.src.is_ipv6() { 58 } else { 1 };
            (protocol, [[kind, code], [0, 0], id.to_be_bytes(), [0, 1]].concat())
        }
        Transport::Other(number) => (number, Vec::new()),
    };
    body.extend(payload);
    let (src, dst) = match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => (src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => return bytes_v6(src, dst, packet.transport, protocol, body),
        _ => panic!("a packet of two families: {packet:?}"),
    };
    match packet.transport {
        Transport::Tcp { .. } => {
            let mut pseudo = [src.octets(), dst.octets()].concat();
            pseudo.extend([0, 6]);
            pseudo.extend((body.len() as u16).to_be_bytes());
            pseudo.extend(&body);
            body[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        }
        Transport::Icmp { .. } => {
            let sum = checksum(&body).to_be_bytes();
            body[2..4].copy_from_slice(&sum);
        }
        Transport::Udp { .. } | Transport::Other(_) => {}
    }
    let total = (20 + body.len()) as u16;
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip.extend(src.octets());
    ip.extend(dst.octets());
    let sum = checksum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    ip.extend(body);
    ip
}

fn bytes_v6(src: Ipv6Addr, dst: Ipv6Addr, transport: Transport, protocol: u8, mut body: Vec<u8>) -> Vec<u8> {
    let place = match transport {
        Transport::Tcp { .. } => Some(16),
        Transport::Udp { .. } => Some(6),
        Transport::Icmp { .. } => Some(2),
        Transport::Other(_) => None,
    };
    if let Some(place) = place {
        let mut pseudo = [src.octets(), dst.octets()].concat();
        pseudo.extend((body.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        pseudo.extend(&body);
        body[place..place + 2].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    }
    let mut ip = vec![0x60, 0, 0, 0];
    ip.extend((body.len() as u16).to_be_bytes());
    // What neighbours say to each other is believed only if no router has touched it.
    let hops = if matches!(transport, Transport::Icmp { kind: 133..=137, .. }) { 255 } else { 64 };
    ip.extend([protocol, hops]);
    ip.extend(src.octets());
    ip.extend(dst.octets());
    ip.extend(body);
    ip
}

fn parse(ip: &[u8]) -> Option<(Packet, u32)> {
    let at = |from: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(from..from + 4)?).ok()?));
    let (src, dst) = (at(12)?, at(16)?);
    parsed(src.into(), dst.into(), ip[9], ip.get(20..)?)
}

fn parse_v6(ip: &[u8]) -> Option<(Packet, u32)> {
    let at = |from: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(ip.get(from..from + 16)?).ok()?));
    let (src, dst) = (at(8)?, at(24)?);
    parsed(src.into(), dst.into(), ip[6], ip.get(40..)?)
}

fn parsed(src: IpAddr, dst: IpAddr, protocol: u8, body: &[u8]) -> Option<(Packet, u32)> {
    let word = |from: usize| Some(u16::from_be_bytes(body.get(from..from + 2)?.try_into().ok()?));
    let (transport, header) = match protocol {
        6 => (Transport::Tcp { from: word(0)?, to: word(2)? }, 20),
        17 => (Transport::Udp { from: word(0)?, to: word(2)? }, 8),
        // What a router says of a packet quotes it.
        1 if matches!(body.first()?, 0 | 8 | 13 | 14) => {
            (Transport::Icmp { kind: body[0], code: body[1], id: word(4)? }, 8)
        }
        58 if *body.first()? >= 128 => (Transport::Icmp { kind: body[0], code: body[1], id: word(4)? }, 8),
        1 | 58 => return None,
        other => (Transport::Other(other), 0),
    };
    let payload = body.get(header..header + 8)?;
    let probe = u32::from_be_bytes(payload[4..8].try_into().ok()?);
    (payload[..4] == *MAGIC).then_some((Packet { src, dst, transport }, probe))
}
