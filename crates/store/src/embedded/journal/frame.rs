//! How a segment lies on disk. Integers are little-endian; everything begins at a multiple of [`BLOCK`], so that no write
//! touches a block that holds something acknowledged.
//!
//! - header, one block: magic (8 bytes), the store's id, the segment's number, the first revision that counts in it, a
//!   random number (u64 each), checksum (u32)
//! - frame, whole blocks: magic u32, checksum u32, payload length u32, commits u32, revision of the first u64; payload: for each
//!   commit its length u32 and its changes as in the database's log
//!
//! A frame's checksum begins with its segment's random number: what a recycled file held before is no frame.

use super::super::codec;
use crate::{Event, Revision};

pub(in crate::embedded) const BLOCK: u64 = 4096;
const SEGMENT_MAGIC: &[u8; 8] = b"NubeJrn1";
const FRAME_MAGIC: u32 = 0x6d72_666e;
const FRAME_HEAD: usize = 24;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) sequence: u64,
    pub(super) first: Revision,
    /// Of this use of the file alone.
    pub(super) salt: u64,
}

/// Of magic and numbers.
const HEADER_BYTES: usize = 40;

impl Header {
    pub(super) fn render(self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK as usize);
        block.extend_from_slice(SEGMENT_MAGIC);
        for number in [self.id, self.sequence, self.first, self.salt] {
            block.extend_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&block);
        block.extend_from_slice(&checksum.to_le_bytes());
        block.resize(BLOCK as usize, 0);
        block
    }

    pub(super) fn parse(block: &[u8]) -> Option<Self> {
        let told = u32_at(block, HEADER_BYTES)?;
        let header = Self {
            id: u64_at(block, 8)?,
            sequence: u64_at(block, 16)?,
            first: u64_at(block, 24)?,
            salt: u64_at(block, 32)?,
        };
        (block.starts_with(SEGMENT_MAGIC) && crc32fast::hash(&block[..HEADER_BYTES]) == told).then_some(header)
    }
}

/// A frame being made; its memory is used again for the next one.
#[derive(Default)]
pub(super) struct Frame {
    buffer: Vec<u8>,
    /// Of head and payload, without what fills the last block.
    length: usize,
}

/// Memory that is kept between frames.
const KEPT: usize = 1 << 20;

impl Frame {
    pub(super) fn fill(&mut self, events: &[Event]) {
        let buffer = &mut self.buffer;
        buffer.clear();
        buffer.shrink_to(KEPT);
        buffer.resize(FRAME_HEAD, 0);
        for event in events {
            let at = buffer.len();
            buffer.extend_from_slice(&[0; 4]);
            codec::encode_changes(buffer, &event.changes);
            let length = (buffer.len() - at - 4) as u32;
            buffer[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        self.length = buffer.len();
        let payload = (self.length - FRAME_HEAD) as u32;
        buffer[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        buffer[8..12].copy_from_slice(&payload.to_le_bytes());
        buffer[12..16].copy_from_slice(&(events.len() as u32).to_le_bytes());
        let first = events.first().map_or(0, |event| event.revision);
        buffer[16..24].copy_from_slice(&first.to_le_bytes());
        buffer.resize(buffer.len().next_multiple_of(BLOCK as usize), 0);
    }

    /// A multiple of [`BLOCK`].
    pub(super) fn bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// The bytes of the frame, for the segment of this salt.
    pub(super) fn seal(&mut self, salt: u64) -> &[u8] {
        let checksum = checksum(salt, &self.buffer[8..self.length]);
        self.buffer[4..8].copy_from_slice(&checksum.to_le_bytes());
        &self.buffer
    }
}

fn checksum(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// A frame that was found whole.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) first: Revision,
    pub(super) commits: u32,
    payload: &'a [u8],
}

impl<'a> Found<'a> {
    /// The frame that `bytes` begin with, if they begin with one of this segment.
    pub(super) fn parse(header: &Header, bytes: &'a [u8]) -> Option<Self> {
        if u32_at(bytes, 0)? != FRAME_MAGIC {
            return None;
        }
        let length = u32_at(bytes, 8)? as usize;
        let end = FRAME_HEAD.checked_add(length)?;
        let frame = bytes.get(..end)?;
        let told = u32_at(frame, 4)?;
        (checksum(header.salt, &frame[8..]) == told).then_some(Self {
            first: u64_at(frame, 16)?,
            commits: u32_at(frame, 12)?,
            payload: &frame[FRAME_HEAD..],
        })
    }

    /// In the segment.
    pub(super) fn bytes(&self) -> usize {
        (FRAME_HEAD + self.payload.len()).next_multiple_of(BLOCK as usize)
    }

    pub(super) fn last(&self) -> Revision {
        self.first + u64::from(self.commits) - 1
    }

    pub(super) fn events(&self) -> Result<Vec<Event>, codec::Garbled> {
        let mut rest = self.payload;
        let mut events = Vec::new();
        for revision in self.first..self.first + u64::from(self.commits) {
            let length = u32_at(rest, 0).ok_or(codec::Garbled)? as usize;
            let changes = rest.get(4..4 + length).ok_or(codec::Garbled)?;
            events.push(codec::decode_event(revision, changes)?);
            rest = &rest[4 + length..];
        }
        if rest.is_empty() { Ok(events) } else { Err(codec::Garbled) }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, Key};
    use bytes::Bytes;

    fn events() -> Vec<Event> {
        let change = |n: u8| Change {
            key: Key::new(format!("k/{n}")).unwrap(),
            value: (n != 2).then(|| Bytes::from(vec![n; 3000])),
        };
        [(7, vec![change(1), change(2)]), (8, vec![change(3)])]
            .map(|(revision, changes)| Event { revision, changes: changes.into() })
            .to_vec()
    }

    #[test]
    fn a_frame_reads_back_as_written_and_no_changed_byte_of_it_does() {
        let header = Header { id: 5, sequence: 3, first: 7, salt: 9 };
        let mut frame = Frame::default();
        frame.fill(&events());
        let length = frame.length;
        let bytes = frame.seal(9).to_vec();
        assert_eq!(bytes.len() as u64 % BLOCK, 0);
        let found = Found::parse(&header, &bytes).unwrap();
        assert_eq!((found.first, found.last(), found.bytes()), (7, 8, bytes.len()));
        assert_eq!(found.events().unwrap(), events());
        for at in 0..length {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            assert!(Found::parse(&header, &bytes).is_none(), "byte {at}");
        }
        for cut in [0, 3, 23, 24, length - 1] {
            assert!(Found::parse(&header, &bytes[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_of_another_use_of_the_file_is_none() {
        let mut frame = Frame::default();
        frame.fill(&events());
        let bytes = frame.seal(9).to_vec();
        assert!(Found::parse(&Header { id: 5, sequence: 3, first: 7, salt: 10 }, &bytes).is_none());
    }

    #[test]
    fn a_header_reads_back_as_written_and_no_changed_byte_of_it_does() {
        let header = Header { id: 5, sequence: 3, first: 7, salt: 9 };
        let block = header.render();
        assert_eq!(block.len() as u64, BLOCK);
        assert_eq!(Header::parse(&block), Some(header));
        for at in 0..HEADER_BYTES + 4 {
            let mut block = block.clone();
            block[at] ^= 1;
            assert_eq!(Header::parse(&block), None, "byte {at}");
        }
        assert_eq!(Header::parse(&[]), None);
    }
}
