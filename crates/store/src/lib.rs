//! Where intent lives: ordered keys, optimistic transactions, a revision per commit, a watch from a revision.
//!
//! Promises, the same for every backend (`conformance` holds them to it):
//! - a commit is atomic, and acknowledged only when it is durable;
//! - it applies only if every compared key is still at the version that the caller read;
//! - every commit that changes something takes the next revision (no gaps) and is one [`Event`], in order;
//! - reads see every acknowledged commit, and nothing that is not durable;
//! - a watch misses nothing: it either delivers the next revision or says that it cannot.
//!
//! Callers: `control` (transactions and views). Backends: [`Memory`] (simulator, tests), [`Embedded`] (one host,
//! a file and its journal). The bounds of a commit fit inside etcd with `--max-txn-ops=8192`, so that etcd can be a third one.

mod commit;
#[cfg(feature = "conformance")]
pub mod conformance;
mod embedded;
mod key;
mod memory;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

pub use commit::{
    Commit, CommitError, Compare, Excess, Invalid, MAX_COMMIT_BYTES, MAX_COMMIT_OPS, OP_OVERHEAD_BYTES,
    Outcome, Write,
};
pub use embedded::{Damage, Database, Embedded, FORMAT, Folder, Medium, OpenError, Options, SegmentFile};
pub use key::{Key, KeyError, MAX_KEY_BYTES};
pub use memory::Memory;
pub use watch::{Change, Event, Feed, Watch, WatchError, Window};

/// Counts commits that changed something; 0 is "nothing yet", and as a version "absent".
pub type Revision = u64;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The cause inside an error of this crate; cloned to every caller whose commit shared the failed write.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// A value and the revision that last wrote it (etcd's `mod_revision`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    pub value: Bytes,
    pub version: Revision,
}

/// All entries under a prefix in key order, as they were together at `revision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    pub entries: Vec<(Key, Versioned)>,
    pub revision: Revision,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the store cannot be read now")]
    Unavailable { source: Source },
}

pub trait Store: Send + Sync + 'static {
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Versioned>, ReadError>>;

    /// Every key that starts with `prefix` (the empty prefix: all), consistent at one revision.
    fn scan(&self, prefix: &str) -> BoxFuture<'_, Result<Scan, ReadError>>;

    /// Resolves when durable, with the revision taken. A commit that changes nothing (no writes, or only deletes of
    /// absent keys) takes no revision and answers the current one. Dropping the future does not recall a commit
    /// that is already queued.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Revision, CommitError>>;

    /// Replays every event after `after`, then goes on live.
    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, WatchError>>;
}
