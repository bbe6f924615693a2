//! The segments that are not being written: those that the database does not have yet, and a spare.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::folder::{Folder, SegmentFile};
use super::{NEW, SPARE};
use crate::Revision;

/// Of the first segment that a new store writes: made within its first commit.
const FIRST_BYTES: u64 = 256 << 10;

pub(in crate::embedded) struct Shelf {
    id: u64,
    segment_bytes: u64,
    folder: Box<dyn Folder>,
    state: Mutex<State>,
    wanted: AtomicBool,
}

#[derive(Default)]
struct State {
    closed: Vec<Closed>,
    spare: Option<Spare>,
    /// For names that are never used twice.
    named: u64,
}

struct Closed {
    name: String,
    /// The last revision in it.
    last: Revision,
    bytes: u64,
}

struct Spare {
    name: String,
    bytes: u64,
}

impl Shelf {
    pub(in crate::embedded) fn new(id: u64, segment_bytes: u64, folder: Box<dyn Folder>) -> Self {
        Self { id, segment_bytes, folder, state: Mutex::default(), wanted: AtomicBool::new(false) }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn folder(&self) -> &dyn Folder {
        &*self.folder
    }

    pub(super) fn close(&self, name: String, last: Revision, bytes: u64) {
        self.state.lock().closed.push(Closed { name, last, bytes });
    }

    /// Keeps one spare of those that are there, and removes the rest and what was never finished.
    pub(super) fn tidy(&self, names: &[String]) -> io::Result<()> {
        let mut state = self.state.lock();
        for name in names {
            let kept = name.starts_with(SPARE) && state.spare.is_none();
            if kept {
                let bytes = self.folder.open(name)?.bytes()?;
                state.spare = Some(Spare { name: name.clone(), bytes });
            } else if name.starts_with(SPARE) || name.starts_with(NEW) {
                self.folder.remove(name)?;
            }
            let number = name.strip_prefix(SPARE).or(name.strip_prefix(NEW));
            if let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) {
                state.named = state.named.max(number);
            }
        }
        Ok(())
    }

    /// A file of at least so many bytes, its present name and its size; made now if there is no spare.
    pub(super) fn take(&self, least: u64, first: bool) -> io::Result<(String, Box<dyn SegmentFile>, u64)> {
        let spare = self.state.lock().spare.take_if(|spare| spare.bytes >= least);
        if let Some(Spare { name, bytes }) = spare {
            match self.folder.open(&name) {
                Ok(file) => return Ok((name, file, bytes)),
                Err(error) => tracing::warn!(%error, name, "a spare segment cannot be used"),
            }
        }
        let bytes = if first { self.segment_bytes.min(FIRST_BYTES) } else { self.segment_bytes }.max(least);
        let name = self.name(NEW);
        let file = self.folder.create(&name, bytes)?;
        Ok((name, file, bytes))
    }

    /// A segment that could not be begun, under whichever of its names it is now. If it stays, it is an empty one that
    /// counts from a revision on which nothing older counts.
    pub(super) fn discard(&self, from: &str, to: &str) {
        for name in [from, to] {
            if self.folder.remove(name).is_ok() {
                tracing::debug!(name, "removed a segment that was not begun");
            }
        }
    }

    /// The current segment is half full: the next one may be got ready.
    pub(super) fn want_spare(&self) {
        if self.state.lock().spare.is_none() {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    pub(in crate::embedded) fn wants_spare(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Makes the spare that is wanted, unless a released segment has become one meanwhile.
    pub(in crate::embedded) fn prepare(&self) {
        if !self.wanted.swap(false, Ordering::Relaxed) || self.state.lock().spare.is_some() {
            return;
        }
        let (new, spare) = (self.name(NEW), self.name(SPARE));
        let made = self.folder.create(&new, self.segment_bytes).and_then(|file| {
            file.sync()?;
            self.folder.rename(&new, &spare)
        });
        match made {
            Ok(()) => self.keep(Spare { name: spare, bytes: self.segment_bytes }),
            Err(error) => {
                // The writer makes one itself, or says that it cannot.
                tracing::warn!(%error, "a spare segment of the store's journal cannot be made");
                drop(self.folder.remove(&new));
            }
        }
    }

    /// The database has everything up to `applied`: segments that hold no more are used again or removed.
    pub(in crate::embedded) fn release(&self, applied: Revision) {
        let (released, mut spare) = {
            let mut state = self.state.lock();
            let released: Vec<_> = state.closed.extract_if(.., |closed| closed.last <= applied).collect();
            (released, state.spare.is_some())
        };
        if released.is_empty() {
            return;
        }
        let mut kept = None;
        for Closed { name, bytes, .. } in released {
            let again = !spare && bytes >= self.segment_bytes;
            let done = if again {
                let to = self.name(SPARE);
                self.folder.rename(&name, &to).map(|()| kept = Some(Spare { name: to, bytes }))
            } else {
                self.folder.remove(&name)
            };
            match done {
                Ok(()) => spare |= again,
                // The next opening finds it and sees that it is not needed.
                Err(error) => tracing::warn!(%error, name, "a segment of the store's journal is left over"),
            }
        }
        match self.folder.sync() {
            Ok(()) => {
                if let Some(kept) = kept {
                    self.keep(kept);
                }
            }
            // Its old name may come back after a power cut: then it must still hold what it held.
            Err(error) => tracing::warn!(%error, "the folder of the store's journal cannot be synced"),
        }
    }

    fn keep(&self, spare: Spare) {
        let mut state = self.state.lock();
        if state.spare.is_none() {
            state.spare = Some(spare);
        }
    }

    fn name(&self, kind: &str) -> String {
        let mut state = self.state.lock();
        state.named += 1;
        format!("{kind}{:016x}", state.named)
    }
}
