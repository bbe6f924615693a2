//! Snapshots out of the store, into disks.

use super::{Inner, failed, must_be_encrypted, stopped};
use crate::host::linux::block::lazy::{self, Target};
use crate::host::linux::block::{sync_directory, written};
use crate::host::{HostError, Result, SourceKey};
use blocks::{Error, ingest};
use model::SnapshotId;
use std::fs::{self, File};
use std::path::Path;

impl Inner {
    pub(super) fn fill(&self, order: &lazy::Order, is_wanted: &dyn Fn() -> bool) -> Result<()> {
        let snapshot = order.snapshot;
        // What is kept has to wait for nothing else that is made.
        match (&order.target, &order.source) {
            (Target::Shared, None) if self.restored(snapshot).exists() => return Ok(()),
            (Target::Own { passphrase }, Some(key)) => {
                if let Some(sealed) = self.sealed_disk(snapshot) {
                    return self.copy_fast(&sealed, order, key, passphrase, is_wanted);
                }
            }
            (Target::Shared, _) | (Target::Own { .. }, None) => {}
        }
        // Who has stopped waiting for the same may not have ended yet.
        let _one = self.restoring.lock();
        match &order.target {
            Target::Shared => self.restore(snapshot, order.source.as_ref(), is_wanted),
            Target::Own { passphrase } => {
                let from = self.snapshot(snapshot, order.source.as_ref())?;
                let path = lazy::on_its_way(&self.volumes, order.volume);
                // A record on its way has another name.
                let tmp = path.with_extension(lazy::HALF);
                let file = File::create(&tmp).map_err(Error::Target);
                let size = from.size();
                let written = file.and_then(|file| written::export(&from, file, size, passphrase, is_wanted));
                let written = written.map_err(|e| failed(snapshot, e));
                self.publish(written, &tmp, &path, 0o600, is_wanted)
            }
        }
    }

    /// Makes the disk of a snapshot, if it is not there. An encrypted one is refused.
    fn restore(
        &self,
        snapshot: SnapshotId,
        source: SourceKey<'_>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<()> {
        if source.is_some() {
            return Err(must_be_encrypted(snapshot));
        }
        let path = self.restored(snapshot);
        if path.exists() {
            return Ok(());
        }
        let from = self.snapshot(snapshot, None)?;
        let tmp = path.with_extension("tmp");
        let made = File::create(&tmp).map_err(Error::Target);
        let made = made.and_then(|file| ingest::export_while(&from, &file, is_wanted));
        // Read by every machine that stands on it, written by none.
        self.publish(made.map_err(|e| failed(snapshot, e)), &tmp, &path, 0o444, is_wanted)
    }

    /// Gives a file that was written its name, unless that failed or nobody wants it any more.
    pub(in super::super) fn publish(
        &self,
        written: Result<()>,
        tmp: &Path,
        path: &Path,
        mode: u32,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let written = written.and_then(|()| if is_wanted() { Ok(()) } else { Err(stopped()) });
        let named = written.and_then(|()| {
            fs::set_permissions(tmp, fs::Permissions::from_mode(mode))
                .and_then(|()| fs::rename(tmp, path))
                .and_then(|()| sync_directory(path.parent().unwrap_or(&self.volumes)))
                .map_err(|e| HostError::transient(format!("keeping {}", path.display())).caused_by(e))
        });
        named.inspect_err(|_| {
            let _ = fs::remove_file(tmp);
        })
    }
}
