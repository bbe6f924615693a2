//! Volumes that several machines may have at once (Multi-Attach).
//!
//! ```text
//! volumes/vol-….raw     all that such a volume is
//! ```
//! Its file is raw, so that no process keeps anything of it: each machine gets a descriptor of it, passes the page cache by, and
//! what one has written the others read. The file stays root's, whoever has it. It has no layers: nothing freezes several machines at
//! one instant, so no snapshot is taken of it.
//! A volume becomes one, and ceases to be one, while no machine has it. Invariants: one of its two files is whole at every moment;
//! the raw one counts once it has its name, so what a crash interrupts is finished by the next attempt.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes-multi.html>
//! Differs: no NVMe reservations.

use super::disk::Disk;
use super::{LinuxBlock, empty, layers, lazy, publish, remove_if_there, sync_directory, write_overlay};
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result, SourceKey};
use blocks::BLOCK_SIZE;
use model::VolumeId;
use model::host::VolumeDesired;
use plan::machine::qcow2::Format;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

pub(super) fn path(volumes: &Path, volume: VolumeId) -> PathBuf {
    volumes.join(format!("{volume}.raw"))
}

/// Whether a volume's file is one that several machines may have.
pub fn is_shared(path: &Path) -> bool {
    layers::format(path) == Format::Raw
}

fn failed(volume: VolumeId) -> impl Fn(io::Error) -> HostError {
    move |e| HostError::transient(format!("sharing {volume}")).caused_by(e)
}

impl LinuxBlock {
    /// Makes such a volume, out of nothing, a snapshot, or what it was before it was one; or grows it.
    pub(super) async fn ensure_shared(
        &self,
        wanted: &VolumeDesired,
        source: SourceKey<'_>,
    ) -> Result<PathBuf> {
        let volume = wanted.volume;
        if wanted.data_key.is_some() || source.is_some() {
            let why = "is encrypted, and cannot be attached to several instances";
            return Err(HostError::permanent(format!("{volume} {why}")));
        }
        let volumes = self.config.state_dir.clone();
        let (raw, single) = (path(&volumes, volume), layers::active(&volumes, volume));
        if !raw.exists() {
            if self.record(volume)?.is_some() {
                let what = format!("{volume} is shared once all of it is on the host");
                return Err(HostError::transient(what));
            }
            let snapshot = match wanted.snapshot.filter(|_| !single.exists()) {
                Some(snapshot) => Some(self.shelf.snapshot(snapshot).await?),
                None => None,
            };
            let (from, to, size) = (single.clone(), raw.clone(), wanted.size.bytes());
            let made = tokio::task::spawn_blocking(move || write(&from, snapshot.as_ref(), &to, size));
            made.await.map_err(|e| failed(volume)(e.into()))?.map_err(failed(volume))?;
        }
        if single.exists() {
            empty(&single).and_then(|()| remove_if_there(&single)).map_err(failed(volume))?;
            sync_directory(&volumes).map_err(failed(volume))?;
        }
        if !self.has_captures(volume)? {
            layers::tidy(&volumes, volume)?;
        }
        grow(&raw, wanted.size.bytes()).map_err(failed(volume))?;
        Ok(raw)
    }

    /// A volume that was for several is for one from here on: its file is what the new one stands on.
    pub(super) fn end_sharing(&self, wanted: &VolumeDesired) -> Result<()> {
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

/// Writes what a volume, or else a snapshot, holds into a raw file.
fn write(from: &Path, snapshot: Option<&blocks::Snapshot>, to: &Path, size: u64) -> io::Result<()> {
    let tmp = to.with_extension("tmp");
    let written = (|| {
        let file = File::create(&tmp)?;
        let mut held = 0;
        if from.exists() {
            let mut files = vec![from.to_owned()];
            files.extend(layers::backing_chain(from).map_err(io::Error::other)?);
            let files: Vec<_> = files.into_iter().map(|path| (layers::format(&path), path)).collect();
            let files: Vec<_> = files.into_iter().map(|(format, path)| (path, format)).collect();
            let mut disk = Disk::open(&files, None)?;
            held = disk.size();
            copy(&mut disk, files.len(), &file)?;
        } else if let Some(snapshot) = snapshot {
            held = snapshot.size();
            blocks::ingest::export(snapshot, &file).map_err(io::Error::other)?;
        }
        file.set_len(held.max(size))?;
        chown(&tmp, Some(0), Some(0))?;
        publish(&tmp, to)?;
        sync_directory(to.parent().unwrap_or(Path::new("/")))
    })();
    written.inspect_err(|_| {
        let _ = fs::remove_file(&tmp);
    })
}

fn copy(disk: &mut Disk, layers: usize, into: &File) -> io::Result<()> {
    let touched = disk.touched(layers)?;
    let (size, block) = (disk.size(), BLOCK_SIZE as u64);
    for index in touched.iter() {
        let at = index * block;
        let mut bytes = vec![0; size.saturating_sub(at).min(block) as usize];
        disk.read(at, &mut bytes)?;
        if bytes.iter().any(|byte| *byte != 0) {
            into.write_all_at(&bytes, at)?;
        }
    }
    Ok(())
}

fn grow(raw: &Path, size: u64) -> io::Result<()> {
    let file = File::options().write(true).open(raw)?;
    if file.metadata()?.len() < size {
        file.set_len(size)?;
        file.sync_all()?;
    }
    Ok(())
}
