//! The database file: its tables, how the journal's commits get into them, and what happens when a write fails.
//!
//! redb latches a handle after an I/O error, so recovery is to open the file again and look. A sync that failed may
//! have left pages in the kernel's cache that the disk lacks, hence what is *seen* after reopening may still be lost:
//! - the write is not seen: it is not on the disk either (the disk is never newer than the cache), and the next
//!   one goes over its pages. Not applied; the journal still has it.
//! - the write is seen: its data was synced before the header that names it was written, so only that header can be
//!   unsynced. A further durable transaction writes the header again; if that succeeds, the write is durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableHandle, WriteTransaction,
};

use super::codec::{self, Garbled};
use super::journal::{is_full, random};
use super::{Database, FORMAT, OpenError, Options};
use crate::{Event, Revision, Source, Window};

pub(super) const KV: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
/// Revision → event.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
/// Random, made with the store: its journal's segments bear it.
const META_ID: &str = "id";
/// The revision of the newest commit that is in the tables.
const META_HEAD: &str = "head";
/// The encoded size of all events in the log.
const META_LOG_BYTES: &str = "log_bytes";
/// Of stores from before the journal; otherwise the same.
const WITHOUT_JOURNAL: u64 = 1;

pub(super) struct Disk {
    name: PathBuf,
    options: Options,
    medium: Database,
    /// `None` while the file cannot be opened, and once closed. Replaced only under `writing`.
    database: RwLock<Option<redb::Database>>,
    /// Held for a whole write, recovery included; the revision that the file is known to hold durably.
    writing: Mutex<Revision>,
}

/// Why a read or a write of the database did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error(transparent)]
    Redb(#[from] redb::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Garbled(#[from] Garbled),
    #[error("the store's file is not open")]
    NotOpen,
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for DiskError {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}
from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

impl DiskError {
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Redb(redb::Error::Io(error)) if is_full(error))
    }
}

impl Disk {
    pub(super) fn open(name: &Path, options: Options, medium: Database) -> Result<(Self, Opened), OpenError> {
        let database = open_database(name, options, &medium)?;
        let opened = ensure_format(name, &database)?;
        let disk = Self {
            name: name.to_owned(),
            options,
            medium,
            database: RwLock::new(Some(database)),
            writing: Mutex::new(opened.head),
        };
        Ok((disk, opened))
    }

    pub(super) fn close(&self) {
        *self.database.write() = None;
    }

    /// A read that fails while a write is failing waits for its recovery and tries once more, so that a full disk does
    /// not disturb readers.
    pub(super) fn read<T>(&self, read: impl Fn(&redb::Database) -> Result<T, DiskError>) -> Result<T, Source> {
        let once = || {
            let database = self.database.read();
            read(database.as_ref().ok_or(DiskError::NotOpen)?)
        };
        once()
            .or_else(|_| {
                drop(self.writing.lock());
                once()
            })
            .map_err(|error| Arc::new(error) as Source)
    }

    /// Opens the file if it is not open.
    pub(super) fn ensure_open(&self) -> Result<(), OpenError> {
        let mut durable = self.writing.lock();
        if self.database.read().is_none() {
            *durable = self.reopen(*durable)?;
        }
        Ok(())
    }

    /// Applies events that follow one another in one durable transaction, all or none, and answers which revision the
    /// file is at. Those that it has already are left out.
    pub(super) fn apply(&self, events: &[Event]) -> Result<Revision, DiskError> {
        let mut durable = self.writing.lock();
        if self.database.read().is_none() {
            *durable = self.reopen(*durable)?;
        }
        let Some(last) = events.last().map(|event| event.revision).filter(|last| *last > *durable) else {
            return Ok(*durable);
        };
        let known = events.partition_point(|event| event.revision <= *durable);
        let written = self.write(|txn| apply(txn, &events[known..], self.options.log));
        match written {
            Ok(()) => *durable = last,
            Err(error) => {
                *durable = self.reopen(*durable).inspect_err(|reason| {
                    tracing::error!(error = %reason, "the store's file cannot be opened again");
                })?;
                if *durable < last {
                    return Err(error);
                }
            }
        }
        Ok(last)
    }

    /// Runs one durable write transaction; the caller holds `writing`.
    fn write(&self, fill: impl FnOnce(&WriteTransaction) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let database = self.database.read();
        let txn = begin_write(database.as_ref().ok_or(DiskError::NotOpen)?)?;
        fill(&txn)?;
        Ok(txn.commit()?)
    }

    /// Opens the file anew after a failed write and says at which revision it is. What is seen beyond what is known to be
    /// durable is made so before anyone can read it (see the module's page); if that cannot be done the file stays
    /// unopened. The caller holds `writing`.
    fn reopen(&self, durable: Revision) -> Result<Revision, OpenError> {
        let mut slot = self.database.write();
        // First the old handle, which holds the file's lock.
        *slot = None;
        let database = open_database(&self.name, self.options, &self.medium)?;
        let head = ensure_format(&self.name, &database)?.head;
        if head != durable {
            seal(&database, head).map_err(|error| open_failed(&self.name, error))?;
        }
        *slot = Some(database);
        Ok(head)
    }
}

/// What a file was found to be.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    /// The revision of the newest commit that it holds.
    pub(super) head: Revision,
    /// Of the store, for its journal.
    pub(super) id: u64,
}

fn apply(txn: &WriteTransaction, events: &[Event], window: Window) -> Result<(), DiskError> {
    let Some(last) = events.last() else { return Ok(()) };
    let mut meta = txn.open_table(META)?;
    let mut log_bytes = meta.get(META_LOG_BYTES)?.ok_or(Garbled)?.value();
    {
        // What counts of several writes to a key is the last one; in the order of the keys, which the tree likes.
        let mut writes = BTreeMap::new();
        for event in events {
            writes.extend(event.changes.iter().map(|c| (&c.key, (event.revision, c.value.as_ref()))));
        }
        let mut kv = txn.open_table(KV)?;
        let mut buffer = Vec::new();
        for (key, (revision, value)) in writes {
            match value {
                Some(value) => {
                    codec::encode_entry(&mut buffer, revision, value);
                    kv.insert(key.as_str(), buffer.as_slice())?;
                }
                None => drop(kv.remove(key.as_str())?),
            }
        }
    }
    let mut log = txn.open_table(LOG)?;
    let mut record = Vec::new();
    // The rest would be dropped again at once.
    for event in &events[events.len().saturating_sub(window.events as usize)..] {
        record.clear();
        codec::encode_changes(&mut record, &event.changes);
        log.insert(event.revision, record.as_slice())?;
        log_bytes += record.len() as u64;
    }
    let mut count = log.len()?;
    while count > window.events || log_bytes > window.bytes {
        let Some((_, record)) = log.pop_first()? else { break };
        log_bytes = log_bytes.saturating_sub(record.value().len() as u64);
        count -= 1;
    }
    meta.insert(META_HEAD, last.revision)?;
    meta.insert(META_LOG_BYTES, log_bytes)?;
    Ok(())
}

/// Makes an empty medium a store, durably, and lets go of it.
pub(super) fn create(name: &Path, options: Options, medium: &Database) -> Result<(), OpenError> {
    let database = open_database(name, options, medium)?;
    ensure_format(name, &database).map(|_| ())
}

fn begin_write(database: &redb::Database) -> Result<WriteTransaction, DiskError> {
    let mut txn = database.begin_write()?;
    // The allocator's state is saved with each commit and commits have two phases: opening after a kill costs
    // milliseconds at any size.
    txn.set_quick_repair(true);
    Ok(txn)
}

/// A durable transaction that changes nothing but rewrites the header. (redb's open happens to write it as well; that
/// is not promised.)
fn seal(database: &redb::Database, head: Revision) -> Result<(), DiskError> {
    let txn = begin_write(database)?;
    txn.open_table(META)?.insert(META_HEAD, head)?;
    txn.commit()?;
    Ok(())
}

fn open_database(name: &Path, options: Options, medium: &Database) -> Result<redb::Database, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(options.cache_bytes);
    medium(&builder).map_err(|error| {
        let path = name.to_owned();
        match error {
            redb::DatabaseError::DatabaseAlreadyOpen | redb::DatabaseError::LockProtocolMismatch => {
                OpenError::InUse { path }
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(source))
                if source.kind() == std::io::ErrorKind::InvalidData =>
            {
                OpenError::Foreign { path }
            }
            redb::DatabaseError::Storage(redb::StorageError::Io(source)) => OpenError::Io { path, source },
            other => OpenError::Redb { path, source: other.into() },
        }
    })
}

/// Writes the format into a new file, or one from before the journal, and refuses one that is not ours.
fn ensure_format(name: &Path, database: &redb::Database) -> Result<Opened, OpenError> {
    let found = read_format(database).map_err(|error| open_failed(name, error))?;
    match found {
        Found::Ours { format: FORMAT, id: Some(id), head } => Ok(Opened { head, id }),
        Found::Ours { format: WITHOUT_JOURNAL, head, .. } => {
            let id = give_id(database).map_err(|error| open_failed(name, error))?;
            Ok(Opened { head, id })
        }
        Found::Ours { format, .. } if format > FORMAT => {
            Err(OpenError::NewerFormat { path: name.to_owned(), found: format })
        }
        Found::Ours { .. } | Found::Other => Err(OpenError::Foreign { path: name.to_owned() }),
        Found::Nothing => {
            let id = create_tables(database).map_err(|error| open_failed(name, error))?;
            Ok(Opened { head: 0, id })
        }
    }
}

fn open_failed(name: &Path, error: DiskError) -> OpenError {
    let path = name.to_owned();
    match error {
        DiskError::Redb(redb::Error::Io(source)) => OpenError::Io { path, source },
        DiskError::Redb(source) => OpenError::Redb { path, source },
        DiskError::Open(error) => error,
        DiskError::Garbled(_) | DiskError::NotOpen => OpenError::Foreign { path },
    }
}

enum Found {
    Nothing,
    Ours { format: u64, id: Option<u64>, head: Revision },
    Other,
}

fn read_format(database: &redb::Database) -> Result<Found, DiskError> {
    let txn = database.begin_read()?;
    let mut tables = 0;
    let mut ours = false;
    for table in txn.list_tables()? {
        tables += 1;
        ours |= table.name() == META.name();
    }
    if tables == 0 {
        return Ok(Found::Nothing);
    }
    if !ours {
        return Ok(Found::Other);
    }
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableTypeMismatch { .. }) => return Ok(Found::Other),
        Err(error) => return Err(error.into()),
    };
    let Some(format) = meta.get(META_FORMAT)?.map(|format| format.value()) else { return Ok(Found::Other) };
    let head = meta.get(META_HEAD)?.map_or(0, |head| head.value());
    let id = meta.get(META_ID)?.map(|id| id.value());
    Ok(Found::Ours { format, id, head })
}

fn create_tables(database: &redb::Database) -> Result<u64, DiskError> {
    let id = random();
    let txn = begin_write(database)?;
    {
        txn.open_table(KV)?;
        txn.open_table(LOG)?;
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_ID, id)?;
        meta.insert(META_HEAD, 0)?;
        meta.insert(META_LOG_BYTES, 0)?;
    }
    txn.commit()?;
    Ok(id)
}

/// From here on a program that knows of no journal refuses the file, which would lack commits for it.
fn give_id(database: &redb::Database) -> Result<u64, DiskError> {
    let id = random();
    let txn = begin_write(database)?;
    {
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_ID, id)?;
    }
    txn.commit()?;
    Ok(id)
}

pub(super) fn head(txn: &ReadTransaction) -> Result<Revision, DiskError> {
    Ok(txn.open_table(META)?.get(META_HEAD)?.ok_or(Garbled)?.value())
}
