//! The archive: completed snapshots apart from the others, each whole.
//!
//! ```text
//! snapshots/archive/snap-…/{format, objects/, tmp/}   a block store with this snapshot alone
//! ```
//! Archiving copies every block of a snapshot, verified, into a store of its own and then deletes it from the others' store; what
//! no other snapshot refers to goes with the next collection. Restoring copies it back. An archived snapshot is encrypted as it
//! was, with the same key.
//! Invariants: a snapshot is in one of the two stores at every moment, whole, for a copy is complete before what it is a copy of
//! goes; each step finds what was done of it, so a crash in between costs repetition at most.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>

use super::shelf::{Inner, Job, begin_in, copy, failed, open_snapshot, stopped};
use super::sync_directory;
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result};
use blocks::{BlockStore, Directory, Error, Session};
use model::SnapshotId;
use model::host::{SnapshotDesired, SnapshotPhase, Tier};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

const ARCHIVE: &str = "archive";

impl Inner {
    fn archive_of(&self, snapshot: SnapshotId) -> PathBuf {
        self.path().join(ARCHIVE).join(snapshot.to_string())
    }

    /// The snapshots of which something is in the archive.
    pub(super) fn archived(&self) -> Result<Vec<SnapshotId>> {
        let listing = |e: io::Error| HostError::transient("listing the archive").caused_by(e);
        let entries = match fs::read_dir(self.path().join(ARCHIVE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(listing)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(listing)?.file_name();
            found.extend(name.to_str().and_then(|name| SnapshotId::parse(name).ok()));
        }
        Ok(found)
    }

    /// The store of a snapshot's own, if there is one.
    fn archive(&self, snapshot: SnapshotId) -> Result<Option<BlockStore>> {
        let path = self.archive_of(snapshot);
        if !path.exists() {
            return Ok(None);
        }
        let objects = Directory::open(&path).map_err(|e| failed(snapshot, e.into()))?;
        Ok(Some(BlockStore::new(Arc::new(objects))))
    }

    fn new_archive(&self, snapshot: SnapshotId) -> Result<BlockStore> {
        let path = self.archive_of(snapshot);
        let made = private_directory(&path)
            .and_then(|()| sync_directory(&self.path().join(ARCHIVE)))
            .and_then(|()| sync_directory(self.path()));
        made.map_err(|e| HostError::transient(format!("archiving {snapshot}")).caused_by(e))?;
        let objects = Directory::open(&path).map_err(|e| failed(snapshot, e.into()))?;
        Ok(BlockStore::new(Arc::new(objects)))
    }

    /// What an archived snapshot tells without keys; none: it is not archived, or not wholly.
    pub(super) fn archived_manifest(&self, snapshot: SnapshotId) -> Result<Option<blocks::Manifest>> {
        match self.archive(snapshot)?.map(|store| store.manifest(snapshot)) {
            None | Some(Err(Error::NoSnapshot(_))) => Ok(None),
            Some(Ok(manifest)) => Ok(Some(manifest)),
            Some(Err(e)) => Err(failed(snapshot, e)),
        }
    }

    pub(super) fn drop_archived(&self, snapshot: SnapshotId) -> Result<()> {
        match fs::remove_dir_all(self.archive_of(snapshot)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(HostError::transient(format!("removing {snapshot} from the archive")).caused_by(e))
            }
            _ => Ok(()),
        }
    }

    /// Whether a snapshot is in the store of all.
    fn is_stored(&self, snapshot: SnapshotId) -> Result<bool> {
        match self.store().manifest(snapshot) {
            Ok(_) => Ok(true),
            Err(Error::NoSnapshot(_)) => Ok(false),
            Err(e) => Err(failed(snapshot, e)),
        }
    }

    /// Brings a completed snapshot's data to where they are desired.
    pub(super) fn change_tier(&self, wanted: &SnapshotDesired, job: &Job) -> Result<SnapshotPhase> {
        let (id, tier) = (wanted.snapshot, wanted.tier);
        let (is_archived, is_stored) = match tier {
            Tier::Standard | Tier::Fast => (false, true),
            Tier::Archive => (true, false),
            Tier::Both => (true, true),
        };
        if tier != Tier::Fast {
            self.drop_fast(id)?;
        }
        if is_archived && self.archived_manifest(id)?.is_none() {
            self.put_away(wanted, job)?;
        }
        if is_stored && !self.is_stored(id)? {
            self.bring_back(wanted, job)?;
        }
        let manifest = match tier {
            Tier::Standard | Tier::Both | Tier::Fast => {
                self.store().manifest(id).map_err(|e| failed(id, e))?
            }
            Tier::Archive => self.archived_manifest(id)?.ok_or_else(|| lost(id))?,
        };
        match tier {
            Tier::Standard => self.drop_archived(id)?,
            Tier::Fast => {
                self.drop_archived(id)?;
                self.keep_fast(wanted, job)?;
            }
            Tier::Archive => self.drop_stored(id)?,
            Tier::Both => {}
        }
        Ok(SnapshotPhase::Completed { full: manifest.blocks * blocks::BLOCK_SIZE as u64, tier })
    }

    fn put_away(&self, wanted: &SnapshotDesired, job: &Job) -> Result<()> {
        let id = wanted.snapshot;
        let from = self.snapshot(id, wanted.data_key.as_ref())?;
        let store = self.new_archive(id)?;
        let domain = self.domain_for(wanted)?;
        let session = begin_in(&store, wanted, None, from.size(), &domain)?;
        finish(&session, &from, job)
    }

    fn bring_back(&self, wanted: &SnapshotDesired, job: &Job) -> Result<()> {
        let id = wanted.snapshot;
        let archive = self.archive(id)?.ok_or_else(|| lost(id))?;
        let from = open_snapshot(&archive, self.path(), id, wanted.data_key.as_ref())?;
        let domain = self.domain_for(wanted)?;
        // The session that made it may not have been cleared away, and there is one of a name.
        let is_open = self.store().sessions().map_err(|e| failed(id, e))?;
        let is_open = is_open.iter().any(|session| session.begin.snapshot == id);
        if !is_open && self.store().has_session(id).map_err(|e| failed(id, e))? {
            self.store().collect().map_err(|e| failed(id, e))?;
        }
        let session = begin_in(self.store(), wanted, None, from.size(), &domain)?;
        finish(&session, &from, job)
    }
}

fn lost(snapshot: SnapshotId) -> HostError {
    HostError::permanent(format!("{snapshot} is not in the archive"))
}

fn finish(session: &Session, from: &blocks::Snapshot, job: &Job) -> Result<()> {
    let id = session.snapshot();
    copy(session, from, job).map_err(|e| failed(id, e))?;
    if job.is_stopped() {
        return Err(stopped());
    }
    session.complete().map(drop).map_err(|e| failed(id, e))
}
