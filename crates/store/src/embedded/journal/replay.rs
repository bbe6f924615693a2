//! What the journal has that the database has not, read at the opening.
//!
//! A frame that is not whole ends its segment: it was being written, and nobody was told of it. But whole frames behind
//! it, or a revision that is missing, are damage to what was acknowledged, and the store is not opened.

use std::fmt;
use std::io;

use super::folder::SegmentFile;
use super::frame::{BLOCK, Found, Header};
use super::{Shelf, segment_number};
use crate::{Event, Revision};

/// Durable, and in order from the revision after the database's on.
pub(in crate::embedded) struct Replayed {
    pub(in crate::embedded) events: Vec<Event>,
    /// Of the newest segment, or zero.
    pub(in crate::embedded) sequence: u64,
}

#[derive(Debug)]
pub(in crate::embedded) enum ReplayError {
    Io(io::Error),
    Damaged { segment: String, damage: Damage },
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is wrong with a journal. Revisions are those that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// The segment's first block is not what was written.
    Header,
    /// It belongs to another store.
    Foreign,
    /// The commits from the first revision up to before the second one are missing.
    Missing { from: Revision, to: Revision },
    /// What is in the record of this revision is none that this program writes.
    Record { revision: Revision },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("its header is damaged"),
            Self::Foreign => f.write_str("it belongs to another store"),
            Self::Missing { from, to } => {
                write!(f, "commits {from} to {} are missing or damaged", to - 1)
            }
            Self::Record { revision } => write!(f, "commit {revision} is damaged"),
        }
    }
}

struct Reading {
    applied: Revision,
    /// The revision that was read last, or the database's if that is later.
    head: Revision,
    events: Vec<Event>,
}

/// Reads the segments, makes sure that what it answers is on the disk, and puts them on the shelf.
pub(in crate::embedded) fn replay(shelf: &Shelf, applied: Revision) -> Result<Replayed, ReplayError> {
    let folder = shelf.folder();
    let names = folder.names()?;
    shelf.tidy(&names)?;
    let mut segments: Vec<_> =
        names.into_iter().filter_map(|name| Some((segment_number(&name)?, name))).collect();
    segments.sort();
    let Some((sequence, _)) = segments.last() else {
        return Ok(Replayed { events: Vec::new(), sequence: 0 });
    };
    let sequence = *sequence;
    let mut reading = Reading { applied, head: applied, events: Vec::new() };
    for (number, name) in segments {
        let damaged = |damage| ReplayError::Damaged { segment: name.clone(), damage };
        let file = folder.open(&name)?;
        let mut bytes = vec![0; file.bytes()? as usize];
        file.read_at(0, &mut bytes)?;
        let header = Header::parse(&bytes).ok_or_else(|| damaged(Damage::Header))?;
        if header.id != shelf.id() {
            return Err(damaged(Damage::Foreign));
        }
        if header.sequence != number {
            // Released, and to be used again under another name, which a power cut took back. Nothing is appended to
            // a segment before its name is durable.
            tracing::info!(segment = name, "removing a segment that was not begun");
            folder.remove(&name)?;
            continue;
        }
        let unapplied = reading.segment(&header, &bytes).map_err(damaged)?;
        if let Some((from, to)) = unapplied
            && number == sequence
        {
            settle(&*file, &bytes, from, to)?;
        }
        let last = reading.head.max(header.first - 1);
        shelf.close(name, last, bytes.len() as u64);
    }
    // The names that were read are there to stay: a segment that made others void must not vanish again.
    folder.sync()?;
    Ok(Replayed { events: reading.events, sequence })
}

/// A sync that failed before the process ended may have left what was read in the kernel's memory alone, never to be
/// written: so it is written again.
fn settle(file: &dyn SegmentFile, bytes: &[u8], from: usize, to: usize) -> io::Result<()> {
    file.write_at(from as u64, &bytes[from..to])?;
    file.sync()
}

impl Reading {
    /// Where the frames lie that the database does not have.
    fn segment(&mut self, header: &Header, bytes: &[u8]) -> Result<Option<(usize, usize)>, Damage> {
        // What older segments have of these revisions is void.
        while self.events.last().is_some_and(|event| event.revision >= header.first) {
            self.events.pop();
        }
        self.head = self.events.last().map_or(self.applied, |event| event.revision);
        if header.first > self.head + 1 {
            return Err(Damage::Missing { from: self.head + 1, to: header.first });
        }
        let mut next = header.first;
        let mut unapplied: Option<(usize, usize)> = None;
        let mut at = BLOCK as usize;
        while at < bytes.len() {
            let Some((offset, frame)) = next_frame(header, bytes, at) else { break };
            // A frame in between may be damaged if nobody needs it any more.
            if frame.first != next && (frame.first < next || frame.first > self.applied + 1) {
                let from = next.max(self.head + 1);
                return Err(Damage::Missing { from, to: frame.first.max(from + 1) });
            }
            if frame.commits == 0 {
                return Err(Damage::Record { revision: frame.first });
            }
            if frame.last() > self.applied {
                let events = frame.events().map_err(|_| Damage::Record { revision: frame.first })?;
                self.events.extend(events.into_iter().filter(|event| event.revision > self.applied));
                self.head = frame.last();
                unapplied = Some((unapplied.map_or(offset, |(from, _)| from), offset + frame.bytes()));
            }
            next = frame.last() + 1;
            at = offset + frame.bytes();
        }
        Ok(unapplied)
    }
}

/// The first whole frame at `at` or behind it.
fn next_frame<'a>(header: &Header, bytes: &'a [u8], at: usize) -> Option<(usize, Found<'a>)> {
    let offsets = (at..bytes.len()).step_by(BLOCK as usize);
    offsets.map(|offset| (offset, &bytes[offset..])).find_map(|(offset, bytes)| {
        let found = Found::parse(header, bytes)?;
        // The last block may be cut by the end of a file that is no multiple of a block: then it is none of ours.
        (found.bytes() <= bytes.len()).then_some((offset, found))
    })
}
