//! A transaction: reads that must still hold at the commit, and writes that happen together.
//!
//! Every record that was read with [`Txn::get`], every record written and every claim is compared with the version that
//! the decision saw. Decisions upon the *absence* of something found by an index (nothing uses this group) run
//! exclusively; see [`crate::Cloud::transact`].

use crate::view::{Record, Shared, Tables, Underway, claim_key, claim_text};
use bytes::Bytes;
use model::Region;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::ops::Bound;
use std::sync::Arc;
use store::{Commit, Key, Revision};

struct Pending {
    bytes: Option<Bytes>,
    record: Option<Shared>,
}

/// Somebody else holds the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub by: String,
}

pub struct Txn<'a> {
    tables: &'a Tables,
    compares: BTreeMap<Key, Revision>,
    writes: BTreeMap<Key, Pending>,
    /// Where records are encoded: what is kept of them is as large as they are.
    scratch: Vec<u8>,
}

fn record_key<R: Record>(region: &Region, id: &R::Id) -> Key {
    Key::new(format!("{region}/{}/{id}", R::NOUN)).expect("regions, nouns and ids are short and hold no NUL")
}

impl<'a> Txn<'a> {
    pub fn new(tables: &'a Tables) -> Self {
        Self { tables, compares: BTreeMap::new(), writes: BTreeMap::new(), scratch: Vec::new() }
    }

    /// The state before this transaction, for reads that need not hold until the commit.
    pub fn tables(&self) -> &'a Tables {
        self.tables
    }

    /// A record as this transaction sees it; the commit fails if it changes (or appears) meanwhile.
    pub fn get<R: Record>(&mut self, region: &Region, id: &R::Id) -> Option<Arc<R>> {
        let key = record_key::<R>(region, id);
        if let Some(pending) = self.writes.get(&key) {
            return pending.record.clone().and_then(|record| record.downcast().ok());
        }
        let found = self.tables.versioned::<R>(region, id);
        self.compares.insert(key, found.as_ref().map_or(0, |(_, version)| *version));
        found.map(|(record, _)| Arc::clone(record))
    }

    /// Writes a record, new or changed.
    pub fn put<R: Record>(&mut self, region: &Region, record: R) -> Arc<R> {
        let id = record.id();
        let key = record_key::<R>(region, &id);
        let version = self.tables.versioned::<R>(region, &id).map_or(0, |(_, version)| version);
        self.compares.entry(key.clone()).or_insert(version);
        self.scratch.clear();
        serde_json::to_writer(&mut self.scratch, &record).expect("records are plain data with string keys");
        let bytes = Some(Bytes::copy_from_slice(&self.scratch));
        let record = Arc::new(record);
        self.writes.insert(key, Pending { bytes, record: Some(Arc::clone(&record) as Shared) });
        record
    }

    pub fn delete<R: Record>(&mut self, region: &Region, id: &R::Id) {
        let key = record_key::<R>(region, id);
        match self.tables.versioned::<R>(region, id) {
            Some((_, version)) => {
                self.compares.entry(key.clone()).or_insert(version);
                self.writes.insert(key, Pending { bytes: None, record: None });
            }
            // Made in this very transaction: then nothing is left to write.
            None => drop(self.writes.remove(&key)),
        }
    }

    /// Makes `name` (an address, a group's name) `owner`'s alone. Claiming what one holds already succeeds.
    pub fn claim(&mut self, region: &Region, name: &str, owner: &str) -> Result<(), Taken> {
        let Some(key) = claim_key(region, name) else { return Err(Taken { by: String::new() }) };
        if let Some(holder) = self.claim_holder(&key)
            && *holder != *owner
        {
            return Err(Taken { by: holder.to_string() });
        }
        self.write_claim(key, Some(owner));
        Ok(())
    }

    /// Makes the first of these names in `folder` that nobody holds `owner`'s; none when all are held.
    pub fn claim_first<T: Display>(
        &mut self,
        region: &Region,
        folder: &str,
        names: impl IntoIterator<Item = T>,
        owner: &str,
    ) -> Option<T> {
        // One text for all: where most are held, many are asked for.
        let mut text = claim_text(region, folder);
        let length = text.len();
        let free = names.into_iter().find(|name| {
            text.truncate(length);
            let _ = write!(text, "{name}");
            !self.is_text_claimed(&text)
        })?;
        self.write_claim(Key::new(text).ok()?, Some(owner));
        Some(free)
    }

    /// Whether somebody holds `name` now.
    pub fn is_claimed(&self, region: &Region, name: &str) -> bool {
        self.is_text_claimed(&claim_text(region, name))
    }

    fn is_text_claimed(&self, text: &str) -> bool {
        match self.writes.get(text) {
            Some(pending) => pending.bytes.is_some(),
            // A name that no claim can have is not free.
            None => self.tables.is_claimed(text) || Key::check(text).is_err(),
        }
    }

    /// The names in `folder`, which ends with a slash, that this transaction claims, without the folder.
    pub fn claims_made(&self, region: &Region, folder: &str) -> impl Iterator<Item = &str> {
        let start = claim_text(region, folder);
        let pending = self.writes.range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded));
        let found: Vec<&str> = pending
            .map_while(|(key, pending)| Some((key.as_str().strip_prefix(start.as_str())?, pending)))
            .filter(|(_, pending)| pending.bytes.is_some())
            .map(|(name, _)| name)
            .collect();
        found.into_iter()
    }

    /// Gives `name` back.
    pub fn release(&mut self, region: &Region, name: &str) {
        if let Some(key) = claim_key(region, name) {
            self.write_claim(key, None);
        }
    }

    fn claim_holder(&self, key: &Key) -> Option<Arc<str>> {
        match self.writes.get(key) {
            Some(pending) => pending.bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into()),
            None => self.tables.claim_versioned(key).map(|(owner, _)| Arc::clone(owner)),
        }
    }

    fn write_claim(&mut self, key: Key, owner: Option<&str>) {
        let version = self.tables.claim_versioned(&key).map_or(0, |(_, version)| version);
        if owner.is_none() && version == 0 {
            self.writes.remove(&key);
            return;
        }
        self.compares.insert(key.clone(), version);
        self.writes.insert(
            key,
            Pending { bytes: owner.map(|o| Bytes::copy_from_slice(o.as_bytes())), record: None },
        );
    }

    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// A key that this transaction looks at or writes, whose stored value cannot be read: it is neither there nor absent.
    pub(crate) fn damaged(&self) -> Option<&Key> {
        self.tables.damaged().find(|key| self.compares.contains_key(*key))
    }

    /// The commit, and the records that it writes.
    pub(crate) fn into_commit(self) -> (Commit, Vec<(Key, Underway)>) {
        let mut commit = Commit::new();
        let mut written = Vec::new();
        for (key, version) in self.compares {
            commit = commit.compare(key, version);
        }
        for (key, pending) in self.writes {
            let Some(bytes) = pending.bytes else {
                commit = commit.delete(key);
                continue;
            };
            if let Some(record) = pending.record {
                written.push((key.clone(), Underway { bytes: bytes.clone(), record }));
            }
            commit = commit.put(key, bytes);
        }
        (commit, written)
    }
}
