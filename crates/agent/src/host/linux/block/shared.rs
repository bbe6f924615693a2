//! Volumes that several machines may have at once (Multi-Attach).
//!
//! ```text
//! volumes/vol-….qcow2     and what lies under it, as of any volume
//! volumes/vol-….shared    empty: no machine gets the files; a process that serves the volume does
//! volumes/vol-….raw       all of such a volume that an earlier version of this program made
//! ```
//! So such a volume may be encrypted, begins from snapshots, and is captured and grown, as any other; who has its files is the affair of
//! [`super::super::vmm`]. It becomes one, and ceases to be one, while no machine has it.
//!
//! Machines used to have a raw file together. Those that still do, keep it, and others join them; no snapshot is taken of it. When it is
//! looked at while none has it (an agent looks at all volumes as it starts), an ordinary file is put over it. Invariants: one of the two files is whole at every moment; the ordinary one
//! counts once it has its name, so what a crash interrupts is finished by the next attempt.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes-multi.html>
//! Differs: no NVMe reservations.

use super::{LinuxBlock, layers, lazy, remove_if_there, sync_directory, write_overlay};
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result};
use model::VolumeId;
use model::host::VolumeDesired;
use plan::machine::qcow2::Format;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const SERVED: &str = "shared";
/// Why there is no snapshot of a raw file.
pub(super) const HELD_AS_BEFORE: &str = "its instances have it since an earlier version of this program; stop all of them, and start the agent anew";

pub(super) fn path(volumes: &Path, volume: VolumeId) -> PathBuf {
    volumes.join(format!("{volume}.raw"))
}

pub(super) fn mark(volumes: &Path, volume: VolumeId) -> PathBuf {
    volumes.join(format!("{volume}.{SERVED}"))
}

/// Whether a volume, as a machine is told of it, is one that several machines may have.
pub fn is_shared(path: &Path) -> bool {
    is_served(path) || layers::format(path) == Format::Raw
}

/// Whether a process of its own serves it to them.
pub fn is_served(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(SERVED))
}

/// The newest file of a volume, as a machine is told of it.
pub fn file_of(path: &Path) -> PathBuf {
    if is_served(path) { path.with_extension("qcow2") } else { path.to_owned() }
}

fn failed(volume: VolumeId) -> impl Fn(io::Error) -> HostError {
    move |e| HostError::transient(format!("sharing {volume}")).caused_by(e)
}

impl LinuxBlock {
    /// Says by its name how machines get a volume whose file is there.
    pub(super) fn mark(&self, wanted: &VolumeDesired, file: PathBuf) -> Result<PathBuf> {
        let mark = mark(&self.config.state_dir, wanted.volume);
        let failed = failed(wanted.volume);
        if wanted.shared {
            if !mark.exists() {
                File::create(&mark).map_err(failed)?;
            }
            return Ok(mark);
        }
        remove_if_there(&mark).map_err(failed)?;
        Ok(file)
    }

    /// The raw file of a volume that machines have together, grown as is wished.
    pub(super) fn raw_in_use(&self, wanted: &VolumeDesired) -> Result<Option<PathBuf>> {
        let raw = path(&self.config.state_dir, wanted.volume);
        let grown = || -> io::Result<bool> {
            if !raw.exists() || !is_open(&raw)? {
                return Ok(false);
            }
            let file = File::options().write(true).open(&raw)?;
            if file.metadata()?.len() < wanted.size.bytes() {
                file.set_len(wanted.size.bytes())?;
                file.sync_all()?;
            }
            Ok(true)
        };
        Ok(grown().map_err(failed(wanted.volume))?.then_some(raw))
    }

    /// What was one raw file is an ordinary volume from here on, which stands on it.
    pub(super) fn end_raw(&self, wanted: &VolumeDesired) -> Result<()> {
        let volume = wanted.volume;
        let volumes = &self.config.state_dir;
        let (raw, single) = (path(volumes, volume), layers::active(volumes, volume));
        if !raw.exists() {
            return Ok(());
        }
        let part = || {
            if !single.exists() {
                let own = layers::layers_of(volumes, volume);
                private_directory(&own)?;
                let base = own.canonicalize()?.join(lazy::BASE);
                remove_if_there(&base)?;
                fs::set_permissions(&raw, fs::Permissions::from_mode(0o444))?;
                fs::hard_link(&raw, &base)?;
                sync_directory(&own)?;
                sync_directory(own.parent().unwrap_or(volumes))?;
                let size = fs::metadata(&raw)?.len().max(wanted.size.bytes());
                let tmp = volumes.join(format!("{volume}.tmp"));
                write_overlay(&tmp, &single, size, Some((&base, Format::Raw)), None)?;
            }
            remove_if_there(&raw)?;
            sync_directory(volumes)
        };
        part().map_err(failed(volume))
    }
}

/// Whether some process has a file open.
fn is_open(path: &Path) -> io::Result<bool> {
    let file = fs::metadata(path)?;
    for process in fs::read_dir("/proc")? {
        // Processes and files may be gone by now.
        let Ok(open) = fs::read_dir(process?.path().join("fd")) else { continue };
        let mut open = open.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
        if open.any(|open| (open.dev(), open.ino()) == (file.dev(), file.ino())) {
            return Ok(true);
        }
    }
    Ok(false)
}
