//! What the store holds: the database's tables with what is newer and only in the journal laid over them.

use std::collections::VecDeque;

use redb::{ReadableDatabase, ReadableTable};

use super::codec::{self, Garbled};
use super::disk::{Disk, DiskError, KV, LOG, head};
use super::presence::Presence;
use super::recent::{Entry, Recent};
use crate::watch::{Tail, size};
use crate::{Event, Key, Revision, Scan, Source, Versioned, Window};

/// Events that a watch reads at once: bounded by both.
const READ_AHEAD: Window = Window { events: 1024, bytes: 1 << 20 };
/// Events kept in memory for watches that keep up.
pub(super) const TAIL: Window = Window { events: 4096, bytes: 8 << 20 };

pub(super) struct Ledger {
    pub(super) disk: Disk,
    pub(super) recent: Recent,
    pub(super) presence: Presence,
    pub(super) tail: Tail,
    /// Of the log.
    pub(super) window: Window,
}

impl Ledger {
    pub(super) fn get(&self, key: &Key) -> Result<Option<Versioned>, Source> {
        self.disk.read(|database| {
            let recent = self.recent.lock();
            if let Some(Entry { version, value }) = recent.entries.get(key) {
                return Ok(value.clone().map(|value| Versioned { value, version: *version }));
            }
            let txn = database.begin_read()?;
            drop(recent);
            let table = txn.open_table(KV)?;
            let entry = table.get(key.as_str())?;
            Ok(entry.map(|entry| codec::decode_entry(entry.value())).transpose()?)
        })
    }

    pub(super) fn scan(&self, prefix: &str) -> Result<Scan, Source> {
        self.disk.read(|database| {
            let recent = self.recent.lock();
            let txn = database.begin_read()?;
            let revision = recent.head;
            let newer = recent.entries.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
            let mut newer: Vec<_> = newer.map(|(key, entry)| (key.clone(), entry.clone())).collect();
            drop(recent);
            newer.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            let mut newer = newer.into_iter().peekable();
            let mut entries = Vec::new();
            let put = |entries: &mut Vec<_>, (key, Entry { version, value }): (Key, Entry)| {
                entries.extend(value.map(|value| (key, Versioned { value, version })));
            };
            for entry in txn.open_table(KV)?.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                while let Some(before) = newer.next_if(|(newer, _)| newer.as_str() < key.value()) {
                    put(&mut entries, before);
                }
                if let Some(instead) = newer.next_if(|(newer, _)| newer.as_str() == key.value()) {
                    put(&mut entries, instead);
                    continue;
                }
                let key = Key::new(key.value()).map_err(|_| Garbled)?;
                entries.push((key, codec::decode_entry(value.value())?));
            }
            for after in newer {
                put(&mut entries, after);
            }
            if prefix.is_empty() {
                self.presence.complete(entries.iter().map(|(key, _)| key));
            }
            Ok(Scan { entries, revision })
        })
    }

    /// The first revision that a watch can still be given.
    pub(super) fn oldest(&self) -> Result<Revision, Source> {
        self.disk.read(|database| {
            let recent = self.recent.lock();
            let txn = database.begin_read()?;
            let floor = recent.floor(self.window);
            drop(recent);
            let first = txn.open_table(LOG)?.first()?.map(|(revision, _)| revision.value());
            let first = match first {
                Some(first) => first,
                None => head(&txn)? + 1,
            };
            Ok(first.max(floor))
        })
    }

    /// The next events after `cursor`, as many as are read at once; none if the next one is no longer kept.
    pub(super) fn log_after(&self, cursor: Revision) -> Result<VecDeque<Event>, Source> {
        self.disk.read(|database| {
            let mut events = VecDeque::new();
            let mut bytes = 0;
            let mut fits = |event: Event| {
                bytes += size(&event);
                events.push_back(event);
                (events.len() as u64) < READ_AHEAD.events && bytes < READ_AHEAD.bytes
            };
            let recent = self.recent.lock();
            if cursor + 1 < recent.floor(self.window) {
                return Ok(events);
            }
            if let Some(newer) = recent.after(cursor) {
                let _ = newer.cloned().all(fits);
                return Ok(events);
            }
            let txn = database.begin_read()?;
            drop(recent);
            for record in txn.open_table(LOG)?.range(cursor + 1..)? {
                let (revision, record) = record?;
                if !fits(codec::decode_event(revision.value(), record.value())?) {
                    break;
                }
            }
            Ok(events)
        })
    }

    /// The version of each key, for a writer: calls `judge` with a lookup into the present state.
    pub(super) fn judge<T>(
        &self,
        judge: impl Fn(&mut dyn FnMut(&Key) -> Result<Revision, DiskError>, Revision) -> Result<T, DiskError>,
    ) -> Result<T, Source> {
        self.disk.read(|database| {
            let recent = self.recent.lock();
            // Most commits write to what was written a moment ago, and begin no snapshot.
            let mut table = None;
            let mut version = |key: &Key| {
                if let Some(entry) = recent.entries.get(key) {
                    return Ok(if entry.value.is_some() { entry.version } else { 0 });
                }
                // Whoever makes something new asks for keys that are not there.
                if self.presence.lacks(key) {
                    return Ok(0);
                }
                let table = match &table {
                    Some(table) => table,
                    None => table.insert(database.begin_read()?.open_table(KV)?),
                };
                let entry = table.get(key.as_str())?;
                Ok(entry.map_or(Ok(0), |entry| codec::entry_version(entry.value()))?)
            };
            judge(&mut version, recent.head)
        })
    }
}
