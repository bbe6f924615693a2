//! Simulated forks: a machine's memory is how often it has booted, which its children go on with.
//!
//! A simulator that starts anew knows none, and takes it on trust that there was one.

use super::super::{HostError, KeptFork, MachineSpec, Result};
use super::world::World;
use model::{ForkId, InstanceId, SnapshotId, VolumeId};
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Fork {
    children: Vec<InstanceId>,
    since: Instant,
    /// What its parent remembers.
    boots: u32,
    volumes: Vec<VolumeId>,
}

impl World {
    pub fn fork(
        &mut self,
        instance: InstanceId,
        fork: ForkId,
        volumes: &[VolumeId],
        children: &[InstanceId],
        now: Instant,
    ) -> Result<Duration> {
        if !self.machines.contains_key(&instance) {
            return Err(HostError::transient(format!("{instance} has no process")));
        }
        if volumes.iter().any(|volume| self.volumes.get(volume).is_some_and(|disk| disk.data_key.is_some())) {
            return Err(HostError::permanent("an encrypted volume cannot be forked"));
        }
        self.follow(instance, volumes);
        let boots = self.boots(instance);
        let kept = Fork { children: children.to_vec(), since: now, boots, volumes: Vec::new() };
        self.forks.insert(fork, kept);
        Ok(Duration::ZERO)
    }

    pub fn keep_fork(&mut self, fork: ForkId, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        for (snapshot, volume) in set {
            if !self.is_captured(*snapshot) {
                return Err(self.violation(format!("{volume} was kept for {fork} before its instant")));
            }
        }
        match self.forks.get_mut(&fork) {
            Some(kept) => kept.volumes = set.iter().map(|(_, volume)| *volume).collect(),
            None => return Err(self.violation(format!("volumes were kept for {fork} before its memory"))),
        }
        Ok(())
    }

    pub fn kept_forks(&self, now: Instant) -> Vec<KeptFork> {
        let kept = |(id, fork): (&ForkId, &Fork)| KeptFork {
            fork: *id,
            children: fork.children.clone(),
            age: now.saturating_duration_since(fork.since),
        };
        self.forks.iter().map(kept).collect()
    }

    pub fn remove_fork(&mut self, fork: ForkId) {
        self.forks.remove(&fork);
    }

    /// Whether a machine can go on from the fork that it is started from.
    pub fn check_fork(&mut self, spec: &MachineSpec) -> Result<()> {
        let Some(kept) = spec.fork.and_then(|fork| self.forks.get(&fork)) else { return Ok(()) };
        let is_kept = |of: Option<VolumeId>| of.is_some_and(|of| kept.volumes.contains(&of));
        if kept.children.contains(&spec.instance) && spec.disks.iter().all(|disk| is_kept(disk.forked)) {
            return Ok(());
        }
        Err(self.violation(format!("{} goes on from a fork that is not its own", spec.instance)))
    }

    /// It remembers what its parent did, and has not booted.
    pub fn go_on_from(&mut self, spec: &MachineSpec) {
        let Some(kept) = spec.fork.and_then(|fork| self.forks.get(&fork)) else { return };
        let boots = kept.boots;
        self.set_boots(spec.instance, boots);
    }
}
