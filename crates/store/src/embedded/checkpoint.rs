//! The thread behind the writer: brings what the journal has into the database, many commits at once.
//!
//! It runs a while after a first commit, at once when much has gathered or somebody waits for room, and never while there
//! is nothing to do. What it fails at stays in the journal, and is tried again.

use std::sync::Arc;
use std::time::Duration;

use super::journal::Shelf;
use super::ledger::Ledger;
use super::recent::{Failure, Work};

/// Until the store is closed; whether the database has everything then.
pub(super) fn run(ledger: &Ledger, shelf: &Shelf, linger: Duration) -> bool {
    // A process that was killed may have left segments that are not needed.
    shelf.release(ledger.recent.applied());
    loop {
        match ledger.recent.work(linger) {
            Work::Apply { events, last } => match ledger.disk.apply(&events) {
                Ok(applied) => {
                    // First the segments, so that a writer who waits for room finds them.
                    shelf.release(applied);
                    shelf.prepare();
                    ledger.recent.forget(applied);
                }
                Err(error) => {
                    let full = error.is_full();
                    if full {
                        tracing::warn!("the store's disk is full; its commits stay in the journal");
                    } else {
                        tracing::error!(%error, "a write of the store's file failed; its commits stay in the journal");
                    }
                    ledger.recent.fail(Failure { full, source: Arc::new(error) });
                    if last {
                        return false;
                    }
                }
            },
            Work::Prepare => shelf.prepare(),
            Work::End => return true,
        }
    }
}
