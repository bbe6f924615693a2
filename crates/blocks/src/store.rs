//! The store as a whole: its epoch, its snapshots, and the objects under them.

use crate::collect::Collected;
use crate::domain::Domain;
use crate::error::{Damage, Error, ObjectError, Result};
use crate::frame::{self, Kind};
use crate::manifest::{Leaf, Manifest, Root};
use crate::objects::{Objects, Put};
use crate::session::{Begin, Session, SessionInfo};
use crate::snapshot::Snapshot;
use crate::{BlockCache, BlockRef, DomainId, Hash, collect, fsck, layout, session};
use bytes::Bytes;
use model::SnapshotId;
use std::sync::Arc;

/// What readers of one process share.
const CACHE: usize = 64 << 20;

/// A block store over some objects. Cheap to clone.
#[derive(Clone)]
pub struct BlockStore {
    pub(crate) objects: Arc<dyn Objects>,
    pub(crate) cache: Arc<BlockCache>,
}

impl std::fmt::Debug for BlockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockStore").finish_non_exhaustive()
    }
}

impl BlockStore {
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self::with_cache(objects, Arc::new(BlockCache::new(CACHE)))
    }

    pub fn with_cache(objects: Arc<dyn Objects>, cache: Arc<BlockCache>) -> Self {
        Self { objects, cache }
    }

    /// Begins to write a snapshot. `begin.snapshot` must never have been used before, but for a call of this that failed; if
    /// it fails with `Exists` after such a one, [`Self::resume`] goes on with it.
    pub fn begin(&self, begin: Begin, domain: Arc<Domain>) -> Result<Session> {
        session::begin(self, begin, domain)
    }

    /// Goes on with a session that another process, or an earlier life of this one, began and did not end. Blocks that were put
    /// after its last checkpoint are to be put again. A session has one writer at a time.
    pub fn resume(&self, snapshot: SnapshotId, domain: Arc<Domain>) -> Result<Session> {
        session::resume(self, snapshot, domain)
    }

    /// The sessions that nobody has ended, in no order.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>> {
        session::open_sessions(self)
    }

    /// Whether a session of this snapshot is there, in progress or ended and not cleared away.
    pub fn has_session(&self, snapshot: SnapshotId) -> Result<bool> {
        Ok(self.objects.head(&layout::session(snapshot, session::BEGIN), 0)?.is_some())
    }

    /// Ends a session without a snapshot. What it has written is garbage then. Fails with `Exists` if it completes at this moment.
    pub fn abort(&self, snapshot: SnapshotId) -> Result<()> {
        session::abort(self, snapshot)
    }

    /// Opens a completed snapshot for reading.
    pub fn snapshot(&self, snapshot: SnapshotId, domain: Arc<Domain>) -> Result<Snapshot> {
        let key = layout::root(snapshot);
        let bytes = self.objects.get(&key)?.ok_or(Error::NoSnapshot(snapshot))?;
        let damaged = |damage| Error::damaged(&key, damage).within(snapshot, None);
        let bytes = frame::unwrap(Kind::Root, &bytes).map_err(damaged)?;
        let root = Root::parse(bytes).map_err(damaged)?;
        if root.manifest.domain != *domain.id() {
            let (is, asked) = (root.manifest.domain, domain.id().clone());
            return Err(Error::OtherDomain { snapshot, is, asked });
        }
        let root = Root::verify(bytes, &domain).map_err(damaged)?;
        if root.manifest.snapshot != snapshot {
            return Err(damaged(Damage::Content));
        }
        Ok(Snapshot::new(self.clone(), domain, root))
    }

    /// What a completed snapshot tells without keys.
    pub fn manifest(&self, snapshot: SnapshotId) -> Result<Manifest> {
        self.root(snapshot)?.map(|root| root.manifest).ok_or(Error::NoSnapshot(snapshot))
    }

    /// The completed snapshots, in no order.
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let mut found = Vec::new();
        self.objects.list(layout::SNAPSHOTS, &mut |key| found.extend(layout::parse_root(key)))?;
        Ok(found)
    }

    /// Deletes a completed snapshot; one that is not there is no error. Its blocks go with the next collection, unless others
    /// have them too.
    pub fn delete(&self, snapshot: SnapshotId) -> Result<()> {
        // Its session must never complete it a second time.
        if self.objects.head(&layout::session(snapshot, session::BEGIN), 0)?.is_some() {
            if self.objects.head(&layout::root(snapshot), 0)?.is_none() {
                return Ok(());
            }
            session::mark_done(self, snapshot)?;
        }
        Ok(self.objects.delete(&[layout::root(snapshot)])?)
    }

    /// Removes what nothing refers to, while the store is in use. Any number may run at once, on any host.
    pub fn collect(&self) -> Result<Collected> {
        collect::run(self)
    }

    /// Examines everything. Changes nothing.
    pub fn fsck(&self, depth: fsck::Depth) -> Result<fsck::Report> {
        fsck::run(self, depth)
    }

    /// The root without its keyed checksum.
    pub(crate) fn root(&self, snapshot: SnapshotId) -> Result<Option<Root>> {
        let key = layout::root(snapshot);
        let Some(bytes) = self.objects.get(&key)? else { return Ok(None) };
        let root = frame::unwrap(Kind::Root, &bytes).and_then(Root::parse);
        root.map(Some).map_err(|damage| Error::damaged(&key, damage).within(snapshot, None))
    }

    /// A leaf, verified as far as it goes without keys.
    pub(crate) fn leaf(&self, domain: &DomainId, at: &BlockRef) -> Result<Leaf> {
        let key = layout::leaf(domain, at);
        let bytes = self.objects.get(&key)?.ok_or_else(|| Error::damaged(&key, Damage::Missing))?;
        let leaf = frame::unwrap(Kind::Leaf, &bytes).and_then(Leaf::parse);
        leaf.map_err(|damage| Error::damaged(&key, damage))
    }

    /// A leaf, verified.
    pub(crate) fn leaf_verified(&self, domain: &Domain, at: &BlockRef) -> Result<Leaf> {
        let leaf = self.leaf(domain.id(), at)?;
        if leaf_hash(domain, &leaf.render()) != at.hash {
            return Err(Error::damaged(&layout::leaf(domain.id(), at), Damage::Content));
        }
        Ok(leaf)
    }

    pub(crate) fn put_leaf(&self, domain: &Domain, epoch: u32, leaf: &Leaf) -> Result<BlockRef> {
        let bytes = leaf.render();
        let at = BlockRef { epoch, hash: leaf_hash(domain, &bytes) };
        self.put_soon(&layout::leaf(domain.id(), &at), &frame::wrap(Kind::Leaf, &bytes))?;
        Ok(at)
    }

    /// A block, verified.
    pub(crate) fn block(&self, domain: &Domain, at: &BlockRef) -> Result<Bytes> {
        let key = layout::block(domain.id(), at);
        let frame = self.objects.get(&key)?.ok_or_else(|| Error::damaged(&key, Damage::Missing))?;
        let block = frame::open_block(domain, &at.hash.0, &frame);
        block.map(Bytes::from).map_err(|damage| Error::damaged(&key, damage))
    }

    /// Puts an object whose name says all that it can hold. One that is there and holds something else is rot, and is mended.
    pub(crate) fn put_same(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let put = self.objects.put_if_absent(key, bytes)?;
        self.mend(put, key, bytes)
    }

    /// Likewise, durable when the objects are flushed.
    pub(crate) fn put_soon(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        let put = self.objects.put_soon(key, bytes)?;
        self.mend(put, key, bytes)
    }

    fn mend(&self, put: Put, key: &str, bytes: &[u8]) -> Result<Put> {
        if put == Put::Exists && self.objects.get(key)?.as_deref() != Some(bytes) {
            self.objects.replace(key, bytes)?;
        }
        Ok(put)
    }

    /// The current epoch; a store begins in the first.
    pub(crate) fn epoch(&self) -> Result<u32> {
        let mut epoch = 1;
        self.objects
            .list(layout::EPOCHS, &mut |key| epoch = epoch.max(layout::parse_epoch(key).unwrap_or(0)))?;
        Ok(epoch)
    }

    /// Makes the next epoch the current one, and answers it. No two callers get the same.
    pub(crate) fn advance(&self) -> Result<u32> {
        /// Whoever lists epochs while one is added must find one of the latest.
        const KEPT: u32 = 16;
        let mut epoch = self.epoch()? + 1;
        let mark = frame::wrap(Kind::Epoch, &[]);
        while self.objects.put_if_absent(&layout::epoch(epoch), &mark)? == Put::Exists {
            epoch += 1;
        }
        let mut old = Vec::new();
        self.objects.list(layout::EPOCHS, &mut |key| {
            if layout::parse_epoch(key).is_some_and(|old| old + KEPT < epoch) {
                old.push(key.to_owned());
            }
        })?;
        self.objects.delete(&old)?;
        Ok(epoch)
    }
}

fn leaf_hash(domain: &Domain, bytes: &[u8]) -> Hash {
    Hash(*blake3::keyed_hash(&domain.leaf_key, bytes).as_bytes())
}

impl From<ObjectError> for std::io::Error {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Full(source) => source,
            other => std::io::Error::other(other),
        }
    }
}
