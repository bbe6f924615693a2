//! Simulated snapshots: an instant, a time, an end. They hold nothing, and count as full.
//!
//! A simulator that starts anew knows none: what its agent remembers as captured is taken on trust.

use super::super::{HostError, Result, SourceKey};
use super::world::{World, check_key};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource};
use model::{DataKey, InstanceId, SnapshotId, VolumeId};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Snapshot {
    volume: Option<VolumeId>,
    /// When its instant was fixed.
    since: Option<Instant>,
    complete: bool,
    /// Its volume's, then its own.
    data_key: Option<DataKey>,
}

impl World {
    /// A snapshot that was never heard of may be gone by now, and its volume older than this simulator.
    pub fn check_complete(&self, snapshot: SnapshotId) -> Result<()> {
        if self.snapshots.get(&snapshot).is_some_and(|held| !held.complete) {
            return Err(HostError::permanent(format!("{snapshot} is not completed")));
        }
        Ok(())
    }

    /// Whether something with this key can be made of a snapshot whose key is said to be `source`.
    pub fn check_source(
        &self,
        snapshot: SnapshotId,
        source: SourceKey<'_>,
        own: Option<&DataKey>,
    ) -> Result<()> {
        let Some(held) = self.snapshots.get(&snapshot) else { return Ok(()) };
        if held.data_key.is_some() {
            check_key(snapshot, held.data_key.as_ref(), source)?;
            if own.is_none() {
                return Err(HostError::permanent(format!(
                    "{snapshot} is encrypted, and so must be what is made of it"
                )));
            }
        }
        Ok(())
    }

    pub fn is_captured(&self, snapshot: SnapshotId) -> bool {
        self.snapshots.get(&snapshot).is_some_and(|held| held.since.is_some())
    }

    pub fn freeze(&mut self, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        for (_, volume) in set {
            if !self.volumes.contains_key(volume) {
                return Err(HostError::permanent(format!("{volume} is gone")));
            }
        }
        for (snapshot, volume) in set {
            if self.snapshots.contains_key(snapshot) {
                continue;
            }
            let data_key = self.volumes.get(volume).and_then(|disk| disk.data_key.clone());
            let held = Snapshot { volume: Some(*volume), since: None, complete: false, data_key };
            self.snapshots.insert(*snapshot, held);
            self.volumes.entry(*volume).and_modify(|disk| disk.lags = disk.user.is_some());
        }
        Ok(())
    }

    pub fn follow(&mut self, instance: InstanceId, volumes: &[VolumeId]) {
        for volume in volumes {
            if let Some(disk) = self.volumes.get_mut(volume)
                && disk.user == Some(instance)
            {
                disk.lags = false;
            }
        }
    }

    pub fn captured(&mut self, snapshots: &[SnapshotId], now: Instant) -> Result<()> {
        for snapshot in snapshots {
            let volume = self.snapshots.get(snapshot).and_then(|held| held.volume);
            self.check_followed(volume, &format!("{snapshot} was captured"))?;
            match self.snapshots.get_mut(snapshot) {
                Some(held) => {
                    held.since.get_or_insert(now);
                }
                None => return Err(self.violation(format!("{snapshot} was captured before it was frozen"))),
            }
        }
        Ok(())
    }

    fn check_followed(&mut self, volume: Option<VolumeId>, what: &str) -> Result<()> {
        let lags = volume
            .and_then(|volume| self.volumes.get(&volume))
            .is_some_and(|disk| disk.user.is_some() && disk.lags);
        if lags {
            return Err(self.violation(format!("{what} while a machine wrote to its layer")));
        }
        Ok(())
    }

    pub fn store_snapshot(
        &mut self,
        wanted: &SnapshotDesired,
        source: SourceKey<'_>,
        now: Instant,
        time: Duration,
    ) -> Result<SnapshotPhase> {
        let volume = match wanted.source {
            SnapshotSource::Volume { volume, .. } => Some(volume),
            SnapshotSource::Copy(of) => {
                self.check_complete(of)?;
                self.check_source(of, source, wanted.data_key.as_ref())?;
                None
            }
        };
        if let Some(held) = self.snapshots.get(&wanted.snapshot).filter(|held| held.data_key.is_some()) {
            check_key(wanted.snapshot, held.data_key.as_ref(), wanted.data_key.as_ref())?;
        }
        let held = self.snapshots.entry(wanted.snapshot).or_insert(Snapshot {
            volume,
            since: Some(now),
            complete: false,
            data_key: None,
        });
        held.data_key.clone_from(&wanted.data_key);
        let Some(since) = held.since else {
            return Err(self.violation(format!("{} was stored before its instant", wanted.snapshot)));
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed < time {
            let percent = (elapsed.as_secs_f64() / time.as_secs_f64() * 100.0) as u8;
            return Ok(SnapshotPhase::Pending { percent: percent.min(99) });
        }
        held.complete = true;
        Ok(SnapshotPhase::Completed { full: wanted.size.bytes() })
    }

    pub fn remove_snapshot(&mut self, snapshot: SnapshotId) -> Option<VolumeId> {
        self.snapshots.remove(&snapshot).and_then(|held| held.volume)
    }

    pub fn trim(&mut self, volume: VolumeId, key: Option<&DataKey>) -> Result<()> {
        if let Some(disk) = self.volumes.get(&volume) {
            check_key(volume, disk.data_key.as_ref(), key)?;
        }
        self.check_followed(Some(volume), &format!("{volume} was trimmed"))
    }
}
