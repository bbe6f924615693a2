//! A child's part: its disks on what the fork kept, its state read, its link off until its guest is somebody.
//!
//! Whatever fails before that is undone, and the child begins anew; it has not been heard of by anybody but its host.

use super::super::Inner;
use super::super::devices::disk;
use super::super::home::Stage as Step;
use super::super::launcher::Priority;
use super::super::monitor::{Monitor, MonitorError};
use super::super::start::{Ground, Plan, greet, ground, interface, launch};
use super::super::template::pass;
use super::super::timeline::Timeline;
use super::STATE;
use crate::host::linux::block::{backing_chain, base_of_child, header, stand_on};
use crate::host::{HostError, MachineSpec, Result, Tap};
use model::{ForkId, InstanceId, Mac, NetworkInterfaceId};
use plan::machine::Stage;
use plan::machine::fork::{Child, Link, Progress, is_ready, link, progress};
use plan::machine::qmp::Command;
use plan::machine::template::{load, query, say_nothing};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long reading a state may take, and then a guest to take its identity: many may be at it at once, emulated.
const PATIENCE: Duration = Duration::from_mins(5);
/// How much of the console's end holds the guest's word.
const CONSOLE: usize = 64 << 10;

/// Starts the machine from the fork; it is somebody of its own when this returns.
pub async fn bear(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    fork: ForkId,
    taps: Vec<Tap>,
    timeline: &mut Timeline,
) -> Result<()> {
    let born = begin(inner, spec, fork, taps, timeline).await;
    if born.is_err()
        && inner.home(spec.instance).stage() == Some(Step::Nameless)
        && let Err(error) = inner.sweep(spec.instance).await
    {
        tracing::warn!(instance = %spec.instance, %error, "a child that failed left something behind");
    }
    born
}

async fn begin(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    fork: ForkId,
    taps: Vec<Tap>,
    timeline: &mut Timeline,
) -> Result<()> {
    let instance = spec.instance;
    let failed = |e: io::Error| HostError::transient(format!("preparing {instance}")).caused_by(e);
    let manifest = inner
        .manifest(fork)
        .map_err(|e| HostError::permanent(format!("{fork} is not on this host any more")).caused_by(e))?;
    let state = File::open(inner.fork_dir(fork).join(STATE)).map_err(failed)?;
    let [tap] = taps.as_slice() else {
        return Err(HostError::permanent("a fork has one interface"));
    };
    let lacking = || HostError::permanent("an interface without a descriptor cannot be plugged in");
    let descriptor = tap.fd.as_ref().ok_or_else(lacking)?;

    let home = inner.home(instance);
    home.make().and_then(|()| home.set_stage(Step::Nameless)).map_err(failed)?;
    // What an attempt before this one wrote belongs to another future.
    for disk in &spec.disks {
        let of = disk.forked.ok_or_else(|| HostError::permanent("a volume of another kind"))?;
        let below = base_of_child(&disk.path, fork, of).map_err(failed)?;
        let size = header(&disk.path).map_err(failed)?.size;
        stand_on(&disk.path, size, &below).map_err(failed)?;
    }
    let chains = spec.disks.iter().map(|disk| backing_chain(&disk.path)).collect::<Result<Vec<_>>>()?;
    let ground = ground(inner, &spec.machine, chains.first().cloned().unwrap_or_default()).await?;
    let slots = manifest
        .shape
        .seat(&child(spec, &ground, tap)?)
        .map_err(|e| HostError::permanent(format!("{instance} cannot go on from {fork}")).caused_by(e))?;
    timeline.mark("prepared");
    let plan = Plan {
        home: &home,
        spec,
        chains: &chains,
        ground: &ground,
        stage: Stage::Fork { ram: manifest.shape.ram, slots: &slots },
        interfaces: vec![interface(tap)],
        descriptors: &[descriptor.as_fd()],
        memory: None,
        console: None,
        priority: Priority::Usual,
    };
    launch(inner, plan).await?;
    timeline.mark("launched");
    greet(inner, instance).await?;
    timeline.mark("greeted");
    let (interface, mac) = (tap.interface, tap.mac);
    // QEMU has its own copy; its end must be the interface's end.
    drop(taps);
    let monitor = inner.require(instance).await?;
    resume(&monitor, instance, interface, state, timeline).await?;
    named(inner, instance, mac).await?;
    timeline.mark("named");
    home.set_stage(Step::Named).map_err(failed)?;
    home.set_origin(&format!("fork of {}", manifest.parent));
    inner.connect(instance).await?;
    timeline.mark("connected");
    tracing::info!(%instance, parent = %manifest.parent, milliseconds = %timeline, "goes on from a fork");
    Ok(())
}

fn child<'a>(spec: &'a MachineSpec, ground: &'a Ground, tap: &Tap) -> Result<Child<'a>> {
    let disks = spec.disks.iter().map(|spec| Ok((disk(spec)?, spec.forked.unwrap_or(spec.volume))));
    Ok(Child {
        instance: spec.instance,
        machine: &spec.machine,
        accelerator: ground.accelerator,
        boot: ground.boot(),
        disks: disks.collect::<Result<_>>()?,
        interface: interface(tap),
    })
}

/// Reads the state and has the guest run, without a link.
async fn resume(
    monitor: &Monitor,
    instance: InstanceId,
    interface: NetworkInterfaceId,
    state: File,
    timeline: &mut Timeline,
) -> Result<()> {
    let judge = |e: MonitorError| match e {
        // By a process that lives: it would do so again.
        MonitorError::Refused(_) => {
            HostError::permanent(format!("{instance} cannot read its state")).caused_by(e)
        }
        MonitorError::Gone | MonitorError::Silent => {
            HostError::transient(format!("{instance} reads its state")).caused_by(e)
        }
    };
    monitor.execute(say_nothing()).await.map_err(judge)?;
    pass(monitor, "fork", state.into()).await.map_err(judge)?;
    monitor.execute(load("fork")).await.map_err(judge)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match progress(&monitor.execute(query()).await.map_err(judge)?) {
            Progress::Done => break,
            Progress::Failed(why) => return Err(judge(MonitorError::Refused(why))),
            Progress::Moving | Progress::Standing | Progress::Idle if Instant::now() > end => {
                return Err(judge(MonitorError::Silent));
            }
            Progress::Moving | Progress::Standing | Progress::Idle => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    timeline.mark("loaded");
    monitor.execute(link(interface, Link::Off)).await.map_err(judge)?;
    monitor.execute(Command::Continue).await.map_err(judge)?;
    timeline.mark("resumed");
    Ok(())
}

/// Waits for the guest's word that it has an identity of its own.
async fn named(inner: &Inner, instance: InstanceId, mac: Mac) -> Result<()> {
    let home = inner.home(instance);
    let end = Instant::now() + PATIENCE;
    loop {
        let console = home.console(CONSOLE).map(|(text, _)| text).unwrap_or_default();
        if is_ready(&String::from_utf8_lossy(&console), mac) {
            return Ok(());
        }
        if !home.alive().unwrap_or(false) {
            return Err(HostError::transient(format!("{instance} ended before its guest was itself")));
        }
        if Instant::now() > end {
            return Err(HostError::permanent(format!(
                "the guest of {instance} did not take an identity of its own"
            )));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
