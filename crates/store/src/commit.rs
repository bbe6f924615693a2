//! A transaction as one value: what must still hold, and what is written if it does.

use std::collections::HashSet;

use bytes::Bytes;

use crate::{Key, Revision, Source};

/// Compares and writes together; etcd bounds each list by `--max-txn-ops`, so the sum is inside with room for a
/// backend's own fencing compares.
pub const MAX_COMMIT_OPS: usize = 8192;
/// 1.5 MiB: etcd's default `--max-request-bytes`.
pub const MAX_COMMIT_BYTES: usize = 3 << 19;
/// What an operation costs beside its key and value when it is framed for the wire.
pub const OP_OVERHEAD_BYTES: usize = 32;

/// Applies wholly or not at all: `writes` happen if every compare holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Commit {
    pub compares: Vec<Compare>,
    pub writes: Vec<Write>,
}

/// Holds while `key` is still at `version`; 0 means that it must be absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compare {
    pub key: Key,
    pub version: Revision,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    Put(Key, Bytes),
    Delete(Key),
}

impl Write {
    pub fn key(&self) -> &Key {
        match self {
            Write::Put(key, _) | Write::Delete(key) => key,
        }
    }
}

impl Commit {
    pub fn new() -> Self {
        Self::default()
    }

    /// `key` must still be at `version`.
    pub fn compare(mut self, key: Key, version: Revision) -> Self {
        self.compares.push(Compare { key, version });
        self
    }

    /// `key` must be absent.
    pub fn absent(self, key: Key) -> Self {
        self.compare(key, 0)
    }

    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put(key, value.into()));
        self
    }

    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    pub fn ops(&self) -> usize {
        self.compares.len() + self.writes.len()
    }

    /// Keys, values and framing.
    pub fn bytes(&self) -> usize {
        let compares: usize = self.compares.iter().map(|c| c.key.as_str().len()).sum();
        let writes: usize = self
            .writes
            .iter()
            .map(|write| match write {
                Write::Put(key, value) => key.as_str().len() + value.len(),
                Write::Delete(key) => key.as_str().len(),
            })
            .sum();
        compares + writes + self.ops() * OP_OVERHEAD_BYTES
    }

    /// What every backend refuses before it looks at any state.
    pub fn check(&self) -> Result<(), CommitError> {
        let ops = self.ops();
        if ops > MAX_COMMIT_OPS {
            return Err(CommitError::TooLarge(Excess::Ops { ops }));
        }
        let bytes = self.bytes();
        if bytes > MAX_COMMIT_BYTES {
            return Err(CommitError::TooLarge(Excess::Bytes { bytes }));
        }
        let mut seen = HashSet::with_capacity(self.writes.len());
        match self.writes.iter().find(|write| !seen.insert(write.key())) {
            Some(twice) => Err(CommitError::Invalid(Invalid::WrittenTwice { key: twice.key().clone() })),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// The first compare that did not hold. Nothing was applied: read again and retry.
    #[error("{key} has changed")]
    Conflict { key: Key },
    #[error(transparent)]
    TooLarge(Excess),
    /// Nothing was applied; the store goes on once there is room.
    #[error("the disk is full")]
    Full,
    #[error("the store cannot be written now")]
    Unavailable { outcome: Outcome, source: Source },
    #[error(transparent)]
    Invalid(Invalid),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Excess {
    #[error("a commit of {ops} operations is over {MAX_COMMIT_OPS}")]
    Ops { ops: usize },
    #[error("a commit of {bytes} bytes is over {MAX_COMMIT_BYTES}")]
    Bytes { bytes: usize },
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Invalid {
    #[error("{key} is written twice in one commit")]
    WrittenTwice { key: Key },
}

/// Whether a commit that failed has left a trace. Unknown is not absent: read before deciding again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    NotApplied,
    Unknown,
}
