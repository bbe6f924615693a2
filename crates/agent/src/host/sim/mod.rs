//! A host in memory: machines, networks and volumes that cost nothing, with seeded faults on request.
//!
//! Tests run the loop on it, and `nube up --host sim` is it. A machine is a few hundred bytes and no task: boots and
//! shutdowns are computed from the time, and one list of due nudges serves all of them. Time is tokio's, which tests turn.
//!
//! The simulator is stricter than Linux: a call that a correct loop never makes (starting what runs, removing the disk of
//! a running machine) is noted in [`SimHost::violations`].

mod devices;
mod faults;
mod forks;
mod sleep;
mod snapshots;
mod world;

pub use faults::Faults;

use super::{
    Block, Device, DiskSpec, HostError, KeptFork, MachineSpec, MachineState, Net, Plugged, Release, Result,
    SourceKey, Standing, Steps, Tap, Templates, Tunnels, Vmm,
};
use faults::{Outcome, Random};
use model::host::blocks::ChangedBlock;
use model::host::{
    InterfaceDesired, Machine, ObjectKey, SecurityGroupDesired, SnapshotDesired, SnapshotPhase,
    VolumeDesired, VolumeLimits, VpcDesired,
};
use model::packet::{Packet, Walk};
use model::{
    Clock, DataKey, ForkId, GiB, InstanceId, NetworkInterfaceId, SecurityGroupId, SnapshotId, Timestamp,
    VolumeId, VpcId,
};
use parking_lot::Mutex;
use plan::net::packet::Network;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use world::World;

/// How the simulated guests behave.
#[derive(Debug, Clone, Copy)]
pub struct SimConfig {
    pub seed: u64,
    /// From the call to the machine's process running.
    pub start_time: Duration,
    /// From the start of a machine to its login prompt.
    pub boot_time: Duration,
    /// From the power button to powered off.
    pub shutdown_time: Duration,
    /// Ending a machine's process.
    pub end_time: Duration,
    /// Keeping a machine's memory.
    pub hibernation_time: Duration,
    /// From asking a guest for a device to its letting go.
    pub release_time: Duration,
    /// From the instant of a snapshot to its completion.
    pub snapshot_time: Duration,
    pub faults: Faults,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            start_time: Duration::ZERO,
            boot_time: Duration::ZERO,
            shutdown_time: Duration::ZERO,
            end_time: Duration::ZERO,
            hibernation_time: Duration::ZERO,
            release_time: Duration::ZERO,
            snapshot_time: Duration::ZERO,
            faults: Faults::NONE,
        }
    }
}

/// The host. Clones are the same host; it outlives the agents that drive it, as a real one does.
#[derive(Clone)]
pub struct SimHost(Arc<Inner>);

struct Inner {
    config: SimConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    nudged: Notify,
}

struct State {
    world: World,
    random: Random,
    faults: Faults,
}

impl SimHost {
    pub fn new(config: SimConfig, clock: Arc<dyn Clock>) -> Self {
        let random = Random::new(config.seed);
        let state = State { world: World::default(), random, faults: config.faults };
        Self(Arc::new(Inner { config, clock, state: Mutex::new(state), nudged: Notify::new() }))
    }

    /// Changes with every reboot of the host.
    pub fn boot_id(&self) -> String {
        format!("sim-{:016x}-{}", self.0.config.seed, self.0.state.lock().world.host_boots)
    }

    pub fn set_faults(&self, faults: Faults) {
        self.0.state.lock().faults = faults;
    }

    /// The guest shuts itself down.
    pub fn guest_powers_off(&self, instance: InstanceId) {
        self.0.state.lock().world.power_off(instance);
        self.0.nudged.notify_one();
    }

    /// The guest stops listening to the power button (or listens again).
    pub fn guest_ignores_button(&self, instance: InstanceId, ignores: bool) {
        self.0.state.lock().world.set_deaf(instance, ignores);
    }

    /// The guest stops letting go of devices (or does again).
    pub fn guest_keeps_devices(&self, instance: InstanceId, keeps: bool) {
        self.0.state.lock().world.set_clinging(instance, keeps);
    }

    /// The device at the other end of the tunnel with this outside address falls silent (or speaks again).
    pub fn device_is_silent(&self, outside: std::net::Ipv4Addr, silent: bool) {
        let world = &mut self.0.state.lock().world;
        if silent {
            world.silent.insert(outside)
        } else {
            world.silent.remove(&outside)
        };
    }

    /// No room for the memory of machines that are hibernated (or there is again).
    pub fn keeps_no_memory(&self, full: bool) {
        self.0.state.lock().world.no_room = full;
    }

    /// Size and limits of a volume as they are in force.
    pub fn volume(&self, volume: VolumeId) -> Option<(GiB, Option<VolumeLimits>)> {
        self.0.state.lock().world.volumes.get(&volume).map(|disk| (disk.size, disk.limits))
    }

    /// The machine's process dies.
    pub fn kill(&self, instance: InstanceId) {
        self.0.state.lock().world.kill(instance);
        self.0.nudged.notify_one();
    }

    /// The host loses power: machines and networks are gone, volumes and consoles are not.
    pub fn reboot_host(&self) {
        self.0.state.lock().world.reboot();
    }

    /// Every attempt to make this object (to start it, for an instance) fails for good.
    pub fn refuse(&self, key: ObjectKey) {
        self.0.state.lock().world.refused.insert(key);
    }

    /// How often the machine has booted, resets included.
    pub fn boots(&self, instance: InstanceId) -> u32 {
        self.0.state.lock().world.boots(instance)
    }

    pub fn machine(&self, instance: InstanceId) -> MachineState {
        self.0.state.lock().world.state(instance, Instant::now())
    }

    /// Every machine, port and other part that stands, for comparing with what was desired.
    pub fn inventory(&self) -> Inventory {
        self.0.state.lock().world.inventory()
    }

    /// The snapshots that are kept so that volumes of them lack nothing.
    pub fn fast_snapshots(&self) -> Vec<SnapshotId> {
        self.0.state.lock().world.fast_snapshots()
    }

    /// Does what an agent asked for that has died since.
    pub fn keeps_fast(&self, snapshot: SnapshotId) {
        self.0.state.lock().world.keep_fast(snapshot);
    }

    /// The form in which a part of the network stands.
    pub fn interface(&self, interface: NetworkInterfaceId) -> Option<InterfaceDesired> {
        self.0.state.lock().world.ports.get(&interface).map(|port| (*port.interface).clone())
    }

    pub fn vpc(&self, vpc: VpcId) -> Option<VpcDesired> {
        self.0.state.lock().world.vpcs.get(&vpc).cloned()
    }

    /// The way of a model packet out of a port, by the rules that the host was told: what a real host's kernel would do.
    pub fn carry(&self, from: NetworkInterfaceId, packet: Packet) -> Walk {
        let state = self.0.state.lock();
        let ports = state.world.ports.values().map(|port| InterfaceDesired::clone(&port.interface));
        let (vpcs, groups) = (state.world.vpcs.values().cloned(), state.world.groups.values().cloned());
        Network::new(vpcs, groups, ports).opens(from, packet)
    }

    /// What was asked of the host that a correct loop never asks.
    pub fn violations(&self) -> Vec<String> {
        self.0.state.lock().world.violations.clone()
    }

    /// Runs `work` on the world, at the mercy of the faults.
    async fn act<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut World, Instant) -> Result<T> + Send,
    ) -> Result<T> {
        let outcome = {
            let mut state = self.0.state.lock();
            let faults = state.faults;
            if let Some(index) = state.random.lie(faults) {
                state.world.nudge_any(index);
                self.0.nudged.notify_one();
            }
            state.random.outcome(faults)
        };
        if let Some(delay) = outcome.delay() {
            tokio::time::sleep(delay).await;
        }
        if outcome.fails_before() {
            return Err(HostError::transient(format!("{what}: the simulator's fault, before the work")));
        }
        let done = work(&mut self.0.state.lock().world, Instant::now());
        self.0.nudged.notify_one();
        match outcome {
            Outcome::ErrorAfterWork => {
                Err(HostError::transient(format!("{what}: the simulator's fault, after the work")))
            }
            Outcome::Timeout(rest) => {
                tokio::time::sleep(rest).await;
                Err(HostError::transient(format!("{what}: timed out in the simulator")))
            }
            Outcome::Work | Outcome::Delay(_) | Outcome::Error => done,
        }
    }
}

/// What stands on a simulated host, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    pub machines: Vec<InstanceId>,
    pub ports: Vec<NetworkInterfaceId>,
    pub vpcs: Vec<VpcId>,
    pub security_groups: Vec<SecurityGroupId>,
    pub volumes: Vec<VolumeId>,
    pub snapshots: Vec<SnapshotId>,
    pub consoles: Vec<InstanceId>,
}

/// No time is not even a turn of the scheduler.
async fn take(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Vmm for SimHost {
    async fn start(&self, spec: &MachineSpec, taps: Vec<Tap>) -> Result<Steps> {
        take(self.0.config.start_time).await;
        let now = self.0.clock.now();
        let ports = taps.iter().map(|tap| tap.interface).collect();
        self.act("start", |world, _| {
            world.check_refusal(ObjectKey::Instance(spec.instance))?;
            world.check_fork(spec)?;
            world.start(spec.instance, ports, &spec.disks, now)?;
            world.go_on_from(spec);
            world.wake(spec);
            Ok(Steps::new())
        })
        .await
    }

    async fn state(&self, instance: InstanceId) -> Result<MachineState> {
        self.act("state", |world, at| Ok(world.state(instance, at))).await
    }

    async fn machines(&self) -> Result<Vec<InstanceId>> {
        self.act("machines", |world, _| Ok(world.inventory().machines)).await
    }

    async fn press_power_button(&self, instance: InstanceId) -> Result<()> {
        let shutdown_time = self.0.config.shutdown_time;
        self.act("press", |world, at| world.press(instance, at + shutdown_time)).await
    }

    async fn reset(&self, instance: InstanceId) -> Result<()> {
        let now = self.0.clock.now();
        self.act("reset", |world, _| world.reset(instance, now)).await
    }

    async fn hibernate(&self, instance: InstanceId, root: &DiskSpec) -> Result<()> {
        let there = self.0.state.lock().world.machines.contains_key(&instance);
        if there {
            take(self.0.config.hibernation_time).await;
        }
        self.act("hibernate", |world, at| world.hibernate(instance, root, at)).await
    }

    async fn end(&self, instance: InstanceId) -> Result<()> {
        let there = self.0.state.lock().world.machines.contains_key(&instance);
        if there {
            take(self.0.config.end_time).await;
        }
        self.act("end", |world, _| {
            world.kill(instance);
            Ok(())
        })
        .await
    }

    async fn forget(&self, instance: InstanceId) -> Result<()> {
        self.act("forget", |world, _| world.forget(instance)).await
    }

    async fn console(&self, instance: InstanceId, limit: usize) -> Result<(Vec<u8>, Option<Timestamp>)> {
        let (now, boot_time) = (self.0.clock.now(), self.0.config.boot_time);
        self.act("console", |world, _| Ok(world.console(instance, limit, now, boot_time))).await
    }

    async fn plugged(&self, instance: InstanceId) -> Result<Plugged> {
        self.act("plugged", |world, at| Ok(world.plugged(instance, at))).await
    }

    async fn plug_disk(&self, instance: InstanceId, disk: &DiskSpec) -> Result<()> {
        self.act("plug_disk", |world, at| world.plug_disk(instance, disk, at)).await
    }

    async fn plug_interface(&self, instance: InstanceId, tap: Tap) -> Result<()> {
        self.act("plug_interface", |world, at| world.plug_interface(instance, tap.interface, at)).await
    }

    async fn unplug(&self, instance: InstanceId, device: Device) -> Result<Release> {
        let release_time = self.0.config.release_time;
        self.act("unplug", |world, at| world.unplug(instance, device, at, release_time)).await
    }

    async fn tear_out(&self, instance: InstanceId, volume: VolumeId) -> Result<()> {
        let release_time = self.0.config.release_time;
        self.act("tear_out", |world, at| world.tear_out(instance, volume, at, release_time)).await
    }

    async fn cut_off(&self, instance: InstanceId, interface: NetworkInterfaceId) -> Result<()> {
        let release_time = self.0.config.release_time;
        self.act("cut_off", |world, at| world.cut_off(instance, interface, at, release_time)).await
    }

    async fn tune_disk(&self, instance: InstanceId, volume: &VolumeDesired) -> Result<()> {
        self.act("tune_disk", |world, _| {
            world.tune(instance, volume);
            Ok(())
        })
        .await
    }

    async fn follow(&self, instance: InstanceId, volumes: &[VolumeId]) -> Result<()> {
        self.act("follow", |world, _| {
            world.follow(instance, volumes);
            Ok(())
        })
        .await
    }

    async fn fork(
        &self,
        instance: InstanceId,
        fork: ForkId,
        volumes: &[VolumeId],
        children: &[InstanceId],
    ) -> Result<Duration> {
        self.act("fork", |world, at| world.fork(instance, fork, volumes, children, at)).await
    }

    async fn forks(&self) -> Result<Vec<KeptFork>> {
        self.act("forks", |world, at| Ok(world.kept_forks(at))).await
    }

    async fn remove_fork(&self, fork: ForkId) -> Result<()> {
        self.act("remove_fork", |world, _| {
            world.remove_fork(fork);
            Ok(())
        })
        .await
    }

    async fn templates(&self) -> Result<Templates> {
        Ok(Templates::default())
    }

    async fn build_template(&self, _: &str, _: &Machine) -> Result<String> {
        Err(HostError::permanent("simulated machines are not resumed from templates"))
    }

    async fn remove_template(&self, key: &str) -> Result<()> {
        Err(HostError::permanent(format!("there is no template {key}")))
    }

    async fn changed(&self) -> InstanceId {
        loop {
            let nudged = self.0.nudged.notified();
            let due = {
                let mut state = self.0.state.lock();
                if let Some(instance) = state.world.next_nudge(Instant::now()) {
                    return instance;
                }
                state.world.next_due()
            };
            match due {
                Some(due) => {
                    let _elapsed = tokio::time::timeout_at(due, nudged).await;
                }
                None => nudged.await,
            }
        }
    }
}

impl Net for SimHost {
    async fn ensure_vpc(&self, vpc: &VpcDesired) -> Result<()> {
        self.act("ensure_vpc", |world, _| {
            world.check_refusal(ObjectKey::Vpc(vpc.vpc))?;
            world.vpcs.insert(vpc.vpc, vpc.clone());
            Ok(())
        })
        .await
    }

    async fn remove_vpc(&self, vpc: VpcId) -> Result<()> {
        self.act("remove_vpc", |world, _| world.remove_vpc(vpc)).await
    }

    async fn ensure_security_group(&self, group: &SecurityGroupDesired) -> Result<()> {
        self.act("ensure_security_group", |world, _| world.ensure_group(group)).await
    }

    async fn remove_security_group(&self, group: SecurityGroupId) -> Result<()> {
        self.act("remove_security_group", |world, _| world.remove_group(group)).await
    }

    async fn open_port(&self, interface: &InterfaceDesired) -> Result<Tap> {
        self.act("open_port", |world, _| world.open_port(interface)).await?;
        Ok(Tap { interface: interface.interface, mac: interface.mac, fd: None, mtu: 1500 })
    }

    async fn ensure_port(&self, interface: &InterfaceDesired) -> Result<()> {
        self.act("ensure_port", |world, _| world.ensure_port(interface)).await
    }

    async fn remove_port(&self, interface: NetworkInterfaceId) -> Result<()> {
        self.act("remove_port", |world, _| world.remove_port(interface)).await
    }

    async fn standing(&self) -> Result<Standing> {
        self.act("standing", |world, _| {
            let Inventory { ports, vpcs, security_groups, .. } = world.inventory();
            Ok(Standing { vpcs, security_groups, ports })
        })
        .await
    }

    async fn tunnels(&self) -> Result<Tunnels> {
        self.act("tunnels", |world, _| Ok(Tunnels { lack: None, seen: world.tunnels() })).await
    }
}

impl Block for SimHost {
    async fn ensure_volume(&self, volume: &VolumeDesired, source: SourceKey<'_>) -> Result<PathBuf> {
        self.act("ensure_volume", |world, _| {
            world.check_refusal(ObjectKey::Volume(volume.volume))?;
            world.ensure_volume(volume, source)?;
            Ok(PathBuf::from(format!("/sim/{}", volume.volume)))
        })
        .await
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<()> {
        self.act("remove_volume", |world, _| world.remove_volume(volume)).await
    }

    async fn volumes(&self) -> Result<Vec<VolumeId>> {
        self.act("volumes", |world, _| Ok(world.inventory().volumes)).await
    }

    async fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        self.act("snapshots", |world, _| Ok(world.inventory().snapshots)).await
    }

    async fn is_captured(&self, snapshot: SnapshotId) -> Result<bool> {
        self.act("is_captured", |world, _| Ok(world.is_captured(snapshot))).await
    }

    async fn freeze(&self, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        self.act("freeze", |world, _| world.freeze(set)).await
    }

    async fn captured(&self, snapshots: &[SnapshotId]) -> Result<()> {
        self.act("captured", |world, at| world.captured(snapshots, at)).await
    }

    async fn store_snapshot(
        &self,
        snapshot: &SnapshotDesired,
        source: SourceKey<'_>,
    ) -> Result<SnapshotPhase> {
        let time = self.0.config.snapshot_time;
        self.act("store_snapshot", |world, at| {
            world.check_refusal(ObjectKey::Snapshot(snapshot.snapshot))?;
            world.store_snapshot(snapshot, source, at, time)
        })
        .await
    }

    async fn change_tier(&self, snapshot: &SnapshotDesired) -> Result<SnapshotPhase> {
        let time = self.0.config.snapshot_time;
        self.act("change_tier", |world, at| world.change_tier(snapshot, at, time)).await
    }

    async fn is_fast(&self, snapshot: SnapshotId) -> Result<bool> {
        self.act("is_fast", |world, _| Ok(world.is_fast(snapshot))).await
    }

    async fn remove_snapshot(&self, snapshot: SnapshotId) -> Result<Option<VolumeId>> {
        self.act("remove_snapshot", |world, _| Ok(world.remove_snapshot(snapshot))).await
    }

    async fn blocks(
        &self,
        snapshot: SnapshotId,
        _: SourceKey<'_>,
        from: u64,
        most: usize,
    ) -> Result<Vec<u64>> {
        self.act("blocks", |world, _| world.blocks(snapshot, from, most)).await
    }

    async fn changed_blocks(
        &self,
        first: (SnapshotId, SourceKey<'_>),
        second: (SnapshotId, SourceKey<'_>),
        from: u64,
        most: usize,
    ) -> Result<Option<Vec<ChangedBlock>>> {
        // Domains are accounts and keys; accounts are the control plane's to tell apart.
        if first.1 != second.1 {
            return Ok(None);
        }
        self.act("changed_blocks", |world, _| world.changed_blocks(first.0, second.0, from, most).map(Some))
            .await
    }

    async fn block(&self, snapshot: SnapshotId, _: SourceKey<'_>, index: u64) -> Result<Option<Vec<u8>>> {
        self.act("block", |world, _| world.block(snapshot, index)).await
    }

    async fn put_block(&self, snapshot: &SnapshotDesired, index: u64, data: Vec<u8>) -> Result<()> {
        self.act("put_block", |world, _| world.put_block(snapshot, index, data)).await
    }

    async fn keep_fork(&self, fork: ForkId, set: &[(SnapshotId, VolumeId)]) -> Result<()> {
        self.act("keep_fork", |world, _| world.keep_fork(fork, set)).await
    }

    async fn trim(&self, volume: VolumeId, key: Option<&DataKey>) -> Result<()> {
        self.act("trim", |world, _| world.trim(volume, key)).await
    }
}

/// Wall-clock time that moves with tokio's, so that a test which pauses tokio turns both.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: Timestamp,
    origin: Instant,
}

impl TokioClock {
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, origin: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start + self.origin.elapsed()
    }
}
