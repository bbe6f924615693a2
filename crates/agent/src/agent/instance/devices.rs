//! One round over a running machine's devices: what is to leave, what is to come, then the ports that stay.
//!
//! A device that fails does not keep the others waiting; the first failure is the round's. What has left is let go of in
//! the record only after nothing of it is in the machine, so an agent that dies in between finds it again.

use super::{Core, Drivers, Failure, Next, disk, parts, ports_are_at};
use crate::host::{Block, Device, HostError, Net, Plugged, Release, Vmm};
use model::NetworkInterfaceId;
use model::host::{InstanceDesired, InstancePhase, ObjectKey, ObservedBody};
use plan::host::{Changes, InstanceRecord, RunState, reported};
use std::collections::BTreeSet;

pub(super) struct Round<'a, V, N, B> {
    pub core: &'a Core,
    pub drivers: &'a Drivers<V, N, B>,
    pub desired: &'a InstanceDesired,
    pub generation: u64,
    pub plugged: &'a Plugged,
    /// Whether all that the instance stands on is there.
    pub is_ready: bool,
}

impl<V: Vmm, N: Net, B: Block> Round<'_, V, N, B> {
    /// `None` asks for another look. What fails here is tried again without being reported as the instance's state: which
    /// devices it has is the news, and stays visible.
    pub async fn run(&self, changes: &Changes, record: InstanceRecord) -> Result<Option<Next>, Failure> {
        let (instance, key) = (self.desired.instance, ObjectKey::Instance(self.desired.instance));
        let mut failed = None;
        let mut note = |result: Result<(), HostError>| {
            if let Err(error) = result {
                failed.get_or_insert(error);
            }
        };
        let (mut gone, mut closed) = (Vec::new(), Vec::new());
        for volume in &changes.tear_out {
            let torn = self.drivers.vmm.tear_out(instance, *volume).await;
            if torn.is_ok() {
                gone.push(Device::Volume(*volume));
            }
            note(torn);
        }
        for interface in &changes.cut_off {
            self.asked(Device::Interface(*interface));
            let cut = self.cut_off(*interface).await;
            if cut.is_ok() {
                closed.push(Device::Interface(*interface));
            }
            note(cut);
        }
        for device in &changes.unplug {
            self.asked(*device);
            match self.unplug(*device).await {
                Ok(Release::Done) => gone.push(*device),
                Ok(Release::Pending) => {}
                Err(error) => note(Err(error)),
            }
        }
        for device in &changes.plug {
            note(self.plug(*device).await);
        }
        if self.is_ready {
            let ensured = self.ensure_ports(&record, changes).await;
            let tuned = self.tune_disks().await;
            if ensured.is_ok() && tuned.is_ok() {
                ports_are_at(self.core, key, self.generation);
            }
            note(ensured);
            note(tuned);
        }
        let after = self.let_go(record.without(&gone).without(&closed));
        if after != record {
            self.core.write_record(instance, after.clone()).await?;
        }
        {
            let mut tables = self.core.tables.lock();
            if let Some(object) = tables.objects.get_mut(&key) {
                object.asked.retain(|device, _| !gone.contains(device));
            }
            tables.nudge_waiters(key);
        }
        self.core.pending.notify_one();
        let Some(error) = failed else { return Ok(None) };
        if let Ok(plugged) = self.drivers.vmm.plugged(instance).await
            && let RunState::Started { run, since, .. } = record.state
        {
            let devices = reported(self.desired, &after.ports, &plugged.knowing(&after.cut_off));
            let phase = InstancePhase::Running { run, since, devices };
            self.core.report(key, self.generation, ObservedBody::Instance(phase));
        }
        Ok(Some(Next::Retry(error.to_string())))
    }

    fn asked(&self, device: Device) {
        let now = self.core.clock.now();
        let mut tables = self.core.tables.lock();
        if let Some(object) = tables.objects.get_mut(&ObjectKey::Instance(self.desired.instance)) {
            object.asked.insert(device, now);
        }
    }

    async fn unplug(&self, device: Device) -> Result<Release, HostError> {
        let released = self.drivers.vmm.unplug(self.desired.instance, device).await?;
        if let (Release::Done, Device::Interface(port)) = (released, device)
            && !self.plugged.cut_off.contains(&port)
        {
            self.drivers.net.remove_port(port).await?;
        }
        Ok(released)
    }

    /// The machine's end first: its process would wait for a port that is gone without a pause.
    async fn cut_off(&self, port: NetworkInterfaceId) -> Result<(), HostError> {
        self.drivers.vmm.cut_off(self.desired.instance, port).await?;
        self.drivers.net.remove_port(port).await
    }

    async fn plug(&self, device: Device) -> Result<(), HostError> {
        let instance = self.desired.instance;
        match device {
            Device::Volume(volume) => {
                let Some(attachment) = self.desired.volumes.iter().find(|a| a.volume == volume) else {
                    return Ok(());
                };
                let _files = self.core.files([volume]).await;
                let disk = disk(self.core, attachment)
                    .ok_or_else(|| HostError::transient(format!("{volume} has no path yet")))?;
                self.drivers.vmm.plug_disk(instance, &disk).await
            }
            Device::Interface(port) => {
                let Some(interface) = self.desired.interfaces.iter().find(|i| i.interface == port) else {
                    return Ok(());
                };
                let tap = self.drivers.net.open_port(interface).await?;
                self.drivers.vmm.plug_interface(instance, tap).await
            }
        }
    }

    /// Brings the ports that stay to their desired form; those that came with this round have it.
    async fn ensure_ports(&self, record: &InstanceRecord, changes: &Changes) -> Result<(), HostError> {
        let came = |port: &NetworkInterfaceId| changes.plug.contains(&Device::Interface(*port));
        for interface in self.desired.interfaces.iter().filter(|i| !came(&i.interface)) {
            if record.ports.contains(&interface.interface) {
                self.drivers.net.ensure_port(interface).await?;
            }
        }
        Ok(())
    }

    /// Brings to its disks what changed of their volumes on their way into the machine.
    async fn tune_disks(&self) -> Result<(), HostError> {
        for attachment in &self.desired.volumes {
            let latest = self.core.tables.lock().volume(attachment.volume);
            if let Some(latest) = latest {
                let _files = self.core.files([attachment.volume]).await;
                self.drivers.vmm.tune_disk(self.desired.instance, &latest).await?;
            }
        }
        Ok(())
    }

    /// Lets go of groups that the ports have left and of volumes that an earlier round took out. What the machine still has
    /// stays held, whatever is desired by now.
    fn let_go(&self, mut record: InstanceRecord) -> InstanceRecord {
        // Those of this round were not told apart yet when it began.
        let (were, are) = (&self.plugged.cut_off, &self.plugged.whole.interfaces);
        record.cut_off.retain(|id| were.contains(id) || are.contains(id));
        if self.is_ready {
            let wanted: BTreeSet<ObjectKey> = parts(self.desired).into_iter().collect();
            record.holds.retain(|key| match key {
                ObjectKey::Volume(volume) => wanted.contains(key) || self.plugged.holds(*volume),
                ObjectKey::Vpc(_)
                | ObjectKey::SecurityGroup(_)
                | ObjectKey::Snapshot(_)
                | ObjectKey::Instance(_) => wanted.contains(key),
            });
        }
        record
    }
}
