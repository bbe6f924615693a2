//! What volumes and other snapshots hold, written into the store.

use super::{Inner, Job, failed, must_be_encrypted, stopped};
use crate::host::linux::block::disk::Disk;
use crate::host::linux::block::{layers, lazy, passphrase};
use crate::host::{Fault, HostError, Result, SourceKey};
use blocks::{Begin, BlockStore, Domain, Error, Session, ingest};
use model::clock::SystemClock;
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, Tier};
use model::{Clock, DataKey, SnapshotId, VolumeId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// After so many snapshots what was needed to make them is cleared away.
const COLLECT_EACH: u64 = 64;

impl Inner {
    pub(super) fn make(
        &self,
        wanted: &SnapshotDesired,
        source: SourceKey<'_>,
        job: &Job,
    ) -> Result<SnapshotPhase> {
        let id = wanted.snapshot;
        let full = |manifest: &blocks::Manifest| manifest.blocks * blocks::BLOCK_SIZE as u64;
        let manifest = match self.store.manifest(id) {
            Ok(manifest) => manifest,
            Err(Error::NoSnapshot(_)) => {
                if let Some(manifest) = self.archived_manifest(id)? {
                    return Ok(SnapshotPhase::Completed { full: full(&manifest), tier: Tier::Archive });
                }
                let manifest = self.write(wanted, source, job)?;
                if (self.completed.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(COLLECT_EACH) {
                    self.garbage.notify_one();
                }
                manifest
            }
            Err(e) => return Err(failed(id, e)),
        };
        Ok(SnapshotPhase::Completed { full: full(&manifest), tier: Tier::Standard })
    }

    fn write(&self, wanted: &SnapshotDesired, source: SourceKey<'_>, job: &Job) -> Result<blocks::Manifest> {
        let id = wanted.snapshot;
        if let SnapshotSource::Direct { seal, .. } = &wanted.source {
            let seal = seal.as_ref().ok_or_else(|| HostError::transient(format!("{id} is not sealed")))?;
            return self.seal(wanted, seal);
        }
        let domain = self.domain_for(wanted)?;
        let session = match &wanted.source {
            SnapshotSource::Volume { volume, parent, .. } => {
                self.write_of_volume(wanted, *volume, *parent, &domain, job)?
            }
            SnapshotSource::Copy(of) => {
                let from = self.snapshot(*of, source)?;
                if from.manifest().domain.is_of_key() && !domain.is_encrypted() {
                    return Err(must_be_encrypted(*of));
                }
                let parent = (from.manifest().domain == *domain.id()).then_some(*of);
                let session = self.begin(wanted, parent, from.size(), &domain)?;
                if session.begun().parent.is_none() {
                    copy(&session, &from, job).map_err(|e| failed(id, e))?;
                }
                session
            }
            SnapshotSource::Direct { .. } => return Err(HostError::transient("this is a bug")),
        };
        if job.is_stopped() {
            return Err(stopped());
        }
        session.complete().map_err(|e| failed(id, e))
    }

    fn write_of_volume(
        &self,
        wanted: &SnapshotDesired,
        volume: VolumeId,
        parent: Option<SnapshotId>,
        domain: &Arc<Domain>,
        job: &Job,
    ) -> Result<Session> {
        let id = wanted.snapshot;
        let mut files = layers::frozen_chain(&self.volumes, volume, id)?;
        let served = match files.last().filter(|file| lazy::is_lazy(file)) {
            Some(_) => Some(self.served(volume, wanted.data_key.as_ref())?),
            None => None,
        };
        let is_here = |file: &PathBuf| served.is_none() || !lazy::is_base(file);
        files.retain(is_here);
        let files: Vec<_> = files.into_iter().map(|path| (layers::format(&path), path)).collect();
        let files: Vec<_> = files.into_iter().map(|(format, path)| (path, format)).collect();
        // Without its key an encrypted volume is refused here, rather than stored in the clear.
        let passphrase = wanted.data_key.as_ref().map(|key| passphrase(volume, key));
        let mut disk =
            Disk::open(&files, passphrase.as_deref()).map_err(|e| failed(id, Error::Reading(e)))?;
        let made_of = served.as_ref().map(blocks::Snapshot::id);
        let is_lazy = served.is_some();
        if let Some(served) = served {
            disk.stand_on(served);
        }
        // What the volume has not written is as the snapshot has it that it was made of.
        let parent = parent.or(made_of);
        let session = self.begin(wanted, parent, wanted.size.bytes().max(disk.size()), domain)?;
        // The files above the parent's are what was written since.
        let since = session.begun().parent.and_then(|parent| {
            let name = format!("{parent}.qcow2");
            let layer =
                files.iter().position(|(path, _)| path.file_name().is_some_and(|n| n == name.as_str()));
            layer.or((made_of == Some(parent)).then_some(files.len()))
        });
        let read = ingest_disk(&session, &mut disk, since, files.len() + usize::from(is_lazy), job);
        let became_whole = |error: &HostError| {
            let is_lazy_still = || lazy::record(&self.volumes, volume).is_ok_and(|record| record.is_some());
            is_lazy && error.fault == Fault::Permanent && !is_lazy_still()
        };
        read.map_err(|e| failed(id, e)).map_err(|error| match error {
            // Its snapshot may be gone since; what it stands on now is read the next time.
            error if became_whole(&error) => HostError { fault: Fault::Transient, ..error },
            error => error,
        })?;
        Ok(session)
    }

    /// The snapshot that a volume stands on which is not on the host as a disk.
    fn served(&self, volume: VolumeId, key: Option<&DataKey>) -> Result<blocks::Snapshot> {
        let reading = |e: io::Error| HostError::transient(format!("the record of {volume}")).caused_by(e);
        let record = lazy::record(&self.volumes, volume).map_err(reading)?;
        let record = record.ok_or_else(|| HostError::transient(format!("{volume} has become whole")))?;
        let source = lazy::source_key(volume, &record, key)?;
        self.snapshot(record.snapshot, source.as_ref())
    }

    /// Begins a session, or goes on with the one that there is. A parent that cannot be built on is done without.
    pub(in super::super) fn begin(
        &self,
        wanted: &SnapshotDesired,
        parent: Option<SnapshotId>,
        size: u64,
        domain: &Arc<Domain>,
    ) -> Result<Session> {
        begin_in(&self.store, wanted, parent, size, domain)
    }
}

/// Begins a session in a store, or goes on with the one that there is. A parent that cannot be built on is done without.
pub(in super::super) fn begin_in(
    store: &BlockStore,
    wanted: &SnapshotDesired,
    parent: Option<SnapshotId>,
    size: u64,
    domain: &Arc<Domain>,
) -> Result<Session> {
    let snapshot = wanted.snapshot;
    let begin = |parent| Begin {
        snapshot,
        parent,
        account: wanted.account,
        key_id: None,
        size,
        created_at: SystemClock.now(),
    };
    let begun = match store.begin(begin(parent), Arc::clone(domain)) {
        Err(
            error @ (Error::NoSnapshot(_)
            | Error::OtherDomain { .. }
            | Error::Smaller { .. }
            | Error::Damaged { .. }),
        ) if parent.is_some() => {
            tracing::warn!(%snapshot, %error, "a snapshot is made without its parent");
            store.begin(begin(None), Arc::clone(domain))
        }
        begun => begun,
    };
    match begun {
        Err(Error::Exists(_)) => store.resume(snapshot, Arc::clone(domain)),
        begun => begun,
    }
    .map_err(|e| failed(snapshot, e))
}

/// Puts into a session what it does not have of a disk: what the topmost `since` files hold, or all.
fn ingest_disk(
    session: &Session,
    disk: &mut Disk,
    since: Option<usize>,
    layers: usize,
    job: &Job,
) -> Result<(), Error> {
    let touched = disk.touched(since.unwrap_or(layers)).map_err(Error::Reading)?;
    job.total.store(touched.count(), Ordering::Relaxed);
    let block = blocks::BLOCK_SIZE as u64;
    let end = disk.size();
    ingest::put_all(session, session.lanes(), |put| {
        for index in touched.iter() {
            let at = index * block;
            let mut bytes = vec![0; (end - at).min(block) as usize];
            disk.read(at, &mut bytes).map_err(Error::Reading)?;
            if job.is_stopped() || !put(index, bytes) {
                break;
            }
            job.done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })?;
    if since.is_none() && session.begun().parent.is_some() {
        // What the parent has and the volume has not.
        for index in (0..session.total_blocks()).filter(|index| !touched.has(*index)) {
            session.zero_block(index)?;
        }
    }
    Ok(())
}

/// Puts a snapshot of another domain into a session.
pub(in super::super) fn copy(session: &Session, from: &blocks::Snapshot, job: &Job) -> Result<(), Error> {
    const BATCH: usize = 1024;
    job.total.store(from.manifest().blocks, Ordering::Relaxed);
    ingest::put_all(session, session.lanes(), |put| {
        let mut next = 0;
        loop {
            let batch = from.blocks(next, BATCH)?;
            let Some((last, _)) = batch.last() else { return Ok(()) };
            next = last + 1;
            for (index, _) in batch {
                let Some(bytes) = from.block(index)? else { continue };
                if job.is_stopped() || !put(index, bytes.to_vec()) {
                    return Ok(());
                }
                job.done.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
}
