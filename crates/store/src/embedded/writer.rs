//! The one thread that writes: batches, verdicts, and what the callers of a failed batch are told.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::disk::DiskError;
use super::journal::{AppendError, Journal, Shelf};
use super::ledger::Ledger;
use super::recent::Failure;
use crate::{Change, Commit, CommitError, Event, Key, Outcome, Revision, Source, Write};

pub(super) struct Job {
    pub(super) commit: Commit,
    pub(super) reply: oneshot::Sender<Result<Revision, CommitError>>,
}

/// Commits that share one sync.
const BATCH: usize = 256;
/// A batch is cut when its commits reach this: a segment of the journal has room for several.
const BATCH_BYTES: usize = 2 << 20;

/// Until the queue is closed and empty; answers the journal as it is then.
pub(super) fn run(
    mut queue: mpsc::Receiver<Job>,
    ledger: &Ledger,
    mut journal: Journal,
    shelf: &Shelf,
) -> Journal {
    let mut jobs = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut jobs, BATCH) > 0 {
        while !jobs.is_empty() {
            let mut bytes = 0;
            let cut = jobs.iter().position(|job| {
                bytes += job.commit.bytes();
                bytes > BATCH_BYTES
            });
            let batch: Vec<Job> = jobs.drain(..cut.unwrap_or(jobs.len()).max(1)).collect();
            settle(ledger, &mut journal, shelf, batch);
        }
    }
    journal
}

/// Makes a batch durable and tells each caller; events are out before the answers are.
fn settle(ledger: &Ledger, journal: &mut Journal, shelf: &Shelf, batch: Vec<Job>) {
    let judged = match ledger.recent.room() {
        Ok(()) => judge(ledger, &batch),
        Err(failure) => Err(failure.into()),
    };
    let appended = judged.and_then(|judged| append(ledger, journal, &judged.events).map(|()| judged));
    let judged = match appended {
        Ok(judged) => judged,
        Err(refusal) => {
            for job in batch {
                drop(job.reply.send(Err(refusal.clone())));
            }
            return;
        }
    };
    if !judged.events.is_empty() {
        ledger.presence.follow(&judged.events);
        ledger.recent.add(judged.events.iter().cloned(), shelf.wants_spare());
    }
    for event in judged.events {
        ledger.tail.push(event);
    }
    for (job, verdict) in batch.into_iter().zip(judged.verdicts) {
        // A caller that no longer waits does not undo its commit.
        drop(job.reply.send(verdict));
    }
}

fn append(ledger: &Ledger, journal: &mut Journal, events: &[Event]) -> Result<(), CommitError> {
    let appended = journal.append(events).or_else(|error| {
        // What the database has taken gives its segments back; it may have room where the journal finds none.
        if error.is_full() && ledger.recent.flush().is_ok() { journal.append(events) } else { Err(error) }
    });
    appended.map_err(|error| {
        if error.is_full() {
            tracing::warn!("the store's disk is full");
            return CommitError::Full;
        }
        let (outcome, source) = match error {
            AppendError::NotApplied(source) => (Outcome::NotApplied, source),
            AppendError::Unknown(source) => (Outcome::Unknown, source),
        };
        tracing::error!(error = %source, ?outcome, "a write to the store's journal failed");
        CommitError::Unavailable { outcome, source: Arc::new(source) }
    })
}

impl From<Failure> for CommitError {
    /// The database is too far behind, and nothing was tried.
    fn from(Failure { full, source }: Failure) -> Self {
        if full { Self::Full } else { Self::Unavailable { outcome: Outcome::NotApplied, source } }
    }
}

/// What a batch comes to: a verdict for each commit in queue order, an event for each that changes something.
struct Judged {
    verdicts: Vec<Result<Revision, CommitError>>,
    events: Vec<Event>,
}

fn judge(ledger: &Ledger, batch: &[Job]) -> Result<Judged, CommitError> {
    let once = || ledger.judge(|version, head| Batch::new(version, head).judge(batch));
    let refused = |source: Source| CommitError::Unavailable { outcome: Outcome::NotApplied, source };
    once().or_else(|_| {
        if let Err(error) = ledger.disk.ensure_open() {
            tracing::error!(%error, "the store's file cannot be opened");
            return Err(refused(Arc::new(error)));
        }
        once().map_err(refused)
    })
}

struct Batch<'a> {
    version: &'a mut dyn FnMut(&Key) -> Result<Revision, DiskError>,
    /// The versions of what this batch has written so far; 0 is deleted.
    written: HashMap<Key, Revision>,
    head: Revision,
}

impl<'a> Batch<'a> {
    fn new(version: &'a mut dyn FnMut(&Key) -> Result<Revision, DiskError>, head: Revision) -> Self {
        Self { version, written: HashMap::new(), head }
    }

    fn judge(mut self, batch: &[Job]) -> Result<Judged, DiskError> {
        let mut judged = Judged { verdicts: Vec::with_capacity(batch.len()), events: Vec::new() };
        for (at, job) in batch.iter().enumerate() {
            let verdict = self.apply(&job.commit, &mut judged.events, at + 1 < batch.len())?;
            judged.verdicts.push(verdict);
        }
        Ok(judged)
    }

    fn version(&mut self, key: &Key) -> Result<Revision, DiskError> {
        match self.written.get(key) {
            Some(version) => Ok(*version),
            None => (self.version)(key),
        }
    }

    fn apply(
        &mut self,
        commit: &Commit,
        events: &mut Vec<Event>,
        more: bool,
    ) -> Result<Result<Revision, CommitError>, DiskError> {
        for compare in &commit.compares {
            if self.version(&compare.key)? != compare.version {
                return Ok(Err(CommitError::Conflict { key: compare.key.clone() }));
            }
        }
        let revision = self.head + 1;
        let mut changes = Vec::with_capacity(commit.writes.len());
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => {
                    changes.push(Change { key: key.clone(), value: Some(value.clone()) });
                }
                Write::Delete(key) => {
                    if self.version(key)? != 0 {
                        changes.push(Change { key: key.clone(), value: None });
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(Ok(self.head));
        }
        // For those behind it.
        if more {
            let written =
                |change: &Change| (change.key.clone(), change.value.as_ref().map_or(0, |_| revision));
            self.written.extend(changes.iter().map(written));
        }
        self.head = revision;
        events.push(Event { revision, changes: changes.into() });
        Ok(Ok(revision))
    }
}
