//! The store in memory: for the simulator, for tests, and as the plainest statement of what a store does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::watch::{Found, Tail, wait};
use crate::{
    BoxFuture, Change, Commit, CommitError, Event, Feed, Key, ReadError, Revision, Scan, Store, Versioned,
    Watch, WatchError, Window, Write,
};

pub struct Memory {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    tail: Tail,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Versioned>,
    revision: Revision,
}

impl Memory {
    pub fn new(window: Window) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), tail: Tail::new(0, window) }) }
    }

    fn apply(&self, commit: Commit) -> Result<Revision, CommitError> {
        commit.check()?;
        let mut state = self.shared.state.lock();
        let stale = commit.compares.into_iter().find(|compare| {
            state.entries.get(&compare.key).map_or(0, |entry| entry.version) != compare.version
        });
        if let Some(compare) = stale {
            return Err(CommitError::Conflict { key: compare.key });
        }
        let revision = state.revision + 1;
        let mut changes = Vec::with_capacity(commit.writes.len());
        for write in commit.writes {
            match write {
                Write::Put(key, value) => {
                    state.entries.insert(key.clone(), Versioned { value: value.clone(), version: revision });
                    changes.push(Change { key, value: Some(value) });
                }
                Write::Delete(key) => {
                    if state.entries.remove(&key).is_some() {
                        changes.push(Change { key, value: None });
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(state.revision);
        }
        state.revision = revision;
        // Under the lock, so that events come in order.
        self.shared.tail.push(Event { revision, changes: changes.into() });
        Ok(revision)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(Window::default())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.shared.tail.close();
    }
}

impl Store for Memory {
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Versioned>, ReadError>> {
        let key = key.clone();
        Box::pin(async move { Ok(self.shared.state.lock().entries.get(&key).cloned()) })
    }

    fn scan(&self, prefix: &str) -> BoxFuture<'_, Result<Scan, ReadError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let state = self.shared.state.lock();
            let entries = state
                .entries
                .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
                .take_while(|(key, _)| key.as_str().starts_with(&prefix))
                .map(|(key, entry)| (key.clone(), entry.clone()))
                .collect();
            Ok(Scan { entries, revision: state.revision })
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Revision, CommitError>> {
        Box::pin(async move { self.apply(commit) })
    }

    fn watch(&self, after: Revision) -> BoxFuture<'_, Result<Watch, WatchError>> {
        Box::pin(async move {
            match self.shared.tail.after(after) {
                Found::Gone { oldest } => Err(WatchError::Compacted { oldest }),
                Found::Ahead { head } => Err(WatchError::Ahead { head }),
                Found::Event(_) | Found::UpToDate => Ok(Watch::new(Cursor {
                    news: self.shared.tail.news(),
                    shared: Arc::clone(&self.shared),
                    cursor: after,
                })),
            }
        })
    }
}

struct Cursor {
    shared: Arc<Shared>,
    news: watch::Receiver<Option<Revision>>,
    cursor: Revision,
}

impl Feed for Cursor {
    fn next(&mut self) -> BoxFuture<'_, Result<Event, WatchError>> {
        Box::pin(async move {
            loop {
                match self.shared.tail.after(self.cursor) {
                    Found::Event(event) => {
                        self.cursor = event.revision;
                        return Ok(event);
                    }
                    Found::UpToDate => wait(&mut self.news, self.cursor).await?,
                    Found::Gone { oldest } => return Err(WatchError::Compacted { oldest }),
                    Found::Ahead { head } => return Err(WatchError::Ahead { head }),
                }
            }
        })
    }
}
