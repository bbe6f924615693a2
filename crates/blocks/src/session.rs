//! Writing a snapshot: begin, put blocks, complete.
//!
//! A session is objects of the store, so any process can find it, go on with it or end it:
//!
//! | part | put when | says |
//! |---|---|---|
//! | `begin` | first | what is written, and the session's epoch |
//! | `parent` | then | a copy of the parent's root: what it refers to is kept though the parent be deleted |
//! | `ready` | when both are known to count ([`begin()`] says how) | blocks may be put |
//! | `part-N` | by and by | which blocks were put: what resuming starts from |
//! | `end` | first thing of completing, or of aborting | which of the two: whoever puts it first decides |
//! | `done` | when the root is there | the collector may clear it away |
//!
//! Only the collector removes the parts of a session that was completed: [`crate::collect`] relies on it.
//!
//! Memory: 60 bytes or so for each block that was put, until all blocks of its leaf were; then 40 bytes a leaf.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-create-snapshot.html>

mod record;
mod state;

use crate::cache::Cache;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::frame::{self, Kind};
use crate::manifest::{BLOCK_SIZE, Leaf, Manifest, Root, leaf_of};
use crate::objects::Put;
use crate::store::BlockStore;
use crate::{BlockRef, DomainId, Hash, layout};
use bytes::Bytes;
use model::{AccountId, SnapshotId, Timestamp};
use parking_lot::Mutex;
pub use record::{Seen, abort, begin, clear, look, mark_done, open_sessions, resume};
use record::{decide, exists, part_name};
use serde::{Deserialize, Serialize};
use state::{Change, Sealed, State};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const BEGIN: &str = "begin";
const PARENT: &str = "parent";
const READY: &str = "ready";
const END: &str = "end";
const DONE: &str = "done";
const PART: &str = "part-";

/// After so many blocks a session notes what it has.
const CHECKPOINT: usize = 256;
const PARENT_LEAVES: usize = 64;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    pub snapshot: SnapshotId,
    /// Blocks that are not put are as this completed snapshot of the same domain has them; zero without one.
    pub parent: Option<SnapshotId>,
    pub account: AccountId,
    pub key_id: Option<String>,
    /// Bytes of the volume.
    pub size: u64,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    begin: Begin,
    domain: DomainId,
    epoch: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Ending {
    Complete,
    Abort,
}

/// A session as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    pub begin: Begin,
    pub domain: DomainId,
    /// It was to be completed when its writer died: resume it and complete it again.
    pub completing: bool,
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was written.
    Written,
    /// The store had it.
    Known,
    /// It is all zeros, which take no room.
    Zero,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Calls that put a block, or zeros.
    pub put: u64,
    /// Blocks that were written as objects.
    pub written: u64,
    /// Bytes of those objects.
    pub bytes: u64,
}

/// A snapshot that is being written, by any number of threads.
pub struct Session {
    store: BlockStore,
    domain: Arc<Domain>,
    record: Record,
    parent: Option<Root>,
    state: Mutex<State>,
    /// Leaves of the parent that were looked at.
    parent_leaves: Mutex<Cache<BlockRef, Arc<Leaf>>>,
    /// One checkpoint at a time.
    noting: Mutex<()>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("begin", &self.record.begin).finish_non_exhaustive()
    }
}

impl Session {
    fn new(store: BlockStore, domain: Arc<Domain>, record: Record, parent: Option<Root>) -> Self {
        Self {
            store,
            domain,
            record,
            parent,
            state: Mutex::default(),
            parent_leaves: Mutex::new(Cache::new(PARENT_LEAVES)),
            noting: Mutex::default(),
        }
    }

    pub fn begun(&self) -> &Begin {
        &self.record.begin
    }

    pub fn snapshot(&self) -> SnapshotId {
        self.record.begin.snapshot
    }

    /// Blocks of the volume.
    pub fn total_blocks(&self) -> u64 {
        self.record.begin.size.div_ceil(BLOCK_SIZE as u64)
    }

    pub fn progress(&self) -> Progress {
        self.state.lock().progress
    }

    /// Puts a block of [`BLOCK_SIZE`] bytes, or what the volume has of its last one. It is durable after
    /// the next [`Self::checkpoint`]. The last put of an index counts.
    pub fn put_block(&self, index: u64, bytes: &[u8]) -> Result<Stored> {
        self.bound(index)?;
        let bytes = self.whole(index, bytes)?;
        if is_zero(&bytes) {
            self.change(index, None, Change::New)?;
            return Ok(Stored::Zero);
        }
        let hash = Hash(*blake3::keyed_hash(&self.domain.block_key, &bytes).as_bytes());
        let (at, stored, length) = match self.inherited(index)? {
            Some(at) if at.hash == hash => (at, Stored::Known, 0),
            _ => self.store_block(hash, &bytes)?,
        };
        self.change(index, Some(at), Change::New)?;
        let due = {
            let mut state = self.state.lock();
            state.progress.written += u64::from(stored == Stored::Written);
            state.progress.bytes += length;
            state.unnoted() >= CHECKPOINT
        };
        if due {
            self.checkpoint()?;
        }
        Ok(stored)
    }

    /// Puts zeros without sending them.
    pub fn zero_block(&self, index: u64) -> Result<()> {
        self.bound(index)?;
        self.change(index, None, Change::New)
    }

    /// The indexes that were put, zeros too, in order.
    pub fn written(&self) -> Vec<u64> {
        let state = self.state.lock();
        let changed = state.changed.iter().flat_map(|(leaf, changes)| {
            changes.keys().map(|slot| crate::manifest::first_of(*leaf) + u64::from(*slot))
        });
        let sealed = state.sealed.keys().flat_map(|leaf| {
            let first = crate::manifest::first_of(*leaf);
            first..first + u64::from(self.slots(*leaf))
        });
        let mut written: Vec<u64> = changed.chain(sealed).collect();
        written.sort_unstable();
        written
    }

    /// What was put at an index, read back and verified; `None`: zeros, or nothing.
    pub fn written_block(&self, index: u64) -> Result<Option<Bytes>> {
        let (leaf, slot) = leaf_of(index);
        let (changed, sealed) = {
            let state = self.state.lock();
            let changed = state.changed.get(&leaf).and_then(|changes| changes.get(&slot).copied());
            (changed.flatten(), state.sealed.get(&leaf).and_then(|sealed| sealed.at))
        };
        let at = match (changed, sealed) {
            (Some(at), _) => Some(at),
            (None, Some(sealed)) => self.store.leaf_verified(&self.domain, &sealed)?.get(slot).copied(),
            (None, None) => None,
        };
        let Some(at) = at else { return Ok(None) };
        let bytes = self.store.block(&self.domain, &at);
        bytes.map(Some).map_err(|e| e.within(self.snapshot(), Some(index)))
    }

    fn store_block(&self, hash: Hash, bytes: &[u8]) -> Result<(BlockRef, Stored, u64)> {
        let at = BlockRef { epoch: self.record.epoch, hash };
        if self.state.lock().knows(&hash) {
            return Ok((at, Stored::Known, 0));
        }
        let frame = frame::seal_block(&self.domain, &hash.0, bytes);
        let put = self.store.put_soon(&layout::block(self.domain.id(), &at), &frame)?;
        self.state.lock().learn(hash);
        Ok(match put {
            Put::Written => (at, Stored::Written, frame.len() as u64),
            Put::Exists => (at, Stored::Known, 0),
        })
    }

    fn bound(&self, index: u64) -> Result<()> {
        let blocks = self.total_blocks();
        if index >= blocks {
            return Err(Error::NoBlock { snapshot: self.snapshot(), index, blocks });
        }
        if self.state.lock().ended {
            return Err(Error::Ended(self.snapshot()));
        }
        Ok(())
    }

    /// A volume may end within its last block.
    fn whole<'a>(&self, index: u64, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>> {
        if bytes.len() == BLOCK_SIZE {
            return Ok(Cow::Borrowed(bytes));
        }
        let rest = self.record.begin.size - index * BLOCK_SIZE as u64;
        if bytes.len() as u64 != rest {
            return Err(Error::WrongLength(bytes.len()));
        }
        let mut whole = bytes.to_vec();
        whole.resize(BLOCK_SIZE, 0);
        Ok(Cow::Owned(whole))
    }

    /// The block as the parent has it.
    fn inherited(&self, index: u64) -> Result<Option<BlockRef>> {
        let (leaf, slot) = leaf_of(index);
        Ok(self.parent_leaf(leaf)?.and_then(|leaf| leaf.get(slot).copied()))
    }

    fn parent_leaf(&self, leaf: u32) -> Result<Option<Arc<Leaf>>> {
        let Some(at) = self.parent.as_ref().and_then(|parent| parent.leaf(leaf)).copied() else {
            return Ok(None);
        };
        if let Some(leaf) = self.parent_leaves.lock().get(&at) {
            return Ok(Some(leaf));
        }
        let leaf = self.store.leaf_verified(&self.domain, &at);
        let leaf = Arc::new(leaf.map_err(|e| e.within(self.parent_id(), None))?);
        self.parent_leaves.lock().put(at, Arc::clone(&leaf), 1);
        Ok(Some(leaf))
    }

    fn parent_id(&self) -> SnapshotId {
        self.record.begin.parent.unwrap_or(self.snapshot())
    }

    fn change(&self, index: u64, at: Option<BlockRef>, change: Change) -> Result<()> {
        let (leaf, slot) = leaf_of(index);
        let mut state = self.state.lock();
        if state.ended && change == Change::New {
            return Err(Error::Ended(self.snapshot()));
        }
        if let Some(sealed) = state.sealed.get(&leaf).copied() {
            let content = match sealed.at {
                Some(at) => self.store.leaf_verified(&self.domain, &at)?,
                None => Leaf::default(),
            };
            state.unseal(leaf, &content, self.slots(leaf));
        }
        state.put(index, leaf, slot, at, change);
        let slots = self.slots(leaf);
        if state.changed.get(&leaf).is_some_and(|changed| changed.len() == usize::from(slots)) {
            let whole = Leaf(state.whole(leaf));
            // The change stands whether or not its leaf can be written now.
            if let Ok(at) = self.put_leaf(leaf, &whole) {
                state.seal(leaf, Sealed { at, blocks: whole.0.len() });
            }
        }
        Ok(())
    }

    /// Blocks of a leaf.
    fn slots(&self, leaf: u32) -> u16 {
        let first = crate::manifest::first_of(leaf);
        (self.total_blocks() - first).min(crate::LEAF_BLOCKS) as u16
    }

    /// Writes a leaf, unless it is empty or the parent's.
    fn put_leaf(&self, number: u32, leaf: &Leaf) -> Result<Option<BlockRef>> {
        if leaf.0.is_empty() {
            return Ok(None);
        }
        if self.parent_leaf(number)?.as_deref() == Some(leaf) {
            return Ok(self.parent.as_ref().and_then(|parent| parent.leaf(number)).copied());
        }
        self.store.put_leaf(&self.domain, self.record.epoch, leaf).map(Some)
    }

    /// Makes durable which blocks were put so far: what [`BlockStore::resume`] goes on from.
    pub fn checkpoint(&self) -> Result<()> {
        let _one = self.noting.lock();
        let (part, count, bytes) = {
            let state = self.state.lock();
            if state.unnoted() == 0 {
                return Ok(());
            }
            (state.parts, state.unnoted(), state.render_unnoted())
        };
        // Nothing may be noted that a power cut could take away.
        self.store.objects.flush()?;
        let key = layout::session(self.snapshot(), &part_name(part));
        self.store.objects.replace(&key, &frame::wrap(Kind::Session, &bytes))?;
        self.state.lock().noted(count);
        Ok(())
    }

    /// Makes the snapshot: from its return on it is there, whole and durable. After an error it may be called again, here or
    /// after resuming; blocks are refused from the first call on.
    pub fn complete(&self) -> Result<Manifest> {
        self.state.lock().ended = true;
        self.checkpoint()?;
        let snapshot = self.snapshot();
        let root = self.root()?;
        self.store.objects.flush()?;
        if decide(&self.store, snapshot, Ending::Complete)? == Ending::Abort {
            return Err(Error::Aborted(snapshot));
        }
        if !exists(&self.store, &layout::session(snapshot, BEGIN))? {
            // It was cleared away: after a call of this that did more than it could say, or after it was aborted, and then what it
            // wrote may be gone.
            let made = self.store.root(snapshot)?;
            return made.map(|root| root.manifest).ok_or(Error::Aborted(snapshot));
        }
        // Whoever completed it, and saw it deleted since, must not see it again.
        if !exists(&self.store, &layout::session(snapshot, DONE))? {
            let bytes = frame::wrap(Kind::Root, &root.render(&self.domain));
            self.store.put_same(&layout::root(snapshot), &bytes)?;
            mark_done(&self.store, snapshot)?;
        }
        Ok(root.manifest)
    }

    fn root(&self) -> Result<Root> {
        let mut leaves: BTreeMap<u32, BlockRef> =
            self.parent.iter().flat_map(|parent| parent.leaves.iter().copied()).collect();
        let mut blocks = self.parent.as_ref().map_or(0, |parent| parent.manifest.blocks);
        let (changed, sealed, count) = {
            let state = self.state.lock();
            (state.changed.clone(), state.sealed.clone(), state.changes())
        };
        let mut written = Vec::with_capacity(changed.len() + sealed.len());
        for (number, changes) in changed {
            let merged = state::merge(self.parent_leaf(number)?.as_deref(), &changes);
            written.push((number, self.put_leaf(number, &merged)?, merged.0.len()));
        }
        written.extend(sealed.into_iter().map(|(number, sealed)| (number, sealed.at, sealed.blocks)));
        for (number, at, count) in written {
            blocks += count as u64;
            blocks -= self.parent_leaf(number)?.map_or(0, |leaf| leaf.0.len() as u64);
            match at {
                Some(at) => leaves.insert(number, at),
                None => leaves.remove(&number),
            };
        }
        let begin = self.record.begin.clone();
        let manifest = Manifest {
            snapshot: begin.snapshot,
            parent: begin.parent,
            account: begin.account,
            domain: self.record.domain.clone(),
            key_id: begin.key_id,
            size: begin.size,
            created_at: begin.created_at,
            blocks,
            changed: count,
        };
        Ok(Root { manifest, leaves: leaves.into_iter().collect() })
    }

    /// How many threads that put blocks pay.
    pub fn lanes(&self) -> usize {
        self.store.objects.lanes()
    }

    /// Ends the session without a snapshot.
    pub fn abort(&self) -> Result<()> {
        self.state.lock().ended = true;
        abort(&self.store, self.snapshot())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}
