//! Blocks of snapshots one by one: read from completed ones, put into those that their owners write.
//!
//! An open one is a session of the store: what was put is noted durably before the put returns (puts that come together share that),
//! so a crash of the agent loses nothing, and the next put goes on with the session. Sealing reads every block back that was
//! put, if there is a checksum to hold them against.

use super::shelf::{Inner, Shelf, blocking, failed};
use crate::host::{HostError, Result, SourceKey};
use blocks::{Error, Session, Snapshot};
use model::host::blocks::{ChangedBlock, Seal};
use model::host::{SnapshotDesired, SnapshotSource};
use model::{DataKey, SnapshotId};
use parking_lot::Mutex;
use ring::digest::{self, SHA256};
use std::collections::HashMap;
use std::sync::Arc;

/// Snapshots that are kept open for the next read.
const OPEN: usize = 8;

/// What is open of snapshots whose blocks are asked for.
#[derive(Default)]
pub(super) struct Openings {
    /// One at a time begins or resumes; a session has one writer.
    sessions: Mutex<HashMap<SnapshotId, Arc<Session>>>,
    /// With the key that opened it, the last one first.
    read: Mutex<Vec<(Option<DataKey>, Arc<Snapshot>)>>,
}

impl Openings {
    pub fn forget(&self, snapshot: SnapshotId) {
        self.sessions.lock().remove(&snapshot);
        self.read.lock().retain(|(_, open)| open.id() != snapshot);
    }
}

impl Inner {
    /// The session of a snapshot that is written directly, begun or gone on with.
    pub(super) fn direct(&self, wanted: &SnapshotDesired) -> Result<Arc<Session>> {
        let SnapshotSource::Direct { parent, .. } = wanted.source else {
            return Err(HostError::permanent(format!("{} is not written by its owner", wanted.snapshot)));
        };
        let mut sessions = self.openings.sessions.lock();
        if let Some(session) = sessions.get(&wanted.snapshot) {
            return Ok(Arc::clone(session));
        }
        let domain = self.domain_for(wanted)?;
        let session = Arc::new(self.begin(wanted, parent, wanted.size.bytes(), &domain)?);
        // Without its parent it would hold zeros where its owner thinks of the parent's blocks.
        if session.begun().parent != parent {
            session.abort().map_err(|e| failed(wanted.snapshot, e))?;
            return Err(HostError::permanent(format!(
                "the parent of {} cannot be built upon",
                wanted.snapshot
            )));
        }
        sessions.insert(wanted.snapshot, Arc::clone(&session));
        Ok(session)
    }

    /// Completes it, if it holds what its owner says.
    pub(super) fn seal(&self, wanted: &SnapshotDesired, seal: &Seal) -> Result<blocks::Manifest> {
        let id = wanted.snapshot;
        let session = self.direct(wanted)?;
        let written = session.written();
        if written.len() as u64 != seal.changed {
            return Err(HostError::permanent(format!(
                "{} blocks were written, and {} were said to be",
                written.len(),
                seal.changed
            )));
        }
        if let Some(checksum) = &seal.checksum {
            let mut all = digest::Context::new(&SHA256);
            let zeros = digest::digest(&SHA256, &vec![0; blocks::BLOCK_SIZE]);
            for index in written {
                let block = session.written_block(index).map_err(|e| failed(id, e))?;
                let sum = block.map_or(zeros, |block| digest::digest(&SHA256, &block));
                all.update(sum.as_ref());
            }
            if all.finish().as_ref() != checksum.as_slice() {
                return Err(HostError::permanent("the checksum over its blocks is another one"));
            }
        }
        let manifest = session.complete().map_err(|e| failed(id, e))?;
        self.openings.forget(id);
        Ok(manifest)
    }

    fn open(&self, snapshot: SnapshotId, key: SourceKey<'_>) -> Result<Arc<Snapshot>> {
        let known = {
            let mut read = self.openings.read.lock();
            let at = read.iter().position(|(with, open)| open.id() == snapshot && with.as_ref() == key);
            at.map(|at| {
                read[..=at].rotate_right(1);
                Arc::clone(&read[0].1)
            })
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let open = Arc::new(self.snapshot(snapshot, key)?);
        let mut read = self.openings.read.lock();
        read.truncate(OPEN - 1);
        read.insert(0, (key.cloned(), Arc::clone(&open)));
        Ok(open)
    }
}

impl Shelf {
    /// Begins what is to be written directly.
    pub async fn open_direct(&self, wanted: &SnapshotDesired) -> Result<()> {
        let (inner, wanted) = (Arc::clone(&self.inner), wanted.clone());
        blocking(move || inner.direct(&wanted).map(drop)).await
    }

    pub async fn blocks(
        &self,
        snapshot: SnapshotId,
        key: SourceKey<'_>,
        from: u64,
        most: usize,
    ) -> Result<Vec<u64>> {
        let (inner, key) = (Arc::clone(&self.inner), key.cloned());
        blocking(move || {
            let open = inner.open(snapshot, key.as_ref())?;
            let found = open.blocks(from, most).map_err(|e| failed(snapshot, e))?;
            Ok(found.into_iter().map(|(index, _)| index).collect())
        })
        .await
    }

    pub async fn changed_blocks(
        &self,
        first: (SnapshotId, SourceKey<'_>),
        second: (SnapshotId, SourceKey<'_>),
        from: u64,
        most: usize,
    ) -> Result<Option<Vec<ChangedBlock>>> {
        let inner = Arc::clone(&self.inner);
        let (first, second) = ((first.0, first.1.cloned()), (second.0, second.1.cloned()));
        blocking(move || {
            let one = inner.open(first.0, first.1.as_ref())?;
            let two = inner.open(second.0, second.1.as_ref())?;
            let found = match one.changed(&two, from, most) {
                Ok(found) => found,
                Err(Error::OtherDomain { .. }) => return Ok(None),
                Err(error) => return Err(failed(second.0, error)),
            };
            let changed = found.into_iter().map(|changed| ChangedBlock {
                index: changed.index,
                in_first: changed.first.is_some(),
                in_second: changed.second.is_some(),
            });
            Ok(Some(changed.collect()))
        })
        .await
    }

    pub async fn block(
        &self,
        snapshot: SnapshotId,
        key: SourceKey<'_>,
        index: u64,
    ) -> Result<Option<Vec<u8>>> {
        let (inner, key) = (Arc::clone(&self.inner), key.cloned());
        blocking(move || {
            let open = inner.open(snapshot, key.as_ref())?;
            let block = open.block(index).map_err(|e| failed(snapshot, e))?;
            Ok(block.map(|block| block.to_vec()))
        })
        .await
    }

    pub async fn put_block(&self, wanted: &SnapshotDesired, index: u64, data: Vec<u8>) -> Result<()> {
        let (inner, wanted) = (Arc::clone(&self.inner), wanted.clone());
        blocking(move || {
            let session = inner.direct(&wanted)?;
            let put = session.put_block(index, &data).and_then(|_| session.checkpoint());
            put.map_err(|e| failed(wanted.snapshot, e))
        })
        .await
    }
}
