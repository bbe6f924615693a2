//! Blocks of snapshots, asked for and given one by one: what the EBS direct APIs ask of a host.
//!
//! A block is 512 KiB and travels whole. The host knows the keys of its snapshots; who may ask is the control plane's to judge.

use crate::{Blob, SnapshotId};
use serde::{Deserialize, Serialize};

/// Bytes of a block.
pub const BLOCK: usize = 512 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockRequest {
    /// Blocks of a completed snapshot that hold something, from an index on.
    List {
        snapshot: SnapshotId,
        from: u64,
        most: usize,
    },
    /// Blocks that the second has differently from the first.
    Changed {
        first: SnapshotId,
        second: SnapshotId,
        from: u64,
        most: usize,
    },
    Get {
        snapshot: SnapshotId,
        index: u64,
    },
    /// Into a snapshot that is written directly and not sealed. It is durable once the answer comes.
    Put {
        snapshot: SnapshotId,
        index: u64,
        data: Blob,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockReply {
    /// In order.
    Listed(Vec<u64>),
    /// In order.
    Changed(Vec<ChangedBlock>),
    /// None: all zeros.
    Block(Option<Blob>),
    Stored,
    /// The two snapshots have nothing in common to compare by.
    Unrelated,
}

/// A block that two snapshots have differently, and which of them have it at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedBlock {
    pub index: u64,
    pub in_first: bool,
    pub in_second: bool,
}

/// No more blocks are written, and what there is must be this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// Different blocks that were put.
    pub changed: u64,
    /// SHA-256 over the SHA-256 of each of them, in the order of their indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<Blob>,
}
