//! Volumes of snapshots that are used before the snapshot's data are on the host as a disk.
//!
//! ```text
//! lazy/vol-…           the record: of which snapshot, and where the machine that has it asks for it
//! lazy/vol-….qcow2     of an encrypted volume: what it will stand on, on its way
//! lazy/control.sock    where `nube blockd` hears that a record has changed
//!
//! vol-….qcow2 ─► layers/vol-…/base.raw      not there yet: read by NBD of blockd, which reads the block store
//!                                           there: the snapshot as a disk (base.qcow2, encrypted, of an encrypted volume)
//! ```
//! A volume's header names its base from the beginning, whether or not that is there; so nothing that a machine has open is
//! ever rewritten. While it is not there the record is, and whoever opens the volume's files reads it another way: a machine by
//! an export of [`blockd`], the agent itself from the store. Both have the same bytes, so a machine may be led from the one to
//! the other at any moment.
//!
//! ```text
//! record ─► volume's file (usable) ─► [fill]: base is made ─► base gets its name ─► machine opens it ─► record goes, export ends
//! ```
//! Invariants:
//! - the record is on disk before the volume, and goes when nobody reads the export any more; while it is there its snapshot is
//!   not removed ([`of_snapshot`]);
//! - each step finds what was done of it, so a crash between any two costs repetition at most;
//! - no key is on a disk: a snapshot's key lies in the record encrypted with the volume's own, which is heard with the volume;
//! - a socket lies in the directory of one machine, is that machine's user's, and shows one snapshot.

pub mod blockd;
mod control;
mod fill;
mod keys;
mod seal;

pub use fill::{Filler, Make, Order, Target};

use super::{remove_if_there, sync_directory};
use crate::host::linux::vmm::{private_directory, replace};
use crate::host::{HostError, Result};
use control::Look;
pub use keys::Keys;
use model::{DataKey, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const LAZY: &str = "lazy";
/// What a volume of a snapshot stands on once it is there.
pub const BASE: &str = "base.raw";
/// The same of an encrypted volume.
pub const ENCRYPTED_BASE: &str = "base.qcow2";

/// How the name of a file ends that is being filled.
pub const HALF: &str = "half";

/// What is known of a volume whose base is not there, or not everybody's yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub snapshot: SnapshotId,
    pub at_rest: Rest,
    /// The snapshot's key, encrypted with the volume's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<seal::Sealed>,
    /// Where the machine that has the volume asks for what it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<Door>,
}

/// How the volume's own data lie in its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    Plain,
    Encrypted,
}

/// Where one machine, and nobody else, reaches an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    pub directory: PathBuf,
    pub uid: u32,
}

pub fn directory(volumes: &Path) -> PathBuf {
    volumes.join(LAZY)
}

fn record_path(volumes: &Path, volume: VolumeId) -> PathBuf {
    directory(volumes).join(volume.to_string())
}

fn failed(volume: VolumeId) -> impl Fn(io::Error) -> HostError {
    move |e| HostError::transient(format!("the record of {volume}")).caused_by(e)
}

/// What is known of a volume; none when all of it is on the host.
pub fn record(volumes: &Path, volume: VolumeId) -> io::Result<Option<Record>> {
    match fs::read(record_path(volumes, volume)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Every record.
pub fn records(volumes: &Path) -> io::Result<Vec<(VolumeId, Record)>> {
    let entries = match fs::read_dir(directory(volumes)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(volume) = name.to_str().and_then(|name| VolumeId::parse(name).ok()) else { continue };
        match record(volumes, volume) {
            Ok(record) => found.extend(record.map(|record| (volume, record))),
            Err(error) => tracing::error!(%volume, %error, "the record of a volume cannot be read"),
        }
    }
    found.sort_by_key(|(volume, _)| *volume);
    Ok(found)
}

/// A volume that still needs this snapshot.
pub fn of_snapshot(volumes: &Path, snapshot: SnapshotId) -> io::Result<Option<VolumeId>> {
    Ok(records(volumes)?
        .into_iter()
        .find(|(_, record)| record.snapshot == snapshot)
        .map(|(volume, _)| volume))
}

fn write(volumes: &Path, volume: VolumeId, record: &Record) -> io::Result<()> {
    private_directory(&directory(volumes))?;
    replace(&record_path(volumes, volume), &serde_json::to_vec(record)?)
}

/// Notes that a volume which is about to be made needs this snapshot.
pub fn begin(
    volumes: &Path,
    volume: VolumeId,
    snapshot: SnapshotId,
    key: Option<&DataKey>,
    source: Option<&DataKey>,
) -> Result<()> {
    let sealed = match (key, source) {
        (Some(key), Some(source)) => Some(
            seal::seal(volume, key, source)
                .map_err(|_| HostError::transient("the host has no random numbers"))?,
        ),
        (_, None) => None,
        (None, Some(_)) => return Err(super::shelf::must_be_encrypted(snapshot)),
    };
    let at_rest = if key.is_some() { Rest::Encrypted } else { Rest::Plain };
    let record = Record { snapshot, at_rest, sealed, door: None };
    write(volumes, volume, &record).map_err(failed(volume))
}

/// The key of a volume's snapshot; none when that is not encrypted.
pub fn source_key(volume: VolumeId, record: &Record, key: Option<&DataKey>) -> Result<Option<DataKey>> {
    let Some(sealed) = &record.sealed else { return Ok(None) };
    let key =
        key.ok_or_else(|| HostError::permanent(format!("{volume} is encrypted, and its key was not given")))?;
    let source = seal::open(volume, key, sealed);
    source.map(Some).map_err(|_| HostError::permanent(format!("{volume} is encrypted with another key")))
}

/// The name under which a volume's base will lie.
pub fn base_name(at_rest: Rest) -> &'static str {
    match at_rest {
        Rest::Plain => BASE,
        Rest::Encrypted => ENCRYPTED_BASE,
    }
}

/// Whether a file among a volume's own is the one that it stands on in the end.
pub fn is_base(file: &Path) -> bool {
    file.ends_with(BASE) || file.ends_with(ENCRYPTED_BASE)
}

/// Whether what a volume's header names is served until it is there. `own` is the directory of the volume's layers.
pub fn is_to_come(volumes: &Path, own: &Path, file: &Path) -> bool {
    let volume = own.file_name().and_then(|name| VolumeId::parse(name.to_str()?).ok());
    is_base(file)
        && file.parent() == Some(own)
        && !file.exists()
        && volume.is_some_and(|volume| record(volumes, volume).is_ok_and(|record| record.is_some()))
}

/// Whether the lowest file of a chain, as [`super::backing_chain`] gives it, is not there yet.
pub fn is_lazy(file: &Path) -> bool {
    is_base(file) && !file.exists()
}

/// Whether what a volume, `path`, stands on is not there yet.
pub fn lacks(path: &Path, volume: VolumeId) -> bool {
    let volumes = path.parent().unwrap_or(Path::new("/"));
    let own = super::layers::layers_of(volumes, volume);
    let is_to_come = |record: Record| !own.join(base_name(record.at_rest)).exists();
    record(volumes, volume).is_ok_and(|record| record.is_some_and(is_to_come))
}

/// Has an export of what a volume lacks shown to this machine, and waits until it is.
pub async fn open_door(path: &Path, volume: VolumeId, key: Option<&DataKey>, door: Door) -> Result<()> {
    let volumes = path.parent().unwrap_or(Path::new("/"));
    let Some(mut record) = record(volumes, volume).map_err(failed(volume))? else {
        return Err(HostError::transient(format!("{volume} has become whole at this moment")));
    };
    // One that is served already was told its key.
    let source = if key.is_some() { source_key(volume, &record, key)? } else { None };
    if record.door.as_ref() != Some(&door) {
        record.door = Some(door);
        write(volumes, volume, &record).map_err(failed(volume))?;
    }
    control::look(volumes, &Look { volume, key: source }).await
}

/// The machine has let go of a volume. Whoever cannot be told now finds it on the disk.
pub async fn close_door(path: &Path, volume: VolumeId) {
    let volumes = path.parent().unwrap_or(Path::new("/"));
    let closed = record(volumes, volume).and_then(|known| match known {
        Some(known) if known.door.is_some() => {
            write(volumes, volume, &Record { door: None, ..known }).map(|()| true)
        }
        _ => Ok(false),
    });
    match closed {
        Ok(true) => {
            if let Err(error) = control::look(volumes, &Look { volume, key: None }).await {
                tracing::debug!(%volume, %error, "its export ends a little later");
            }
        }
        Ok(false) => {}
        Err(error) => tracing::warn!(%volume, %error, "its export goes on"),
    }
}

/// Forgets that anything was missing. Nobody reads the export any more.
pub async fn forget(volumes: &Path, volume: VolumeId) -> Result<()> {
    if record(volumes, volume).map_err(failed(volume))?.is_none() {
        return Ok(());
    }
    remove_if_there(&on_its_way(volumes, volume)).map_err(failed(volume))?;
    remove_if_there(&record_path(volumes, volume)).map_err(failed(volume))?;
    sync_directory(&directory(volumes)).map_err(failed(volume))?;
    if let Err(error) = control::look(volumes, &Look { volume, key: None }).await {
        tracing::debug!(%volume, %error, "its export ends a little later");
    }
    Ok(())
}

/// Where the base of an encrypted volume is written.
pub fn on_its_way(volumes: &Path, volume: VolumeId) -> PathBuf {
    directory(volumes).join(format!("{volume}.qcow2"))
}

/// Whether all that a volume lacks is on the host, under its name or not.
pub fn is_made(volumes: &Path, volume: VolumeId, record: &Record) -> bool {
    super::layers::layers_of(volumes, volume).join(base_name(record.at_rest)).exists()
        || record.at_rest == Rest::Encrypted && on_its_way(volumes, volume).exists()
}

/// Gives what was made for a volume its name under it. `shared` is the disk of its snapshot.
pub fn put_under(volumes: &Path, volume: VolumeId, shared: &Path) -> io::Result<()> {
    let Some(record) = record(volumes, volume)? else { return Ok(()) };
    let own = super::layers::layers_of(volumes, volume);
    let base = own.join(base_name(record.at_rest));
    if base.exists() {
        return Ok(());
    }
    match record.at_rest {
        Rest::Plain => fs::hard_link(shared, &base)?,
        Rest::Encrypted => {
            use std::os::unix::fs::PermissionsExt;
            let made = on_its_way(volumes, volume);
            fs::set_permissions(&made, fs::Permissions::from_mode(0o444))?;
            fs::rename(made, &base)?;
        }
    }
    sync_directory(&own)
}

/// Removes records of volumes that were never made, and what nobody goes on with.
pub fn tidy(volumes: &Path) -> io::Result<()> {
    for (volume, _) in records(volumes)? {
        let is_there = super::layers::active(volumes, volume).exists();
        if !is_there && !super::layers::layers_of(volumes, volume).exists() {
            remove_if_there(&record_path(volumes, volume))?;
        }
    }
    for entry in fs::read_dir(directory(volumes)).into_iter().flatten() {
        let path = entry?.path();
        let is_half = path.extension().is_some_and(|e| e == "tmp" || e == HALF);
        let is_orphan = path.extension().is_some_and(|e| e == "qcow2") && !path.with_extension("").exists();
        if is_half || is_orphan {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}
