//! The block store: snapshots as content-addressed blocks in an object store, a reader and a network block device over them.
//!
//! A snapshot is a *root* (what it is, and a table of leaves), *leaves* (1,024 block references each) and *blocks* of 512 KiB.
//! Blocks of zeros are not stored. Leaves and blocks are named by a keyed hash of their content and shared between the
//! snapshots of one [`Domain`]; a snapshot names everything that it is made of, so any other may be deleted.
//!
//! Invariants:
//! - a snapshot is visible exactly when its root is there, and its root is written when all else is durable;
//! - what a snapshot or a session refers to is never collected ([`collect`] proves how);
//! - nothing is read without being verified: damage is an error that names the snapshot and the block, never data;
//! - a failed or torn write leaves garbage at most.
//!
//! Everything but the [`nbd`] server blocks: callers on tokio use `spawn_blocking`. So tests inject faults one step at a time.
//! Callers: `blockd` (ingest, lazy volumes), the EBS direct APIs, EC2's snapshots, `nube fsck`. `docs/storage.md` tells it whole.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/how_snapshots_work.html>
//! Differs: a block that two snapshots without common lineage hold is stored once only if both were begun in one epoch.

mod cache;
pub mod collect;
mod domain;
mod error;
mod frame;
pub mod fsck;
pub mod ingest;

mod layout;
mod manifest;
pub mod nbd;
mod objects;
mod session;
mod snapshot;
mod store;

pub use cache::BlockCache;
pub use domain::{Domain, DomainId};
pub use error::{Damage, Error, ObjectError, Result};

pub use manifest::{BLOCK_SIZE, BlockRef, Hash, LEAF_BLOCKS, Manifest};
pub use objects::{Directory, Head, Memory, Objects, Place, Put, S3, S3Config};
#[cfg(any(test, feature = "faults"))]
pub use objects::{Fault, Faulty};
pub use session::{Begin, Progress, Session, SessionInfo, Stored};
pub use snapshot::{Changed, Extent, Piece, Snapshot};
pub use store::BlockStore;
