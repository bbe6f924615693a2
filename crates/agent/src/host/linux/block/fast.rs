//! Snapshots that are kept on the host as disks, so that a volume of them lacks nothing from its first moment on.
//!
//! ```text
//! volumes/fast/SNAPSHOT.raw      the disk of a snapshot: another name of `restored/SNAPSHOT.raw`, which keeps it there
//! volumes/fast/SNAPSHOT.qcow2    that of an encrypted one: encrypted, and opened by what its data key and its id make
//! ```
//! A volume of the first stands on the same file. One of the second gets a copy (which shares its room where the file system can),
//! for each encrypted volume opens its files with a key of its own; only the header differs, and nothing is decrypted.
//! Invariants: a file under its final name is whole and was verified as it was written; it goes with its snapshot.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-fast-snapshot-restore.html>

use super::shelf::{Inner, Job, failed, stopped};
use super::{disk, header, lazy, luks, remove_if_there, sync_directory, written};
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result};
use blocks::{Error, ingest};
use model::host::SnapshotDesired;
use model::{DataKey, SnapshotId};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const FAST: &str = "fast";
/// How much is copied before it is asked whether anybody still wants it.
const PIECE: u64 = 64 << 20;

impl Inner {
    fn fast_dir(&self) -> PathBuf {
        self.volumes().join(FAST)
    }

    fn plain(&self, snapshot: SnapshotId) -> PathBuf {
        self.fast_dir().join(format!("{snapshot}.raw"))
    }

    fn sealed(&self, snapshot: SnapshotId) -> PathBuf {
        self.fast_dir().join(format!("{snapshot}.qcow2"))
    }

    /// Makes the place, and removes what nobody goes on with.
    pub(super) fn open_fast(&self) -> io::Result<()> {
        private_directory(&self.fast_dir())?;
        for entry in fs::read_dir(self.fast_dir())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_fast(&self, snapshot: SnapshotId) -> bool {
        self.plain(snapshot).exists() || self.sealed(snapshot).exists()
    }

    /// The snapshots that are kept as disks.
    pub(super) fn all_fast(&self) -> io::Result<Vec<SnapshotId>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.fast_dir())? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            found.extend(name.and_then(|name| SnapshotId::parse(name).ok()));
        }
        Ok(found)
    }

    /// The disk of an encrypted snapshot, if it is kept.
    pub(super) fn sealed_disk(&self, snapshot: SnapshotId) -> Option<PathBuf> {
        Some(self.sealed(snapshot)).filter(|disk| disk.exists())
    }

    /// Keeps a snapshot as a disk.
    pub(super) fn keep_fast(&self, wanted: &SnapshotDesired, job: &Job) -> Result<()> {
        let id = wanted.snapshot;
        let path = if wanted.data_key.is_some() { self.sealed(id) } else { self.plain(id) };
        if path.exists() {
            return Ok(());
        }
        let keeping = |e: io::Error| HostError::transient(format!("keeping {}", path.display())).caused_by(e);
        let restored = self.restored(id);
        if wanted.data_key.is_none() && restored.exists() {
            fs::hard_link(&restored, &path).map_err(keeping)?;
            return sync_directory(&self.fast_dir()).map_err(keeping);
        }
        let from = self.snapshot(id, wanted.data_key.as_ref())?;
        job.expect(from.manifest().blocks);
        let is_wanted = || {
            job.advance();
            !job.is_stopped()
        };
        let tmp = path.with_extension("tmp");
        let made = File::create(&tmp).map_err(Error::Target).and_then(|file| match &wanted.data_key {
            Some(key) => {
                written::export(&from, file, from.size(), &luks::passphrase_of_snapshot(id, key), &is_wanted)
            }
            None => ingest::export_while(&from, &file, &is_wanted),
        });
        let made = made.map_err(|e| failed(id, e));
        let made = made.and_then(|()| if job.is_stopped() { Err(stopped()) } else { Ok(()) });
        let named = made.and_then(|()| {
            // Read by every machine that stands on it, written by none. The encrypted one is only copied.
            let mode = if wanted.data_key.is_some() { 0o400 } else { 0o444 };
            fs::set_permissions(&tmp, fs::Permissions::from_mode(mode))
                .and_then(|()| fs::rename(&tmp, &path))
                .map_err(keeping)
        });
        named.inspect_err(|_| {
            let _ = fs::remove_file(&tmp);
        })?;
        if wanted.data_key.is_none() {
            match fs::hard_link(&path, &restored) {
                // A volume needed it meanwhile.
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(keeping(e)),
                _ => {}
            }
        }
        sync_directory(&self.fast_dir()).map_err(keeping)
    }

    /// Keeps it no longer. Volumes that stand on it go on doing so.
    pub(super) fn drop_fast(&self, snapshot: SnapshotId) -> Result<()> {
        if !self.is_fast(snapshot) {
            return Ok(());
        }
        let restored = self.restored(snapshot);
        let dropped = remove_if_there(&self.sealed(snapshot))
            .and_then(|()| remove_if_there(&self.plain(snapshot)))
            .and_then(|()| sync_directory(&self.fast_dir()))
            .and_then(|()| {
                // One that is being made may take its name from it at any moment.
                let is_needed = lazy::of_snapshot(self.volumes(), snapshot)?.is_some();
                match fs::metadata(&restored) {
                    Ok(held) if held.nlink() == 1 && !is_needed => remove_if_there(&restored),
                    _ => Ok(()),
                }
            });
        dropped.map_err(|e| HostError::transient(format!("giving up the disk of {snapshot}")).caused_by(e))
    }

    /// Gives an encrypted volume a copy of its snapshot's disk that opens with the volume's own passphrase.
    pub(super) fn copy_fast(
        &self,
        sealed: &Path,
        order: &lazy::Order,
        key: &DataKey,
        passphrase: &str,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<()> {
        let path = lazy::on_its_way(self.volumes(), order.volume);
        // Whoever stopped waiting for the same may still be at it, so each has a file of its own.
        let tmp = path.with_extension(format!("{}.{}", self.number(), lazy::HALF));
        let opens_with = luks::passphrase_of_snapshot(order.snapshot, key);
        let copied = copy(sealed, &tmp, &opens_with, passphrase, is_wanted).map_err(|e| {
            let what = format!("copying the disk of {}", order.snapshot);
            HostError::transient(what).caused_by(e)
        });
        self.publish(copied, &tmp, &path, 0o600, is_wanted)
    }
}

fn copy(from: &Path, to: &Path, old: &str, new: &str, is_wanted: &dyn Fn() -> bool) -> io::Result<()> {
    let place = header(from)?.luks.ok_or(io::ErrorKind::InvalidData)?;
    let (mut from, mut into) = (File::open(from)?, File::create_new(to)?);
    let held = disk::luks_header(&from)?.ok_or(io::ErrorKind::InvalidData)?;
    let own = luks::change(&held, old, new).map_err(io::Error::other)?;
    while is_wanted() && io::copy(&mut (&mut from).take(PIECE), &mut into)? > 0 {}
    into.write_all_at(&own, place.offset)?;
    into.sync_all()
}
