//! Simulated snapshots: an instant, a time, an end. Those of volumes hold nothing, and count as full; those that their owners
//! write hold what was put into them, as long as the simulator lives.
//!
//! A simulator that starts anew knows none: what its agent remembers as captured is taken on trust.

use super::super::{HostError, Result, SourceKey};
use super::world::{World, check_key};
use model::host::blocks::{BLOCK, ChangedBlock, Seal};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, Tier};
use model::{DataKey, InstanceId, SnapshotId, VolumeId};
use ring::digest::{self, SHA256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Blocks that are held in all: half a GiB.
const MOST_BLOCKS: usize = 1024;

pub(super) struct Snapshot {
    volume: Option<VolumeId>,
    /// When its instant was fixed.
    since: Option<Instant>,
    complete: bool,
    tier: Tier,
    /// Since when it is on its way to another.
    moving: Option<Instant>,
    /// Its volume's, then its own.
    data_key: Option<DataKey>,
    /// What was put into it, or into what it is a copy of; zeros are left out.
    blocks: Arc<BTreeMap<u64, Vec<u8>>>,
    /// The indexes that were put.
    written: BTreeSet<u64>,
}

impl World {
    /// A snapshot that was never heard of may be gone by now, and its volume older than this simulator.
    pub fn check_complete(&self, snapshot: SnapshotId) -> Result<()> {
        if self.snapshots.get(&snapshot).is_some_and(|held| !held.complete) {
            return Err(HostError::permanent(format!("{snapshot} is not completed")));
        }
        if self.snapshots.get(&snapshot).is_some_and(|held| held.tier == Tier::Archive) {
            return Err(HostError::permanent(format!("{snapshot} is archived")));
        }
        Ok(())
    }

    /// A move takes as long as storing does. One that an earlier simulator archived holds nothing in this one.
    pub fn change_tier(
        &mut self,
        wanted: &SnapshotDesired,
        now: Instant,
        time: Duration,
    ) -> Result<SnapshotPhase> {
        let full = wanted.size.bytes();
        let Some(held) = self.snapshots.get_mut(&wanted.snapshot) else {
            return Ok(SnapshotPhase::Completed { full, tier: wanted.tier });
        };
        if !held.complete {
            let what = format!("{} was moved to another tier before it was completed", wanted.snapshot);
            return Err(self.violation(what));
        }
        check_key(wanted.snapshot, held.data_key.as_ref(), wanted.data_key.as_ref())?;
        let since = *held.moving.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if held.tier != wanted.tier && elapsed < time {
            let percent = (elapsed.as_secs_f64() / time.as_secs_f64() * 100.0) as u8;
            return Ok(SnapshotPhase::Moving { percent: percent.min(99) });
        }
        (held.tier, held.moving) = (wanted.tier, None);
        Ok(SnapshotPhase::Completed { full, tier: wanted.tier })
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

    pub fn is_fast(&self, snapshot: SnapshotId) -> bool {
        self.snapshots.get(&snapshot).is_some_and(|held| held.tier == Tier::Fast)
    }

    pub fn keep_fast(&mut self, snapshot: SnapshotId) {
        self.snapshots.entry(snapshot).and_modify(|held| held.tier = Tier::Fast);
    }

    pub fn fast_snapshots(&self) -> Vec<SnapshotId> {
        let mut fast: Vec<_> = self.snapshots.keys().copied().filter(|id| self.is_fast(*id)).collect();
        fast.sort_unstable();
        fast
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
            let held = Snapshot {
                volume: Some(*volume),
                since: None,
                complete: false,
                tier: Tier::Standard,
                moving: None,
                data_key,
                blocks: Arc::default(),
                written: BTreeSet::new(),
            };
            self.snapshots.insert(*snapshot, held);
            self.volumes.entry(*volume).and_modify(|disk| disk.lags = !disk.users.is_empty());
        }
        Ok(())
    }

    pub fn follow(&mut self, instance: InstanceId, volumes: &[VolumeId]) {
        for volume in volumes {
            if let Some(disk) = self.volumes.get_mut(volume)
                && disk.users.contains(&instance)
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
            .is_some_and(|disk| !disk.users.is_empty() && disk.lags);
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
            SnapshotSource::Direct { parent, ref seal } => {
                return self.store_direct(wanted, parent, seal.as_ref());
            }
            SnapshotSource::Copy(of) => {
                self.check_complete(of)?;
                self.check_source(of, source, wanted.data_key.as_ref())?;
                None
            }
        };
        if let Some(held) = self.snapshots.get(&wanted.snapshot).filter(|held| held.data_key.is_some()) {
            check_key(wanted.snapshot, held.data_key.as_ref(), wanted.data_key.as_ref())?;
        }
        let blocks = match wanted.source {
            SnapshotSource::Copy(of) => self.snapshots.get(&of).map(|held| Arc::clone(&held.blocks)),
            SnapshotSource::Volume { .. } | SnapshotSource::Direct { .. } => None,
        };
        let held = self.snapshots.entry(wanted.snapshot).or_insert(Snapshot {
            volume,
            since: Some(now),
            complete: false,
            tier: Tier::Standard,
            moving: None,
            data_key: None,
            blocks: blocks.unwrap_or_default(),
            written: BTreeSet::new(),
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
        Ok(SnapshotPhase::Completed { full: wanted.size.bytes(), tier: held.tier })
    }

    /// The snapshot that its owner writes.
    fn open(&mut self, wanted: &SnapshotDesired, parent: Option<SnapshotId>) -> Result<&mut Snapshot> {
        if let Some(parent) = parent {
            self.check_complete(parent)?;
        }
        let of_parent = parent.and_then(|parent| self.snapshots.get(&parent));
        let blocks = of_parent.map(|held| Arc::clone(&held.blocks)).unwrap_or_default();
        let fresh = || Snapshot {
            volume: None,
            since: Some(Instant::now()),
            complete: false,
            tier: Tier::Standard,
            moving: None,
            data_key: wanted.data_key.clone(),
            blocks,
            written: BTreeSet::new(),
        };
        Ok(self.snapshots.entry(wanted.snapshot).or_insert_with(fresh))
    }

    fn store_direct(
        &mut self,
        wanted: &SnapshotDesired,
        parent: Option<SnapshotId>,
        seal: Option<&Seal>,
    ) -> Result<SnapshotPhase> {
        let held = self.open(wanted, parent)?;
        let Some(seal) = seal else { return Ok(SnapshotPhase::Pending { percent: 0 }) };
        if held.written.len() as u64 != seal.changed {
            return Err(HostError::permanent(format!(
                "{} blocks were written, and {} were said to be",
                held.written.len(),
                seal.changed
            )));
        }
        if let Some(checksum) = &seal.checksum {
            let mut all = digest::Context::new(&SHA256);
            let zeros = vec![0; BLOCK];
            for index in &held.written {
                let block = held.blocks.get(index).unwrap_or(&zeros);
                all.update(digest::digest(&SHA256, block).as_ref());
            }
            if all.finish().as_ref() != checksum.as_slice() {
                return Err(HostError::permanent("the checksum over its blocks is another one"));
            }
        }
        held.complete = true;
        Ok(SnapshotPhase::Completed { full: (held.blocks.len() * BLOCK) as u64, tier: held.tier })
    }

    pub fn put_block(&mut self, wanted: &SnapshotDesired, index: u64, data: Vec<u8>) -> Result<()> {
        let SnapshotSource::Direct { parent, .. } = wanted.source else {
            return Err(HostError::permanent(format!("{} is not written by its owner", wanted.snapshot)));
        };
        let all: usize = self.snapshots.values().map(|held| held.blocks.len()).sum();
        if all >= MOST_BLOCKS {
            return Err(HostError::transient("the simulator holds no more blocks of snapshots"));
        }
        let held = self.open(wanted, parent)?;
        held.written.insert(index);
        let blocks = Arc::make_mut(&mut held.blocks);
        if data.iter().all(|byte| *byte == 0) {
            blocks.remove(&index);
        } else {
            blocks.insert(index, data);
        }
        Ok(())
    }

    fn content(&self, snapshot: SnapshotId) -> Result<&BTreeMap<u64, Vec<u8>>> {
        self.check_complete(snapshot)?;
        // One that an earlier simulator made holds nothing in this one.
        static NOTHING: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        Ok(self.snapshots.get(&snapshot).map_or(&NOTHING, |held| &*held.blocks))
    }

    pub fn blocks(&self, snapshot: SnapshotId, from: u64, most: usize) -> Result<Vec<u64>> {
        Ok(self.content(snapshot)?.range(from..).take(most).map(|(index, _)| *index).collect())
    }

    pub fn changed_blocks(
        &self,
        first: SnapshotId,
        second: SnapshotId,
        from: u64,
        most: usize,
    ) -> Result<Vec<ChangedBlock>> {
        let (one, two) = (self.content(first)?, self.content(second)?);
        let indexes: BTreeSet<u64> =
            one.range(from..).chain(two.range(from..)).map(|(index, _)| *index).collect();
        let differing = indexes.into_iter().filter(|index| one.get(index) != two.get(index));
        let changed = differing.map(|index| ChangedBlock {
            index,
            in_first: one.contains_key(&index),
            in_second: two.contains_key(&index),
        });
        Ok(changed.take(most).collect())
    }

    pub fn block(&self, snapshot: SnapshotId, index: u64) -> Result<Option<Vec<u8>>> {
        Ok(self.content(snapshot)?.get(&index).cloned())
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
