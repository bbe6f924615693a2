//! The files of a volume: the one that is written to, and those that were frozen for snapshots under it.
//!
//! ```text
//! vol-….qcow2 ─► layers/vol-…/snap-B.qcow2 ─► layers/vol-…/snap-A.qcow2 ─► bases/… or layers/vol-…/base.… ([`lazy`])
//!   newest           as it was at B                 as it was at A              what the volume was made of
//! ```
//! Freezing: (1) what is to be done is written to `captures/` of the store, (2) new empty files are made beside, (3) each
//! volume's file gets its frozen name too, (4) the new files take the volumes' names. Each step finds what was done of it, so it
//! is finished after a crash, by [`finish`]. Until the machines follow they write to the frozen files by descriptors that they
//! hold: that is the instant, not the renaming.
//!
//! Trimming: a layer is written into the one below (which then holds what the upper one did) and that takes its name. A machine may read
//! both meanwhile: it takes from the lower one only what the upper one has not, and just that stays as it is. Then it is
//! told to open the joined file. One layer stays, so that the next snapshot knows what has changed since the last.
//!
//! A process that its guest has taken over may have written any header here: a volume's files lead to its own layers and to the
//! host's images and to nothing else.
//!
//! The layers of an encrypted volume are encrypted like its newest file, and with its master key: a new file gets a copy of the
//! LUKS header of what it stands on. So freezing, and finishing that after a crash, needs no key; joining does.

use super::{
    BASES, TEMPLATES, disk, header, lazy, publish, qemu_img, remove_if_there, sync_directory, write_empty,
};
use crate::host::linux::vmm::{private_directory, replace};
use crate::host::{HostError, Result};
use model::{SnapshotId, VolumeId};
use plan::machine::qcow2::{self, Below, Format};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const LAYERS: &str = "layers";
/// Frozen layers of a volume that still have to be read: EC2 allows five snapshots of a volume in progress.
const MOST_LAYERS: usize = 10;
/// Layers, an image, a template's disk, and some room.
const LONGEST: usize = MOST_LAYERS + 6;
/// How long joining two layers may take.
const JOINING: Duration = Duration::from_hours(1);

/// A snapshot that is not stored yet, as `captures/SNAPSHOT` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Capture {
    pub volume: VolumeId,
    /// All that are taken at one instant.
    pub set: Vec<(SnapshotId, VolumeId)>,
    /// The instant is past: the machines have followed.
    pub captured: bool,
}

pub(super) fn active(volumes: &Path, volume: VolumeId) -> PathBuf {
    volumes.join(format!("{volume}.qcow2"))
}

pub(super) fn layers_of(volumes: &Path, volume: VolumeId) -> PathBuf {
    volumes.join(LAYERS).join(volume.to_string())
}

pub(super) fn layer(volumes: &Path, volume: VolumeId, snapshot: SnapshotId) -> PathBuf {
    layers_of(volumes, volume).join(format!("{snapshot}.qcow2"))
}

/// The format of a file under a volume.
pub fn format(path: &Path) -> Format {
    if path.extension() == Some(OsStr::new("raw")) { Format::Raw } else { Format::Qcow2 }
}

/// Whether a file under a volume is one of its own layers, which are encrypted if the volume is.
pub fn is_own(file: &Path, volume: VolumeId) -> bool {
    let own = file.parent().and_then(Path::file_name);
    own.is_some_and(|own| own == volume.to_string().as_str()) && format(file) == Format::Qcow2
}

/// The files under a volume's newest, or under a template's disk, from the nearest down, as their headers name them.
pub fn backing_chain(path: &Path) -> Result<Vec<PathBuf>> {
    if super::is_shared(path) {
        return Ok(Vec::new());
    }
    let volumes = path.parent().unwrap_or(Path::new("/"));
    let own = path.file_stem().map(|volume| volumes.join(LAYERS).join(volume));
    below(volumes, own.as_deref(), path)
}

/// The files of a frozen layer, itself first.
pub(super) fn frozen_chain(volumes: &Path, volume: VolumeId, snapshot: SnapshotId) -> Result<Vec<PathBuf>> {
    let path = layer(volumes, volume, snapshot);
    let mut chain = vec![path.clone()];
    chain.extend(below(volumes, Some(&layers_of(volumes, volume)), &path)?);
    Ok(chain)
}

fn below(volumes: &Path, own: Option<&Path>, path: &Path) -> Result<Vec<PathBuf>> {
    let broken = |path: &Path, e: io::Error| {
        HostError::permanent(format!("{} cannot be read", path.display())).caused_by(e)
    };
    let own = own.and_then(|own| own.canonicalize().ok());
    let mut chain: Vec<PathBuf> = Vec::new();
    let mut next = header(path).map_err(|e| broken(path, e))?.backing_file;
    while let Some(name) = next {
        let bases = volumes.join(BASES).canonicalize().ok();
        let below = PathBuf::from(&name);
        let lies_in = |place: &Option<PathBuf>| place.as_ref().is_some_and(|place| below.starts_with(place));
        if own.as_ref().is_some_and(|own| lazy::is_to_come(volumes, own, &below)) && !chain.contains(&below) {
            chain.push(below);
            break;
        }
        if below.canonicalize().ok().as_ref() != Some(&below)
            || !(lies_in(&bases) || lies_in(&own))
            || chain.len() == LONGEST
            || chain.contains(&below)
        {
            return Err(HostError::permanent(format!(
                "{} stands on {name}, which is no image of this host",
                path.display()
            )));
        }
        next = match format(&below) {
            Format::Raw => None,
            Format::Qcow2 => header(&below).map_err(|e| broken(&below, e))?.backing_file,
        };
        chain.push(below);
    }
    Ok(chain)
}

/// The frozen layers of a volume that its newest file stands on, from the nearest down.
pub(super) fn standing(volumes: &Path, volume: VolumeId) -> Result<Vec<PathBuf>> {
    let own = layers_of(volumes, volume).canonicalize().ok();
    let mut chain = backing_chain(&active(volumes, volume))?;
    chain.retain(|file| {
        file.parent() == own.as_deref() && format(file) == Format::Qcow2 && !lazy::is_base(file)
    });
    Ok(chain)
}

/// Whether there is room for another layer.
pub(super) fn check_room(volumes: &Path, volume: VolumeId) -> Result<()> {
    if standing(volumes, volume)?.len() < MOST_LAYERS {
        return Ok(());
    }
    Err(HostError::transient(format!("{volume}: {MOST_LAYERS} snapshots of it are still being stored")))
}

/// Every file that may stand on an image.
pub(super) fn files(volumes: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(volumes)? {
        files.push(entry?.path());
    }
    for volume in fs::read_dir(volumes.join(LAYERS)).into_iter().flatten() {
        for entry in fs::read_dir(volume?.path())? {
            files.push(entry?.path());
        }
    }
    for entry in fs::read_dir(volumes.join(TEMPLATES)).into_iter().flatten() {
        files.extend(Some(entry?.path().join(super::DISK)).filter(|disk| disk.exists()));
    }
    Ok(files)
}

/// Steps 2 to 4 for all of a set, or what of them is still to be done.
pub(super) fn finish(volumes: &Path, set: &[(SnapshotId, VolumeId)]) -> io::Result<()> {
    let mut due = Vec::new();
    for (snapshot, volume) in set {
        let (active, frozen) = (active(volumes, *volume), layer(volumes, *volume, *snapshot));
        if active.exists() && !is_frozen(volumes, *volume, &frozen)? {
            let own = layers_of(volumes, *volume);
            private_directory(&own)?;
            let frozen = own.canonicalize()?.join(frozen.file_name().unwrap_or_default());
            let file = frozen.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
            let below = Below { file, format: Format::Qcow2 };
            let luks = disk::luks_header(&File::open(&active)?)?;
            let empty = qcow2::empty(header(&active)?.size, Some(below), luks.as_deref());
            let empty = empty.map_err(io::Error::other)?;
            let tmp = volumes.join(format!("{volume}.layer.tmp"));
            write_empty(&tmp, &empty, luks.as_deref())
                .and_then(|()| File::open(&tmp)?.sync_all())
                .inspect_err(|_| {
                    let _ = fs::remove_file(&tmp);
                })?;
            due.push((tmp, active, frozen));
        }
    }
    for (_, active, frozen) in &due {
        match fs::hard_link(active, frozen) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if fs::metadata(active)?.ino() != fs::metadata(frozen)?.ino() {
                    return Err(e);
                }
            }
            linked => linked?,
        }
        sync_directory(frozen.parent().unwrap_or(volumes))?;
    }
    if volumes.join(LAYERS).exists() {
        sync_directory(&volumes.join(LAYERS))?;
    }
    for (tmp, active, _) in &due {
        publish(tmp, active)?;
    }
    sync_directory(volumes)?;
    for (snapshot, volume) in set {
        // Its machine needs no right to it any more: it has it open.
        let frozen = layer(volumes, *volume, *snapshot);
        if frozen.exists() && fs::metadata(&frozen)?.permissions().mode() & 0o777 != 0o444 {
            chown(&frozen, Some(0), Some(0))?;
            fs::set_permissions(&frozen, fs::Permissions::from_mode(0o444))?;
        }
    }
    Ok(())
}

/// Whether the volume's newest file stands on this layer.
pub(super) fn is_frozen(volumes: &Path, volume: VolumeId, layer: &Path) -> io::Result<bool> {
    let layers = standing(volumes, volume).map_err(io::Error::other)?;
    Ok(layers.iter().any(|standing| standing.file_name() == layer.file_name()))
}

/// Joins the layers of a volume until there is one; `passphrase` opens those of an encrypted one.
pub(super) async fn join(volumes: &Path, volume: VolumeId, passphrase: Option<&str>) -> Result<()> {
    let failed = |e: io::Error| HostError::transient(format!("joining layers of {volume}")).caused_by(e);
    loop {
        let layers = standing(volumes, volume)?;
        let [upper, lower, ..] = layers.as_slice() else { break };
        // A process that another life of the agent started may still be at it.
        let path = layers_of(volumes, volume).join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| failed(e.into()))?;
        // All of them, for an encrypted one that a header leads to is not opened. What the volume was made of is not read, and may
        // not be there yet: an empty file stands in for it.
        let chain = backing_chain(&active(volumes, volume))?;
        let mut image = chain.last().filter(|lowest| lazy::is_base(lowest)).map(|_| {
            let file = serde_json::json!({"driver": "file", "filename": path, "locking": "off"});
            serde_json::json!({"driver": "raw", "file": file})
        });
        for layer in layers.iter().rev() {
            let mut node = qemu_img::node(layer, passphrase);
            node["file"]["locking"] = "off".into();
            if let Some(below) = image {
                node["backing"] = below;
            }
            image = Some(node);
        }
        let image = format!("json:{}", image.unwrap_or_default());
        qemu_img::run("commit", &["-q", "-d", &image], passphrase, &[lock.as_fd()], JOINING)
            .await
            .map_err(|e| HostError::transient(format!("joining layers of {volume}")).caused_by(e))?;
        File::open(lower).and_then(|file| file.sync_all()).map_err(failed)?;
        fs::rename(lower, upper).map_err(failed)?;
        sync_directory(upper.parent().unwrap_or(volumes)).map_err(failed)?;
    }
    Ok(())
}

/// Removes what lies among a volume's layers and is not part of it any more. All of it when the volume is gone.
pub(super) fn tidy(volumes: &Path, volume: VolumeId) -> Result<()> {
    let failed = |e: io::Error| HostError::transient(format!("tidying the layers of {volume}")).caused_by(e);
    let own = layers_of(volumes, volume);
    let Ok(entries) = fs::read_dir(&own) else { return Ok(()) };
    let is_there = active(volumes, volume).exists();
    let kept = if is_there { backing_chain(&active(volumes, volume))? } else { Vec::new() };
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_kept = kept.iter().any(|file| file.file_name() == path.file_name())
            || is_there && path.ends_with("lock");
        if !is_kept {
            super::empty(&path).and_then(|()| remove_if_there(&path)).map_err(failed)?;
        }
    }
    if !is_there {
        fs::remove_dir(&own).map_err(failed)?;
    }
    Ok(())
}

/// The captures that are on record.
pub(super) fn captures(records: &Path) -> io::Result<Vec<(SnapshotId, Capture)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(records)? {
        let path = entry?.path();
        let id = path.file_name().and_then(|name| SnapshotId::parse(name.to_str()?).ok());
        let Some(id) = id else { continue };
        match serde_json::from_slice(&fs::read(&path)?) {
            Ok(capture) => found.push((id, capture)),
            Err(error) => tracing::error!(%id, %error, "the record of a snapshot cannot be read"),
        }
    }
    Ok(found)
}

pub(super) fn capture(records: &Path, snapshot: SnapshotId) -> io::Result<Option<Capture>> {
    match fs::read(records.join(snapshot.to_string())) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

pub(super) fn note(records: &Path, snapshot: SnapshotId, capture: &Capture) -> io::Result<()> {
    replace(&records.join(snapshot.to_string()), &serde_json::to_vec(capture)?)
}
