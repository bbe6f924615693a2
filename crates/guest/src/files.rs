//! Files that survive a kill at any instant: written beside, flushed, then renamed.
//!
//! While a clone takes its identity the flushes wait for one at the end ([`flush_later`], [`flush`]): each costs a turn of the
//! journal and of the host's disk. A kill before that may leave a file empty or as it was; nothing says yet that the
//! identity is there, so all of it is done again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Who may read a file, and whose it is.
#[derive(Clone, Copy)]
pub struct Access {
    pub mode: u32,
    pub owner: u32,
}

/// Root's, and everyone may read.
pub const PUBLIC: Access = Access { mode: 0o644, owner: 0 };
/// Root's alone.
pub const PRIVATE: Access = Access { mode: 0o600, owner: 0 };

static LATER: AtomicBool = AtomicBool::new(false);

/// From here on nothing is flushed until [`flush`].
pub fn flush_later() {
    LATER.store(true, Ordering::Relaxed);
}

/// Flushes all that was written, if that was put off.
pub fn flush() -> io::Result<()> {
    if LATER.swap(false, Ordering::Relaxed) {
        crate::sys::flush_filesystem(&File::open("/etc")?)
    } else {
        Ok(())
    }
}

/// Flushes this file or folder, now or with the others.
pub fn settle(file: &File) -> io::Result<()> {
    if LATER.load(Ordering::Relaxed) { Ok(()) } else { file.sync_all() }
}

/// Makes `path` hold `content`, durably and all at once. Does nothing when it already does.
pub fn write(path: impl AsRef<Path>, content: &[u8], access: Access) -> io::Result<()> {
    let path = path.as_ref();
    if fs::read(path).is_ok_and(|current| current == content) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(access.mode).open(&beside)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(access.mode))?;
    chown(&beside, Some(access.owner), Some(access.owner)).or_else(ignore_if_unprivileged)?;
    settle(&file)?;
    fs::rename(&beside, path)?;
    settle(&File::open(folder)?)
}

/// Adds `line` to the file when no line of it is the same.
pub fn ensure_line(path: impl AsRef<Path>, line: &str, access: Access) -> io::Result<()> {
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    if text.lines().any(|present| present.trim() == line.trim()) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line.trim());
    text.push('\n');
    write(path, text.as_bytes(), access)
}

/// A folder with exactly this access.
pub fn ensure_folder(path: impl AsRef<Path>, access: Access) -> io::Result<()> {
    let path = path.as_ref();
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode))?;
    chown(path, Some(access.owner), Some(access.owner)).or_else(ignore_if_unprivileged)
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

// Unit tests run as anyone; in an instance this code is root and never takes this way.
fn ignore_if_unprivileged(error: io::Error) -> io::Result<()> {
    if crate::sys::user() == 0 { Err(error) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("nube-guest-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_leftover_of_a_killed_write_is_replaced() {
        let folder = scratch("leftover");
        let path = folder.join("hostname");
        fs::write(folder.join(".hostname.new"), "half").unwrap();
        write(&path, b"whole\n", PUBLIC).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\n");
        assert!(!folder.join(".hostname.new").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_line_is_added_once_and_what_users_added_stays() {
        let folder = scratch("line");
        let path = folder.join("authorized_keys");
        fs::write(&path, "ssh-rsa OWN me").unwrap();
        for _ in 0..2 {
            ensure_line(&path, "ssh-ed25519 KEY pair\n", PRIVATE).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "ssh-rsa OWN me\nssh-ed25519 KEY pair\n");
        fs::remove_dir_all(folder).unwrap();
    }
}
