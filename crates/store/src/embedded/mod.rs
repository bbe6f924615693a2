//! The store in a file (redb) with a journal beside it, for a cloud of one host.
//!
//! One thread writes: it drains a queue, judges each commit in queue order against the pending state of the batch,
//! and appends the batch to the journal with one sync, so that many writers share its cost (group commit). Then it is
//! acknowledged. A second thread brings what the journal has into the file's tables later, many commits at once, and gives
//! the journal's space back. What is in the journal alone is held in memory, within bounds: reads and watches look
//! there first, a writer waits while it is too much.
//!
//! Opening reads from the journal what the file lacks. Files from before there was a journal open as they are.
//!
//! - `journal`: frames, segments, failures of the disk, the replay
//! - `disk`: the file; `recent`: what it lacks; `ledger`: both as one; `presence`: which keys there may be
//! - `writer` and `checkpoint`: the two threads

mod checkpoint;
mod codec;
mod cursor;
mod disk;
mod file;
mod journal;
mod ledger;
mod presence;
mod recent;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use self::cursor::Cursor;
use self::disk::Disk;
use self::journal::folder::OsFolder;
pub use self::journal::folder::{Folder, SegmentFile};
pub use self::journal::replay::Damage;
use self::journal::replay::{self, ReplayError};
use self::journal::{Journal, Shelf};
use self::ledger::{Ledger, TAIL};
use self::presence::Presence;
use self::recent::Recent;
use self::writer::Job;
use crate::watch::Tail;
use crate::{
    BoxFuture, Commit, CommitError, Key, Outcome, ReadError, Revision, Scan, Store, Versioned, Watch,
    WatchError, Window,
};

/// Of the tables, the journal and their encoding; written at creation, and a file of a newer one is refused.
/// 1: without a journal, which is opened and becomes 2.
pub const FORMAT: u64 = 2;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much of the log is kept on disk for watches.
    pub log: Window,
    /// Of redb's page cache.
    pub cache_bytes: usize,
    /// How far the file may be behind the journal before writers wait for it.
    pub lag: Window,
    /// How long commits gather before the file takes them.
    pub linger: Duration,
    /// Of the journal: at least twice the largest commit.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log: Window::default(),
            cache_bytes: 64 << 20,
            lag: Window { events: 16 << 10, bytes: 32 << 20 },
            linger: Duration::from_secs(1),
            segment_bytes: 8 << 20,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    #[error("{} has store format {found}; this program knows up to {FORMAT}", path.display())]
    NewerFormat { path: PathBuf, found: u64 },
    #[error("{} is not a store of this program", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot open the store {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot open the store {}", path.display())]
    Redb { path: PathBuf, source: redb::Error },
    /// What was acknowledged cannot be read in full. Without its journal the store opens at `revision`.
    #[error(
        "the journal of {} is damaged: {segment}: {damage}; the store itself is whole up to commit {revision}",
        path.display()
    )]
    Damaged { path: PathBuf, segment: String, damage: Damage, revision: Revision },
}

/// Opens the database on what holds its bytes; called again after a failed write.
pub type Database = Box<dyn Fn(&redb::Builder) -> Result<redb::Database, redb::DatabaseError> + Send + Sync>;

/// What a store is on: files in production; tests inject faults here.
pub struct Medium {
    pub database: Database,
    pub journal: Box<dyn Folder>,
}

pub struct Embedded {
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<Journal>>,
    checkpointer: Option<JoinHandle<bool>>,
    ledger: Arc<Ledger>,
}

/// Commits waiting for the writer before `commit` waits to be queued.
const QUEUE: usize = 1024;

impl Embedded {
    /// Opens the store, making it (mode 0600) if it is not there. Only one process can have it open.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        file::ensure(path, options)?;
        let medium = Medium {
            database: file::database(path.to_owned()),
            journal: Box::new(OsFolder(file::journal(path))),
        };
        let store = Self::open_on(path, options, medium)?;
        // Only with the file's lock held: nobody else's creation can succeed now.
        file::sweep(path);
        Ok(store)
    }

    /// As `open`, on any medium, which is made a store if it is empty; `name` is for error messages.
    pub fn open_on(name: &Path, options: Options, medium: Medium) -> Result<Self, OpenError> {
        let (disk, opened) = Disk::open(name, options, medium.database)?;
        let shelf = Arc::new(Shelf::new(opened.id, options.segment_bytes, medium.journal));
        let replayed = replay::replay(&shelf, opened.head).map_err(|error| match error {
            ReplayError::Io(source) => OpenError::Io { path: file::journal(name), source },
            ReplayError::Damaged { segment, damage } => {
                OpenError::Damaged { path: name.to_owned(), segment, damage, revision: opened.head }
            }
        })?;
        let head = opened.head + replayed.events.len() as u64;
        if head > opened.head {
            tracing::info!(from = opened.head + 1, to = head, "read commits from the store's journal");
        }
        let presence = Presence::new(opened.head == 0);
        presence.follow(&replayed.events);
        let ledger = Arc::new(Ledger {
            disk,
            presence,
            recent: Recent::new(opened.head, replayed.events, options.lag),
            // Never more than the log itself, so that a watch does not depend on when the process began.
            tail: Tail::new(head, TAIL.min(options.log)),
            window: options.log,
        });
        let journal = Journal::new(Arc::clone(&shelf), replayed.sequence);
        let failed = |source| OpenError::Io { path: name.to_owned(), source };
        let checkpointer = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn({
                let (ledger, shelf) = (Arc::clone(&ledger), Arc::clone(&shelf));
                move || checkpoint::run(&ledger, &shelf, options.linger)
            })
            .map_err(failed)?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let mut store = Self {
            queue: Some(queue),
            writer: None,
            checkpointer: Some(checkpointer),
            ledger: Arc::clone(&ledger),
        };
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer::run(jobs, &ledger, journal, &shelf))
            .map_err(failed)?;
        store.writer = Some(writer);
        Ok(store)
    }
}

impl Drop for Embedded {
    /// Waits for what is queued, has the file take it, then lets go of it.
    fn drop(&mut self) {
        self.queue = None;
        let journal = self.writer.take().and_then(|writer| joined("writer", writer));
        self.ledger.recent.close();
        let applied = self.checkpointer.take().and_then(|thread| joined("checkpointer", thread));
        if let Some(journal) = journal
            && applied == Some(true)
        {
            journal.finish();
        }
        self.ledger.disk.close();
        self.ledger.tail.close();
    }
}

fn joined<T>(name: &str, thread: JoinHandle<T>) -> Option<T> {
    let ended = thread.join();
    if ended.is_err() {
        tracing::error!("the store's {name} panicked");
    }
    ended.ok()
}

#[derive(Debug, thiserror::Error)]
#[error("the store's writer has ended")]
struct Ended;

fn ended(outcome: Outcome) -> CommitError {
    CommitError::Unavailable { outcome, source: Arc::new(Ended) }
}

impl Store for Embedded {
    /// Reads where it is called: a page from the cache (microseconds), at worst a few from the disk.
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Versioned>, ReadError>> {
        let key = key.clone();
        Box::pin(async move { self.ledger.get(&key).map_err(|source| ReadError::Unavailable { source }) })
    }

    fn scan(&self, prefix: &str) -> BoxFuture<'_, Result<Scan, ReadError>> {
        let (ledger, prefix) = (Arc::clone(&self.ledger), prefix.to_owned());
        Box::pin(async move {
            let scanned = tokio::task::spawn_blocking(move || ledger.scan(&prefix)).await;
            match scanned {
                Ok(scan) => scan.map_err(|source| ReadError::Unavailable { source }),
                Err(panicked) => Err(ReadError::Unavailable { source: Arc::new(panicked) }),
            }
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move {
            commit.check()?;
            let (reply, verdict) = oneshot::channel();
            let Some(queue) = &self.queue else { return Err(ended(Outcome::NotApplied)) };
            if queue.send(Job { commit, reply }).await.is_err() {
                return Err(ended(Outcome::NotApplied));
            }
            verdict.await.unwrap_or_else(|_| Err(ended(Outcome::Unknown)))
        })
    }

    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, WatchError>> {
        Box::pin(async move { Ok(Watch::new(Cursor::open(&self.ledger, after)?)) })
    }
}
