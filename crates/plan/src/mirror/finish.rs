//! What a sender leaves to its (virtual) hardware: checksums, and the cutting of large segments.
//!
//! Copies are read by programs that believe no damaged packet and that know the sizes of a wire.
//! Source of the header: virtio 1.2, 5.1.6.

use super::headers::{Headers, NETWORK, TCP, UDP, number};
use std::net::IpAddr;

const NEEDS_CHECKSUM: u8 = 1;
const FIN_AND_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
/// No stack sends smaller ones: a machine that asks for them does not get thousands of copies for a frame.
const LEAST_SEGMENT: usize = 48;

/// What is still to be done of a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offload {
    /// Where the sum begins, and where behind that it is written.
    pub checksum: Option<(usize, usize)>,
    /// How much of a segment's data each packet holds.
    pub segment: Option<usize>,
}

impl Offload {
    /// The length of the header that tells it.
    pub const HEADER: usize = 10;

    /// The header before a frame, its numbers in the host's order.
    pub fn parse(header: &[u8; Self::HEADER]) -> Self {
        let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
        // TCP over either version, and UDP; the bit above tells of congestion marks.
        let is_cut = matches!(header[1] & 0x7f, 1 | 4 | 5);
        Self {
            checksum: (header[0] & NEEDS_CHECKSUM != 0).then(|| (number(6), number(8))),
            segment: is_cut.then(|| number(4).max(LEAST_SEGMENT)),
        }
    }
}

/// Gives a frame as it would be on a wire, in as many pieces as it takes.
pub fn pieces(frame: &mut [u8], headers: &Headers, offload: Offload, mut give: impl FnMut(&[u8])) {
    if let Some(size) = offload.segment
        && cut(frame, headers, size, &mut give).is_some()
    {
        return;
    }
    if let Some((start, behind)) = offload.checksum {
        complete(frame, start, behind);
    }
    give(frame);
}

/// None: it cannot be cut.
fn cut(frame: &[u8], headers: &Headers, size: usize, give: &mut impl FnMut(&[u8])) -> Option<()> {
    let transport = headers.transport?;
    let (own, field) = match headers.protocol {
        TCP => (usize::from(frame.get(transport + 12)? >> 4) * 4, transport + 16),
        UDP => (8, transport + 6),
        _ => return None,
    };
    let head = frame.get(..transport + own).filter(|head| head.len() >= field + 2)?;
    let data = &frame[head.len()..];
    let last = data.len().div_ceil(size).saturating_sub(1);
    for (place, part) in data.chunks(size).enumerate() {
        let mut piece = [head, part].concat();
        let length = (piece.len() - NETWORK) as u16;
        match headers.source {
            IpAddr::V4(_) => {
                let id = number(&piece, NETWORK + 4)?.wrapping_add(place as u16);
                put(&mut piece, NETWORK + 2, length);
                put(&mut piece, NETWORK + 4, id);
                put(&mut piece, NETWORK + 10, 0);
                let sum = !sum(0, &piece[NETWORK..transport]);
                put(&mut piece, NETWORK + 10, sum);
            }
            IpAddr::V6(_) => put(&mut piece, NETWORK + 4, length.saturating_sub(40)),
        }
        if headers.protocol == TCP {
            let at = transport + 4;
            let sequence = u32::from_be_bytes(piece.get(at..at + 4)?.try_into().ok()?);
            let sequence = sequence.wrapping_add((place * size) as u32);
            piece[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
            let flags = &mut piece[transport + 13];
            *flags &= if place < last { !FIN_AND_PSH } else { 0xff };
            *flags &= if place > 0 { !CWR } else { 0xff };
        } else {
            let length = (piece.len() - transport) as u16;
            put(&mut piece, transport + 4, length);
        }
        let carried = piece.len() - transport;
        put(&mut piece, field, pseudo(headers, carried));
        complete(&mut piece, transport, field - transport);
        give(&piece);
    }
    Some(())
}

/// Writes the checksum of what begins at `start`; its place holds the sum of the pseudo header.
fn complete(frame: &mut [u8], start: usize, behind: usize) {
    let Some(rest) = frame.get(start..) else { return };
    if behind + 2 > rest.len() {
        return;
    }
    // 0 says in UDP that there is none, and is the same number as its complement.
    let whole = match !sum(0, rest) {
        0 => 0xffff,
        whole => whole,
    };
    put(frame, start + behind, whole);
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn pseudo(headers: &Headers, length: usize) -> u16 {
    let mut bytes = Vec::with_capacity(40);
    for end in [headers.source, headers.destination] {
        match end {
            IpAddr::V4(end) => bytes.extend_from_slice(&end.octets()),
            IpAddr::V6(end) => bytes.extend_from_slice(&end.octets()),
        }
    }
    bytes.extend_from_slice(&[0, headers.protocol]);
    sum(length as u32, &bytes)
}

/// The Internet's: ones' complement of 16 bits each, not inverted.
pub fn sum(before: u32, bytes: &[u8]) -> u16 {
    let mut all = u64::from(before);
    for pair in bytes.chunks(2) {
        all += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while all > 0xffff {
        all = (all & 0xffff) + (all >> 16);
    }
    all as u16
}
