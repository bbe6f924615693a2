//! The network block device protocol: a server that shows snapshots to QEMU, and a client that reads disks which QEMU exports.
//!
//! Newstyle handshake with structured replies and block status, over Unix sockets. A volume made from a snapshot is a qcow2
//! overlay whose backing file is such an export; QEMU opens it with `reconnect-delay`, so the server may end and come back
//! under a running guest.
//! Protocol: <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>

mod client;
mod proto;
mod server;

pub use client::{Client, ClientError};
pub use server::{Export, Exports, Limits, Server, Shelf};

/// The metadata context of which parts are stored.
pub const ALLOCATION: &str = "base:allocation";
/// In front of a dirty bitmap's name, the metadata context of what has changed since it was made.
pub const DIRTY_BITMAP: &str = "qemu:dirty-bitmap:";
