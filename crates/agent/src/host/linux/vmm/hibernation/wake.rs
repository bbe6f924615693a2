//! Waking: a new process in the place of the old one reads what was kept, and goes on.
//!
//! Until what is kept is removed the guest has run no instruction: whatever is found wrong with it before, the machine boots
//! instead; whoever is killed before, it begins anew.

use super::seal::{Key, open};
use super::{Kept, Manifest};
use crate::host::linux::block::{backing_chain, header};
use crate::host::linux::vmm::Inner;
use crate::host::linux::vmm::devices::disk;
use crate::host::linux::vmm::keeper;
use crate::host::linux::vmm::launcher::Priority;
use crate::host::linux::vmm::monitor::MonitorError;
use crate::host::linux::vmm::start::{Ground, Plan, greet, interface, launch};
use crate::host::linux::vmm::template::{gave_up, pass, program};
use crate::host::linux::vmm::timeline::Timeline;
use crate::host::{HostError, MachineSpec, Result, Tap};
use model::host::Medium;
use plan::machine::devices::{dead, disk_device, first_device, led_to_dead_end, throttle_node, unlimited};
use plan::machine::fork::{Link, Progress, link, progress};
use plan::machine::hibernate::{Seat, Shape, Sleeper};
use plan::machine::qmp::Command;
use plan::machine::template::{load, query, say_nothing};
use plan::machine::{Disk, Stage};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long reading may take: emulated machines share few cores, and disks are slow.
const PATIENCE: Duration = Duration::from_mins(30);
/// How long what was read may take to be verified to its end.
const REST: Duration = Duration::from_mins(2);
const DESCRIPTOR: &str = "hibernation";
const PIPE: usize = 1 << 20;

/// Whether a machine runs now that goes on with its memory.
pub enum Woken {
    Yes,
    /// Why not; it has to boot.
    No(String),
}

/// Why a machine did not go on.
enum Failed {
    /// It would not another time either.
    Useless(String),
    Now(HostError),
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        Self::Now(error)
    }
}

/// Has the machine go on with what is kept. An error leaves it kept, for another time.
pub async fn wake(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    ground: &Ground,
    taps: &[Tap],
    timeline: &mut Timeline,
) -> Result<Woken> {
    match attempt(inner, spec, ground, taps, timeline).await {
        Ok(()) => Ok(Woken::Yes),
        Err(Failed::Useless(why)) => Ok(Woken::No(why)),
        Err(Failed::Now(error)) => Err(error),
    }
}

async fn attempt(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    ground: &Ground,
    taps: &[Tap],
    timeline: &mut Timeline,
) -> Result<(), Failed> {
    let instance = spec.instance;
    let home = inner.home(instance);
    let kept = Kept::of(&home);
    let unreadable = |e: io::Error| Failed::Useless(format!("what was kept cannot be read: {e}"));
    let (bytes, manifest) = kept.manifest().map_err(unreadable)?;
    let state = File::open(kept.state()).map_err(unreadable)?;
    let root = spec.disks.iter().find(|disk| disk.volume == manifest.root);
    let Some(data_key) = root.and_then(|root| root.data_key.as_ref()) else {
        return Err(Failed::Useless("its root volume is another".into()));
    };
    let key = Key::of(data_key, &bytes).map_err(unreadable)?;

    // What it got since comes when it runs.
    let Manifest { shape, .. } = &manifest;
    let had = |seat: &Seat| spec.disks.iter().find(|d| d.volume == seat.volume).cloned();
    let spec = MachineSpec { disks: shape.volumes.iter().filter_map(had).collect(), ..spec.clone() };
    let present = shape.interfaces.iter().filter_map(|(id, _)| taps.iter().find(|tap| tap.interface == *id));
    let present: Vec<&Tap> = present.collect();
    let disks = spec.disks.iter().map(disk).collect::<Result<Vec<_>>>()?;
    let failed = |e: io::Error| HostError::transient(format!("looking at {}", ground.program)).caused_by(e);
    let sleeper = Sleeper {
        instance,
        program: program(&ground.program, &ground.program).map_err(failed)?,
        machine: &spec.machine,
        accelerator: ground.accelerator,
        boot: ground.boot(),
        disks: disks.clone(),
        interfaces: present.iter().map(|tap| interface(tap)).collect(),
        identity: spec.identity.as_ref(),
    };
    let slots = shape.seat(&sleeper).map_err(|unfit| Failed::Useless(unfit.to_string()))?;

    let lacking = || HostError::permanent("an interface without a descriptor cannot be plugged in");
    let held = present.iter().map(|tap| Ok(tap.fd.as_ref().ok_or_else(lacking)?.as_fd()));
    let held = held.collect::<Result<Vec<_>>>()?;
    let chains = spec.disks.iter().map(|disk| backing_chain(&disk.path)).collect::<Result<Vec<_>>>()?;
    home.make()
        .and_then(|()| home.expect_birth())
        .map_err(|e| HostError::transient(format!("preparing {instance}")).caused_by(e))?;
    // It has been switched off for its guest no more than for its console.
    let said = home.path().join(super::super::home::CONSOLE).join(keeper::CONSOLE[0]);
    timeline.mark("prepared");
    let plan = Plan {
        home: &home,
        spec: &spec,
        chains: &chains,
        ground,
        stage: Stage::Fork { ram: shape.ram, slots: &slots },
        interfaces: sleeper.interfaces.clone(),
        descriptors: &held,
        memory: None,
        console: Some(said.as_path()).filter(|said| said.exists()),
        priority: Priority::Usual,
    };
    launch(inner, plan).await?;
    timeline.mark("launched");
    greet(inner, instance).await?;
    timeline.mark("greeted");
    give_disks(inner, &spec, &disks, &slots, ground).await?;
    stand_in(inner, &spec, &shape.gone(&disks)).await?;
    read(inner, &spec, key, state).await?;
    timeline.mark("loaded");
    settle_devices(inner, &spec, shape).await?;
    home.expect_to_wake().map_err(|e| HostError::transient(format!("waking {instance}")).caused_by(e))?;
    let monitor = inner.require(instance).await?;
    inner.go_on(instance, &monitor).await?;
    timeline.mark("resumed");
    tracing::info!(%instance, milliseconds = %timeline, "it goes on with its memory");
    Ok(())
}

/// Those that a process does not find at its start.
async fn give_disks(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    disks: &[Disk],
    slots: &[usize],
    ground: &Ground,
) -> Result<()> {
    let process = inner.process(spec.instance).await?;
    for ((spec, disk), slot) in spec.disks.iter().zip(disks).zip(slots) {
        if disk.comes_later() {
            inner.reach(spec).await?;
            process.add_disk(spec, first_device(disk.volume, disk.medium, *slot, &ground.boot())).await?;
        }
    }
    Ok(())
}

/// Devices for volumes that are gone. The guest has their drivers at work, and finds that they fail; then they are taken away as
/// if they had been torn out.
async fn stand_in(inner: &Arc<Inner>, spec: &MachineSpec, gone: &[Seat]) -> Result<()> {
    let process = inner.process(spec.instance).await?;
    for Seat { volume, slot, .. } in gone.iter().copied() {
        process.execute(Command::AddObject(unlimited(volume))).await?;
        process.execute(Command::AddNode(dead(volume))).await?;
        process.execute(Command::AddNode(led_to_dead_end(volume))).await?;
        process.execute(Command::AddDevice(disk_device(volume, Medium::Volume, slot))).await?;
    }
    Ok(())
}

/// Has the process read all of the state, and verifies it to its end.
async fn read(inner: &Arc<Inner>, spec: &MachineSpec, key: Key, state: File) -> Result<(), Failed> {
    let instance = spec.instance;
    let monitor = inner.require(instance).await?;
    let now = |what: &str, e: io::Error| HostError::transient(format!("{what} of {instance}")).caused_by(e);
    let judge = |e: MonitorError| match e {
        // By a process that lives: it would do so again.
        MonitorError::Refused(why) => Failed::Useless(format!("QEMU refuses it: {why}")),
        MonitorError::Gone | MonitorError::Silent => {
            Failed::Now(HostError::transient(format!("reading the memory of {instance}")).caused_by(e))
        }
    };
    monitor.execute(say_nothing()).await.map_err(judge)?;
    let (reader, writer) = io::pipe().map_err(|e| now("a pipe", e))?;
    // A larger pipe is faster, and no more.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE);
    pass(&monitor, DESCRIPTOR, reader.into()).await.map_err(judge)?;
    monitor.execute(load(DESCRIPTOR)).await.map_err(judge)?;
    let mut opening = tokio::task::spawn_blocking(move || open(&key, io::BufReader::new(state), writer));
    let end = Instant::now() + PATIENCE;
    let mut opened = None;
    let read = loop {
        if opened.is_none() && opening.is_finished() {
            opened = Some((&mut opening).await.unwrap_or_else(|e| Err(e.into())));
        }
        // QEMU may wait for the rest for ever.
        if matches!(opened, Some(Err(_))) {
            break Err(MonitorError::Silent);
        }
        match monitor.execute(query()).await.map(|answer| progress(&answer)) {
            Ok(Progress::Done) => break Ok(()),
            Ok(Progress::Failed(why)) => break Err(MonitorError::Refused(why)),
            Ok(Progress::Moving | Progress::Standing | Progress::Idle) if Instant::now() > end => {
                break Err(MonitorError::Silent);
            }
            Ok(Progress::Moving | Progress::Standing | Progress::Idle) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(e) => break Err(e),
        }
    };
    let home = inner.home(instance);
    // Of its own accord, as over a state that it cannot read, and not killed.
    let gave_up = matches!(read, Err(MonitorError::Gone)) && gave_up(&home).await;
    if read.is_err() {
        // So that nobody waits for somebody who reads no more.
        inner.sweep(instance).await?;
    }
    let opened = match opened {
        Some(opened) => opened,
        None => match tokio::time::timeout(REST, opening).await {
            Ok(opened) => opened.unwrap_or_else(|e| Err(e.into())),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        },
    };
    match (read, opened) {
        (_, Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
            Err(Failed::Useless("what was kept is damaged".into()))
        }
        (Ok(()), Ok(_)) => Ok(()),
        (Ok(()), Err(e)) => Err(Failed::Useless(format!("what was kept cannot be read: {e}"))),
        (Err(_), _) if gave_up => Err(Failed::Useless(format!("QEMU cannot read it: {}", home.log()))),
        (Err(e), _) => Err(judge(e)),
    }
}

/// What has changed while the machine had no process, and its links off until it runs.
async fn settle_devices(inner: &Arc<Inner>, spec: &MachineSpec, shape: &Shape) -> Result<()> {
    let process = inner.process(spec.instance).await?;
    for disk in &spec.disks {
        let Some(seat) = shape.volumes.iter().find(|seat| seat.volume == disk.volume) else { continue };
        let size = header(&disk.path)
            .map_err(|e| HostError::transient(format!("reading {}", disk.path.display())).caused_by(e))?
            .size;
        if size != seat.bytes {
            process.execute(Command::Resize { node: throttle_node(seat.volume), size }).await?;
        }
    }
    for (interface, _) in &shape.interfaces {
        process.execute(link(*interface, Link::Off)).await?;
    }
    Ok(())
}
