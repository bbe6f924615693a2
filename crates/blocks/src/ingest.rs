//! From a disk into a session, and from a snapshot into a file.
//!
//! The disk is whatever speaks NBD: a running QEMU (`block-export-add` of a node, with its dirty bitmap), `qemu-storage-daemon`
//! for a volume that is detached, `qemu-nbd` for a file. One thread reads, several hash, compress and write: a put waits for
//! the disk twice, and they share the flushes.

use crate::error::{Error, Result};
use crate::manifest::BLOCK_SIZE;
use crate::nbd::{ALLOCATION, Client, ClientError, DIRTY_BITMAP};
use crate::session::Session;
use crate::snapshot::{Piece, Snapshot};
use parking_lot::Mutex;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

/// `base:allocation`: reads as zeros.
const ZERO: u32 = 2;
/// `qemu:dirty-bitmap:…`: was written.
const DIRTY: u32 = 1;
/// How much of a disk one status request covers.
const STRIDE: u64 = 1 << 30;
const BLOCK: u64 = BLOCK_SIZE as u64;

/// Which part of a disk is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// All that is not zero, and the zeros where the parent has something.
    Everything,
    /// What this bitmap says was written since it was begun. The rest is the parent's.
    Dirty { bitmap: &'a str },
}

impl What<'_> {
    /// The metadata context that a client needs for it.
    pub fn context(&self) -> String {
        match self {
            Self::Everything => ALLOCATION.to_owned(),
            Self::Dirty { bitmap } => format!("{DIRTY_BITMAP}{bitmap}"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Blocks that were read.
    pub read: u64,
    /// Blocks that were known to be zero without reading them.
    pub zero: u64,
}

/// What is to be done with a run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Todo {
    Read,
    Zero,
    Nothing,
}

/// Streams a disk into a session, which the caller completes. `workers` threads write.
pub fn disk(session: &Session, client: &mut Client, what: What<'_>, workers: usize) -> Result<Ingested> {
    let end = client.size().min(session.begun().size);
    let context = what.context();
    let mut todo = Vec::new();
    let mut at = 0;
    while at < end {
        let length = (end - at).min(STRIDE) as u32;
        for (length, flags) in client.status(&context, at, length)? {
            let next = at + u64::from(length);
            let wanted = match what {
                What::Everything if flags & ZERO == 0 => Todo::Read,
                What::Everything => Todo::Zero,
                What::Dirty { .. } if flags & DIRTY == 0 => Todo::Nothing,
                What::Dirty { .. } => Todo::Read,
            };
            note(&mut todo, at, next, wanted);
            at = next;
        }
    }
    let mut ingested = Ingested::default();
    let reads = todo.iter().filter(|(_, _, wanted)| *wanted == Todo::Read);
    let reads = reads.flat_map(|(from, to, _)| *from..*to);
    let ranges = reads.map(|index| {
        let offset = index * BLOCK;
        ingested.read += 1;
        Ok((offset, (end - offset).min(BLOCK) as u32))
    });
    put_all(session, workers, |put| {
        client.read_each(ranges, |offset, bytes| Ok(put(offset / BLOCK, bytes)))
    })?;
    if session.begun().parent.is_some() {
        for (from, to, _) in todo.iter().filter(|(_, _, wanted)| *wanted == Todo::Zero) {
            for index in *from..*to {
                session.zero_block(index)?;
                ingested.zero += 1;
            }
        }
    }
    Ok(ingested)
}

/// Adds an extent of bytes to the runs of blocks. A block that is to be read in part is read.
fn note(todo: &mut Vec<(u64, u64, Todo)>, from: u64, to: u64, wanted: Todo) {
    let (mut first, last) = (from / BLOCK, to.div_ceil(BLOCK));
    if let Some((_, end, before)) = todo.last_mut()
        && *end > first
    {
        // They meet within a block.
        let stronger = matches!((*before, wanted), (Todo::Read, _) | (Todo::Nothing, Todo::Nothing))
            || *before == wanted;
        if stronger {
            first = *end;
        } else {
            *end = first;
            if wanted != Todo::Read {
                // Zeros and what is to be left alone do not come from one question.
                todo.push((first, first + 1, Todo::Read));
                first += 1;
            }
        }
    }
    todo.retain(|(from, to, _)| from < to);
    if first >= last {
        return;
    }
    match todo.last_mut() {
        Some((_, end, before)) if *before == wanted => *end = last,
        _ => todo.push((first, last, wanted)),
    }
}

/// Streams a raw file into a session, which the caller completes.
pub fn file(session: &Session, file: &File, workers: usize) -> Result<Ingested> {
    let end = file.metadata().map_err(ClientError::from)?.len().min(session.begun().size);
    let mut ingested = Ingested::default();
    put_all(session, workers, |put| {
        for index in 0..end.div_ceil(BLOCK) {
            let mut bytes = vec![0; (end - index * BLOCK).min(BLOCK) as usize];
            file.read_exact_at(&mut bytes, index * BLOCK).map_err(ClientError::from)?;
            ingested.read += 1;
            if !put(index, bytes) {
                break;
            }
        }
        Ok(())
    })?;
    Ok(ingested)
}

/// Runs `read`, which hands blocks to the closure that it is given, beside threads that put them. The closure answers whether
/// more are wanted. What is read of a block may end early.
pub fn put_all(
    session: &Session,
    workers: usize,
    read: impl FnOnce(&mut dyn FnMut(u64, Vec<u8>) -> bool) -> Result<()>,
) -> Result<()> {
    let workers = workers.max(1);
    let (sender, receiver) = mpsc::sync_channel::<(u64, Vec<u8>)>(workers);
    let receiver = Mutex::new(receiver);
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    let stop = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let next = receiver.lock().recv();
                    let Ok((index, mut bytes)) = next else { return };
                    // What was read may be a disk that ends earlier than the volume.
                    let whole = (session.begun().size - index * BLOCK).min(BLOCK) as usize;
                    bytes.resize(whole, 0);
                    if stop.load(Ordering::Relaxed) {
                        continue;
                    }
                    if let Err(error) = session.put_block(index, &bytes) {
                        failed.lock().get_or_insert(error);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        let read =
            read(&mut |index, bytes| !stop.load(Ordering::Relaxed) && sender.send((index, bytes)).is_ok());
        drop(sender);
        read
    });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => read,
    }
}

/// Writes a snapshot into a file as a raw disk, sparse where it is zero.
pub fn export(snapshot: &Snapshot, into: &File) -> Result<()> {
    export_while(snapshot, into, &|| true)
}

/// The same; ends early, and says nothing of it, once nobody wants it any more.
pub fn export_while(snapshot: &Snapshot, into: &File, is_wanted: &dyn Fn() -> bool) -> Result<()> {
    into.set_len(0).and_then(|()| into.set_len(snapshot.size())).map_err(Error::Target)?;
    let mut at = 0;
    while at < snapshot.size() && is_wanted() {
        match snapshot.piece(at, snapshot.size() - at)? {
            Piece::Data(bytes) => {
                into.write_all_at(&bytes, at).map_err(Error::Target)?;
                at += bytes.len() as u64;
            }
            Piece::Zero(length) => at += length,
        }
    }
    into.sync_all().map_err(Error::Target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_is_to_be_read_in_part_is_read_once() {
        let mut todo = Vec::new();
        note(&mut todo, 0, BLOCK / 2, Todo::Zero);
        note(&mut todo, BLOCK / 2, BLOCK * 3 / 2, Todo::Read);
        note(&mut todo, BLOCK * 3 / 2, BLOCK * 5, Todo::Zero);
        note(&mut todo, BLOCK * 5, BLOCK * 5 + 1, Todo::Nothing);
        note(&mut todo, BLOCK * 5 + 1, BLOCK * 6 + 1, Todo::Zero);
        let expected = [(0, 2, Todo::Read), (2, 5, Todo::Zero), (5, 6, Todo::Read), (6, 7, Todo::Zero)];
        assert_eq!(todo, expected);
    }

    #[test]
    fn small_extents_within_one_block_are_one_read() {
        let mut todo = Vec::new();
        for at in 0..8 {
            let wanted = if at == 3 { Todo::Read } else { Todo::Nothing };
            note(&mut todo, at * BLOCK / 8, (at + 1) * BLOCK / 8, wanted);
        }
        assert_eq!(todo, [(0, 1, Todo::Read)]);
    }
}
