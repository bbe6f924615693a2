//! What is durable in the journal and not yet in the database, and the conversation of those who fill and empty it.
//!
//! Reads take this lock before they begin their snapshot of the database, and hold it until both are taken: so what is
//! missing here is there, and the snapshot is never newer than what is here.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::watch::size;
use crate::{Event, Key, Revision, Source, Window};

/// A key's newest value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) version: Revision,
    /// `None`: deleted.
    pub(super) value: Option<Bytes>,
}

pub(super) struct Recent {
    lag: Window,
    state: Mutex<State>,
    news: Condvar,
}

pub(super) struct State {
    pub(super) head: Revision,
    pub(super) entries: HashMap<Key, Entry>,
    /// Those that the database does not have, up to `head`.
    pub(super) events: VecDeque<Event>,
    /// Of `events`.
    pub(super) bytes: u64,
    wishes: Wishes,
    /// How many checkpoints have begun.
    begun: u64,
    /// The newest one that has ended, if it failed.
    failed: Option<(u64, Failure)>,
}

#[derive(Default)]
struct Wishes {
    now: bool,
    spare: bool,
    close: bool,
}

/// Why a checkpoint failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) full: bool,
    pub(super) source: Source,
}

/// What the checkpointer is to do.
pub(super) enum Work {
    /// `last`: nothing is added any more, and it is tried once.
    Apply { events: Vec<Event>, last: bool },
    /// Nothing to apply; a spare segment is wanted.
    Prepare,
    End,
}

/// Between attempts that fail, when nobody asks.
const RETRY: Duration = Duration::from_secs(1);

impl Recent {
    pub(super) fn new(applied: Revision, replayed: Vec<Event>, lag: Window) -> Self {
        let recent = Self {
            lag,
            state: Mutex::new(State {
                head: applied,
                entries: HashMap::new(),
                events: VecDeque::new(),
                bytes: 0,
                wishes: Wishes::default(),
                begun: 0,
                failed: None,
            }),
            news: Condvar::new(),
        };
        recent.state.lock().add(replayed);
        recent
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether the checkpointer should hear of what was added since there were `before` events.
    fn presses(&self, state: &State) -> bool {
        // Long before writers must wait.
        state.bytes >= self.lag.bytes / 4 || state.events.len() as u64 >= self.lag.events / 4
    }

    /// Adds what is durable now.
    pub(super) fn add(&self, events: impl IntoIterator<Item = Event>, wants_spare: bool) {
        let mut state = self.state.lock();
        let (idle, pressed) = (state.events.is_empty(), self.presses(&state));
        state.add(events);
        let wakes = idle || (wants_spare && !state.wishes.spare) || (!pressed && self.presses(&state));
        state.wishes.spare |= wants_spare;
        drop(state);
        if wakes {
            self.news.notify_all();
        }
    }

    /// Waits until there is room for more; the failure of a checkpoint that began after this question if there is not.
    pub(super) fn room(&self) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let asked_after = state.begun;
        while state.bytes >= self.lag.bytes || state.events.len() as u64 >= self.lag.events {
            self.await_checkpoint(&mut state, asked_after)?;
        }
        Ok(())
    }

    /// Has the database take everything now, if there is anything.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        let mut state = self.state.lock();
        let (asked_after, head) = (state.begun, state.head);
        while state.events.front().is_some_and(|first| first.revision <= head) {
            self.await_checkpoint(&mut state, asked_after)?;
        }
        Ok(())
    }

    fn await_checkpoint(
        &self,
        state: &mut MutexGuard<'_, State>,
        asked_after: u64,
    ) -> Result<(), Failure> {
        if let Some((attempt, failure)) = &state.failed
            && *attempt > asked_after
        {
            return Err(failure.clone());
        }
        state.wishes.now = true;
        self.news.notify_all();
        self.news.wait(state);
        Ok(())
    }

    /// Waits for something to do. A commit is left here for `linger`, so that many share a checkpoint.
    pub(super) fn work(&self, linger: Duration) -> Work {
        let mut state = self.state.lock();
        self.news.wait_while(&mut state, |state| {
            state.events.is_empty() && !state.wishes.spare && !state.wishes.close
        });
        if !state.events.is_empty() {
            if state.failed.is_some() {
                let idle = |state: &mut State| !state.wishes.now && !state.wishes.close;
                self.news.wait_while_for(&mut state, idle, RETRY);
            } else {
                let idle = |state: &mut State| {
                    !state.wishes.now && !state.wishes.spare && !state.wishes.close && !self.presses(state)
                };
                self.news.wait_while_for(&mut state, idle, linger);
            }
        }
        let spare = std::mem::take(&mut state.wishes.spare);
        if state.events.is_empty() {
            return if state.wishes.close { Work::End } else { Work::Prepare };
        }
        if spare && !state.wishes.now && !state.wishes.close && !self.presses(&state) {
            return Work::Prepare;
        }
        state.wishes.now = false;
        state.begun += 1;
        Work::Apply { events: state.events.iter().cloned().collect(), last: state.wishes.close }
    }

    /// The revision that the database is at, durably.
    pub(super) fn applied(&self) -> Revision {
        let state = self.state.lock();
        state.events.front().map_or(state.head, |first| first.revision - 1)
    }

    /// The database has everything up to `applied`, durably.
    pub(super) fn forget(&self, applied: Revision) {
        let mut state = self.state.lock();
        state.forget(applied);
        state.failed = None;
        drop(state);
        self.news.notify_all();
    }

    pub(super) fn fail(&self, failure: Failure) {
        let mut state = self.state.lock();
        state.failed = Some((state.begun, failure));
        drop(state);
        self.news.notify_all();
    }

    /// Nothing is added any more.
    pub(super) fn close(&self) {
        self.state.lock().wishes.close = true;
        self.news.notify_all();
    }
}

impl State {
    fn add(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            debug_assert_eq!(event.revision, self.head + 1, "revisions are contiguous");
            self.head = event.revision;
            self.bytes += size(&event);
            for change in event.changes.iter() {
                let entry = Entry { version: event.revision, value: change.value.clone() };
                self.entries.insert(change.key.clone(), entry);
            }
            self.events.push_back(event);
        }
    }

    fn forget(&mut self, applied: Revision) {
        while let Some(event) = self.events.pop_front_if(|event| event.revision <= applied) {
            self.bytes -= size(&event);
            for change in event.changes.iter() {
                if self.entries.get(&change.key).is_some_and(|entry| entry.version <= applied) {
                    self.entries.remove(&change.key);
                }
            }
        }
        if self.entries.is_empty() {
            // What a burst took is given back.
            self.entries.shrink_to(1024);
            self.events.shrink_to(1024);
        }
    }

    /// The first revision that a window of the log leaves, as far as it can be seen here.
    pub(super) fn floor(&self, window: Window) -> Revision {
        let by_events = (self.head + 1).saturating_sub(window.events);
        let mut by_bytes = 0;
        if self.bytes > window.bytes {
            let mut bytes = 0;
            let left = self.events.iter().rev().take_while(|event| {
                bytes += size(event);
                bytes <= window.bytes
            });
            by_bytes = self.head + 1 - left.count() as u64;
        }
        by_events.max(by_bytes)
    }

    /// The events after `cursor` that are here; `None` if the next one is not.
    pub(super) fn after(&self, cursor: Revision) -> Option<impl Iterator<Item = &Event>> {
        let first = self.events.front()?.revision;
        (cursor + 1 >= first).then(|| self.events.iter().skip((cursor + 1 - first) as usize))
    }
}
