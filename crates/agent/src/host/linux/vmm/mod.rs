//! Machines as QEMU processes, one each, which outlive every process of ours.
//!
//! ```text
//! start:  sweep leftovers ► accelerator ► disks' owners ► control group ► launcher ─► monitor greets
//! end:    monitor `quit`, else SIGKILL ► keeper has written the console ► sweep
//! sweep:  kill what runs as the machine's user or in its group ► remove group, socket ► disks back to root
//! ```
//! Invariants: what lives is asked of the kernel and of QEMU (a socket that accepts, a lock that is held, a group that holds
//! processes), never read from a file that a crash could leave behind; so every step may be repeated after a crash between any
//! two. At most one process per instance: the launcher takes the machine's lock before anything else. A machine's files and
//! user id are its own until [`Vmm::forget`].
//!
//! A guest that powers off is [`MachineState::PoweredOff`] until [`Vmm::end`], whether or not an agent was there to see it; a
//! guest that resets boots again in place; a panicking guest does what its own kernel is set to do, as on EC2. A disk that the
//! host has no room for pauses its guest; every [`RESUME_EVERY`] the agent lets it try again.
//! Disks and interfaces that come and go while a machine runs: [`devices`]; what snapshots do to disks: [`layers`]; disks that
//! several machines have: [`serving`].
//! Callers: the host loop, through [`Vmm`]. The process's sandbox is described in [`launcher`], its command line in
//! [`plan::machine`].
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html>

pub mod accel;
pub mod cgroup;
mod config;
mod devices;
mod fork;
mod hibernation;
mod home;
pub(super) mod image;
#[allow(unsafe_code, reason = "waits for its child")]
mod keeper;
#[allow(unsafe_code, reason = "forks and changes what this process is")]
pub mod launcher;
mod layers;
#[allow(unsafe_code, reason = "installs a system-call filter and answers it")]
mod memory;
mod monitor;
mod processes;
mod room;
mod serving;
mod start;
mod template;
mod timeline;
pub(super) mod uids;

pub use accel::AccelPolicy;
pub use config::{Launcher, LinuxVmmConfig, default_qemu};
pub use home::private_directory;
pub(super) use home::replace;
pub use room::RESUME_EVERY;
pub use template::{Mode as TemplateMode, TemplateConfig};

use crate::host::{
    Device, DiskSpec, HostError, KeptFork, MachineSpec, MachineState, Plugged, Release, Result, Steps, Tap,
    Templates, Vmm,
};
use home::Home;
use model::host::VolumeDesired;
use model::{ForkId, InstanceId, Timestamp, VolumeId};
use monitor::{Monitor, MonitorError, Notice};
use parking_lot::Mutex;
use plan::machine::qmp::{Command, Status};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a process may take to end when asked, before it is killed.
const COURTESY: Duration = Duration::from_secs(3);

/// The driver. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct LinuxVmm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: LinuxVmmConfig,
    cgroups: cgroup::Cgroups,
    /// Serialises what changes a machine, per instance.
    gates: Mutex<HashMap<InstanceId, Arc<tokio::sync::Mutex<()>>>>,
    monitors: tokio::sync::Mutex<HashMap<InstanceId, Arc<Monitor>>>,
    assigning: Mutex<()>,
    /// One machine at a time looks for its accelerator.
    probing: tokio::sync::Mutex<accel::Versions>,
    templates: Arc<template::Templates>,
    /// Machines that this agent has stand still for a fork or to hibernate, or is about to.
    forking: Mutex<HashSet<InstanceId>>,
    /// Machines whose guests wait for room on the host's disk and are let go on now and then.
    waiting_for_room: Mutex<HashSet<InstanceId>>,
    /// The volumes of machines whose memory is kept.
    asleep: Mutex<HashMap<VolumeId, InstanceId>>,
    /// By the process that serves it.
    served: Mutex<HashMap<InstanceId, serving::Served>>,
    changes: mpsc::UnboundedSender<InstanceId>,
    changed: tokio::sync::Mutex<mpsc::UnboundedReceiver<InstanceId>>,
}

impl LinuxVmm {
    /// Opens the driver and takes up the machines that run already.
    pub async fn open(config: LinuxVmmConfig) -> Result<Self> {
        private_directory(&config.state_dir).map_err(|e| {
            HostError::transient(format!("making {}", config.state_dir.display())).caused_by(e)
        })?;
        let hierarchy = cgroup::Hierarchy::detect().ok_or_else(|| {
            HostError::permanent("no control groups with the memory controller are mounted")
        })?;
        let cgroups = cgroup::Cgroups::of(&config.cloud, hierarchy);
        let (changes, changed) = mpsc::unbounded_channel();
        let templates = Arc::new(template::Templates::new(config.templates.clone()));
        let vmm = Self(Arc::new(Inner {
            config,
            templates,
            forking: Mutex::default(),
            waiting_for_room: Mutex::default(),
            asleep: Mutex::default(),
            served: Mutex::default(),
            cgroups,
            gates: Mutex::default(),
            monitors: tokio::sync::Mutex::default(),
            assigning: Mutex::default(),
            probing: tokio::sync::Mutex::default(),
            changes,
            changed: tokio::sync::Mutex::new(changed),
        }));
        let known = vmm.0.known()?;
        vmm.0
            .open_memories(&known)
            .map_err(|e| HostError::transient("taking up the memories of machines").caused_by(e))?;
        for instance in known {
            // One that does not answer now is asked again when somebody wants to know.
            if let Err(error) = vmm.0.monitor(instance).await {
                tracing::warn!(%instance, %error, "a running machine does not answer yet");
            }
        }
        vmm.0.open_servers().await?;
        vmm.0.open_templates().await?;
        vmm.0.open_forks().map_err(|e| HostError::transient("taking up the forks").caused_by(e))?;
        tokio::spawn(template::work(Arc::downgrade(&vmm.0)));
        Ok(vmm)
    }

    /// How the machine's last process ended (`code N`, `signal N`), for a log line or a crash's detail.
    pub fn last_exit(&self, instance: InstanceId) -> Option<String> {
        self.0.home(instance).exit()
    }

    /// Ends the machine that is being made a template, if there is one: nobody would wait for it any more.
    pub async fn abandon_templates(&self) -> Result<()> {
        self.0.end_templates().await
    }

    /// Ends every machine of this cloud on this host, those included that only their control group still knows, and
    /// removes all that they had.
    pub async fn purge(&self) -> Result<()> {
        let mut instances = self.0.known()?;
        instances.extend(self.0.cgroups.instances());
        instances.sort();
        instances.dedup();
        for instance in instances {
            self.forget(instance).await?;
        }
        let state = &self.0.config.state_dir;
        self.0
            .cgroups
            .remove_all()
            .and_then(|()| match fs::remove_dir_all(state) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            })
            .map_err(|e| HostError::transient("removing what the cloud's machines left").caused_by(e))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Whoever waits for wishes finds that there will be none.
        self.templates.nudge.notify_one();
    }
}

impl Inner {
    /// Ends what an agent before this one was making templates of, and takes up those that are whole.
    async fn open_templates(&self) -> Result<()> {
        self.end_templates().await?;
        let opened = self.templates.open(&self.config.images_dir);
        opened.map_err(|e| HostError::transient("taking up the templates").caused_by(e))
    }

    async fn end_templates(&self) -> Result<()> {
        for (instance, path) in self.templates.left_over() {
            let home = Home::at(path);
            self.sweep_home(instance, &home).await?;
            let removed = home.remove();
            removed.map_err(|e| HostError::transient("removing half a template").caused_by(e))?;
        }
        Ok(())
    }

    fn home(&self, instance: InstanceId) -> Home {
        Home::of(&self.config.state_dir, instance)
    }

    /// Every instance's machine that has a directory.
    fn known(&self) -> Result<Vec<InstanceId>> {
        let failed = |e: io::Error| HostError::transient("listing the machines").caused_by(e);
        let mut known = Vec::new();
        for entry in fs::read_dir(&self.config.state_dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            known.extend(name.to_str().and_then(|n| InstanceId::parse(n).ok()));
        }
        known.retain(|instance| self.home(*instance).serves().is_none());
        known.sort();
        Ok(known)
    }

    fn gate(&self, instance: InstanceId) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.gates.lock().entry(instance).or_default())
    }

    /// The connection to the machine's process; none when there is no process.
    async fn monitor(self: &Arc<Self>, instance: InstanceId) -> Result<Option<Arc<Monitor>>> {
        if let Some(known) = self.monitors.lock().await.get(&instance)
            && known.open()
        {
            return Ok(Some(Arc::clone(known)));
        }
        let inner = Arc::downgrade(self);
        let connected = Monitor::connect(self.home(instance).path(), move |notice| {
            if let Some(inner) = inner.upgrade() {
                inner.noticed(instance, notice);
            }
        })
        .await;
        let mut monitors = self.monitors.lock().await;
        if let Some(known) = monitors.get(&instance)
            && known.open()
        {
            // Somebody else was faster; a monitor speaks with one at a time.
            return Ok(Some(Arc::clone(known)));
        }
        match connected {
            Ok(Some(monitor)) => {
                let monitor = Arc::new(monitor);
                monitors.insert(instance, Arc::clone(&monitor));
                drop(monitors);
                // What happened while nobody listened.
                if matches!(monitor.status().await, Ok(Status::OutOfSpace)) {
                    self.noticed(instance, Notice::OutOfSpace);
                }
                Ok(Some(monitor))
            }
            Ok(None) | Err(MonitorError::Gone) => {
                monitors.remove(&instance);
                Ok(None)
            }
            Err(e) => Err(HostError::transient(format!("{instance}: its state is not known")).caused_by(e)),
        }
    }

    fn noticed(self: &Arc<Self>, instance: InstanceId, notice: Notice) {
        if self.is_server(instance, notice == Notice::Gone) {
            return;
        }
        // The receiver lives as long as this.
        let _ = self.changes.send(instance);
        if notice == Notice::OutOfSpace {
            room::await_room(self, instance);
        }
    }

    async fn require(self: &Arc<Self>, instance: InstanceId) -> Result<Arc<Monitor>> {
        self.monitor(instance)
            .await?
            .ok_or_else(|| HostError::transient(format!("{instance} has no process")))
    }

    /// Kills whatever is left of the machine and undoes what was made for its process. Its own files stay.
    async fn sweep(self: &Arc<Self>, instance: InstanceId) -> Result<()> {
        self.monitors.lock().await.remove(&instance);
        let home = self.home(instance);
        let had = home.lent();
        self.sweep_home(instance, &home).await?;
        let had =
            had.map_err(|e| HostError::transient(format!("tidying up after {instance}")).caused_by(e))?;
        self.leave(instance, had).await
    }

    async fn sweep_home(&self, instance: InstanceId, home: &Home) -> Result<()> {
        let failed = |e: io::Error| HostError::transient(format!("tidying up after {instance}")).caused_by(e);
        let uid = home.uid().map_err(failed)?;
        // Again and again: a process may have forked, or joined the group, while it was looked at.
        for round in 0.. {
            let mut pids = self.cgroups.processes(instance);
            if let Some(uid) = uid {
                pids.extend(processes::of_user(uid).map_err(failed)?);
            }
            let mut left = Vec::new();
            for pid in pids {
                left.extend(
                    processes::hold(pid).map_err(failed)?.filter(|process| !processes::ended(process)),
                );
            }
            if left.is_empty() {
                break;
            }
            if round == 20 {
                return Err(HostError::transient(format!("{instance}: its processes do not end")));
            }
            for process in &left {
                processes::kill(process).map_err(failed)?;
            }
            for process in &left {
                processes::wait(process, Duration::from_secs(1)).await;
            }
        }
        home.take_back().map_err(failed)?;
        // The kernel empties the group a moment after its last process is gone.
        let mut removed = self.cgroups.remove(instance);
        for _ in 0..200 {
            match &removed {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
                _ => break,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            removed = self.cgroups.remove(instance);
        }
        removed.map_err(failed)
    }

    async fn end(self: &Arc<Self>, instance: InstanceId) -> Result<()> {
        let home = self.home(instance);
        // A process that does not answer soon is not asked again: this is the power cut.
        let asked = tokio::time::timeout(COURTESY, async {
            let Some(monitor) = self.monitor(instance).await? else { return Ok(()) };
            let process = processes::hold(monitor.pid)
                .map_err(|e| HostError::transient(format!("ending {instance}")).caused_by(e))?;
            match (monitor.execute(Command::Quit).await, process) {
                // Without an answer too, when it was faster to end than to answer.
                (Ok(_) | Err(MonitorError::Gone), Some(process)) => {
                    processes::wait(&process, COURTESY).await;
                    Ok(())
                }
                (Ok(_) | Err(MonitorError::Gone), None) => Ok(()),
                (Err(e), _) => Err(HostError::transient(format!("ending {instance}")).caused_by(e)),
            }
        })
        .await;
        match asked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%instance, %error, "killing a process that would not end"),
            Err(_) => tracing::warn!(%instance, "killing a process that does not answer"),
        }
        // The keeper writes down the last words, unless QEMU hangs.
        let patience = tokio::time::Instant::now() + Duration::from_secs(1);
        while home.alive().unwrap_or(false) && tokio::time::Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.sweep(instance).await
    }
}

impl Vmm for LinuxVmm {
    async fn start(&self, spec: &MachineSpec, taps: Vec<Tap>) -> Result<Steps> {
        let gate = self.0.gate(spec.instance);
        let _alone = gate.lock().await;
        let _counted = self.0.templates.starting();
        start::start(&self.0, spec, taps).await
    }

    async fn state(&self, instance: InstanceId) -> Result<MachineState> {
        for _ in 0..2 {
            let Some(monitor) = self.0.monitor(instance).await? else {
                return Ok(self.0.without_process(instance));
            };
            if let Some(settled) = self.0.settle(instance, &monitor).await? {
                return Ok(settled);
            }
            self.0.let_go_on(instance, &monitor).await?;
            if self.0.is_nameless(instance).await? {
                return Ok(MachineState::Absent);
            }
            return match monitor.status().await {
                // Its guest has not run yet, and only the start that made it could let it: start anew.
                Ok(Status::Paused) if self.0.home(instance).is_unborn() => Ok(MachineState::Absent),
                Ok(Status::On | Status::Paused | Status::OutOfSpace) => {
                    // An agent that was killed just after it let the guest go had no time to say so.
                    self.0.home(instance).is_born();
                    Ok(MachineState::Running)
                }
                Ok(Status::Off) => Ok(MachineState::PoweredOff),
                // It ended meanwhile; a second look says so.
                Err(MonitorError::Gone) => continue,
                Err(e) => {
                    Err(HostError::transient(format!("{instance}: its state is not known")).caused_by(e))
                }
            };
        }
        Err(HostError::transient(format!("{instance}: its process comes and goes")))
    }

    async fn machines(&self) -> Result<Vec<InstanceId>> {
        let mut machines = Vec::new();
        for instance in self.0.known()? {
            // One that is silent has a process nonetheless.
            if !matches!(self.0.monitor(instance).await, Ok(None)) {
                machines.push(instance);
            }
        }
        Ok(machines)
    }

    async fn press_power_button(&self, instance: InstanceId) -> Result<()> {
        let monitor = self.0.require(instance).await?;
        let pressed = monitor.execute(Command::PressPowerButton).await;
        pressed
            .map(drop)
            .map_err(|e| HostError::transient(format!("{instance}: its power button")).caused_by(e))
    }

    async fn reset(&self, instance: InstanceId) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        let failed = |e: MonitorError| HostError::transient(format!("resetting {instance}")).caused_by(e);
        let monitor = self.0.require(instance).await?;
        monitor.execute(Command::Reset).await.map_err(failed)?;
        // The reset takes effect after its answer, and until then a powered-off guest refuses to go on.
        let end = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            match monitor.execute(Command::Continue).await {
                Ok(_) => return Ok(()),
                Err(MonitorError::Refused(_)) if tokio::time::Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(e) => return Err(failed(e)),
            }
        }
    }

    async fn hibernate(&self, instance: InstanceId, root: &DiskSpec) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.hibernate(instance, root).await
    }

    async fn end(&self, instance: InstanceId) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.end(instance).await
    }

    async fn forget(&self, instance: InstanceId) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.end(instance).await?;
        self.0
            .home(instance)
            .remove()
            .map_err(|e| HostError::transient(format!("forgetting {instance}")).caused_by(e))?;
        self.0.asleep.lock().retain(|_, sleeper| *sleeper != instance);
        self.0.gates.lock().remove(&instance);
        Ok(())
    }

    async fn console(&self, instance: InstanceId, limit: usize) -> Result<(Vec<u8>, Option<Timestamp>)> {
        self.0
            .home(instance)
            .console(limit)
            .map_err(|e| HostError::transient(format!("reading the console of {instance}")).caused_by(e))
    }

    async fn plugged(&self, instance: InstanceId) -> Result<Plugged> {
        self.0.plugged(instance).await
    }

    async fn plug_disk(&self, instance: InstanceId, disk: &DiskSpec) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.plug_disk(instance, disk).await
    }

    async fn plug_interface(&self, instance: InstanceId, tap: Tap) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.plug_interface(instance, tap).await
    }

    async fn unplug(&self, instance: InstanceId, device: Device) -> Result<Release> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        match device {
            Device::Volume(volume) => self.0.unplug_disk(instance, volume).await,
            Device::Interface(interface) => self.0.unplug_interface(instance, interface).await,
        }
    }

    async fn tear_out(&self, instance: InstanceId, volume: VolumeId) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.tear_out(instance, volume).await
    }

    async fn cut_off(&self, instance: InstanceId, interface: model::NetworkInterfaceId) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.cut_off(instance, interface).await
    }

    async fn tune_disk(&self, instance: InstanceId, volume: &VolumeDesired) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.tune_disk(instance, volume).await
    }

    async fn follow(&self, instance: InstanceId, volumes: &[VolumeId]) -> Result<()> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.follow(instance, volumes).await
    }

    async fn fork(
        &self,
        instance: InstanceId,
        fork: ForkId,
        volumes: &[VolumeId],
        children: &[InstanceId],
    ) -> Result<Duration> {
        let gate = self.0.gate(instance);
        let _alone = gate.lock().await;
        self.0.fork(instance, fork, volumes, children).await
    }

    async fn forks(&self) -> Result<Vec<KeptFork>> {
        self.0.forks().map_err(|e| HostError::transient("listing the forks").caused_by(e))
    }

    async fn remove_fork(&self, fork: ForkId) -> Result<()> {
        self.0.remove_fork(fork).map_err(|e| HostError::transient(format!("removing {fork}")).caused_by(e))
    }

    async fn templates(&self) -> Result<Templates> {
        let origin = |instance| Some((instance, self.0.home(instance).origin()?));
        let origins = self.0.known()?.into_iter().filter_map(origin).collect();
        Ok(Templates { templates: self.0.templates.status(), origins })
    }

    async fn build_template(&self, image: &str, machine: &model::host::Machine) -> Result<String> {
        template::order(&self.0, image, machine).await
    }

    async fn remove_template(&self, key: &str) -> Result<()> {
        if !self.0.templates.dismiss(key) {
            return Err(HostError::permanent(format!("there is no template {key}")));
        }
        self.0
            .templates
            .remove(key)
            .map_err(|e| HostError::transient(format!("removing the template {key}")).caused_by(e))
    }

    async fn changed(&self) -> InstanceId {
        let mut changed = self.0.changed.lock().await;
        match changed.recv().await {
            Some(instance) => instance,
            // This value holds a sender, so the channel stays open.
            None => std::future::pending().await,
        }
    }
}
