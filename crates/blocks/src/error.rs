//! What can go wrong, by what a caller can do about it.

use crate::DomainId;
use model::SnapshotId;
use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Objects(#[from] ObjectError),
    #[error("there is no snapshot {0}")]
    NoSnapshot(SnapshotId),
    #[error("{0} is not being written")]
    NoSession(SnapshotId),
    #[error("{0} exists or is being written")]
    Exists(SnapshotId),
    #[error("{0} was aborted")]
    Aborted(SnapshotId),
    /// Its writer has completed or ended it in this process.
    #[error("{0} takes no more blocks")]
    Ended(SnapshotId),
    #[error("{snapshot} belongs to the domain {is}, not to {asked}")]
    OtherDomain { snapshot: SnapshotId, is: DomainId, asked: DomainId },
    #[error("{snapshot} holds {blocks} blocks, there is no block {index}")]
    NoBlock { snapshot: SnapshotId, index: u64, blocks: u64 },
    #[error("a block of {0} bytes")]
    WrongLength(usize),
    #[error("{snapshot} would be smaller than its parent")]
    Smaller { snapshot: SnapshotId },
    #[error("{size} bytes are more than a snapshot may hold")]
    TooLarge { size: u64 },
    /// A read found something else than was written. Nothing of it was returned.
    #[error("{}{}: {object}: {damage}", snapshot.map_or_else(String::new, |s| s.to_string()), block.map_or_else(String::new, |b| format!(" block {b}")))]
    Damaged { snapshot: Option<SnapshotId>, block: Option<u64>, object: String, damage: Damage },
    #[error("the disk that is read: {0}")]
    Source(#[from] crate::nbd::ClientError),
    #[error("reading the disk: {0}")]
    Reading(#[source] io::Error),
    #[error("writing the disk: {0}")]
    Target(#[source] io::Error),
}

/// How a stored object differs from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("missing")]
    Missing,
    #[error("cut short or too long")]
    Length,
    #[error("not an object of this kind")]
    Header,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it does not decrypt under this key")]
    Cipher,
    #[error("it does not decompress")]
    Codec,
    #[error("its content is not what its name says")]
    Content,
    #[error("its content makes no sense")]
    Malformed,
}

/// The object store's own failures.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("the object store is full")]
    Full(#[source] io::Error),
    #[error("the object store cannot {doing} {object}")]
    Failed { doing: &'static str, object: String, source: io::Error },
    #[error("\"{0}\" is no name of an object")]
    Name(String),
    #[error("{0} is no block store of this version")]
    Format(String),
    /// What it does breaks what the store stands on, or it is somebody else's.
    #[error("{store} cannot hold blocks: {why}")]
    Unfit { store: String, why: String },
}

impl ObjectError {
    pub(crate) fn of(doing: &'static str, object: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Failed { doing, object: object.to_owned(), source },
        }
    }
}

impl Error {
    /// Whether the store had no room: nothing is lost, and the same call may be made again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Objects(ObjectError::Full(_)))
    }

    pub(crate) fn damaged(object: &str, damage: Damage) -> Self {
        Self::Damaged { snapshot: None, block: None, object: object.to_owned(), damage }
    }

    /// Names the snapshot, and the block, that a damaged object was read for.
    pub(crate) fn within(self, of: SnapshotId, index: Option<u64>) -> Self {
        match self {
            Self::Damaged { snapshot, block, object, damage } => {
                Self::Damaged { snapshot: snapshot.or(Some(of)), block: block.or(index), object, damage }
            }
            other => other,
        }
    }
}
