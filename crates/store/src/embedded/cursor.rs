//! A watch on the file: the tail in memory while it reaches back far enough, else the log on ledger.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::ledger::Ledger;
use crate::watch::{Found, wait};
use crate::{BoxFuture, Event, Feed, Revision, WatchError};

pub(super) struct Cursor {
    ledger: Arc<Ledger>,
    news: watch::Receiver<Option<Revision>>,
    cursor: Revision,
    /// Read ahead from the disk; its first is the event after the cursor.
    ahead: VecDeque<Event>,
}

impl Cursor {
    pub(super) fn open(ledger: &Arc<Ledger>, after: Revision) -> Result<Self, WatchError> {
        match ledger.tail.after(after) {
            Found::Event(_) | Found::UpToDate => {}
            Found::Ahead { head } => return Err(WatchError::Ahead { head }),
            Found::Gone { .. } => {
                let oldest = ledger.oldest().map_err(|source| WatchError::Unavailable { source })?;
                if after + 1 < oldest {
                    return Err(WatchError::Compacted { oldest });
                }
            }
        }
        Ok(Self { ledger: Arc::clone(ledger), news: ledger.tail.news(), cursor: after, ahead: VecDeque::new() })
    }

    async fn read_ahead(&mut self, tail: Revision) -> Result<(), WatchError> {
        let (ledger, cursor) = (Arc::clone(&self.ledger), self.cursor);
        let read = tokio::task::spawn_blocking(move || ledger.log_after(cursor)).await;
        let events: VecDeque<Event> = match read {
            Ok(events) => events.map_err(|source| WatchError::Unavailable { source })?,
            Err(panicked) => return Err(WatchError::Unavailable { source: Arc::new(panicked) }),
        };
        match events.front() {
            Some(first) if first.revision == cursor + 1 => self.ahead = events,
            Some(first) => return Err(WatchError::Compacted { oldest: first.revision }),
            // At least this is still there.
            None => return Err(WatchError::Compacted { oldest: tail }),
        }
        Ok(())
    }
}

impl Feed for Cursor {
    fn next(&mut self) -> BoxFuture<'_, Result<Event, WatchError>> {
        Box::pin(async move {
            loop {
                if let Some(event) = self.ahead.pop_front() {
                    self.cursor = event.revision;
                    return Ok(event);
                }
                match self.ledger.tail.after(self.cursor) {
                    Found::Event(event) => {
                        self.cursor = event.revision;
                        return Ok(event);
                    }
                    Found::UpToDate => wait(&mut self.news, self.cursor).await?,
                    Found::Gone { oldest } => self.read_ahead(oldest).await?,
                    Found::Ahead { head } => return Err(WatchError::Ahead { head }),
                }
            }
        })
    }
}
