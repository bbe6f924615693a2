//! A session as objects: registering, resuming, ending and clearing it away, and how the collector sees it.

use super::state::{self, Change};
use super::{BEGIN, Begin, DONE, END, Ending, PARENT, PART, READY, Record, Session, SessionInfo};
use crate::domain::Domain;
use crate::error::{Damage, Error, Result};
use crate::frame::{self, Kind};
use crate::layout;
use crate::manifest::{LARGEST, Root};
use crate::objects::Put;
use crate::store::BlockStore;
use model::SnapshotId;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

fn control<T: Serialize>(value: &T) -> Vec<u8> {
    frame::wrap(Kind::Session, &serde_json::to_vec(value).expect("plain data"))
}

fn read<T: for<'a> Deserialize<'a>>(
    store: &BlockStore,
    snapshot: SnapshotId,
    part: &str,
) -> Result<Option<T>> {
    let key = layout::session(snapshot, part);
    let Some(bytes) = store.objects.get(&key)? else { return Ok(None) };
    let damaged = |damage| Error::damaged(&key, damage).within(snapshot, None);
    let bytes = frame::unwrap(Kind::Session, &bytes).map_err(damaged)?;
    serde_json::from_slice(bytes).map(Some).map_err(|_| damaged(Damage::Malformed))
}

fn session_keys(snapshot: SnapshotId, parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| layout::session(snapshot, part)).collect()
}

pub(super) fn exists(store: &BlockStore, key: &str) -> Result<bool> {
    Ok(store.objects.head(key, 0)?.is_some())
}

/// Begins a session.
///
/// What the session will reuse must not be swept by a collection that does not know of it. A block of its own epoch: so the
/// epoch is read again once `begin` can be seen, and if a collection has raised it meanwhile, the session begins anew in the
/// new one. A block of the parent's: so the parent must still be there once the copy of its root can be seen.
pub fn begin(store: &BlockStore, begin: Begin, domain: Arc<Domain>) -> Result<Session> {
    let snapshot = begin.snapshot;
    if begin.size > LARGEST {
        return Err(Error::TooLarge { size: begin.size });
    }
    let parent = begin.parent.map(|parent| store.snapshot(parent, Arc::clone(&domain))).transpose()?;
    if parent.as_ref().is_some_and(|parent| parent.manifest().size > begin.size) {
        return Err(Error::Smaller { snapshot });
    }
    if exists(store, &layout::root(snapshot))? {
        return Err(Error::Exists(snapshot));
    }
    let mut record = Record { begin, domain: domain.id().clone(), epoch: store.epoch()? };
    let key = layout::session(snapshot, BEGIN);
    if store.objects.put_if_absent(&key, &control(&record))? == Put::Exists {
        return Err(Error::Exists(snapshot));
    }
    match register(store, &mut record, &domain) {
        Ok(parent) => Ok(Session::new(store.clone(), domain, record, parent)),
        Err(error) => {
            // As if it had never begun. If that fails too, `resume` goes on with it.
            let _ = [READY, PARENT, BEGIN]
                .iter()
                .try_for_each(|part| store.objects.delete(&session_keys(snapshot, &[part])));
            Err(error)
        }
    }
}

/// From `begin` to `ready`; each step may have been taken before.
fn register(store: &BlockStore, record: &mut Record, domain: &Arc<Domain>) -> Result<Option<Root>> {
    let snapshot = record.begin.snapshot;
    loop {
        let epoch = store.epoch()?;
        if epoch == record.epoch {
            break;
        }
        record.epoch = epoch;
        store.objects.replace(&layout::session(snapshot, BEGIN), &control(record))?;
    }
    let mut parent = None;
    if let Some(id) = record.begin.parent {
        let root = store.snapshot(id, Arc::clone(domain))?.into_root();
        let copy = frame::wrap(Kind::Root, &root.render(domain));
        store.objects.replace(&layout::session(snapshot, PARENT), &copy)?;
        if !exists(store, &layout::root(id))? {
            return Err(Error::NoSnapshot(id));
        }
        parent = Some(root);
    }
    store.objects.replace(&layout::session(snapshot, READY), &control(&()))?;
    Ok(parent)
}

pub fn resume(store: &BlockStore, snapshot: SnapshotId, domain: Arc<Domain>) -> Result<Session> {
    let mut record: Record = read(store, snapshot, BEGIN)?.ok_or(Error::NoSession(snapshot))?;
    if record.domain != *domain.id() {
        let (is, asked) = (record.domain, domain.id().clone());
        return Err(Error::OtherDomain { snapshot, is, asked });
    }
    match read::<Ending>(store, snapshot, END)? {
        Some(Ending::Abort) => return Err(Error::Aborted(snapshot)),
        _ if exists(store, &layout::session(snapshot, DONE))? => return Err(Error::Exists(snapshot)),
        _ => {}
    }
    if !exists(store, &layout::session(snapshot, READY))? {
        // No block was put yet.
        let parent = register(store, &mut record, &domain)?;
        return Ok(Session::new(store.clone(), domain, record, parent));
    }
    let key = layout::session(snapshot, PARENT);
    let parent = if record.begin.parent.is_some() {
        let bytes = store.objects.get(&key)?.ok_or_else(|| Error::damaged(&key, Damage::Missing))?;
        let root = frame::unwrap(Kind::Root, &bytes).and_then(|bytes| Root::verify(bytes, &domain));
        Some(root.map_err(|damage| Error::damaged(&key, damage).within(snapshot, None))?)
    } else {
        None
    };
    let mut parts = Vec::new();
    store.objects.list(&layout::session_prefix(snapshot), &mut |key| {
        let part = layout::parse_session(key).and_then(|(_, part)| part.strip_prefix(PART));
        parts.extend(part.and_then(|number| u32::from_str_radix(number, 16).ok()));
    })?;
    parts.sort_unstable();
    let session = Session::new(store.clone(), domain, record, parent);
    for part in parts {
        let key = layout::session(snapshot, &part_name(part));
        let bytes = store.objects.get(&key)?.ok_or_else(|| Error::damaged(&key, Damage::Missing))?;
        let changes = frame::unwrap(Kind::Session, &bytes).and_then(state::parse);
        match changes {
            Ok(changes) => {
                for (index, at) in changes {
                    session.change(index, at, Change::Noted)?;
                }
            }
            // A backend that breaks its promise may leave half of the last one, which nobody was told of.
            Err(damage) => return Err(Error::damaged(&key, damage).within(snapshot, None)),
        }
        session.state.lock().parts = part + 1;
    }
    Ok(session)
}

pub(super) fn part_name(number: u32) -> String {
    format!("{PART}{number:08x}")
}

pub fn mark_done(store: &BlockStore, snapshot: SnapshotId) -> Result<()> {
    Ok(store.objects.replace(&layout::session(snapshot, DONE), &control(&()))?)
}

/// Decides how the session ends, or learns how it was decided.
pub(super) fn decide(store: &BlockStore, snapshot: SnapshotId, wanted: Ending) -> Result<Ending> {
    let key = layout::session(snapshot, END);
    if store.objects.put_if_absent(&key, &control(&wanted))? == Put::Written {
        return Ok(wanted);
    }
    Ok(read(store, snapshot, END)?.unwrap_or(wanted))
}

pub fn abort(store: &BlockStore, snapshot: SnapshotId) -> Result<()> {
    if !exists(store, &layout::session(snapshot, BEGIN))? {
        return if exists(store, &layout::root(snapshot))? {
            Err(Error::Exists(snapshot))
        } else {
            Err(Error::NoSession(snapshot))
        };
    }
    match decide(store, snapshot, Ending::Abort)? {
        Ending::Complete => Err(Error::Exists(snapshot)),
        Ending::Abort => clear(store, snapshot),
    }
}

/// Removes a session's objects. `end` and `done` outlive `begin`, so that half of it is never taken for a session in progress.
pub fn clear(store: &BlockStore, snapshot: SnapshotId) -> Result<()> {
    let mut first = Vec::new();
    store.objects.list(&layout::session_prefix(snapshot), &mut |key| {
        if !matches!(layout::parse_session(key), Some((_, BEGIN | END | DONE))) {
            first.push(key.to_owned());
        }
    })?;
    store.objects.delete(&first)?;
    store.objects.delete(&session_keys(snapshot, &[BEGIN]))?;
    Ok(store.objects.delete(&session_keys(snapshot, &[END, DONE]))?)
}

pub fn open_sessions(store: &BlockStore) -> Result<Vec<SessionInfo>> {
    let seen = look(store)?.into_iter().filter(|seen| !seen.done && !seen.aborted);
    Ok(seen
        .filter_map(|seen| {
            let record = seen.record?;
            Some(SessionInfo { begin: record.begin, domain: record.domain, completing: seen.completing })
        })
        .collect())
}

/// A session as the collector sees it.
pub struct Seen {
    pub snapshot: SnapshotId,
    record: Option<Record>,
    pub parent: Option<Root>,
    pub completing: bool,
    pub aborted: bool,
    pub done: bool,
}

impl Seen {
    /// `None`: it was cleared away, or was being so.
    pub fn epoch(&self) -> Option<u32> {
        self.record.as_ref().map(|record| record.epoch)
    }
}

/// All sessions, with what they rely on.
pub fn look(store: &BlockStore) -> Result<Vec<Seen>> {
    let mut snapshots = Vec::new();
    store.objects.list(layout::SESSIONS, &mut |key| {
        snapshots.extend(layout::parse_session(key).map(|(snapshot, _)| snapshot));
    })?;
    snapshots.sort_unstable();
    snapshots.dedup();
    let mut seen = Vec::with_capacity(snapshots.len());
    for snapshot in snapshots {
        let record: Option<Record> = read(store, snapshot, BEGIN)?;
        let key = layout::session(snapshot, PARENT);
        let parent = match store.objects.get(&key)? {
            None => None,
            Some(bytes) => {
                let root = frame::unwrap(Kind::Root, &bytes).and_then(Root::parse);
                Some(root.map_err(|damage| Error::damaged(&key, damage).within(snapshot, None))?)
            }
        };
        let end = read::<Ending>(store, snapshot, END)?;
        seen.push(Seen {
            snapshot,
            record,
            parent,
            completing: end == Some(Ending::Complete),
            aborted: end == Some(Ending::Abort),
            done: exists(store, &layout::session(snapshot, DONE))?,
        });
    }
    Ok(seen)
}
