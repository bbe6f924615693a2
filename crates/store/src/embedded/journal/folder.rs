//! Where the journal's segments are: a folder of the file system, or one that tests let fail.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of its own for one store's journal.
pub trait Folder: Send + Sync {
    /// Of the files in it; none while there is no folder.
    fn names(&self) -> io::Result<Vec<String>>;

    /// A new file, written over with so many zeros, so that its space is taken; durable once it is synced.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>>;

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>>;

    /// Handles stay good.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
}

pub trait SegmentFile: Send {
    fn bytes(&self) -> io::Result<u64>;

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Within the file's length. After an error the bytes are not all there.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// What was written is on the disk. After an error it may or may not be, now and later.
    fn sync(&self) -> io::Result<()>;
}

/// The file system's; made (mode 0700) with its first file.
pub(in crate::embedded) struct OsFolder(pub(in crate::embedded) PathBuf);

/// Zeros are written in pieces of this size.
const PIECE: usize = 256 << 10;

impl OsFolder {
    fn make(&self) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.0)?;
        let parent = self.0.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn fill(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>> {
        let path = self.0.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let zeros = vec![0; PIECE.min(bytes as usize)];
        let mut at = 0;
        while at < bytes {
            let piece = zeros.len().min((bytes - at) as usize);
            file.write_all_at(&zeros[..piece], at)?;
            at += piece as u64;
        }
        Ok(Box::new(file))
    }
}

impl Folder for OsFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Whatever is not UTF-8 is not the journal's.
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn SegmentFile>> {
        match self.fill(name, bytes) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make()?;
                self.fill(name, bytes)
            }
            Err(error) => {
                // The disk is full: what could be written must not stay in the way.
                drop(self.remove(name));
                Err(error)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl SegmentFile for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
