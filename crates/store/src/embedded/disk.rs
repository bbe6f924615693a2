//! The database file: its tables, reads, and what happens when a write fails.
//!
//! redb latches a handle after an I/O error, so recovery is to open the file again and look. A sync that failed may
//! have left pages in the kernel's cache that the disk lacks, hence what is *seen* after reopening may still be lost:
//! - the batch is not seen: it is not on the disk either (the disk is never newer than the cache), and the next
//!   commit writes over its pages. Not applied.
//! - the batch is seen: its data was synced before the header that names it was written, so only that header can be
//!   unsynced. A further durable transaction writes the header again; if that succeeds, the batch is durable.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle,
    WriteTransaction,
};

use super::codec::{self, Garbled};
use super::{FORMAT, Medium, OpenError, Options};
use crate::watch::Tail;
use crate::{Event, Key, Revision, Scan, Source, Versioned, Window};

pub(super) const KV: TableDefinition<&str, &[u8]> = TableDefinition::new("kv");
/// Revision → event.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
/// The revision of the newest commit.
pub(super) const META_HEAD: &str = "head";
/// The encoded size of all events in the log.
pub(super) const META_LOG_BYTES: &str = "log_bytes";

/// Events that a watch reads from the disk at once: bounded by both.
const READ_AHEAD: Window = Window { events: 1024, bytes: 1 << 20 };
/// Events kept in memory for watches that keep up.
const TAIL: Window = Window { events: 4096, bytes: 8 << 20 };

pub(super) struct Disk {
    name: PathBuf,
    options: Options,
    medium: Medium,
    /// `None` while the file cannot be opened, and once closed. Replaced only under `writing`.
    database: RwLock<Option<Database>>,
    /// Held for a whole batch, recovery included.
    pub(super) writing: Mutex<()>,
    pub(super) tail: Tail,
}

/// Why a read or a write of the database did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error(transparent)]
    Redb(#[from] redb::Error),
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
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self, Self::Redb(redb::Error::Io(io)) if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge))
    }
}

impl Disk {
    pub(super) fn open(name: &Path, options: Options, medium: Medium) -> Result<Self, OpenError> {
        let database = open_database(name, options, &medium)?;
        let head = ensure_format(name, &database)?;
        Ok(Self {
            name: name.to_owned(),
            options,
            medium,
            database: RwLock::new(Some(database)),
            writing: Mutex::new(()),
            // Never more than the log itself, so that a watch does not depend on when the process began.
            tail: Tail::new(head, TAIL.min(options.log)),
        })
    }

    pub(super) fn close(&self) {
        *self.database.write() = None;
        self.tail.close();
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Versioned>, Source> {
        self.read(|txn| {
            let table = txn.open_table(KV)?;
            let entry = table.get(key.as_str())?;
            Ok(entry.map(|entry| codec::decode_entry(entry.value())).transpose()?)
        })
    }

    pub(super) fn scan(&self, prefix: &str) -> Result<Scan, Source> {
        self.read(|txn| {
            let table = txn.open_table(KV)?;
            let mut entries = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                let key = Key::new(key.value()).map_err(|_| Garbled)?;
                entries.push((key, codec::decode_entry(value.value())?));
            }
            Ok(Scan { entries, revision: head(txn)? })
        })
    }

    /// The first revision that a watch can still be given.
    pub(super) fn oldest(&self) -> Result<Revision, Source> {
        self.read(|txn| {
            let first = txn.open_table(LOG)?.first()?.map(|(revision, _)| revision.value());
            match first {
                Some(first) => Ok(first),
                None => Ok(head(txn)? + 1),
            }
        })
    }

    /// The next events after `cursor`, as many as are read at once.
    pub(super) fn log_after(&self, cursor: Revision) -> Result<VecDeque<Event>, Source> {
        self.read(|txn| {
            let table = txn.open_table(LOG)?;
            let (mut events, mut bytes) = (VecDeque::new(), 0);
            for record in table.range(cursor + 1..)? {
                let (revision, record) = record?;
                bytes += record.value().len() as u64;
                events.push_back(codec::decode_event(revision.value(), record.value())?);
                if events.len() as u64 >= READ_AHEAD.events || bytes >= READ_AHEAD.bytes {
                    break;
                }
            }
            Ok(events)
        })
    }

    /// One snapshot. A read that fails while a batch is failing waits for its recovery and tries once more, so that a
    /// full disk does not disturb readers.
    fn read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, DiskError>) -> Result<T, Source> {
        let once = || {
            let database = self.database.read();
            let database = database.as_ref().ok_or(DiskError::NotOpen)?;
            read(&database.begin_read()?)
        };
        once()
            .or_else(|_| {
                drop(self.writing.lock());
                once()
            })
            .map_err(|error| Arc::new(error) as Source)
    }

    /// Runs one durable write transaction; the caller holds `writing`.
    pub(super) fn write<T>(
        &self,
        fill: impl FnOnce(&WriteTransaction) -> Result<Filled<T>, DiskError>,
    ) -> Result<T, DiskError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or(DiskError::NotOpen)?;
        let txn = begin_write(database)?;
        match fill(&txn)? {
            Filled::Changed(value) => {
                txn.commit()?;
                Ok(value)
            }
            Filled::Unchanged(value) => {
                txn.abort()?;
                Ok(value)
            }
        }
    }

    /// Opens the file if it is not open; the caller holds `writing`.
    pub(super) fn ensure_open(&self) -> Result<(), OpenError> {
        if self.database.read().is_none() {
            let head = self.reopen()?;
            self.tail.resume(head);
        }
        Ok(())
    }

    /// Opens the file anew after a failed write and says at which revision it is. What is seen beyond the last
    /// acknowledgement is made durable before anyone can read it (see the module's page); if that cannot be done the
    /// file stays unopened. The caller holds `writing`.
    pub(super) fn reopen(&self) -> Result<Revision, OpenError> {
        let mut slot = self.database.write();
        // First the old handle, which holds the file's lock.
        *slot = None;
        let database = open_database(&self.name, self.options, &self.medium)?;
        let head = ensure_format(&self.name, &database)?;
        if head != self.tail.head() {
            seal(&database, head).map_err(|error| open_failed(&self.name, error))?;
        }
        *slot = Some(database);
        Ok(head)
    }

    pub(super) fn log_window(&self) -> Window {
        self.options.log
    }
}

/// Makes an empty medium a store, durably, and lets go of it.
pub(super) fn create(name: &Path, options: Options, medium: &Medium) -> Result<(), OpenError> {
    let database = open_database(name, options, medium)?;
    ensure_format(name, &database).map(|_| ())
}

/// What filling a write transaction came to.
pub(super) enum Filled<T> {
    Changed(T),
    Unchanged(T),
}

fn begin_write(database: &Database) -> Result<WriteTransaction, DiskError> {
    let mut txn = database.begin_write()?;
    // The allocator's state is saved with each commit and commits have two phases: opening after a kill costs
    // milliseconds at any size.
    txn.set_quick_repair(true);
    Ok(txn)
}

/// A durable transaction that changes nothing but rewrites the header. (redb's open happens to write it as well; that
/// is not promised.)
fn seal(database: &Database, head: Revision) -> Result<(), DiskError> {
    let txn = begin_write(database)?;
    txn.open_table(META)?.insert(META_HEAD, head)?;
    txn.commit()?;
    Ok(())
}

fn open_database(name: &Path, options: Options, medium: &Medium) -> Result<Database, OpenError> {
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

/// Writes the format into a new file, refuses one that is not ours, and answers the revision that the file is at.
fn ensure_format(name: &Path, database: &Database) -> Result<Revision, OpenError> {
    let found = read_format(database).map_err(|error| open_failed(name, error))?;
    match found {
        Found::Ours { format: FORMAT, head } => Ok(head),
        Found::Ours { format, .. } if format > FORMAT => {
            Err(OpenError::NewerFormat { path: name.to_owned(), found: format })
        }
        Found::Ours { .. } | Found::Other => Err(OpenError::Foreign { path: name.to_owned() }),
        Found::Nothing => {
            create_tables(database).map_err(|error| open_failed(name, error))?;
            Ok(0)
        }
    }
}

fn open_failed(name: &Path, error: DiskError) -> OpenError {
    let path = name.to_owned();
    match error {
        DiskError::Redb(redb::Error::Io(source)) => OpenError::Io { path, source },
        DiskError::Redb(source) => OpenError::Redb { path, source },
        DiskError::Garbled(_) | DiskError::NotOpen => OpenError::Foreign { path },
    }
}

enum Found {
    Nothing,
    Ours { format: u64, head: Revision },
    Other,
}

fn read_format(database: &Database) -> Result<Found, DiskError> {
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
    Ok(Found::Ours { format, head })
}

fn create_tables(database: &Database) -> Result<(), DiskError> {
    let txn = begin_write(database)?;
    {
        txn.open_table(KV)?;
        txn.open_table(LOG)?;
        let mut meta = txn.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_HEAD, 0)?;
        meta.insert(META_LOG_BYTES, 0)?;
    }
    txn.commit()?;
    Ok(())
}

fn head(txn: &ReadTransaction) -> Result<Revision, DiskError> {
    Ok(txn.open_table(META)?.get(META_HEAD)?.ok_or(Garbled)?.value())
}
