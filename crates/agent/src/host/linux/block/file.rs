//! Files of volumes: made whole or not at all, read, emptied, removed.

use plan::machine::qcow2::{self, Below, Format};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Reads the header of a qcow2 file.
pub(in super::super) fn header(path: &Path) -> io::Result<qcow2::Header> {
    let mut bytes = Vec::with_capacity(qcow2::HEADER_BYTES);
    File::open(path)?.take(qcow2::HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    qcow2::parse(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Makes an empty qcow2 file, by way of `tmp`.
pub(super) fn write_overlay(
    tmp: &Path,
    path: &Path,
    size: u64,
    below: Option<(&Path, Format)>,
    luks: Option<&[u8]>,
) -> io::Result<()> {
    let below = match below {
        Some((below, format)) => {
            let file = below.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            Some(Below { file, format })
        }
        None => None,
    };
    let file = qcow2::empty(size, below, luks).map_err(io::Error::other)?;
    write_empty(tmp, &file, luks)?;
    publish(tmp, path)?;
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Makes a file that takes no room for the zeros of its LUKS header, which has room for seven keys that there are not.
pub(super) fn write_empty(path: &Path, bytes: &[u8], luks: Option<&[u8]>) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    if luks.is_none() {
        return fs::write(path, bytes);
    }
    const PAGE: usize = 4096;
    let file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (at, page) in (0..).step_by(PAGE).zip(bytes.chunks(PAGE)) {
        if page.iter().any(|byte| *byte != 0) {
            file.write_all_at(page, at)?;
        }
    }
    Ok(())
}

/// Gives a finished file its name, so that a crash at any moment leaves the whole file or what was there before.
pub(super) fn publish(tmp: &Path, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(tmp, fs::Permissions::from_mode(0o600))?;
    File::open(tmp)?.sync_all()?;
    fs::rename(tmp, path)
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Frees what a file takes. A machine that had the disk from its start on sees the file in its sandbox until it ends, and
/// would keep its room taken.
pub(super) fn empty(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) if file.metadata()?.nlink() == 1 => file.set_len(0),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

pub(super) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
