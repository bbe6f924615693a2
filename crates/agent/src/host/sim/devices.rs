//! What a simulated machine holds, and how its guest lets go of it.

use super::super::{Device, DiskSpec, HostError, Plugged, Release, Result};
use super::world::{World, check_key};
use model::host::VolumeDesired;
use model::{InstanceId, NetworkInterfaceId, VolumeId};
use plan::machine::ROOT_PORTS;
use std::cmp::Reverse;
use std::time::Duration;
use tokio::time::Instant;

/// A machine's devices, as [`Plugged`] has them.
pub(super) struct Held {
    whole: Vec<VolumeId>,
    partial: Vec<VolumeId>,
    dead: Vec<VolumeId>,
    ports: Vec<NetworkInterfaceId>,
    /// What the guest lets go of, and when.
    leaving: Vec<(Device, Instant)>,
}

impl Held {
    pub fn new(volumes: impl Iterator<Item = VolumeId>, ports: Vec<NetworkInterfaceId>) -> Self {
        Self { whole: volumes.collect(), partial: Vec::new(), dead: Vec::new(), ports, leaving: Vec::new() }
    }

    pub fn volumes(&self) -> impl Iterator<Item = VolumeId> {
        self.whole.iter().chain(&self.partial).copied()
    }

    pub fn ports(&self) -> impl Iterator<Item = NetworkInterfaceId> {
        self.ports.iter().copied()
    }

    /// What the guest has let go of by now.
    fn release(&mut self, now: Instant) {
        let left = self.leaving.extract_if(.., |(_, at)| *at <= now).map(|(device, _)| device);
        for device in left.collect::<Vec<_>>() {
            match device {
                Device::Volume(id) => {
                    self.dead.retain(|dead| *dead != id);
                    if let Some(at) = self.whole.iter().position(|whole| *whole == id) {
                        self.partial.push(self.whole.remove(at));
                    }
                }
                Device::Interface(id) => self.ports.retain(|port| *port != id),
            }
        }
    }

    fn has(&self, device: Device) -> bool {
        match device {
            Device::Volume(id) => self.whole.contains(&id) || self.dead.contains(&id),
            Device::Interface(id) => self.ports.contains(&id),
        }
    }

    fn slots_taken(&self) -> usize {
        self.whole.len() + self.dead.len() + self.ports.len()
    }
}

impl World {
    pub fn set_clinging(&mut self, instance: InstanceId, clings: bool) {
        if clings {
            self.clinging.insert(instance);
        } else {
            self.clinging.remove(&instance);
        }
    }

    /// The machine's devices once its guest has let go of what it has by now.
    fn held(&mut self, instance: InstanceId, now: Instant) -> Result<&mut Held> {
        let Some(machine) = self.machines.get_mut(&instance) else {
            return Err(HostError::transient(format!("{instance} has no process")));
        };
        let before: Vec<NetworkInterfaceId> = machine.held.ports.clone();
        machine.held.release(now);
        for port in before.into_iter().filter(|port| !machine.held.ports.contains(port)) {
            // One that was cut off may be another machine's by now.
            if let Some(port) = self.ports.get_mut(&port).filter(|port| port.user == Some(instance)) {
                port.user = None;
            }
        }
        Ok(&mut machine.held)
    }

    pub fn plugged(&mut self, instance: InstanceId, now: Instant) -> Plugged {
        let Ok(held) = self.held(instance, now) else { return Plugged::default() };
        let whole = model::host::Devices { volumes: held.whole.clone(), interfaces: held.ports.clone() };
        Plugged { whole, partial: held.partial.clone(), dead: held.dead.clone(), cut_off: Vec::new() }
    }

    pub fn check_disk(&mut self, instance: InstanceId, given: &DiskSpec) -> Result<()> {
        let volume = given.volume;
        if let Some(disk) = self.volumes.get(&volume) {
            check_key(volume, disk.data_key.as_ref(), given.data_key.as_ref())?;
        }
        let Some(disk) = self.volumes.get(&volume) else {
            return Err(self.violation(format!("{instance} was given {volume}, which is not there")));
        };
        let other = disk.users.keys().copied().find(|user| *user != instance);
        match other.filter(|_| !disk.shared) {
            Some(user) => Err(self.violation(format!("{instance} was given {volume}, which {user} has"))),
            None => Ok(()),
        }
    }

    pub fn take_disk(&mut self, instance: InstanceId, given: &DiskSpec) {
        self.volumes.entry(given.volume).and_modify(|disk| {
            disk.users.insert(instance, ());
            disk.lags = false;
            disk.limits = given.limits;
        });
    }

    pub fn plug_disk(&mut self, instance: InstanceId, disk: &DiskSpec, now: Instant) -> Result<()> {
        let volume = disk.volume;
        self.check_disk(instance, disk)?;
        let held = self.held(instance, now)?;
        if held.whole.contains(&volume) {
            return Ok(());
        }
        if held.dead.contains(&volume) {
            return Err(self.violation(format!("{volume} was plugged in beside its dead device")));
        }
        if held.slots_taken() >= ROOT_PORTS {
            return Err(HostError::permanent(format!("{instance}: all of its {ROOT_PORTS} slots are taken")));
        }
        held.partial.retain(|partial| *partial != volume);
        held.whole.push(volume);
        self.take_disk(instance, disk);
        Ok(())
    }

    pub fn plug_interface(
        &mut self,
        instance: InstanceId,
        interface: NetworkInterfaceId,
        now: Instant,
    ) -> Result<()> {
        if !self.ports.contains_key(&interface) {
            return Err(self.violation(format!("{instance} was given {interface} without its port")));
        }
        let held = self.held(instance, now)?;
        if held.ports.contains(&interface) {
            return Err(self.violation(format!("{instance} was given {interface} twice")));
        }
        if held.slots_taken() >= ROOT_PORTS {
            return Err(HostError::permanent(format!("{instance}: all of its {ROOT_PORTS} slots are taken")));
        }
        held.ports.push(interface);
        self.ports.entry(interface).and_modify(|port| port.user = Some(instance));
        Ok(())
    }

    pub fn unplug(
        &mut self,
        instance: InstanceId,
        device: Device,
        now: Instant,
        release_time: Duration,
    ) -> Result<Release> {
        if self.held(instance, now)?.has(device) {
            self.ask_for(instance, device, now + release_time);
            return Ok(Release::Pending);
        }
        if let Device::Volume(volume) = device {
            self.give_back(instance, volume, now)?;
        }
        Ok(Release::Done)
    }

    pub fn tear_out(
        &mut self,
        instance: InstanceId,
        volume: VolumeId,
        now: Instant,
        release_time: Duration,
    ) -> Result<()> {
        let held = self.held(instance, now)?;
        if let Some(at) = held.whole.iter().position(|whole| *whole == volume) {
            held.whole.remove(at);
            held.dead.push(volume);
            self.ask_for(instance, Device::Volume(volume), now + release_time);
        }
        self.give_back(instance, volume, now)
    }

    pub fn cut_off(
        &mut self,
        instance: InstanceId,
        interface: NetworkInterfaceId,
        now: Instant,
        release_time: Duration,
    ) -> Result<()> {
        if !self.held(instance, now)?.ports.contains(&interface) {
            return Ok(());
        }
        if let Some(port) = self.ports.get_mut(&interface).filter(|port| port.user == Some(instance)) {
            port.user = None;
        }
        self.ask_for(instance, Device::Interface(interface), now + release_time);
        Ok(())
    }

    fn ask_for(&mut self, instance: InstanceId, device: Device, at: Instant) {
        if self.clinging.contains(&instance) {
            return;
        }
        if let Some(machine) = self.machines.get_mut(&instance)
            && !machine.held.leaving.iter().any(|(leaving, _)| *leaving == device)
        {
            machine.held.leaving.push((device, at));
            self.due.push(Reverse((at, instance)));
        }
    }

    fn give_back(&mut self, instance: InstanceId, volume: VolumeId, now: Instant) -> Result<()> {
        self.held(instance, now)?.partial.retain(|partial| *partial != volume);
        if let Some(disk) = self.volumes.get_mut(&volume) {
            disk.users.remove(&instance);
        }
        Ok(())
    }

    pub fn tune(&mut self, instance: InstanceId, desired: &VolumeDesired) {
        if let Some(disk) =
            self.volumes.get_mut(&desired.volume).filter(|disk| disk.users.contains(&instance))
        {
            disk.size = disk.size.max(desired.size);
            disk.limits = desired.limits;
        }
    }
}
