//! The journal: where a commit is durable before the database has it.
//!
//! Segments in a folder beside the store's file, each of a fixed length and written once over beforehand, so that an
//! append changes nothing but bytes and one `fdatasync` makes it durable. A batch of commits is one frame (see `frame`).
//! Segments are numbered; each says in its header from which revision on it counts: what an older one has of that
//! revision and later is void.
//!
//! That is how a failure leaves no doubt behind. A frame whose write failed is not whole, and the next one is written
//! over it. A frame whose *sync* failed may or may not reach the disk, however often it is synced again: its segment is
//! appended to no more, and a new one, durable with its name, counts from the revision of that frame on.
//!
//! Callers: `writer` appends; `checkpoint` gives back segments whose commits the database has, and makes spares, so that
//! changing to a new segment seldom waits for more than its header and its name.

pub(super) mod folder;
pub(super) mod frame;
pub(super) mod replay;
mod shelf;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;

use self::folder::SegmentFile;
use self::frame::{BLOCK, Frame, Header};
pub(super) use self::shelf::Shelf;
use crate::{Event, Revision};

/// What became of a frame that was not appended.
#[derive(Debug)]
pub(super) enum AppendError {
    /// It is on no disk, and nothing that happens later can bring it there.
    NotApplied(io::Error),
    /// Its sync failed, and it could not be made void: the next opening may find it, until the next append.
    Unknown(io::Error),
}

impl AppendError {
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::NotApplied(error) if is_full(error))
    }
}

pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// The writer's side.
pub(super) struct Journal {
    shelf: Arc<Shelf>,
    frame: Frame,
    current: Option<Current>,
    /// The highest number that a segment has had.
    sequence: u64,
    /// No segment has been begun yet on an empty folder: then the first one is small, to be quick.
    first: bool,
}

struct Current {
    file: Box<dyn SegmentFile>,
    sequence: u64,
    salt: u64,
    /// Where the next frame goes.
    end: u64,
    bytes: u64,
    /// Of the last frame that counts; of what went before while there is none.
    last: Revision,
    /// Nothing is appended to it any more: a sync of it failed, or another segment may already count in its place.
    ended: bool,
}

impl Journal {
    /// After the replay: `sequence` is the newest segment's, or zero.
    pub(super) fn new(shelf: Arc<Shelf>, sequence: u64) -> Self {
        Self { shelf, frame: Frame::default(), current: None, sequence, first: sequence == 0 }
    }

    /// Resolves when durable. Events follow one another and all that was appended before.
    pub(super) fn append(&mut self, events: &[Event]) -> Result<(), AppendError> {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        let (first, last) = (first.revision, last.revision);
        self.frame.fill(events);
        let bytes = self.frame.bytes();
        let fits = |current: &Current| !current.ended && current.end + bytes <= current.bytes;
        if !self.current.as_ref().is_some_and(fits) {
            self.change(first, bytes).map_err(AppendError::NotApplied)?;
        }
        let Some(current) = &mut self.current else {
            return Err(AppendError::NotApplied(io::Error::other("there is no segment")));
        };
        let frame = self.frame.seal(current.salt);
        current.file.write_at(current.end, frame).map_err(AppendError::NotApplied)?;
        if let Err(error) = current.file.sync() {
            current.ended = true;
            tracing::error!(%error, "the store's journal cannot be synced; changing to a new segment");
            return Err(match self.change(first, bytes) {
                Ok(()) => AppendError::NotApplied(error),
                Err(again) => {
                    tracing::error!(error = %again, "nor can a new segment be made");
                    AppendError::Unknown(error)
                }
            });
        }
        current.end += bytes;
        current.last = last;
        if current.end > current.bytes / 2 {
            self.shelf.want_spare();
        }
        Ok(())
    }

    /// Begins a new segment, which counts from `first` on, with room for a frame of so many bytes. Durable when it
    /// returns; after an error the old segment is whole, and appended to no more if the new one may be there.
    fn change(&mut self, first: Revision, frame: u64) -> io::Result<()> {
        let (name, file, bytes) = self.shelf.take(BLOCK + frame, self.first)?;
        let sequence = self.sequence + 1;
        self.sequence = sequence;
        let salt = random();
        let begun = self.begin(&name, &*file, Header { id: self.shelf.id(), sequence, first, salt });
        if let Err(error) = begun {
            if let Some(current) = &mut self.current {
                current.ended = true;
            }
            self.shelf.discard(&name, &segment_name(sequence));
            return Err(error);
        }
        self.first = false;
        let new = Current { file, sequence, salt, end: BLOCK, bytes, last: first - 1, ended: false };
        if let Some(old) = self.current.replace(new) {
            self.shelf.close(segment_name(old.sequence), old.last, old.bytes);
        }
        Ok(())
    }

    fn begin(&self, name: &str, file: &dyn SegmentFile, header: Header) -> io::Result<()> {
        file.write_at(0, &header.render())?;
        file.sync()?;
        self.shelf.folder().rename(name, &segment_name(header.sequence))?;
        self.shelf.folder().sync()
    }

    /// Once the database has everything: leaves one segment for the next process to begin with. If this fails, the
    /// next opening finds frames that it does not need.
    pub(super) fn finish(mut self) {
        if let Some(old) = self.current.take() {
            self.shelf.close(segment_name(old.sequence), old.last, old.bytes);
            self.shelf.release(old.last);
        }
    }
}

/// Not for secrets.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

const SEGMENT: &str = "segment-";
const SPARE: &str = "spare-";
/// Not yet of its whole length.
const NEW: &str = "new-";

fn segment_name(sequence: u64) -> String {
    format!("{SEGMENT}{sequence:016x}")
}

fn segment_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(SEGMENT)?, 16).ok()
}
