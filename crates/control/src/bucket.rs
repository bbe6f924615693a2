//! Buckets: folders that the operator gives, below one that is told at the start (`nube up --buckets`).
//!
//! Each folder in there is a bucket, each file below it an object whose key is its path. Names come from callers, so the
//! kernel resolves them beneath the bucket's folder alone (`openat2`): no `..`, no symbolic link and no mount's magic leads out,
//! whatever changes meanwhile. Only regular files are objects. Every account of the cloud may read and write every bucket.
//! AWS: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>

use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2, renameat, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// In bytes.
const LONGEST_KEY: usize = 1024;
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Why an object cannot be had.
#[derive(Debug)]
pub enum Missing {
    Bucket,
    Object,
    /// It is there, and the cloud cannot read or write it.
    Unusable(io::Error),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    folder: PathBuf,
}

/// An object that is being written: nobody sees it before [`Writing::finish`]. One that is dropped is gone.
#[derive(Debug)]
pub struct Writing {
    folder: OwnedFd,
    temporary: String,
    name: String,
    finished: bool,
}

/// Whether S3 lets a bucket have this name.
pub fn is_name(name: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    (3..=63).contains(&name.len())
        && name.bytes().all(known)
        && edge(name.bytes().next())
        && edge(name.bytes().last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// Whether a file can have this path within its bucket.
pub fn is_key(key: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    (1..=LONGEST_KEY).contains(&key.len()) && !key.contains('\0') && key.split('/').all(part)
}

/// The hidden file that an object is written as.
fn temporary(name: &str) -> String {
    format!(".{}.part", &name[..name.floor_char_boundary(200)])
}

fn missing(errno: Errno) -> Missing {
    match errno {
        // What leads out, or through something that is no folder, is nothing that is there.
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG => Missing::Object,
        other => Missing::Unusable(other.into()),
    }
}

impl Buckets {
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of a bucket.
    pub fn bucket(&self, name: &str) -> Result<OwnedFd, Missing> {
        if !is_name(name) {
            return Err(Missing::Bucket);
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = File::open(&self.folder).map_err(Missing::Unusable)?;
        openat2(&folder, name, flags, Mode::empty(), BENEATH).map_err(|errno| match missing(errno) {
            Missing::Object | Missing::Bucket => Missing::Bucket,
            unusable @ Missing::Unusable(_) => unusable,
        })
    }

    /// An object to be read.
    pub fn open(&self, bucket: &str, key: &str) -> Result<File, Missing> {
        let folder = self.bucket(bucket)?;
        if !is_key(key) {
            return Err(Missing::Object);
        }
        // A pipe without a writer would wait for one.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(openat2(&folder, key, flags, Mode::empty(), BENEATH).map_err(missing)?);
        let facts = file.metadata().map_err(Missing::Unusable)?;
        if facts.is_file() { Ok(file) } else { Err(Missing::Object) }
    }

    /// Removes what a writing that was cut off has left of an object.
    pub fn clear(&self, bucket: &str, key: &str) -> Result<(), Missing> {
        let bucket = self.bucket(bucket)?;
        if !is_key(key) {
            return Ok(());
        }
        let (folder, name) = key.rsplit_once('/').unwrap_or((".", key));
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = ResolveFlags::NO_SYMLINKS | BENEATH;
        let folder = match openat2(&bucket, folder, flags, Mode::empty(), below) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(missing(errno)),
        };
        match unlinkat(&folder, temporary(name), rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(missing(errno)),
        }
    }

    /// An object to be written, and what to write it to. The folders that its key names are made; it belongs to whom the bucket does.
    pub fn create(&self, bucket: &str, key: &str) -> Result<(Writing, File), Missing> {
        let bucket = self.bucket(bucket)?;
        if !is_key(key) {
            return Err(Missing::Object);
        }
        let owner = fstat(&bucket).map_err(missing)?;
        let own = |file: &OwnedFd| {
            let (uid, gid) =
                (rustix::fs::Uid::from_raw(owner.st_uid), rustix::fs::Gid::from_raw(owner.st_gid));
            // Who is not root makes what is its own.
            let _ = rustix::fs::fchown(file, Some(uid), Some(gid));
        };
        let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
        let mut folder = bucket;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            let made = mkdirat(&folder, part, Mode::from_raw_mode(0o755));
            if let Err(errno) = made
                && errno != Errno::EXIST
            {
                return Err(missing(errno));
            }
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let below = ResolveFlags::NO_SYMLINKS | BENEATH;
            let inner = openat2(&folder, part, flags, Mode::empty(), below).map_err(missing)?;
            if made.is_ok() {
                own(&inner);
            }
            folder = inner;
        }
        let temporary = temporary(name);
        match unlinkat(&folder, &temporary, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(missing(errno)),
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let below = ResolveFlags::NO_SYMLINKS | BENEATH;
        let file = openat2(&folder, &temporary, flags, Mode::from_raw_mode(0o640), below).map_err(missing)?;
        own(&file);
        Ok((Writing { folder, temporary, name: name.to_owned(), finished: false }, File::from(file)))
    }
}

impl Writing {
    /// Makes what was written the object, durably; one of that name is replaced.
    pub fn finish(mut self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        renameat(&self.folder, &self.temporary, &self.folder, &self.name)?;
        self.finished = true;
        rustix::fs::fsync(&self.folder)?;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished {
            let _ = unlinkat(&self.folder, &self.temporary, rustix::fs::AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::symlink;

    #[test]
    fn names_follow_the_rules_of_s3() {
        for good in ["abc", "my-disks", "a.b.c", "0123", &"x".repeat(63)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "ab", "Abc", "-abc", "abc-", "a..b", "a/b", "..", "192.168.0.1", &"x".repeat(64)] {
            assert!(!is_name(bad), "{bad}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\0b", &"x".repeat(256)] {
            assert!(!is_key(bad), "{bad:?}");
        }
        assert!(is_key("a/b c/ä.vmdk"));
    }

    #[test]
    fn nothing_leads_out_of_a_bucket() {
        let root = tempfile::tempdir().unwrap();
        let buckets = Buckets::new(root.path().join("buckets"));
        let one = root.path().join("buckets/one");
        fs::create_dir_all(one.join("sub")).unwrap();
        fs::create_dir_all(root.path().join("buckets/two")).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        fs::write(root.path().join("buckets/two/disk"), "two").unwrap();
        fs::write(one.join("sub/disk"), "one").unwrap();
        symlink(root.path().join("secret"), one.join("absolute")).unwrap();
        symlink("../../secret", one.join("relative")).unwrap();
        symlink("../two", one.join("across")).unwrap();
        symlink("sub/disk", one.join("inside")).unwrap();
        for out in ["absolute", "relative", "across/disk", "sub/../../two/disk", "sub", "none", "sub/disk/x"]
        {
            assert!(matches!(buckets.open("one", out), Err(Missing::Object)), "{out}");
        }
        for key in ["inside", "sub/disk"] {
            let mut text = String::new();
            buckets.open("one", key).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "one");
        }
        for bucket in ["none", "..", "one/sub"] {
            assert!(matches!(buckets.open(bucket, "disk"), Err(Missing::Bucket)), "{bucket}");
        }
        assert!(buckets.create("one", "across/x").is_err(), "nothing is written through a link");
        assert!(buckets.create("one", "../x").is_err());
    }

    #[test]
    fn what_is_written_appears_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let bucket = root.path().join("disks");
        fs::create_dir(&bucket).unwrap();
        let buckets = Buckets::new(root.path().to_owned());
        let (writing, mut file) = buckets.create("disks", "a/b/disk.raw").unwrap();
        file.write_all(b"half").unwrap();
        assert!(buckets.open("disks", "a/b/disk.raw").is_err());
        drop(writing);
        assert_eq!(fs::read_dir(bucket.join("a/b")).unwrap().count(), 0);
        fs::write(bucket.join("a/b/.disk.raw.part"), "of one who died").unwrap();
        buckets.clear("disks", "a/b/disk.raw").unwrap();
        buckets.clear("disks", "a/c/disk.raw").unwrap();
        assert_eq!(fs::read_dir(bucket.join("a/b")).unwrap().count(), 0);
        let (writing, mut file) = buckets.create("disks", "a/b/disk.raw").unwrap();
        file.write_all(b"whole").unwrap();
        writing.finish(&file).unwrap();
        assert_eq!(fs::read(bucket.join("a/b/disk.raw")).unwrap(), b"whole");
        assert_eq!(fs::read_dir(bucket.join("a/b")).unwrap().count(), 1);
    }
}
