//! Volumes as qcow2 files in one directory, and snapshots of them in a block store.
//!
//! `<volume>.qcow2` is what a volume's machine writes to: an overlay on an image of the host's cache, on the disk of a snapshot, on
//! frozen layers of its own ([`layers`]), or empty. Snapshots: [`shelf`].
//! Invariants: a file under a volume's final name is whole (made under another name, flushed, then renamed), and is never
//! made again but to be put over what was there; a size only grows. A volume's image stays as it was when the volume was
//! made, whatever becomes of the cache: `bases/<image>-<digest>/` holds the image's files (hard links, or copies on another
//! file system), kernel included, and an overlay stands on the disk in there, unless its machine was resumed from a memory
//! template: then it stands on that template's disk, kept the same way in `bases/<template>/`, which stands on the image's.
//! `templates/` is [`super::vmm`]'s. A base that no volume and no template stands on goes when the driver opens. A file belongs to
//! root unless a machine holds it: [`super::vmm`] changes the owner. A crash leaves at most a `.tmp` file, which the next
//! opening removes, and a capture that it finishes.
//! A volume with a key of its own is encrypted by LUKS within qcow2 ([`luks`]), its layers too; the image under it is not, for it is
//! not the volume's. One that starts from a snapshot stands on an encrypted file of its own ([`written`]).
//! A volume of a snapshot is there at once, before what it stands on is: [`lazy`]. One that several machines may have: [`shared`].
//! Growing a volume that a machine holds is refused (QEMU's lock on the file says so): the machine grows it ([`super::vmm`]).
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes.html>

mod archive;
mod bases;
mod direct;
mod disk;
mod fast;
mod file;
mod filling;
mod forks;
mod layers;
pub mod lazy;
mod luks;
mod qemu_img;
mod shared;
mod shelf;
mod written;

pub(super) use bases::{base, base_of_template, stand_on, untouched};
pub(super) use file::header;
pub(super) use forks::base_of_child;
pub use layers::{backing_chain, format, is_own};
pub use luks::passphrase;
pub use shared::{file_of, is_served, is_shared};

use super::exec;
use crate::host::{Block, Fault, HostError, Result, SourceKey};
use bases::{BASES, DISK};
use file::{empty, publish, remove_if_there, sync_directory, write_empty, write_overlay};
use layers::Capture;
use model::host::blocks::ChangedBlock;
use model::host::{SnapshotDesired, SnapshotPhase, VolumeDesired};
use model::{CloudTag, DataKey, ForkId, SnapshotId, VolumeId};
use plan::machine::qcow2::Format;
use shelf::Shelf;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Where the templates of this cloud lie, below the volumes.
pub(super) const TEMPLATES: &str = "templates";
/// Where the forks lie whose children have not begun yet.
pub(super) const FORKS: &str = "forks";

#[derive(Debug, Clone)]
pub struct LinuxBlockConfig {
    pub cloud: CloudTag,
    /// Where the volumes lie.
    pub state_dir: PathBuf,
    /// The host's image cache: `<image>/disk.qcow2`.
    pub images_dir: PathBuf,
    /// Where snapshots lie, but for their blocks when those have another place.
    pub snapshots_dir: PathBuf,
    pub blocks: blocks::Place,
    pub filling: Filling,
}

/// When what a volume has of its snapshot is brought onto the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filling {
    /// Before the volume is there. Nobody serves what it lacks.
    First,
    /// So long after the volume is there, which [`lazy::blockd`] serves until then.
    After(Duration),
}

#[derive(Debug)]
pub struct LinuxBlock {
    config: LinuxBlockConfig,
    /// One `qemu-img` at a time for each volume would do; one at all is simpler and they take milliseconds.
    making: tokio::sync::Mutex<()>,
    shelf: Shelf,
    filler: lazy::Filler,
    served: Arc<lazy::Keys>,
    telling: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for LinuxBlock {
    fn drop(&mut self) {
        if let Some(telling) = self.telling.take() {
            telling.abort();
        }
    }
}

impl LinuxBlock {
    pub fn open(config: LinuxBlockConfig) -> Result<Self> {
        let failed = |what: &str, e: io::Error| {
            HostError::transient(format!("{what} {}", config.state_dir.display())).caused_by(e)
        };
        super::vmm::private_directory(&config.state_dir).map_err(|e| failed("making", e))?;
        for entry in fs::read_dir(&config.state_dir).map_err(|e| failed("reading", e))? {
            let path = entry.map_err(|e| failed("reading", e))?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                remove_if_there(&path).map_err(|e| failed("tidying", e))?;
            }
        }
        let shelf = Shelf::open(&config.snapshots_dir, &config.state_dir, &config.blocks)?;
        lazy::tidy(&config.state_dir).map_err(|e| failed("tidying", e))?;
        let filler = lazy::Filler::start(shelf.make())?;
        let served = Arc::new(lazy::Keys::new(&config.state_dir));
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| config.filling != Filling::First);
        let telling = runtime.map(|runtime| runtime.spawn(Arc::clone(&served).tell()));
        let making = tokio::sync::Mutex::new(());
        let block = Self { config, making, shelf, filler, served, telling };
        block.finish_captures()?;
        block.go_on_filling()?;
        block
            .drop_unused_bases()
            .map_err(|e| HostError::transient("tidying the volumes' images").caused_by(e))?;
        Ok(block)
    }

    fn drop_unused_bases(&self) -> io::Result<()> {
        let bases = self.config.state_dir.join(BASES);
        if !bases.exists() {
            return Ok(());
        }
        let mut disks = layers::files(&self.config.state_dir)?;
        let mut used = BTreeSet::new();
        while let Some(path) = disks.pop() {
            if path.extension().is_some_and(|e| e == "qcow2")
                && let Some(below) = header(&path)?.backing_file.map(PathBuf::from)
                && used.insert(below.clone())
                && below.starts_with(&bases.canonicalize()?)
                && below.exists()
            {
                disks.push(below);
            }
        }
        for entry in fs::read_dir(bases)? {
            let base = entry?.path();
            if forks::is_awaited(&self.config.state_dir, &base) {
                continue;
            }
            if !used.contains(&base.join(DISK)) {
                fs::remove_dir_all(&base)?;
            }
        }
        Ok(())
    }

    /// Finishes what a crash interrupted once a file had been frozen: the volumes of a set must have one instant, and their
    /// machines may start at any moment.
    fn finish_captures(&self) -> Result<()> {
        let volumes = &self.config.state_dir;
        let failed = |e: io::Error| HostError::transient("finishing snapshots").caused_by(e);
        for (snapshot, capture) in layers::captures(&self.shelf.captures()).map_err(failed)? {
            let frozen = capture
                .set
                .iter()
                .any(|(snapshot, volume)| layers::layer(volumes, *volume, *snapshot).exists());
            if frozen
                && !capture.captured
                && let Err(error) = layers::finish(volumes, &capture.set)
            {
                tracing::error!(%snapshot, %error, "a snapshot that was begun cannot be finished");
            }
        }
        Ok(())
    }

    fn path(&self, volume: VolumeId) -> PathBuf {
        layers::active(&self.config.state_dir, volume)
    }

    /// Whether a snapshot of the volume is not stored yet.
    fn has_captures(&self, volume: VolumeId) -> Result<bool> {
        let failed = |e: io::Error| HostError::transient("reading the snapshots' records").caused_by(e);
        let captures = layers::captures(&self.shelf.captures()).map_err(failed)?;
        Ok(captures.iter().any(|(_, capture)| capture.volume == volume))
    }

    fn capture(&self, snapshot: SnapshotId) -> Result<Option<Capture>> {
        let failed = |e: io::Error| HostError::transient(format!("the record of {snapshot}")).caused_by(e);
        layers::capture(&self.shelf.captures(), snapshot).map_err(failed)
    }

    fn note(&self, snapshot: SnapshotId, capture: &Capture) -> Result<()> {
        let failed = |e: io::Error| HostError::transient(format!("the record of {snapshot}")).caused_by(e);
        layers::note(&self.shelf.captures(), snapshot, capture).map_err(failed)
    }

    fn forget_capture(&self, snapshot: SnapshotId) -> Result<()> {
        let failed = |e: io::Error| HostError::transient(format!("the record of {snapshot}")).caused_by(e);
        remove_if_there(&self.shelf.captures().join(snapshot.to_string())).map_err(failed)
    }

    /// Removes every volume and snapshot of this cloud from the host.
    pub async fn purge(&self) -> Result<()> {
        for volume in self.volumes().await? {
            self.remove_volume(volume).await?;
        }
        for directory in [&self.config.state_dir, &self.config.snapshots_dir] {
            match fs::remove_dir_all(directory) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    let what = format!("removing {}", directory.display());
                    return Err(HostError::transient(what).caused_by(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn create(&self, wanted: &VolumeDesired, snapshot: Option<PathBuf>, path: &Path) -> Result<()> {
        let volume = wanted.volume;
        let tmp = self.config.state_dir.join(format!("{volume}.tmp"));
        let size = wanted.size.bytes();
        let mut below = None;
        if let Some(base) = snapshot {
            let format = format(&base);
            below = Some((base, format));
        } else if let Some(fork) = wanted.fork {
            let base = forks::base(&self.config.state_dir, fork.fork, fork.volume)
                .map_err(|e| HostError::permanent(format!("{} is not kept here", fork.fork)).caused_by(e))?;
            below = Some((base, Format::Qcow2));
        } else if let Some(image) = &wanted.image {
            let base = base(&self.config.state_dir, &self.config.images_dir, image)?;
            let held = header(&base).map_err(|e| {
                HostError::permanent(format!("the image {image} cannot be read")).caused_by(e)
            })?;
            if held.size > size {
                return Err(HostError::permanent(format!(
                    "{volume} is to be {} GiB, but its image {image} holds {} bytes",
                    wanted.size.0, held.size
                )));
            }
            below = Some((base, Format::Qcow2));
        }
        let below = below.as_ref().map(|(below, format)| (below.as_path(), *format));
        let luks = wanted.data_key.as_ref().map(|key| luks::format(&passphrase(volume, key))).transpose();
        let luks = luks.map_err(|_| HostError::transient("the host has no random numbers"))?;
        let luks = luks.as_ref().map(|(header, _)| header.as_slice());
        let made = write_overlay(&tmp, path, size, below, luks)
            .map_err(|e| HostError::transient(format!("making {volume}")).caused_by(e));
        if made.is_err() {
            let _ = fs::remove_file(&tmp);
        }
        made
    }

    async fn grow(&self, wanted: &VolumeDesired, path: &Path) -> Result<()> {
        let volume = wanted.volume;
        let held = header(path)
            .map_err(|e| HostError::transient(format!("{volume} cannot be read")).caused_by(e))?;
        if held.size >= wanted.size.bytes() {
            return Ok(());
        }
        backing_chain(path)?;
        let size = wanted.size.bytes().to_string();
        let passphrase = wanted.data_key.as_ref().map(|key| passphrase(volume, key));
        let mut image = qemu_img::node(path, passphrase.as_deref());
        // Nothing of what is under it is read, and an encrypted layer would want its key.
        image["backing"] = serde_json::Value::Null;
        let image = format!("json:{image}");
        qemu_img::run("resize", &["-q", &image, &size], passphrase.as_deref(), &[], exec::PATIENCE)
            .await
            .map_err(|e| HostError::transient(format!("growing {volume}")).caused_by(e))?;
        File::open(path)
            .and_then(|f| f.sync_all())
            .map_err(|e| HostError::transient(format!("growing {volume}")).caused_by(e))
    }
}

impl Block for LinuxBlock {
    async fn ensure_volume(&self, volume: &VolumeDesired, source: SourceKey<'_>) -> Result<PathBuf> {
        if volume.shared
            && let Some(raw) = self.raw_in_use(volume)?
        {
            return Ok(raw);
        }
        self.end_raw(volume)?;
        let path = self.path(volume.volume);
        if path.exists() {
            check_key(volume.volume, &path, volume.data_key.as_ref())?;
        }
        let base = match volume.snapshot {
            Some(snapshot) if !path.exists() => Some(self.base_of_snapshot(volume, snapshot, source).await?),
            Some(_) => {
                self.unlock_filling(volume).await?;
                None
            }
            None => None,
        };
        let _one = self.making.lock().await;
        if path.exists() {
            self.grow(volume, &path).await?;
        } else {
            self.create(volume, base, &path)?;
        }
        self.mark(volume, path)
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<()> {
        let _one = self.making.lock().await;
        let path = self.path(volume);
        let raw = shared::path(&self.config.state_dir, volume);
        empty(&path)
            .and_then(|()| remove_if_there(&path))
            .and_then(|()| empty(&raw))
            .and_then(|()| remove_if_there(&raw))
            .and_then(|()| remove_if_there(&shared::mark(&self.config.state_dir, volume)))
            .and_then(|()| sync_directory(&self.config.state_dir))
            .map_err(|e| HostError::transient(format!("removing {volume}")).caused_by(e))?;
        // Snapshots that are still being stored need the layers; the last of them takes them away.
        if !self.has_captures(volume)? {
            layers::tidy(&self.config.state_dir, volume)?;
        }
        self.end_filling(volume).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeId>> {
        let failed = |e: io::Error| HostError::transient("listing the volumes").caused_by(e);
        let mut volumes = Vec::new();
        for entry in fs::read_dir(&self.config.state_dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let plain =
                |name: &str| name.strip_suffix(".qcow2").or(name.strip_suffix(".raw")).map(str::to_owned);
            volumes.extend(name.to_str().and_then(plain).and_then(|name| VolumeId::parse(&name).ok()));
        }
        volumes.sort();
        volumes.dedup();
        Ok(volumes)
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let failed = |e: io::Error| HostError::transient("listing the snapshots").caused_by(e);
        let mut found = self.shelf.snapshots().await?;
        let captures = layers::captures(&self.shelf.captures()).map_err(failed)?;
        found.extend(captures.into_iter().map(|(snapshot, _)| snapshot));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    async fn is_captured(&self, snapshot: SnapshotId) -> Result<bool> {
        match self.capture(snapshot)? {
            Some(capture) => Ok(capture.captured),
            None => self.shelf.has(snapshot).await,
        }
    }

    async fn freeze(&self, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        let volumes = &self.config.state_dir;
        let _one = self.making.lock().await;
        let mut due = Vec::new();
        for (snapshot, volume) in set {
            if self.is_captured(*snapshot).await? {
                continue;
            }
            if shared::path(volumes, *volume).exists() {
                return Err(HostError::permanent(format!("{volume}: {}", shared::HELD_AS_BEFORE)));
            }
            if !self.path(*volume).exists() {
                return Err(HostError::permanent(format!("{volume} is gone")));
            }
            if !layers::layer(volumes, *volume, *snapshot).exists() {
                layers::check_room(volumes, *volume)?;
            }
            due.push((*snapshot, *volume));
        }
        for (snapshot, volume) in &due {
            self.note(*snapshot, &Capture { volume: *volume, set: due.clone(), captured: false })?;
        }
        layers::finish(volumes, &due).map_err(|e| HostError::transient("freezing volumes").caused_by(e))
    }

    async fn captured(&self, snapshots: &[SnapshotId]) -> Result<()> {
        for snapshot in snapshots {
            match self.capture(*snapshot)? {
                Some(capture) if !capture.captured => {
                    self.note(*snapshot, &Capture { captured: true, ..capture })?;
                }
                Some(_) => {}
                None if self.shelf.has(*snapshot).await? => {}
                None => return Err(HostError::transient(format!("{snapshot} was not frozen"))),
            }
        }
        Ok(())
    }

    async fn store_snapshot(
        &self,
        snapshot: &SnapshotDesired,
        source: SourceKey<'_>,
    ) -> Result<SnapshotPhase> {
        let stored = self.shelf.store(snapshot, source).await;
        let is_over = match &stored {
            Ok(phase) => matches!(phase, SnapshotPhase::Completed { .. } | SnapshotPhase::Failed { .. }),
            Err(error) => error.fault == Fault::Permanent,
        };
        if is_over {
            self.forget_capture(snapshot.snapshot)?;
        }
        stored
    }

    async fn change_tier(&self, snapshot: &SnapshotDesired) -> Result<SnapshotPhase> {
        self.shelf.change_tier(snapshot).await
    }

    async fn is_fast(&self, snapshot: SnapshotId) -> Result<bool> {
        Ok(self.shelf.is_fast(snapshot))
    }

    async fn remove_snapshot(&self, snapshot: SnapshotId) -> Result<Option<VolumeId>> {
        if let Some(volume) = self.lacking_of(snapshot).await? {
            return Err(HostError::transient(format!("{volume} still lacks some of {snapshot}")));
        }
        self.shelf.remove(snapshot).await?;
        let volume = self.capture(snapshot)?.map(|capture| capture.volume);
        self.forget_capture(snapshot)?;
        Ok(volume)
    }

    async fn blocks(
        &self,
        snapshot: SnapshotId,
        key: SourceKey<'_>,
        from: u64,
        most: usize,
    ) -> Result<Vec<u64>> {
        self.shelf.blocks(snapshot, key, from, most).await
    }

    async fn changed_blocks(
        &self,
        first: (SnapshotId, SourceKey<'_>),
        second: (SnapshotId, SourceKey<'_>),
        from: u64,
        most: usize,
    ) -> Result<Option<Vec<ChangedBlock>>> {
        self.shelf.changed_blocks(first, second, from, most).await
    }

    async fn block(&self, snapshot: SnapshotId, key: SourceKey<'_>, index: u64) -> Result<Option<Vec<u8>>> {
        self.shelf.block(snapshot, key, index).await
    }

    async fn put_block(&self, snapshot: &SnapshotDesired, index: u64, data: Vec<u8>) -> Result<()> {
        self.shelf.put_block(snapshot, index, data).await
    }

    async fn keep_fork(&self, fork: ForkId, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        for (snapshot, volume) in set {
            forks::keep(&self.config.state_dir, fork, *volume, *snapshot).await?;
        }
        Ok(())
    }

    async fn trim(&self, volume: VolumeId, key: Option<&DataKey>) -> Result<()> {
        let volumes = &self.config.state_dir;
        if !layers::layers_of(volumes, volume).exists() || self.has_captures(volume)? {
            return Ok(());
        }
        if self.path(volume).exists() {
            let passphrase = key.map(|key| passphrase(volume, key));
            layers::join(volumes, volume, passphrase.as_deref()).await?;
        }
        layers::tidy(volumes, volume)?;
        self.end_filling(volume).await
    }

    async fn lacking_of(&self, snapshot: SnapshotId) -> Result<Option<VolumeId>> {
        lazy::of_snapshot(&self.config.state_dir, snapshot)
            .map_err(|e| HostError::transient("reading the volumes' records").caused_by(e))
    }

    async fn filled(&self) -> VolumeId {
        self.filler.next().await
    }

    async fn take_in(&self, volume: VolumeId) -> Result<()> {
        let Some(record) = self.record(volume)? else { return Ok(()) };
        lazy::put_under(&self.config.state_dir, volume, &self.shelf.disk_of(record.snapshot))
            .map_err(|e| HostError::transient(format!("{volume} is not whole yet")).caused_by(e))
    }

    async fn taken_in(&self, volume: VolumeId) -> Result<()> {
        lazy::forget(&self.config.state_dir, volume).await?;
        self.served.forget(volume);
        self.filler.forget(volume);
        Ok(())
    }
}

/// Refuses a key that is not the one of a volume that is there, and a volume that has none.
pub(super) fn check_key(volume: VolumeId, path: &Path, key: Option<&DataKey>) -> Result<()> {
    if is_shared(path) && !is_served(path) && key.is_none() {
        return Ok(());
    }
    let path = &file_of(path);
    let refused = |why: &str| Err(HostError::permanent(format!("{volume} {why}")));
    let read = File::open(path).and_then(|file| disk::luks_header(&file));
    let header = read.map_err(|e| HostError::transient(format!("{volume} cannot be read")).caused_by(e))?;
    match (header, key) {
        (None, None) => Ok(()),
        (Some(_), None) => refused("is encrypted, and its key was not given"),
        (None, Some(_)) => refused("is not encrypted, and cannot become so"),
        (Some(header), Some(key)) => luks::unlock(&header, &passphrase(volume, key))
            .map(drop)
            .map_err(|e| HostError::permanent(format!("{volume} does not open")).caused_by(e)),
    }
}
