//! Simulated hibernation: a machine's memory is how often it has booted, which its next run goes on with.
//!
//! It outlives its host's reboots, as what lies on a disk does.

use super::super::{DiskSpec, HostError, MachineSpec, MachineState, Result};
use super::world::World;
use model::{InstanceId, VolumeId};
use tokio::time::Instant;

pub(super) struct Memory {
    /// What the guest remembers.
    boots: u32,
    root: VolumeId,
}

impl World {
    pub fn hibernate(&mut self, instance: InstanceId, root: &DiskSpec, now: Instant) -> Result<()> {
        match self.state(instance, now) {
            MachineState::Running => {}
            MachineState::Absent | MachineState::Asleep | MachineState::PoweredOff => {
                return Err(HostError::transient(format!("{instance} does not run")));
            }
        }
        if root.data_key.is_none() {
            return Err(self.violation(format!("{instance} was hibernated without a key")));
        }
        if self.no_room {
            return Err(HostError::transient("there is no room for its memory"));
        }
        let memory = Memory { boots: self.boots(instance), root: root.volume };
        self.kill(instance);
        self.asleep.insert(instance, memory);
        Ok(())
    }

    /// A machine that was started goes on with its memory, if it has the root volume that it had.
    pub fn wake(&mut self, spec: &MachineSpec) {
        let Some(memory) = self.asleep.remove(&spec.instance) else { return };
        if spec.disks.iter().any(|disk| disk.volume == memory.root) {
            self.set_boots(spec.instance, memory.boots);
        }
    }
}
