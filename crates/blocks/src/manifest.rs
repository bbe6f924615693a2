//! What a snapshot is made of: its manifest, as a root and leaves.
//!
//! A leaf covers [`LEAF_BLOCKS`] blocks (512 MiB) and lists those that are not zero. The root lists the leaves that are not
//! empty. So a snapshot of a sparse 16 TiB volume opens by reading a root of some hundred bytes, a full one by 1.2 MiB; leaves
//! are read when somebody reads there; and one changed block costs one leaf (37 KiB at most) and the root beside the block.
//! The root ends in a keyed checksum; a leaf's address is the keyed hash of its bytes.

use crate::error::Damage;
use crate::{Domain, DomainId};
use model::{AccountId, SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a block, as the EBS direct APIs have it.
pub const BLOCK_SIZE: usize = 512 * 1024;
/// Blocks that a leaf covers.
pub const LEAF_BLOCKS: u64 = 1024;
/// 64 TiB, the largest volume of EBS.
pub const LARGEST: u64 = 64 << 40;

const ENTRY: usize = 2 + 4 + 32;
const ROW: usize = 4 + 4 + 32;
const CHECKSUM: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (lower && text.len() == 64)
            .then(|| blake3::Hash::from_hex(text).ok().map(|hash| Self(hash.into())))
            .flatten()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A stored block or leaf: the keyed hash of its content, and the epoch in which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    pub epoch: u32,
    pub hash: Hash,
}

impl BlockRef {
    fn render(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.epoch.to_le_bytes());
        into.extend_from_slice(&self.hash.0);
    }

    fn parse(bytes: &[u8]) -> Self {
        let epoch = u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
        Self { epoch, hash: Hash(bytes[4..36].try_into().expect("32 bytes")) }
    }
}

/// What a snapshot tells of itself. Everything here is readable without keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub snapshot: SnapshotId,
    /// The snapshot that this one was made as the difference to; it need not exist any more.
    pub parent: Option<SnapshotId>,
    pub account: AccountId,
    pub domain: DomainId,
    /// The key that wraps the domain's data key.
    pub key_id: Option<String>,
    /// Bytes of the volume.
    pub size: u64,
    pub created_at: Timestamp,
    /// Blocks that are not zero.
    pub blocks: u64,
    /// Blocks that its writer put, zero or not: the difference to its parent at most.
    pub changed: u64,
}

impl Manifest {
    /// Blocks that cover the volume, zero or not.
    pub fn total_blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK_SIZE as u64)
    }
}

/// Which leaf a block is in, and where there.
pub fn leaf_of(index: u64) -> (u32, u16) {
    ((index / LEAF_BLOCKS) as u32, (index % LEAF_BLOCKS) as u16)
}

pub fn first_of(leaf: u32) -> u64 {
    u64::from(leaf) * LEAF_BLOCKS
}

/// The blocks of one leaf that are not zero, by slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaf(pub Vec<(u16, BlockRef)>);

impl Leaf {
    pub fn get(&self, slot: u16) -> Option<&BlockRef> {
        self.0.binary_search_by_key(&slot, |(slot, _)| *slot).ok().map(|at| &self.0[at].1)
    }

    pub fn render(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * ENTRY);
        for (slot, at) in &self.0 {
            bytes.extend_from_slice(&slot.to_le_bytes());
            at.render(&mut bytes);
        }
        bytes
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let (rows, rest) = bytes.as_chunks::<ENTRY>();
        let leaf: Vec<_> = rows
            .iter()
            .map(|row| (u16::from_le_bytes([row[0], row[1]]), BlockRef::parse(&row[2..])))
            .collect();
        let sorted = leaf.is_sorted_by(|a, b| a.0 < b.0);
        let within = leaf.last().is_none_or(|(slot, _)| u64::from(*slot) < LEAF_BLOCKS);
        if !rest.is_empty() || !sorted || !within {
            return Err(Damage::Malformed);
        }
        Ok(Self(leaf))
    }
}

/// A manifest and its table of leaves, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub manifest: Manifest,
    pub leaves: Vec<(u32, BlockRef)>,
}

impl Root {
    pub fn leaf(&self, leaf: u32) -> Option<&BlockRef> {
        self.leaves.binary_search_by_key(&leaf, |(leaf, _)| *leaf).ok().map(|at| &self.leaves[at].1)
    }

    pub fn render(&self, domain: &Domain) -> Vec<u8> {
        let told = serde_json::to_vec(&self.manifest).expect("a manifest is plain data");
        let mut bytes = Vec::with_capacity(4 + told.len() + self.leaves.len() * ROW + CHECKSUM);
        bytes.extend_from_slice(&(told.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&told);
        for (leaf, at) in &self.leaves {
            bytes.extend_from_slice(&leaf.to_le_bytes());
            at.render(&mut bytes);
        }
        let sum = blake3::keyed_hash(&domain.root_key, &bytes);
        bytes.extend_from_slice(sum.as_bytes());
        bytes
    }

    /// Without the keyed checksum, for the collector and `fsck`, which have no keys.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let told = bytes.first_chunk::<4>().ok_or(Damage::Malformed)?;
        let told = u32::from_le_bytes(*told) as usize;
        let rest = bytes[4..].len().checked_sub(CHECKSUM).ok_or(Damage::Malformed)?;
        let body = &bytes[4..4 + rest];
        let (told, table) = body.split_at_checked(told).ok_or(Damage::Malformed)?;
        let manifest: Manifest = serde_json::from_slice(told).map_err(|_| Damage::Malformed)?;
        let (rows, rest) = table.as_chunks::<ROW>();
        let leaves: Vec<_> = rows
            .iter()
            .map(|row| (u32::from_le_bytes([row[0], row[1], row[2], row[3]]), BlockRef::parse(&row[4..])))
            .collect();
        let sorted = leaves.is_sorted_by(|a, b| a.0 < b.0);
        let within = leaves.last().is_none_or(|(leaf, _)| first_of(*leaf) < manifest.total_blocks());
        if !rest.is_empty() || !sorted || !within || manifest.size > LARGEST {
            return Err(Damage::Malformed);
        }
        Ok(Self { manifest, leaves })
    }

    /// With it.
    pub fn verify(bytes: &[u8], domain: &Domain) -> Result<Self, Damage> {
        let root = Self::parse(bytes)?;
        let (body, sum) = bytes.split_at(bytes.len() - CHECKSUM);
        let sum: [u8; CHECKSUM] = sum.try_into().expect("32 bytes");
        if blake3::keyed_hash(&domain.root_key, body) != blake3::Hash::from(sum) {
            return Err(Damage::Content);
        }
        Ok(root)
    }
}
