//! The store in one file (redb), for a cloud of one host.
//!
//! One thread writes: it drains a queue, judges each commit in queue order against the pending state of the batch,
//! and makes the batch durable with one sync, so that many writers share its cost (group commit). Reads go to redb
//! (its snapshots never block the writer, its cache is bounded); nothing is held in memory that the disk does not
//! have, except the newest events for watches, added only after the sync.
//!
//! After a failed write redb refuses to go on with the same handle, so the file is opened again and tells what
//! became of the batch: see `disk`.

mod codec;
mod cursor;
mod disk;
mod file;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use self::cursor::Cursor;
use self::disk::Disk;
use self::writer::Job;
use crate::{
    BoxFuture, Commit, CommitError, Key, Outcome, ReadError, Revision, Scan, Store, Versioned, Watch,
    WatchError, Window,
};

/// Of the tables and their encoding; written at creation, and a file of a newer one is refused.
pub const FORMAT: u64 = 1;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much of the log is kept on disk for watches.
    pub log: Window,
    /// Of redb's page cache.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { log: Window::default(), cache_bytes: 64 << 20 }
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
}

/// Opens the database on what holds its bytes; called again after a failed write. Files in production; tests inject
/// faults here.
pub type Medium = Box<dyn Fn(&redb::Builder) -> Result<redb::Database, redb::DatabaseError> + Send + Sync>;

pub struct Embedded {
    /// `None` only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    disk: Arc<Disk>,
}

/// Commits waiting for the writer before `commit` waits to be queued.
const QUEUE: usize = 1024;

impl Embedded {
    /// Opens the store, making it (mode 0600) if it is not there. Only one process can have it open.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = path.as_ref();
        file::ensure(path, options)?;
        let store = Self::open_on(path, options, file::medium(path.to_owned()))?;
        // Only with the file's lock held: nobody else's creation can succeed now.
        file::sweep(path);
        Ok(store)
    }

    /// As `open`, on any medium, which is made a store if it is empty; `name` is for error messages.
    pub fn open_on(name: &Path, options: Options, medium: Medium) -> Result<Self, OpenError> {
        let disk = Arc::new(Disk::open(name, options, medium)?);
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let disk = Arc::clone(&disk);
                move || writer::run(jobs, &disk)
            })
            .map_err(|source| OpenError::Io { path: name.to_owned(), source })?;
        Ok(Self { queue: Some(queue), writer: Some(writer), disk })
    }
}

impl Drop for Embedded {
    /// Waits for what is queued, then lets go of the file.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
        self.disk.close();
    }
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
        Box::pin(async move { self.disk.get(&key).map_err(|source| ReadError::Unavailable { source }) })
    }

    fn scan(&self, prefix: &str) -> BoxFuture<'_, Result<Scan, ReadError>> {
        let (disk, prefix) = (Arc::clone(&self.disk), prefix.to_owned());
        Box::pin(async move {
            let scanned = tokio::task::spawn_blocking(move || disk.scan(&prefix)).await;
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
        Box::pin(async move { Ok(Watch::new(Cursor::open(&self.disk, after)?)) })
    }
}
