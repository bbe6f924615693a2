//! What a fork kept of its parent's volumes, for its children's to stand on.
//!
//! ```text
//! child's vol-….qcow2 ─► bases/fork-…-vol-…/disk.qcow2 ─► …/layer-1.qcow2 … ─► the parent's image in bases/, or …/base.raw
//! ```
//! The parent's own layers are copied (by reference, where the file system can), for they will be joined and go on changing names;
//! what is below them never changes and is shared. A base goes as every other does, when nobody stands on it, and stays while its
//! fork still has children to come.

use super::{BASES, DISK, FORKS, header, layers, lazy, sync_directory};
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result};
use model::{ForkId, SnapshotId, VolumeId};
use plan::machine::qcow2::{self, Format};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

fn name(fork: ForkId, volume: VolumeId) -> String {
    format!("{fork}-{volume}")
}

/// What the volumes of a fork's children stand on, that begin as this volume of their parent's.
pub fn base(volumes: &Path, fork: ForkId, volume: VolumeId) -> io::Result<PathBuf> {
    volumes.join(BASES).join(name(fork, volume)).join(DISK).canonicalize()
}

/// The same for a child's disk.
pub fn base_of_child(disk: &Path, fork: ForkId, volume: VolumeId) -> io::Result<PathBuf> {
    base(disk.parent().unwrap_or(Path::new("/")), fork, volume)
}

/// Whether a base is of a fork that has children to come.
pub fn is_awaited(volumes: &Path, base: &Path) -> bool {
    let name = base.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let fork = name.split_once("-vol-").and_then(|(fork, _)| ForkId::parse(fork).ok());
    fork.is_some_and(|fork| volumes.join(FORKS).join(fork.to_string()).exists())
}

/// Keeps what a frozen layer of a volume holds.
pub async fn keep(volumes: &Path, fork: ForkId, volume: VolumeId, snapshot: SnapshotId) -> Result<()> {
    let chain = layers::frozen_chain(volumes, volume, snapshot)?;
    if chain.iter().any(|file| lazy::is_lazy(file)) {
        let why = "what it was made of is still being brought to this host; try again when it is there";
        return Err(HostError::permanent(format!("{volume} cannot be forked yet: {why}")));
    }
    for file in chain.iter().filter(|file| layers::format(file) == Format::Qcow2) {
        let read = header(file);
        let read = read.map_err(|e| HostError::transient(format!("reading {volume}")).caused_by(e))?;
        if read.luks.is_some() {
            return Err(HostError::permanent(format!("{volume} is encrypted, and cannot be forked")));
        }
    }
    let volumes = volumes.to_owned();
    let copied = tokio::task::spawn_blocking(move || copy(&volumes, fork, volume, &chain)).await;
    let failed = |e: io::Error| HostError::transient(format!("keeping {volume}")).caused_by(e);
    copied.map_err(|e| failed(e.into()))?.map_err(failed)
}

fn copy(volumes: &Path, fork: ForkId, volume: VolumeId, chain: &[PathBuf]) -> io::Result<()> {
    let bases = volumes.join(BASES);
    private_directory(&bases)?;
    let bases = bases.canonicalize()?;
    let (into, tmp) = (bases.join(name(fork, volume)), bases.join(format!("{}.tmp", name(fork, volume))));
    match fs::remove_dir_all(&tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    private_directory(&tmp)?;
    let own = layers::layers_of(volumes, volume).canonicalize()?;
    // From the lowest up, so that each knows what it stands on.
    let mut below: Option<PathBuf> = None;
    for (depth, file) in chain.iter().enumerate().rev() {
        if !file.starts_with(&own) {
            below = Some(file.clone());
            continue;
        }
        let kept = match (layers::format(file), depth) {
            (Format::Raw, _) => lazy::BASE.to_owned(),
            (Format::Qcow2, 0) => DISK.to_owned(),
            (Format::Qcow2, depth) => format!("layer-{depth}.qcow2"),
        };
        let to = tmp.join(&kept);
        match layers::format(file) {
            Format::Raw => fs::hard_link(file, &to)?,
            Format::Qcow2 => {
                fs::copy(file, &to)?;
                if let Some(below) = &below {
                    lead(&to, below)?;
                }
                chown(&to, Some(0), Some(0))?;
                fs::set_permissions(&to, fs::Permissions::from_mode(0o444))?;
                File::open(&to)?.sync_all()?;
            }
        }
        below = Some(into.join(&kept));
    }
    sync_directory(&tmp)?;
    fs::rename(&tmp, &into)?;
    sync_directory(&bases)
}

/// Has a copy stand on another file than the original did.
fn lead(copy: &Path, below: &Path) -> io::Result<()> {
    let below = below.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
    fs::set_permissions(copy, fs::Permissions::from_mode(0o600))?;
    let file = File::options().read(true).write(true).open(copy)?;
    let mut first = Vec::with_capacity(qcow2::HEADER_BYTES);
    (&file).take(qcow2::HEADER_BYTES as u64).read_to_end(&mut first)?;
    let led = qcow2::led_to(&first, below).map_err(io::Error::other)?;
    file.write_all_at(&led, 0)
}
