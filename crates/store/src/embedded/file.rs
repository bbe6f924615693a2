//! The file: private, and there as a whole or not at all.
//!
//! redb fills a new file in several steps, and cannot open one whose filling was killed. So a store is made under
//! another name and linked to its own once it is complete and synced.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::journal::random;
use super::{Database, OpenError, Options, disk};

/// The folder of a store's journal.
pub(super) fn journal(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".journal");
    path.with_file_name(name)
}

pub(super) fn database(path: PathBuf) -> Database {
    Box::new(move |builder| {
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(io_error)?;
        builder.create_with_backend(FileBackend::new(file)?)
    })
}

fn io_error(error: io::Error) -> redb::DatabaseError {
    redb::DatabaseError::Storage(redb::StorageError::Io(error))
}

/// Makes the store if it is not there, and closes it to others if it is.
pub(super) fn ensure(path: &Path, options: Options) -> Result<(), OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return create(path, options),
        Err(error) => return Err(failed(error)),
    };
    // redb would fill an empty file in place.
    if !found.is_file() || found.len() == 0 {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    if found.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

fn create(path: &Path, options: Options) -> Result<(), OpenError> {
    let aside = beside(path, &format!("{:016x}", random()));
    let made = fill(&aside, options).and_then(|()| {
        fs::hard_link(&aside, path).map_err(|source| OpenError::Io { path: path.to_owned(), source })
    });
    // If this fails there is a file too many, which the next opening removes.
    drop(fs::remove_file(&aside));
    match made {
        Ok(()) => {}
        // Another process was faster, and may have swept ours away: its store is opened, and says that it is in use.
        Err(_) if path.exists() => {}
        Err(error) => return Err(error),
    }
    sync_folder(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

fn fill(aside: &Path, options: Options) -> Result<(), OpenError> {
    // Private from its first moment.
    let failed = |source| OpenError::Io { path: aside.to_owned(), source };
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(aside).map_err(failed)?;
    let unsynced: Database = {
        let file = file.try_clone().map_err(failed)?;
        Box::new(move |builder| {
            let file = file.try_clone().map_err(io_error)?;
            builder.create_with_backend(Unsynced(file))
        })
    };
    disk::create(aside, options, &unsynced)?;
    file.sync_all().map_err(failed)
}

/// A file that nobody knows of yet: it is synced once, when it is whole.
#[derive(Debug)]
struct Unsynced(File);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// `store` → `store.new-…`
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new-");
    name.push(suffix);
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Removes what killed creations have left.
pub(super) fn sweep(path: &Path) {
    let prefix = beside(path, "");
    let Some(prefix) = prefix.file_name() else { return };
    let Ok(names) = fs::read_dir(folder(path)) else { return };
    for entry in names.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes())
            && let Err(error) = fs::remove_file(entry.path())
        {
            tracing::warn!(%error, path = %entry.path().display(), "cannot remove a store that was never finished");
        }
    }
}
