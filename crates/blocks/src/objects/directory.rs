//! Objects as files of a directory.
//!
//! An object is written to `tmp/`, flushed, and linked under its name; the name's directory is flushed before the put returns.
//! What is put soon is not flushed by itself: `syncfs` flushes the file system once for many. (Two flushes for each block are
//! 10 to 100 ms on a disk that others use, too.)
//! So, but for those, a name leads to the whole object or to nothing, whatever happens meanwhile: a full disk, a kill, a power cut. A writer
//! holds a lock on its file in `tmp/`; opening the directory removes those that nobody holds. Several processes may use one
//! directory. The store makes directories and never removes one.

use super::{Head, Objects, Put, Result, check_name};
use crate::error::ObjectError;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock, syncfs};
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const FORMAT: &str = "nube blocks 1\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durable {
    Now,
    /// When the file system is flushed.
    Soon,
}

#[derive(Debug)]
pub struct Directory {
    objects: PathBuf,
    tmp: PathBuf,
    next: AtomicU64,
    /// Directories that are known to survive a power cut.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Directory {
    /// Opens the store in `path`, or makes one. For its owner's eyes alone.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e| ObjectError::of("open", &path.display().to_string(), e);
        let directory = Self {
            objects: path.join("objects"),
            tmp: path.join("tmp"),
            next: AtomicU64::new(0),
            durable: Mutex::default(),
        };
        make(&directory.tmp).and_then(|()| directory.tidy()).map_err(failed)?;
        let format = path.join("format");
        match fs::read_to_string(&format) {
            Ok(text) if text == FORMAT => {}
            Ok(_) => return Err(ObjectError::Format(path.display().to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let made = directory.write_new(FORMAT.as_bytes(), Durable::Now).and_then(|(tmp, file)| {
                    fs::rename(&tmp, &format)?;
                    drop(file);
                    make(&directory.objects)?;
                    sync(path)
                });
                made.map_err(failed)?;
            }
            Err(e) => return Err(failed(e)),
        }
        make(&directory.objects).map_err(failed)?;
        Ok(directory)
    }

    /// Removes what writers left that are no more.
    fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.tmp)? {
            let path = entry?.path();
            let Ok(file) = File::open(&path) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        check_name(key)?;
        Ok(self.objects.join(key))
    }

    /// A flushed file without its final name. It is locked as long as the file is open.
    fn write_new(&self, bytes: &[u8], when: Durable) -> io::Result<(PathBuf, File)> {
        let mut options = OpenOptions::new();
        // Never one that is there: it may be the second name of an object.
        options.write(true).create_new(true).mode(0o600);
        let (path, mut file) = loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.tmp.join(format!("{}-{number}", std::process::id()));
            match options.open(&path) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                opened => break (path, opened?),
            }
        };
        let written = (|| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            file.write_all(bytes)?;
            if when == Durable::Now { file.sync_all() } else { Ok(()) }
        })();
        match written {
            Ok(()) => Ok((path, file)),
            Err(e) => {
                let _ = fs::remove_file(&path);
                Err(e)
            }
        }
    }

    /// Gives new bytes a name by `publish`, durably.
    fn publish(
        &self,
        path: &Path,
        bytes: &[u8],
        when: Durable,
        publish: fn(&Path, &Path) -> io::Result<Put>,
    ) -> io::Result<Put> {
        let parent = path.parent().unwrap_or(&self.objects);
        self.ensure(parent, when)?;
        let mut tries = 0;
        let put = loop {
            let (tmp, file) = self.write_new(bytes, when)?;
            let published = publish(&tmp, path);
            let _ = fs::remove_file(&tmp);
            drop(file);
            match published {
                // Whoever opened the directory before the lock was taken has tidied it away.
                Err(e) if e.kind() == ErrorKind::NotFound && tries < 10 => tries += 1,
                published => break published?,
            }
        };
        if when == Durable::Now {
            sync(parent)?;
        }
        Ok(put)
    }

    fn put(&self, key: &str, bytes: &[u8], when: Durable) -> Result<Put> {
        let path = self.path(key)?;
        let link = |tmp: &Path, path: &Path| match fs::hard_link(tmp, path) {
            Ok(()) => Ok(Put::Written),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Put::Exists),
            Err(e) => Err(e),
        };
        let put = match (path.exists(), when) {
            (false, _) => self.publish(&path, bytes, when, link),
            (true, Durable::Soon) => Ok(Put::Exists),
            (true, Durable::Now) => {
                // Its writer may not have flushed the name yet, and the caller is about to rely on it.
                let parent = path.parent().unwrap_or(&self.objects);
                self.ensure(parent, when).and_then(|()| sync(parent)).map(|()| Put::Exists)
            }
        };
        put.map_err(|e| ObjectError::of("write", key, e))
    }

    /// Makes a directory of objects that survives a power cut, as do those above it.
    fn ensure(&self, directory: &Path, when: Durable) -> io::Result<()> {
        if self.durable.lock().contains(directory) {
            return Ok(());
        }
        make(directory)?;
        if when == Durable::Soon {
            return Ok(());
        }
        let mut above = directory;
        while above != self.objects {
            let Some(parent) = above.parent() else { break };
            sync(parent)?;
            self.durable.lock().insert(above.to_owned());
            above = parent;
            if self.durable.lock().contains(above) {
                break;
            }
        }
        Ok(())
    }

    fn walk(&self, directory: &Path, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let is_directory = match entry.file_type() {
                // It is deleted at this moment.
                Err(e) if absent(&e) => continue,
                kind => kind?.is_dir(),
            };
            if is_directory {
                self.walk(&path, each)?;
            } else if let Some(key) = path.strip_prefix(&self.objects).ok().and_then(Path::to_str) {
                each(key);
            }
        }
        Ok(())
    }
}

impl Objects for Directory {
    fn put_if_absent(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.put(key, bytes, Durable::Now)
    }

    fn put_soon(&self, key: &str, bytes: &[u8]) -> Result<Put> {
        self.put(key, bytes, Durable::Soon)
    }

    fn flush(&self) -> Result<()> {
        let flushed = File::open(&self.objects).and_then(|file| Ok(syncfs(file)?));
        flushed.map_err(|e| ObjectError::of("flush", "all", e))
    }

    fn replace(&self, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(key)?;
        let rename = |tmp: &Path, path: &Path| fs::rename(tmp, path).map(|()| Put::Written);
        let put = self.publish(&path, bytes, Durable::Now, rename);
        put.map(|_| ()).map_err(|e| ObjectError::of("write", key, e))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match fs::read(self.path(key)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(ObjectError::of("read", key, e)),
        }
    }

    fn head(&self, key: &str, length: usize) -> Result<Option<Head>> {
        let path = self.path(key)?;
        let read = || {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            let mut bytes = Vec::with_capacity(length);
            file.take(length as u64).read_to_end(&mut bytes)?;
            Ok(Head { bytes, size })
        };
        match read() {
            Ok(head) => Ok(Some(head)),
            Err(e) if absent(&e) => Ok(None),
            Err(e) => Err(ObjectError::of("read", key, e)),
        }
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        let directory = match prefix.strip_suffix('/') {
            Some(prefix) => self.path(prefix)?,
            None if prefix.is_empty() => self.objects.clone(),
            None => return Err(ObjectError::Name(prefix.to_owned())),
        };
        self.walk(&directory, each).map_err(|e| ObjectError::of("list", prefix, e))
    }

    fn delete(&self, keys: &[String]) -> Result<()> {
        let mut touched = HashSet::new();
        for key in keys {
            let path = self.path(key)?;
            remove(&path).map_err(|e| ObjectError::of("delete", key, e))?;
            touched.extend(path.parent().map(Path::to_owned));
        }
        for directory in touched {
            match sync(&directory) {
                Err(e) if !absent(&e) => {
                    return Err(ObjectError::of("delete in", &directory.display().to_string(), e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn absent(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if !absent(&e) => Err(e),
        _ => Ok(()),
    }
}
