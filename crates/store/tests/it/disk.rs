//! A disk in memory that fails as disks do: full, failing writes and syncs, torn writes at a power cut.
//!
//! As Linux has it, reads see what was written, synced or not; a failed sync marks pages clean that never reached the
//! disk, so that a later sync which succeeds does not write them. The journal's folder is in `folder`.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};
use store::{Embedded, Medium, OpenError, Options};

use crate::folder::Files;

use crate::Dice;

pub const PAGE: usize = 4096;
pub const SECTOR: usize = 512;

#[derive(Clone, Default)]
pub struct Disk(pub Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    /// What reads see.
    cache: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// Written since the last sync.
    dirty: Vec<Op>,
    allocated: BTreeSet<usize>,
    /// In pages.
    room: Option<usize>,
    /// Writes, syncs and resizes so far.
    ops: u64,
    /// The operations that fail.
    failing: Option<std::ops::Range<u64>>,
    /// Whatever the database writes fails.
    database_fails: bool,
    open: bool,
    pub files: Files,
}

#[derive(Clone)]
pub enum Op {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Op {
    pub fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Op::Write(at, data) => write_at(image, *at, data),
            Op::Resize(length) => image.resize(*length, 0),
        }
    }
}

pub fn write_at(image: &mut Vec<u8>, at: usize, data: &[u8]) {
    if image.len() < at + data.len() {
        image.resize(at + data.len(), 0);
    }
    image[at..at + data.len()].copy_from_slice(data);
}

impl Disk {
    pub fn store(&self, options: Options) -> Result<Embedded, OpenError> {
        let disk = self.clone();
        let medium = Medium {
            database: Box::new(move |builder| {
                assert!(!std::mem::replace(&mut disk.0.lock().open, true), "opened twice");
                builder.create_with_backend(Handle(disk.clone()))
            }),
            journal: Box::new(self.clone()),
        };
        Embedded::open_on(Path::new("a disk in memory"), options, medium)
    }

    pub fn ops(&self) -> u64 {
        self.0.lock().ops
    }

    /// Operations `first` (counted from now) and the `count - 1` after it fail.
    pub fn fail(&self, first: u64, count: u64) {
        let mut state = self.0.lock();
        let first = state.ops + first;
        state.failing = Some(first..first.saturating_add(count));
    }

    pub fn fail_the_database(&self, fails: bool) {
        self.0.lock().database_fails = fails;
    }

    pub fn heal(&self) {
        self.0.lock().failing = None;
    }

    /// Room for so many more pages than are in use.
    pub fn leave_room_for(&self, pages: Option<usize>) {
        let mut state = self.0.lock();
        state.room = pages.map(|pages| state.used() + pages);
    }

    /// The disk as it may be found after a power cut: of what was not synced, any sectors or none.
    pub fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let state = self.0.lock();
        let image = survivors(&state.durable, &state.dirty, dice);
        let allocated = (0..image.len().div_ceil(PAGE)).collect();
        let files = state.files.after_power_cut(dice);
        let found = State { cache: image.clone(), durable: image, allocated, files, ..State::default() };
        Self(Arc::new(Mutex::new(found)))
    }

    /// The disk as a process finds it whose predecessor was killed: the kernel still has what was not synced.
    pub fn after_kill(&self) -> Self {
        let state = self.0.lock();
        let found = State {
            cache: state.cache.clone(),
            durable: state.durable.clone(),
            dirty: state.dirty.clone(),
            allocated: state.allocated.clone(),
            files: state.files.clone(),
            ..State::default()
        };
        Self(Arc::new(Mutex::new(found)))
    }
}

/// What a power cut leaves of a file.
pub fn survivors(durable: &[u8], dirty: &[Op], dice: &mut Dice) -> Vec<u8> {
    let mut image = durable.to_vec();
    // Some cuts lose all, some nearly nothing.
    let survive = dice.below(101);
    for op in dirty {
        match op {
            Op::Write(at, data) => {
                for (n, sector) in data.chunks(SECTOR).enumerate() {
                    if dice.below(100) < survive {
                        write_at(&mut image, at + n * SECTOR, sector);
                    }
                }
            }
            Op::Resize(length) => {
                // A file never shrinks under its data here: that is what a journalled file system orders.
                if *length > image.len() && dice.below(100) < survive {
                    op.apply(&mut image);
                }
            }
        }
    }
    image
}

#[derive(Debug)]
struct Handle(Disk);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disk")
    }
}

impl State {
    fn used(&self) -> usize {
        self.allocated.len() + self.files.pages()
    }

    /// Whether so many more pages are there.
    pub fn reserve(&self, pages: usize) -> Result<(), Error> {
        if self.room.is_some_and(|room| pages > 0 && self.used() + pages > room) {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn database_step(&mut self) -> Result<(), Error> {
        self.step()?;
        if self.database_fails { Err(Error::other("injected")) } else { Ok(()) }
    }

    pub fn step(&mut self) -> Result<(), Error> {
        let op = self.ops;
        self.ops += 1;
        match &self.failing {
            Some(failing) if failing.contains(&op) => Err(Error::other("injected")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.0.lock().cache.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.0.0.lock();
        let found = state.cache.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        let mut state = self.0.0.lock();
        state.database_step()?;
        let op = Op::Resize(length as usize);
        op.apply(&mut state.cache);
        state.dirty.push(op);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.0.0.lock();
        let verdict = state.database_step();
        let dirty = std::mem::take(&mut state.dirty);
        if verdict.is_ok() {
            for op in dirty {
                op.apply(&mut state.durable);
            }
        }
        verdict
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.0.0.lock();
        state.database_step()?;
        let pages = offset as usize / PAGE..(offset as usize + data.len()).div_ceil(PAGE);
        let fresh = pages.clone().filter(|page| !state.allocated.contains(page)).count();
        state.reserve(fresh)?;
        state.allocated.extend(pages);
        let op = Op::Write(offset as usize, data.to_vec());
        op.apply(&mut state.cache);
        state.dirty.push(op);
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        self.0.0.lock().open = false;
        Ok(())
    }

    fn try_lock_range(&self, _: std::ops::Bound<u64>, _: std::ops::Bound<u64>) -> Result<bool, BackendError> {
        Err(BackendError::Unsupported)
    }
}
