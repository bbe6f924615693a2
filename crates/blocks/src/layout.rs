//! The names of objects.
//!
//! ```text
//! epochs/0000002a                       the current epoch is the highest
//! snapshots/snap-…                      roots
//! sessions/snap-…/{begin,parent,ready,part-…,end,done}
//! leaves/DOMAIN/HH/HASH-EPOCH           HH: the hash's first two digits
//! blocks/DOMAIN/HH/HASH-EPOCH
//! ```

use crate::{BlockRef, DomainId, Hash};
use model::SnapshotId;
use std::fmt::Write as _;

pub const EPOCHS: &str = "epochs/";
pub const SNAPSHOTS: &str = "snapshots/";
pub const SESSIONS: &str = "sessions/";
pub const LEAVES: &str = "leaves/";
pub const BLOCKS: &str = "blocks/";

pub fn epoch(epoch: u32) -> String {
    format!("{EPOCHS}{epoch:08x}")
}

pub fn parse_epoch(key: &str) -> Option<u32> {
    hex_u32(key.strip_prefix(EPOCHS)?)
}

pub fn root(snapshot: SnapshotId) -> String {
    format!("{SNAPSHOTS}{snapshot}")
}

pub fn parse_root(key: &str) -> Option<SnapshotId> {
    SnapshotId::parse(key.strip_prefix(SNAPSHOTS)?).ok()
}

pub fn session(snapshot: SnapshotId, part: &str) -> String {
    format!("{SESSIONS}{snapshot}/{part}")
}

pub fn session_prefix(snapshot: SnapshotId) -> String {
    format!("{SESSIONS}{snapshot}/")
}

/// The snapshot, and which part of its session.
pub fn parse_session(key: &str) -> Option<(SnapshotId, &str)> {
    let (snapshot, part) = key.strip_prefix(SESSIONS)?.split_once('/')?;
    Some((SnapshotId::parse(snapshot).ok()?, part))
}

pub fn block(domain: &DomainId, at: &BlockRef) -> String {
    addressed(BLOCKS, domain, at)
}

pub fn leaf(domain: &DomainId, at: &BlockRef) -> String {
    addressed(LEAVES, domain, at)
}

fn addressed(under: &str, domain: &DomainId, at: &BlockRef) -> String {
    let mut key = String::with_capacity(under.len() + domain.as_str().len() + 80);
    let _ = write!(key, "{under}{domain}/{:02x}/{}-{:08x}", at.hash.0[0], at.hash, at.epoch);
    key
}

/// The domain and the reference in the name of a block or a leaf.
pub fn parse_addressed(under: &str, key: &str) -> Option<(DomainId, BlockRef)> {
    let (domain, rest) = key.strip_prefix(under)?.split_once('/')?;
    let (fan, name) = rest.split_once('/')?;
    let (hash, epoch) = name.split_once('-')?;
    let hash = Hash::parse(hash)?;
    let at = BlockRef { epoch: hex_u32(epoch)?, hash };
    (fan == format!("{:02x}", at.hash.0[0])).then_some((DomainId::parse(domain)?, at))
}

fn hex_u32(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}
