//! Events, the watch that delivers them, and the tail of recent ones that the local backends share.
//!
//! A watch is a cursor over the log rather than a queue of its own: a slow reader costs nothing, and falls off only
//! when the log is trimmed past its cursor, which it is told.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{BoxFuture, Key, Revision, Source};

/// One commit: what it changed, in the order written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub revision: Revision,
    pub changes: Arc<[Change]>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub key: Key,
    /// `None`: deleted.
    pub value: Option<Bytes>,
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// Events before `oldest` are no longer kept: scan again, and watch from that scan's revision.
    #[error("events before revision {oldest} are no longer kept")]
    Compacted { oldest: Revision },
    /// The cursor is of another history than this store's (restored from a copy?): scan again.
    #[error("the store is at revision {head}, behind the watch")]
    Ahead { head: Revision },
    #[error("the store is closed")]
    Closed,
    #[error("the store cannot be read now")]
    Unavailable { source: Source },
}

/// A backend's side of a [`Watch`].
pub trait Feed: Send {
    /// The next event, waiting for it if need be. Cancel safe: an event is consumed only by being returned.
    fn next(&mut self) -> BoxFuture<'_, Result<Event, WatchError>>;
}

/// Events in revision order without a gap. After an error, scan and watch anew.
pub struct Watch(Box<dyn Feed>);

impl Watch {
    pub fn new(feed: impl Feed + 'static) -> Self {
        Self(Box::new(feed))
    }

    /// See [`Feed::next`].
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        self.0.next().await
    }
}

/// How much of the log is kept: the newest events within both bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    pub events: u64,
    /// Of keys and values.
    pub bytes: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self { events: 100_000, bytes: 64 << 20 }
    }
}

impl Window {
    pub(crate) fn min(self, other: Self) -> Self {
        Self { events: self.events.min(other.events), bytes: self.bytes.min(other.bytes) }
    }
}

/// The newest events in memory, and the news of newer ones.
pub(crate) struct Tail {
    window: Window,
    ring: Mutex<Ring>,
    /// `None` once the store is closed.
    head: watch::Sender<Option<Revision>>,
}

/// Invariant: revisions are contiguous and end at `head`.
#[derive(Default)]
struct Ring {
    events: VecDeque<Event>,
    bytes: u64,
    head: Revision,
}

pub(crate) enum Found {
    Event(Event),
    UpToDate,
    /// Older than the tail: `oldest` is the first revision that it still has.
    Gone {
        oldest: Revision,
    },
    Ahead {
        head: Revision,
    },
}

impl Tail {
    pub(crate) fn new(head: Revision, window: Window) -> Self {
        Self {
            window,
            ring: Mutex::new(Ring { head, ..Ring::default() }),
            head: watch::Sender::new(Some(head)),
        }
    }

    pub(crate) fn push(&self, event: Event) {
        let revision = event.revision;
        {
            let mut ring = self.ring.lock();
            debug_assert_eq!(revision, ring.head + 1, "revisions are contiguous");
            ring.head = revision;
            ring.bytes += size(&event);
            ring.events.push_back(event);
            while ring.events.len() as u64 > self.window.events || ring.bytes > self.window.bytes {
                let Some(dropped) = ring.events.pop_front() else { break };
                ring.bytes -= size(&dropped);
            }
        }
        self.head.send_replace(Some(revision));
    }

    pub(crate) fn close(&self) {
        self.head.send_replace(None);
    }

    pub(crate) fn after(&self, cursor: Revision) -> Found {
        let ring = self.ring.lock();
        let oldest = ring.head + 1 - ring.events.len() as u64;
        if cursor > ring.head {
            Found::Ahead { head: ring.head }
        } else if cursor == ring.head {
            Found::UpToDate
        } else if cursor + 1 < oldest {
            Found::Gone { oldest }
        } else {
            Found::Event(ring.events[(cursor + 1 - oldest) as usize].clone())
        }
    }

    pub(crate) fn news(&self) -> watch::Receiver<Option<Revision>> {
        self.head.subscribe()
    }
}

/// Waits until there may be an event after the cursor of the caller, who has just found that it is up to date.
pub(crate) async fn wait(
    news: &mut watch::Receiver<Option<Revision>>,
    cursor: Revision,
) -> Result<(), WatchError> {
    match news.wait_for(|head| head.is_none_or(|head| head != cursor)).await {
        Ok(head) if head.is_some() => Ok(()),
        Ok(_) | Err(_) => Err(WatchError::Closed),
    }
}

pub(crate) fn size(event: &Event) -> u64 {
    let changes = event.changes.iter();
    changes.map(|c| (c.key.as_str().len() + c.value.as_ref().map_or(0, Bytes::len)) as u64).sum()
}
