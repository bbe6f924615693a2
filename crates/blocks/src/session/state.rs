//! What a session knows of its blocks, in memory, and how it is noted down.

use super::Progress;
use crate::error::Damage;
use crate::manifest::Leaf;
use crate::{BlockRef, Hash};
use std::collections::{BTreeMap, HashSet};

/// Index, whether there is a block, epoch, hash.
const ENTRY: usize = 8 + 1 + 4 + 32;
/// Hashes that are known to be stored: 32 MiB of them.
const KNOWN: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    New,
    /// Read from what an earlier writer noted.
    Noted,
}

/// Blocks by slot; `None` is zero.
pub type Changes = BTreeMap<u16, Option<BlockRef>>;

#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    /// `None`: all its blocks are zero.
    pub at: Option<BlockRef>,
    /// Those that are not.
    pub blocks: usize,
}

#[derive(Default)]
pub struct State {
    /// Leaves of which some blocks were put.
    pub changed: BTreeMap<u32, Changes>,
    /// Leaves of which all blocks were put, and which were written then.
    pub sealed: BTreeMap<u32, Sealed>,
    /// Blocks of sealed leaves.
    in_sealed: u64,
    pub progress: Progress,
    /// No more blocks.
    pub ended: bool,
    /// Parts that are noted.
    pub parts: u32,
    unnoted: Vec<(u64, Option<BlockRef>)>,
    known: HashSet<Hash>,
}

impl State {
    pub fn put(&mut self, index: u64, leaf: u32, slot: u16, at: Option<BlockRef>, change: Change) {
        self.changed.entry(leaf).or_default().insert(slot, at);
        if change == Change::New {
            self.progress.put += 1;
            self.unnoted.push((index, at));
        }
    }

    /// The leaf, all of whose blocks were put.
    pub fn whole(&self, leaf: u32) -> Vec<(u16, BlockRef)> {
        let changes = self.changed.get(&leaf).into_iter().flatten();
        changes.filter_map(|(slot, at)| at.map(|at| (*slot, at))).collect()
    }

    pub fn seal(&mut self, leaf: u32, sealed: Sealed) {
        self.in_sealed += self.changed.remove(&leaf).map_or(0, |changes| changes.len() as u64);
        self.sealed.insert(leaf, sealed);
    }

    pub fn unseal(&mut self, leaf: u32, content: &Leaf, slots: u16) {
        let changes = (0..slots).map(|slot| (slot, content.get(slot).copied())).collect();
        self.changed.insert(leaf, changes);
        self.sealed.remove(&leaf);
        self.in_sealed -= u64::from(slots);
    }

    /// Different blocks that were put.
    pub fn changes(&self) -> u64 {
        self.in_sealed + self.changed.values().map(|changes| changes.len() as u64).sum::<u64>()
    }

    pub fn unnoted(&self) -> usize {
        self.unnoted.len()
    }

    pub fn render_unnoted(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.unnoted.len() * ENTRY);
        for (index, at) in &self.unnoted {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.push(u8::from(at.is_some()));
            let at = at.unwrap_or(BlockRef { epoch: 0, hash: Hash([0; 32]) });
            bytes.extend_from_slice(&at.epoch.to_le_bytes());
            bytes.extend_from_slice(&at.hash.0);
        }
        bytes
    }

    /// The first `count` of what was not noted is.
    pub fn noted(&mut self, count: usize) {
        self.unnoted.drain(..count);
        self.parts += 1;
    }

    pub fn knows(&self, hash: &Hash) -> bool {
        self.known.contains(hash)
    }

    pub fn learn(&mut self, hash: Hash) {
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(hash);
    }
}

pub fn parse(bytes: &[u8]) -> Result<Vec<(u64, Option<BlockRef>)>, Damage> {
    let (rows, rest) = bytes.as_chunks::<ENTRY>();
    if !rest.is_empty() {
        return Err(Damage::Malformed);
    }
    let row = |row: &[u8; ENTRY]| {
        let index = u64::from_le_bytes(row[..8].try_into().expect("8 bytes"));
        let epoch = u32::from_le_bytes(row[9..13].try_into().expect("4 bytes"));
        let hash = Hash(row[13..].try_into().expect("32 bytes"));
        (index, (row[8] != 0).then_some(BlockRef { epoch, hash }))
    };
    Ok(rows.iter().map(row).collect())
}

/// A leaf of the parent with what was put since.
pub fn merge(parent: Option<&Leaf>, changes: &Changes) -> Leaf {
    let mut merged: BTreeMap<u16, BlockRef> =
        parent.into_iter().flat_map(|leaf| leaf.0.iter().copied()).collect();
    for (slot, at) in changes {
        match at {
            Some(at) => merged.insert(*slot, *at),
            None => merged.remove(slot),
        };
    }
    Leaf(merged.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_reads_back() {
        let mut state = State::default();
        let at = BlockRef { epoch: 7, hash: Hash([3; 32]) };
        state.put(5 * 1024 + 3, 5, 3, Some(at), Change::New);
        state.put(9, 0, 9, None, Change::New);
        assert_eq!(parse(&state.render_unnoted()).unwrap(), [(5 * 1024 + 3, Some(at)), (9, None)]);
        assert_eq!(parse(&[0; 44]), Err(Damage::Malformed));
    }
}
