//! Reading a snapshot: any bytes of it, what of it is stored, and how it differs from another.
//!
//! Opening reads the root alone; leaves and blocks are read, verified and cached as they are asked for. Nothing here needs the
//! control plane: the objects, and the domain's keys, are all.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html>

use crate::BlockRef;
use crate::cache::Cache;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::manifest::{BLOCK_SIZE, Leaf, Manifest, Root, first_of, leaf_of};
use crate::store::BlockStore;
use bytes::Bytes;
use model::SnapshotId;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// Leaves that an open snapshot keeps: 64 cover 32 GiB and take 2.4 MiB.
const LEAVES: usize = 64;

/// A part of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
    /// There may be something else than zeros.
    pub data: bool,
}

/// A block that two snapshots have differently; `None` is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    pub index: u64,
    pub first: Option<BlockRef>,
    pub second: Option<BlockRef>,
}

/// Bytes of a volume, all stored or all zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Data(Bytes),
    Zero(u64),
}

pub struct Snapshot {
    store: BlockStore,
    domain: Arc<Domain>,
    root: Root,
    leaves: Mutex<Cache<u32, Arc<Leaf>>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("manifest", &self.root.manifest).finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn new(store: BlockStore, domain: Arc<Domain>, root: Root) -> Self {
        Self { store, domain, root, leaves: Mutex::new(Cache::new(LEAVES)) }
    }

    pub(crate) fn into_root(self) -> Root {
        self.root
    }

    pub fn manifest(&self) -> &Manifest {
        &self.root.manifest
    }

    pub fn id(&self) -> SnapshotId {
        self.root.manifest.snapshot
    }

    /// Bytes of the volume.
    pub fn size(&self) -> u64 {
        self.root.manifest.size
    }

    fn leaf(&self, number: u32) -> Result<Option<Arc<Leaf>>> {
        let Some(at) = self.root.leaf(number) else { return Ok(None) };
        if let Some(leaf) = self.leaves.lock().get(&number) {
            return Ok(Some(leaf));
        }
        let leaf = self.store.leaf_verified(&self.domain, at);
        let leaf = Arc::new(leaf.map_err(|e| e.within(self.id(), Some(first_of(number))))?);
        self.leaves.lock().put(number, Arc::clone(&leaf), 1);
        Ok(Some(leaf))
    }

    /// Where a block is stored; `None`: it is zero.
    pub fn block_ref(&self, index: u64) -> Result<Option<BlockRef>> {
        let blocks = self.root.manifest.total_blocks();
        if index >= blocks {
            return Err(Error::NoBlock { snapshot: self.id(), index, blocks });
        }
        let (leaf, slot) = leaf_of(index);
        Ok(self.leaf(leaf)?.and_then(|leaf| leaf.get(slot).copied()))
    }

    /// A block's [`BLOCK_SIZE`] bytes; `None`: it is zero.
    pub fn block(&self, index: u64) -> Result<Option<Bytes>> {
        let Some(at) = self.block_ref(index)? else { return Ok(None) };
        if let Some(bytes) = self.store.cache.get(&at, self.domain.tag) {
            return Ok(Some(bytes));
        }
        let bytes = self.store.block(&self.domain, &at).map_err(|e| e.within(self.id(), Some(index)))?;
        self.store.cache.put(&at, self.domain.tag, bytes.clone());
        Ok(Some(bytes))
    }

    /// The bytes from `offset` on, up to the end of their block or of a hole, `most` at most. `offset` lies within the volume.
    pub fn piece(&self, offset: u64, most: u64) -> Result<Piece> {
        let most = most.min(self.size().saturating_sub(offset));
        let (index, within) = (offset / BLOCK_SIZE as u64, offset as usize % BLOCK_SIZE);
        if let Some(block) = self.block(index)? {
            let to = BLOCK_SIZE.min(within + most as usize);
            return Ok(Piece::Data(block.slice(within..to)));
        }
        let hole = self.extents(offset..offset + most, 1)?;
        Ok(Piece::Zero(hole.first().map_or(most, |hole| hole.length)))
    }

    /// Fills `into` with the bytes from `offset` on. What lies behind the volume's end is zero.
    pub fn read_at(&self, mut offset: u64, mut into: &mut [u8]) -> Result<()> {
        let end = self.root.manifest.total_blocks();
        while !into.is_empty() {
            let (index, within) = (offset / BLOCK_SIZE as u64, offset as usize % BLOCK_SIZE);
            let length = (BLOCK_SIZE - within).min(into.len());
            let (now, rest) = into.split_at_mut(length);
            match if index < end { self.block(index)? } else { None } {
                Some(block) => now.copy_from_slice(&block[within..within + length]),
                None => now.fill(0),
            }
            (into, offset) = (rest, offset + length as u64);
        }
        Ok(())
    }

    /// What of a range is stored and what is zero, in order and without gaps; `most` extents at most, so it may end early.
    pub fn extents(&self, range: Range<u64>, most: usize) -> Result<Vec<Extent>> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut at = range.start;
        let end = range.end.min(self.size());
        while at < end {
            let (number, slot) = leaf_of(at / BLOCK_SIZE as u64);
            // A leaf that is not there is one step, however many such follow.
            let (data, to) = match self.leaf(number)? {
                None => {
                    let next = self.root.leaves.partition_point(|(leaf, _)| *leaf <= number);
                    let next =
                        self.root.leaves.get(next).map(|(leaf, _)| first_of(*leaf) * BLOCK_SIZE as u64);
                    (false, next.unwrap_or(end))
                }
                Some(leaf) => (leaf.get(slot).is_some(), (at / BLOCK_SIZE as u64 + 1) * BLOCK_SIZE as u64),
            };
            let length = to.min(end) - at;
            let full = extents.len() == most;
            match extents.last_mut() {
                Some(last) if last.data == data => last.length += length,
                _ if full => break,
                _ => extents.push(Extent { offset: at, length, data }),
            }
            at += length;
        }
        Ok(extents)
    }

    /// Stored blocks from an index on, in order, `most` at most: `ListSnapshotBlocks`.
    pub fn blocks(&self, from: u64, most: usize) -> Result<Vec<(u64, BlockRef)>> {
        let mut found = Vec::new();
        let (first, _) = leaf_of(from);
        let at = self.root.leaves.partition_point(|(leaf, _)| *leaf < first);
        for (number, _) in &self.root.leaves[at..] {
            let Some(leaf) = self.leaf(*number)? else { continue };
            for (slot, block) in &leaf.0 {
                let index = first_of(*number) + u64::from(*slot);
                if index < from {
                    continue;
                }
                if found.len() == most {
                    return Ok(found);
                }
                found.push((index, *block));
            }
        }
        Ok(found)
    }

    /// Blocks from an index on that `second` has differently from this, in order, `most` at most: `ListChangedBlocks`. What two
    /// snapshots share is found by their leaves, so the cost is that of the difference. Only snapshots of one domain compare.
    pub fn changed(&self, second: &Snapshot, from: u64, most: usize) -> Result<Vec<Changed>> {
        if self.domain.id() != second.domain.id() {
            let (is, asked) = (second.domain.id().clone(), self.domain.id().clone());
            return Err(Error::OtherDomain { snapshot: second.id(), is, asked });
        }
        let (leaf, _) = leaf_of(from);
        let numbers: BTreeSet<u32> = self
            .root
            .leaves
            .iter()
            .chain(&second.root.leaves)
            .map(|(n, _)| *n)
            .filter(|n| *n >= leaf)
            .collect();
        let mut found = Vec::new();
        for number in numbers {
            if self.root.leaf(number) == second.root.leaf(number) {
                continue;
            }
            let (one, two) = (self.leaf(number)?, second.leaf(number)?);
            let slots: BTreeSet<u16> = [&one, &two]
                .into_iter()
                .flatten()
                .flat_map(|leaf| leaf.0.iter().map(|(slot, _)| *slot))
                .collect();
            for slot in slots {
                let index = first_of(number) + u64::from(slot);
                let of = |leaf: &Option<Arc<Leaf>>| leaf.as_ref().and_then(|leaf| leaf.get(slot).copied());
                let (first, second) = (of(&one), of(&two));
                // Written twice, in two epochs, it is still the same.
                if index < from || first.map(|at| at.hash) == second.map(|at| at.hash) {
                    continue;
                }
                if found.len() == most {
                    return Ok(found);
                }
                found.push(Changed { index, first, second });
            }
        }
        Ok(found)
    }
}
