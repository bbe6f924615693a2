//! The one thread that writes: batches, verdicts, and what the callers of a failed batch are told.

use std::sync::Arc;

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::codec;
use super::disk::{Disk, DiskError, Filled, KV, LOG, META, META_HEAD, META_LOG_BYTES};
use crate::{Change, Commit, CommitError, Event, Outcome, Revision, Source, Write};

pub(super) struct Job {
    pub(super) commit: Commit,
    pub(super) reply: oneshot::Sender<Result<Revision, CommitError>>,
}

/// Commits that share one sync.
const BATCH: usize = 256;
/// A batch is cut when its commits reach this, which bounds the memory that one transaction holds.
const BATCH_BYTES: usize = 16 << 20;

/// Until the queue is closed and empty.
pub(super) fn run(mut queue: mpsc::Receiver<Job>, disk: &Disk) {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
        while !jobs.is_empty() {
            let mut bytes = 0;
            let cut = jobs.iter().position(|job| {
                bytes += job.commit.bytes();
                bytes > BATCH_BYTES
            });
            let batch: Vec<Job> = jobs.drain(..cut.unwrap_or(jobs.len()).max(1)).collect();
            settle(disk, batch);
        }
    }
}

/// Writes a batch and tells each caller; events are out before the answers are.
fn settle(disk: &Disk, batch: Vec<Job>) {
    let _writing = disk.writing.lock();
    if let Err(error) = disk.ensure_open() {
        tracing::error!(%error, "the store's file cannot be opened");
        refuse(batch, &CommitError::Unavailable { outcome: Outcome::NotApplied, source: Arc::new(error) });
        return;
    }
    let mut seen = None;
    let written = disk.write(|txn| {
        let written = write_batch(txn, &batch, disk)?;
        seen = Some(written.clone());
        Ok(if written.events.is_empty() { Filled::Unchanged(written) } else { Filled::Changed(written) })
    });
    let written = match written {
        Ok(written) => written,
        Err(error) => match recover(disk, error, seen) {
            Ok(written) => written,
            Err(refusal) => {
                refuse(batch, &refusal);
                return;
            }
        },
    };
    for event in written.events {
        disk.tail.push(event);
    }
    for (job, verdict) in batch.into_iter().zip(written.verdicts) {
        // A caller that no longer waits does not undo its commit.
        drop(job.reply.send(verdict));
    }
}

fn refuse(batch: Vec<Job>, refusal: &CommitError) {
    for job in batch {
        drop(job.reply.send(Err(refusal.clone())));
    }
}

/// After a failed write: finds out what the disk has of it. `Ok` if all of it, and durably.
fn recover(disk: &Disk, error: DiskError, seen: Option<Written>) -> Result<Written, CommitError> {
    let full = error.is_full();
    if full {
        tracing::warn!("the store's disk is full");
    } else {
        tracing::error!(%error, "a write of the store failed");
    }
    let source: Source = Arc::new(error);
    let head = match disk.reopen() {
        Ok(head) => head,
        Err(error) => {
            tracing::error!(%error, "the store's file cannot be opened again");
            // The commit point was not reached unless the whole batch had been written.
            let outcome = if seen.is_some() { Outcome::Unknown } else { Outcome::NotApplied };
            return Err(CommitError::Unavailable { outcome, source });
        }
    };
    match seen {
        Some(written) if written.events.last().is_some_and(|last| last.revision == head) => Ok(written),
        Some(_) | None if full => Err(CommitError::Full),
        Some(_) | None => Err(CommitError::Unavailable { outcome: Outcome::NotApplied, source }),
    }
}

/// What a batch came to: a verdict for each commit in queue order, an event for each that changed something.
#[derive(Clone)]
struct Written {
    verdicts: Vec<Result<Revision, CommitError>>,
    events: Vec<Event>,
}

struct Tables<'txn> {
    kv: Table<'txn, &'static str, &'static [u8]>,
    log: Table<'txn, u64, &'static [u8]>,
    log_bytes: u64,
    head: Revision,
    /// Reused for every entry.
    buffer: Vec<u8>,
}

fn write_batch(txn: &WriteTransaction, batch: &[Job], disk: &Disk) -> Result<Written, DiskError> {
    let mut meta = txn.open_table(META)?;
    let head = meta.get(META_HEAD)?.ok_or(codec::Garbled)?.value();
    let log_bytes = meta.get(META_LOG_BYTES)?.ok_or(codec::Garbled)?.value();
    let mut tables =
        Tables { kv: txn.open_table(KV)?, log: txn.open_table(LOG)?, log_bytes, head, buffer: Vec::new() };
    let mut written =
        Written { verdicts: Vec::with_capacity(batch.len()), events: Vec::with_capacity(batch.len()) };
    for job in batch {
        let verdict = tables.apply(&job.commit, &mut written.events)?;
        written.verdicts.push(verdict);
    }
    if !written.events.is_empty() {
        tables.trim(disk)?;
        meta.insert(META_HEAD, tables.head)?;
        meta.insert(META_LOG_BYTES, tables.log_bytes)?;
    }
    Ok(written)
}

impl Tables<'_> {
    fn apply(
        &mut self,
        commit: &Commit,
        events: &mut Vec<Event>,
    ) -> Result<Result<Revision, CommitError>, DiskError> {
        for compare in &commit.compares {
            let entry = self.kv.get(compare.key.as_str())?;
            let version = entry.map_or(Ok(0), |entry| codec::entry_version(entry.value()))?;
            if version != compare.version {
                return Ok(Err(CommitError::Conflict { key: compare.key.clone() }));
            }
        }
        let revision = self.head + 1;
        let mut changes = Vec::with_capacity(commit.writes.len());
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => {
                    codec::encode_entry(&mut self.buffer, revision, value);
                    self.kv.insert(key.as_str(), self.buffer.as_slice())?;
                    changes.push(Change { key: key.clone(), value: Some(value.clone()) });
                }
                Write::Delete(key) => {
                    if self.kv.remove(key.as_str())?.is_some() {
                        changes.push(Change { key: key.clone(), value: None });
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(Ok(self.head));
        }
        let record = codec::encode_changes(&changes);
        self.log.insert(revision, record.as_ref())?;
        self.log_bytes += record.len() as u64;
        self.head = revision;
        events.push(Event { revision, changes: changes.into() });
        Ok(Ok(revision))
    }

    /// Drops the oldest events until the log is inside its window.
    fn trim(&mut self, disk: &Disk) -> Result<(), DiskError> {
        let window = disk.log_window();
        let mut count = self.log.len()?;
        while count > window.events || self.log_bytes > window.bytes {
            let Some((_, record)) = self.log.pop_first()? else { break };
            self.log_bytes = self.log_bytes.saturating_sub(record.value().len() as u64);
            count -= 1;
        }
        Ok(())
    }
}
