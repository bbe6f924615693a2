//! Bringing what volumes lack of their snapshots onto the host: before they are there, or behind their backs.

use super::{Filling, LinuxBlock, layers, lazy, passphrase, remove_if_there, shelf, sync_directory};
use crate::host::linux::vmm::private_directory;
use crate::host::{HostError, Result, SourceKey};
use model::host::VolumeDesired;
use model::{DataKey, SnapshotId, VolumeId};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

impl LinuxBlock {
    /// Takes up the volumes that lack something. What an encrypted one lacks needs its key, which comes later.
    pub(super) fn go_on_filling(&self) -> Result<()> {
        let volumes = &self.config.state_dir;
        let records = lazy::records(volumes)
            .map_err(|e| HostError::transient("reading the volumes' records").caused_by(e))?;
        for (volume, record) in records {
            if lazy::is_made(volumes, volume, &record) {
                self.filler.is_there(volume);
            } else if record.at_rest == lazy::Rest::Plain {
                let order = lazy::Order {
                    volume,
                    snapshot: record.snapshot,
                    source: None,
                    target: lazy::Target::Shared,
                };
                self.filler.order(order, self.filling_after());
            }
        }
        Ok(())
    }

    pub(super) fn filling_after(&self) -> Duration {
        match self.config.filling {
            Filling::First => Duration::ZERO,
            Filling::After(after) => after,
        }
    }

    pub(super) fn record(&self, volume: VolumeId) -> Result<Option<lazy::Record>> {
        lazy::record(&self.config.state_dir, volume)
            .map_err(|e| HostError::transient(format!("the record of {volume}")).caused_by(e))
    }

    /// Sees to it that what a volume lacks is there before or after the volume is. Says where its base lies, or will lie.
    pub(super) async fn base_of_snapshot(
        &self,
        wanted: &VolumeDesired,
        snapshot: SnapshotId,
        source: SourceKey<'_>,
    ) -> Result<PathBuf> {
        let (volume, key) = (wanted.volume, wanted.data_key.as_ref());
        let held = self.shelf.size(snapshot, source).await?;
        if held > wanted.size.bytes() {
            return Err(HostError::permanent(format!(
                "{volume} is to be {} GiB, but its snapshot holds {held} bytes",
                wanted.size.0
            )));
        }
        if key.is_none() && source.is_some() {
            return Err(shelf::must_be_encrypted(snapshot));
        }
        let failed = |e: io::Error| HostError::transient(format!("making {volume}")).caused_by(e);
        let order = lazy::Order {
            volume,
            snapshot,
            source: source.cloned(),
            target: match key {
                Some(key) => lazy::Target::Own { passphrase: passphrase(volume, key) },
                None => lazy::Target::Shared,
            },
        };
        let volumes = &self.config.state_dir;
        let own = layers::layers_of(volumes, volume);
        private_directory(&own).map_err(failed)?;
        let own = own.canonicalize().map_err(failed)?;
        sync_directory(own.parent().unwrap_or(volumes)).map_err(failed)?;
        let at_rest = if key.is_some() { lazy::Rest::Encrypted } else { lazy::Rest::Plain };
        let base = own.join(lazy::base_name(at_rest));
        remove_if_there(&base).map_err(failed)?;
        let is_restored = match (key, source) {
            (None, _) => self.shelf.restored(snapshot).is_some(),
            (Some(_), Some(_)) => self.shelf.is_sealed(snapshot),
            (Some(_), None) => false,
        };
        if is_restored || self.config.filling == Filling::First {
            let filled = self.fill_first(order, key).await;
            if filled.is_err() {
                layers::tidy(volumes, volume)?;
                self.end_filling(volume).await?;
            }
            filled?;
        } else {
            lazy::begin(volumes, volume, snapshot, key, source)?;
            if let Some(source) = source {
                self.served.put(volume, source.clone());
            }
            self.filler.order(order, self.filling_after());
        }
        Ok(base)
    }

    pub(super) async fn fill_first(&self, order: lazy::Order, key: Option<&DataKey>) -> Result<()> {
        let (volumes, volume, snapshot) = (&self.config.state_dir, order.volume, order.snapshot);
        lazy::begin(volumes, volume, snapshot, key, order.source.as_ref())?;
        self.shelf.fill(order).await?;
        lazy::put_under(volumes, volume, &self.shelf.disk_of(snapshot))
            .map_err(|e| HostError::transient(format!("making {volume}")).caused_by(e))?;
        lazy::forget(volumes, volume).await
    }

    /// Has an encrypted volume that lacks something filled, and served, now that its key is known.
    pub(super) async fn unlock_filling(&self, wanted: &VolumeDesired) -> Result<()> {
        let volume = wanted.volume;
        let Some(key) = &wanted.data_key else { return Ok(()) };
        let Some(record) = self.record(volume)? else { return Ok(()) };
        let source = lazy::source_key(volume, &record, Some(key))?;
        if let Some(source) = &source {
            self.served.put(volume, source.clone());
        }
        if !lazy::is_made(&self.config.state_dir, volume, &record) {
            let target = lazy::Target::Own { passphrase: passphrase(volume, key) };
            let order = lazy::Order { volume, snapshot: record.snapshot, source, target };
            self.filler.order(order, self.filling_after());
        }
        Ok(())
    }

    /// Forgets what a volume lacks, of which nothing is left.
    pub(super) async fn end_filling(&self, volume: VolumeId) -> Result<()> {
        let volumes = &self.config.state_dir;
        if self.path(volume).exists() || layers::layers_of(volumes, volume).exists() {
            return Ok(());
        }
        self.filler.forget(volume);
        self.served.forget(volume);
        lazy::forget(volumes, volume).await
    }
}
