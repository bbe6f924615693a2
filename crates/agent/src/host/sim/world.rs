//! What stands on the simulated host, and how it changes.

use super::super::{DiskSpec, HostError, MachineState, Result, SourceKey};
use super::Inventory;
use super::devices::Held;
use super::forks::Fork;
use super::sleep::Memory;
use super::snapshots::Snapshot;
use model::few::FewKeys;
use model::host::{
    InterfaceDesired, ObjectKey, SecurityGroupDesired, TunnelSeen, VolumeDesired, VolumeLimits, VpcDesired,
};
use model::{
    DataKey, ForkId, GiB, InstanceId, NetworkInterfaceId, SecurityGroupId, SnapshotId, Timestamp, VolumeId,
    VpcId,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt::{Display, Write as _};
use std::time::Duration;
use tokio::time::Instant;

const VIOLATIONS_KEPT: usize = 100;

#[derive(Default)]
pub(super) struct World {
    pub machines: BTreeMap<InstanceId, Machine>,
    pub consoles: HashMap<InstanceId, Console>,
    pub ports: HashMap<NetworkInterfaceId, Port>,
    pub vpcs: HashMap<VpcId, VpcDesired>,
    pub groups: HashMap<SecurityGroupId, SecurityGroupDesired>,
    pub volumes: HashMap<VolumeId, Disk>,
    pub snapshots: HashMap<SnapshotId, Snapshot>,
    pub forks: BTreeMap<ForkId, Fork>,
    pub asleep: BTreeMap<InstanceId, Memory>,
    /// Nothing of a machine's memory can be kept.
    pub no_room: bool,
    pub deaf: BTreeSet<InstanceId>,
    /// Guests that let go of no device.
    pub clinging: BTreeSet<InstanceId>,
    /// Outside addresses of tunnels whose device has not called.
    pub silent: BTreeSet<std::net::Ipv4Addr>,
    pub refused: BTreeSet<ObjectKey>,
    pub host_boots: u32,
    pub violations: Vec<String>,
    pub(super) nudges: VecDeque<InstanceId>,
    pub(super) due: BinaryHeap<Reverse<(Instant, InstanceId)>>,
}

pub(super) struct Machine {
    power: Power,
    pub held: Held,
}

#[derive(Clone, Copy)]
enum Power {
    On,
    /// The guest is shutting down and will be off at that time.
    OffAt(Instant),
}

pub(super) struct Port {
    pub interface: Box<InterfaceDesired>,
    /// The machine that has it open.
    pub user: Option<InstanceId>,
}

pub(super) struct Disk {
    pub size: GiB,
    pub limits: Option<VolumeLimits>,
    pub data_key: Option<DataKey>,
    /// Several machines may have it.
    pub shared: bool,
    pub users: FewKeys<InstanceId>,
    /// Its machine still writes to a file that is frozen.
    pub lags: bool,
}

#[derive(Default)]
pub(super) struct Console {
    boots: u32,
    booted_at: Timestamp,
}

impl World {
    pub(super) fn violation(&mut self, what: String) -> HostError {
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(what.clone());
        }
        HostError::transient(what)
    }

    pub fn check_refusal(&self, key: ObjectKey) -> Result<()> {
        if self.refused.contains(&key) {
            return Err(HostError::permanent(format!("the simulator was told to refuse {key}")));
        }
        Ok(())
    }

    pub fn state(&self, instance: InstanceId, now: Instant) -> MachineState {
        match self.machines.get(&instance).map(|machine| machine.power) {
            None if self.asleep.contains_key(&instance) => MachineState::Asleep,
            None => MachineState::Absent,
            Some(Power::OffAt(at)) if at <= now => MachineState::PoweredOff,
            Some(Power::On | Power::OffAt(_)) => MachineState::Running,
        }
    }

    pub fn start(
        &mut self,
        instance: InstanceId,
        ports: Vec<NetworkInterfaceId>,
        disks: &[DiskSpec],
        now: Timestamp,
    ) -> Result<()> {
        if self.machines.contains_key(&instance) {
            return Err(self.violation(format!("{instance} was started while it was there")));
        }
        if let Some(port) = ports.iter().find(|port| !self.ports.contains_key(port)) {
            return Err(self.violation(format!("{instance} was started without its port {port}")));
        }
        for disk in disks {
            self.check_disk(instance, disk)?;
        }
        for port in &ports {
            self.ports.entry(*port).and_modify(|port| port.user = Some(instance));
        }
        for disk in disks {
            self.take_disk(instance, disk);
        }
        let held = Held::new(disks.iter().map(|disk| disk.volume), ports);
        self.machines.insert(instance, Machine { power: Power::On, held });
        self.boot(instance, now);
        Ok(())
    }

    fn boot(&mut self, instance: InstanceId, now: Timestamp) {
        let console = self.consoles.entry(instance).or_default();
        console.boots += 1;
        console.booted_at = now;
    }

    pub fn boots(&self, instance: InstanceId) -> u32 {
        self.consoles.get(&instance).map_or(0, |console| console.boots)
    }

    pub fn set_boots(&mut self, instance: InstanceId, boots: u32) {
        self.consoles.entry(instance).or_default().boots = boots;
    }

    pub fn set_deaf(&mut self, instance: InstanceId, deaf: bool) {
        if deaf {
            self.deaf.insert(instance);
        } else {
            self.deaf.remove(&instance);
        }
    }

    pub fn press(&mut self, instance: InstanceId, off_at: Instant) -> Result<()> {
        let Some(machine) = self.machines.get_mut(&instance) else {
            return Err(HostError::transient(format!("{instance} has no process")));
        };
        if matches!(machine.power, Power::On) && !self.deaf.contains(&instance) {
            machine.power = Power::OffAt(off_at);
            self.due.push(Reverse((off_at, instance)));
        }
        Ok(())
    }

    pub fn power_off(&mut self, instance: InstanceId) {
        if let Some(machine) = self.machines.get_mut(&instance) {
            machine.power = Power::OffAt(Instant::now());
            self.nudges.push_back(instance);
        }
    }

    pub fn reset(&mut self, instance: InstanceId, now: Timestamp) -> Result<()> {
        let Some(machine) = self.machines.get_mut(&instance) else {
            return Err(HostError::transient(format!("{instance} has no process")));
        };
        machine.power = Power::On;
        self.boot(instance, now);
        Ok(())
    }

    pub fn kill(&mut self, instance: InstanceId) {
        let Some(machine) = self.machines.remove(&instance) else { return };
        for port in machine.held.ports() {
            if let Some(port) = self.ports.get_mut(&port).filter(|port| port.user == Some(instance)) {
                port.user = None;
            }
        }
        for disk in machine.held.volumes() {
            if let Some(disk) = self.volumes.get_mut(&disk) {
                disk.users.remove(&instance);
            }
        }
        self.nudges.push_back(instance);
    }

    pub fn forget(&mut self, instance: InstanceId) -> Result<()> {
        if self.machines.contains_key(&instance) {
            return Err(self.violation(format!("{instance} was forgotten while it was there")));
        }
        self.consoles.remove(&instance);
        self.asleep.remove(&instance);
        Ok(())
    }

    pub fn reboot(&mut self) {
        self.machines.clear();
        self.volumes.values_mut().for_each(|disk| disk.users = FewKeys::default());
        self.ports.clear();
        self.vpcs.clear();
        self.groups.clear();
        self.nudges.clear();
        self.due.clear();
        self.host_boots += 1;
    }

    /// The last boot's text, as much of it as the guest has written by `now`.
    pub fn console(
        &self,
        instance: InstanceId,
        limit: usize,
        now: Timestamp,
        boot_time: Duration,
    ) -> (Vec<u8>, Option<Timestamp>) {
        let Some(console) = self.consoles.get(&instance) else { return (Vec::new(), None) };
        let mut text = format!("[    0.000000] Simulated machine {instance}, boot {}\r\n", console.boots);
        let mut written = console.booted_at;
        if now.since(console.booted_at) >= boot_time {
            written = written + boot_time;
            let _infallible = write!(
                text,
                "[{:12.6}] Reached the login prompt\r\n\r\n{instance} login: ",
                boot_time.as_secs_f64()
            );
        }
        let mut text = text.into_bytes();
        text.drain(..text.len().saturating_sub(limit));
        (text, Some(written))
    }

    pub fn ensure_group(&mut self, group: &SecurityGroupDesired) -> Result<()> {
        if !self.vpcs.contains_key(&group.vpc) {
            return Err(self.violation(format!("{} was made before {}", group.group, group.vpc)));
        }
        self.groups.insert(group.group, group.clone());
        Ok(())
    }

    pub fn remove_group(&mut self, group: SecurityGroupId) -> Result<()> {
        if self.running_ports().any(|port| port.interface.security_groups.contains(&group)) {
            return Err(self.violation(format!("{group} was removed under a running machine")));
        }
        self.groups.remove(&group);
        Ok(())
    }

    pub fn remove_vpc(&mut self, vpc: VpcId) -> Result<()> {
        if self.running_ports().any(|port| port.interface.vpc == vpc) {
            return Err(self.violation(format!("{vpc} was removed under a running machine")));
        }
        self.vpcs.remove(&vpc);
        self.ports.retain(|_, port| port.interface.vpc != vpc);
        self.groups.retain(|_, group| group.vpc != vpc);
        Ok(())
    }

    fn running_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.values().filter(|port| port.user.is_some())
    }

    fn check_parts(&mut self, interface: &InterfaceDesired) -> Result<()> {
        if !self.vpcs.contains_key(&interface.vpc) {
            return Err(self.violation(format!("{} was opened before its VPC", interface.interface)));
        }
        if interface.security_groups.iter().any(|group| !self.groups.contains_key(group)) {
            return Err(self.violation(format!("{} was opened before its groups", interface.interface)));
        }
        Ok(())
    }

    pub fn open_port(&mut self, interface: &InterfaceDesired) -> Result<()> {
        self.check_parts(interface)?;
        if self.is_in_use(interface.interface) {
            return Err(self.violation(format!("{} was opened while in use", interface.interface)));
        }
        self.ports.insert(interface.interface, Port { interface: Box::new(interface.clone()), user: None });
        Ok(())
    }

    pub fn ensure_port(&mut self, interface: &InterfaceDesired) -> Result<()> {
        self.check_parts(interface)?;
        let Some(port) = self.ports.get_mut(&interface.interface) else {
            return Err(HostError::transient(format!("{} is not there", interface.interface)));
        };
        *port.interface = interface.clone();
        Ok(())
    }

    pub fn remove_port(&mut self, interface: NetworkInterfaceId) -> Result<()> {
        if self.is_in_use(interface) {
            return Err(self.violation(format!("{interface} was removed while in use")));
        }
        self.ports.remove(&interface);
        Ok(())
    }

    fn is_in_use(&self, interface: NetworkInterfaceId) -> bool {
        self.ports.get(&interface).is_some_and(|port| port.user.is_some())
    }

    pub fn ensure_volume(&mut self, volume: &VolumeDesired, source: SourceKey<'_>) -> Result<()> {
        match (self.volumes.get(&volume.volume), volume.snapshot) {
            (Some(disk), _) => {
                check_key(volume.volume, disk.data_key.as_ref(), volume.data_key.as_ref())?;
            }
            (None, Some(snapshot)) => {
                self.check_complete(snapshot)?;
                self.check_source(snapshot, source, volume.data_key.as_ref())?;
            }
            (None, None) => {}
        }
        let disk = Disk {
            size: volume.size,
            limits: volume.limits,
            data_key: volume.data_key.clone(),
            shared: volume.shared,
            users: FewKeys::default(),
            lags: false,
        };
        let disk = self.volumes.entry(volume.volume).or_insert(disk);
        if !disk.users.is_empty() && disk.size < volume.size {
            return Err(HostError::transient(format!("{} is in use and cannot grow", volume.volume)));
        }
        if disk.users.is_empty() {
            disk.shared = volume.shared;
            disk.size = disk.size.max(volume.size);
            disk.limits = volume.limits;
        }
        Ok(())
    }

    pub fn remove_volume(&mut self, volume: VolumeId) -> Result<()> {
        if self.volumes.get(&volume).is_some_and(|disk| !disk.users.is_empty()) {
            return Err(self.violation(format!("{volume} was removed while in use")));
        }
        self.volumes.remove(&volume);
        Ok(())
    }

    /// Every tunnel is up whose device has not fallen silent.
    pub fn tunnels(&self) -> Vec<TunnelSeen> {
        let all = self
            .vpcs
            .values()
            .flat_map(|vpc| &vpc.vpns)
            .flat_map(|vpn| vpn.tunnels.iter().map(move |t| (vpn, t)));
        let seen = all.map(|(vpn, tunnel)| {
            let up = !self.silent.contains(&tunnel.outside);
            TunnelSeen { connection: vpn.connection, outside: tunnel.outside, up, ike_up: up }
        });
        seen.collect()
    }

    pub fn inventory(&self) -> Inventory {
        Inventory {
            machines: sorted(self.machines.keys()),
            ports: sorted(self.ports.keys()),
            vpcs: sorted(self.vpcs.keys()),
            security_groups: sorted(self.groups.keys()),
            volumes: sorted(self.volumes.keys()),
            snapshots: sorted(self.snapshots.keys()),
            consoles: sorted(self.consoles.keys()),
        }
    }

    /// Nudges about a machine, whichever comes `index`th, though nothing happened to it.
    pub fn nudge_any(&mut self, index: usize) {
        let count = self.machines.len().max(1);
        if let Some(instance) = self.machines.keys().nth(index % count) {
            self.nudges.push_back(*instance);
        }
    }

    pub fn next_nudge(&mut self, now: Instant) -> Option<InstanceId> {
        if let Some(instance) = self.nudges.pop_front() {
            return Some(instance);
        }
        if self.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.due.pop().map(|Reverse((_, instance))| instance);
        }
        None
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }
}

/// Refuses a key that is not the one of what is there.
pub(super) fn check_key(what: impl Display, is: Option<&DataKey>, given: Option<&DataKey>) -> Result<()> {
    let refused = |why: &str| Err(HostError::permanent(format!("{what} {why}")));
    match (is, given) {
        (None, None) => Ok(()),
        (Some(is), Some(given)) if is == given => Ok(()),
        (Some(_), Some(_)) => refused("is encrypted with another key"),
        (Some(_), None) => refused("is encrypted, and its key was not given"),
        (None, Some(_)) => refused("is not encrypted, and cannot become so"),
    }
}

fn sorted<'a, T: Ord + Copy + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut items: Vec<T> = items.copied().collect();
    items.sort_unstable();
    items
}
