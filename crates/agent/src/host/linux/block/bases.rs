//! What volumes of images stand on: the images' disks, kept from the cache, and those of memory templates.

use super::file::{header, publish, sync_directory};
use crate::host::linux::vmm::{image, private_directory};
use crate::host::{HostError, Result};
use plan::machine::qcow2::{self, Below, Format};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub(super) const BASES: &str = "bases";
pub(super) const DISK: &str = "disk.qcow2";

/// The disk that volumes of this image stand on, kept from the cache.
pub(in super::super) fn base(volumes_dir: &Path, images_dir: &Path, name: &str) -> Result<PathBuf> {
    if !image::plain_name(name) {
        return Err(HostError::permanent(format!("\"{name}\" is no image's name")));
    }
    let cached = images_dir.join(name);
    let manifest = image::manifest(&cached).map_err(|e| {
        HostError::permanent(format!("the image {name} is not in this host's cache")).caused_by(e)
    })?;
    let digest: String = manifest.digest.chars().filter(char::is_ascii_alphanumeric).collect();
    let failed = |e: io::Error| HostError::transient(format!("keeping the image {name}")).caused_by(e);
    let bases = volumes_dir.join(BASES);
    private_directory(&bases).map_err(failed)?;
    let bases = bases.canonicalize().map_err(failed)?;
    let base = bases.join(format!("{name}-{digest}"));
    if base.exists() {
        return Ok(base.join(DISK));
    }
    let tmp = bases.join(format!("{name}.tmp"));
    let kept = keep(&cached, &tmp).and_then(|()| {
        if image::manifest(&tmp)?.digest != image::manifest(&cached)?.digest {
            return Err(io::Error::other("it was replaced meanwhile"));
        }
        fs::rename(&tmp, &base)?;
        sync_directory(&bases)
    });
    if kept.is_err() {
        let _ = fs::remove_dir_all(&tmp);
    }
    kept.map_err(failed)?;
    Ok(base.join(DISK))
}

/// Puts an empty overlay in the place of a disk that nobody has written to.
pub(in super::super) fn stand_on(disk: &Path, size: u64, below: &Path) -> io::Result<()> {
    let tmp = disk.with_extension("tmp");
    let below = Below { file: below.to_str().ok_or(io::ErrorKind::InvalidFilename)?, format: Format::Qcow2 };
    let file = qcow2::empty(size, Some(below), None).map_err(io::Error::other)?;
    // Whichever of the two a crash leaves is as good as the other.
    fs::write(&tmp, file).and_then(|()| publish(&tmp, disk)).inspect_err(|_| {
        let _ = fs::remove_file(&tmp);
    })
}

/// The size of a disk that still is as it was made of an image, in bytes; none when somebody has written to it, or may have,
/// or when it came from a snapshot.
pub(in super::super) fn untouched(disk: &Path) -> io::Result<Option<u64>> {
    let held = header(disk)?;
    let bases = disk.with_file_name(BASES).canonicalize();
    let is_of_image = |file: &str| bases.as_ref().is_ok_and(|bases| Path::new(file).starts_with(bases));
    if !held.backing_file.as_deref().is_none_or(is_of_image) {
        return Ok(None);
    }
    let below = held.backing_file.as_deref().map(|file| Below { file, format: Format::Qcow2 });
    let Ok(made) = qcow2::empty(held.size, below, None) else { return Ok(None) };
    if File::open(disk)?.metadata()?.len() != made.len() as u64 {
        return Ok(None);
    }
    Ok((fs::read(disk)? == made).then_some(held.size))
}

/// The disk of a template as volumes stand on it: it stays for as long as they do.
pub(in super::super) fn base_of_template(volumes: &Path, key: &str, disk: &Path) -> io::Result<PathBuf> {
    let bases = volumes.join(BASES).canonicalize()?;
    let base = bases.join(key);
    let kept = base.join(DISK);
    if !kept.exists() {
        match fs::create_dir(&base) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        match fs::hard_link(disk, &kept) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        sync_directory(&base)?;
        sync_directory(&bases)?;
    }
    Ok(kept)
}

/// Makes a directory with an image's files, so that they stay when the cache changes.
fn keep(image: &Path, into: &Path) -> io::Result<()> {
    match fs::remove_dir_all(into) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir(into)?;
    for entry in fs::read_dir(image)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let to = into.join(entry.file_name());
        match fs::hard_link(entry.path(), &to) {
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(entry.path(), &to)?;
                File::open(&to)?.sync_all()?;
            }
            linked => linked?,
        }
    }
    sync_directory(into)
}
