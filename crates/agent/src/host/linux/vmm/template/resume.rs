//! A launch from a template: its disk under the volume, its memory mapped, its state loaded, then what interfaces the template
//! lacks, then go.
//!
//! Until `cont` the guest has run no instruction, so whatever fails before it is undone and the machine boots instead. What kills
//! agent or machine in between leaves an unborn one (see [`super::super::home`]), which counts as none.

use super::super::Inner;
use super::super::home::Home;
use super::super::launcher::Priority;
use super::super::monitor::{Monitor, MonitorError};
use super::super::start::{Ground, Plan, cache_for, greet, interface, launch};
use super::super::timeline::Timeline;
use super::{CONSOLE, DISK, Guest, MEMORY, Mode, Order, STATE, Template, ingredients, only_disk};
use crate::host::linux::block;
use crate::host::{DiskSpec, HostError, Life, MachineSpec, Result, Tap};
use plan::machine::Stage;
use plan::machine::qmp::Command;
use plan::machine::template::{
    Nic, Progress, leave_memory_in_place, load, plug, progress, query, say_nothing,
};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a template's state may take to load.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a process that ended may take to leave word of it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Whether a machine runs now that was resumed from a template.
pub enum Resumed {
    /// From the one of this key.
    Yes(String),
    /// Why not; it has to boot.
    No(String),
}

/// A boot disk that nobody has written to, and its size in bytes.
struct Fresh<'a> {
    disk: &'a DiskSpec,
    size: u64,
}

/// Why a clone did not come to be.
struct Failed {
    why: HostError,
    blame: Blame,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// It would happen again.
    Template,
    Circumstances,
}

impl From<HostError> for Failed {
    fn from(why: HostError) -> Self {
        Self { why, blame: Blame::Circumstances }
    }
}

/// Resumes the machine from a template if one fits. Where none does but one could, it is built for the next.
pub async fn resume(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    ground: &Ground,
    taps: &[Tap],
    timeline: &mut Timeline,
) -> Result<Resumed> {
    let no = |reason: &str| Ok(Resumed::No(reason.to_owned()));
    let templates = &inner.templates;
    if templates.config.mode == Mode::Off {
        return no("templates are off");
    }
    if spec.life == Life::Later {
        return no("it has run before");
    }
    if taps.is_empty() {
        return no("it has no interface");
    }
    let Some(disk) = only_disk(spec) else { return no("it has more than one volume") };
    if disk.data_key.is_some() {
        return no("its volume is encrypted");
    }
    let failed = |e: io::Error| HostError::transient(format!("reading {}", disk.path.display())).caused_by(e);
    let Some(size) = block::untouched(&disk.path).map_err(failed)? else {
        return no("its disk was written to");
    };
    let cache = cache_for(&disk.path)?;
    let Some((ingredients, guest)) = ingredients(&spec.machine, ground, cache)? else {
        return no("it stands on no image");
    };
    let Some(template) = templates.fitting(&ingredients) else {
        if guest == Guest::Unknown {
            return no("its image's guest knows no templates");
        }
        templates.want(Order {
            key: ingredients.key(),
            ingredients,
            machine: spec.machine.clone(),
            below: ground.below.last().cloned().into_iter().collect(),
            urgent: false,
        });
        return no("there was no template yet");
    };
    let Err(Failed { why, blame }) =
        clone(inner, spec, &Fresh { disk, size }, ground, &template, taps, timeline).await
    else {
        return Ok(Resumed::Yes(template.key));
    };
    let instance = spec.instance;
    tracing::warn!(%instance, template = template.key, error = %why, "not resumed; it boots instead");
    inner.sweep(instance).await?;
    inner.home(instance).is_born();
    if let Some(image) = ground.below.last()
        && block::untouched(&disk.path).map_err(failed)?.is_some()
    {
        block::stand_on(&disk.path, size, image).map_err(failed)?;
    }
    if blame == Blame::Template
        && let Err(error) = templates.remove(&template.key)
    {
        tracing::warn!(template = template.key, %error, "a template that cannot be used stays on the disk");
    }
    Ok(Resumed::No(format!("resuming failed: {why}")))
}

async fn clone(
    inner: &Arc<Inner>,
    spec: &MachineSpec,
    fresh: &Fresh<'_>,
    ground: &Ground,
    template: &Template,
    taps: &[Tap],
    timeline: &mut Timeline,
) -> Result<(), Failed> {
    let instance = spec.instance;
    let blame = |what: &str, e: io::Error| Failed {
        why: HostError::transient(format!("{what} of {}", template.key)).caused_by(e),
        blame: Blame::Template,
    };
    let state = File::open(template.file(STATE)).map_err(|e| blame("the state", e))?;
    let chain = under(fresh, ground, template).map_err(|e| blame("the disk", e))?;
    let home = inner.home(instance);
    prepare(&home).map_err(|e| HostError::transient(format!("preparing {instance}")).caused_by(e))?;
    let (memory, console) = (template.file(MEMORY), template.file(CONSOLE));
    // The template's interface is the clone's first, with the clone's address and port.
    let (present, plugged) = match template.manifest.nic {
        Nic::Parked => taps.split_at(1),
        Nic::Absent => taps.split_at(0),
    };
    let lacking = || HostError::permanent("an interface without a descriptor cannot be plugged in");
    let held = present.iter().map(|tap| Ok(tap.fd.as_ref().ok_or_else(lacking)?.as_fd()));
    let held = held.collect::<Result<Vec<_>>>()?;
    timeline.mark("prepared");
    launch(
        inner,
        Plan {
            home: &home,
            spec,
            chains: &[chain],
            ground,
            stage: Stage::Clone,
            interfaces: present.iter().map(interface).collect(),
            descriptors: &held,
            memory: Some(&memory),
            console: Some(&console),
            priority: Priority::Usual,
        },
    )
    .await?;
    timeline.mark("launched");
    greet(inner, spec.instance).await?;
    timeline.mark("greeted");
    let monitor = inner.require(instance).await?;
    // Refused by a process that lives: that is about the template. A process that is gone was killed, unless it gave up.
    let judge = |e: MonitorError| {
        let blame =
            if matches!(e, MonitorError::Refused(_)) { Blame::Template } else { Blame::Circumstances };
        Failed { why: HostError::transient(format!("resuming {instance}")).caused_by(e), blame }
    };
    monitor.execute(leave_memory_in_place()).await.map_err(judge)?;
    monitor.execute(say_nothing()).await.map_err(judge)?;
    pass(&monitor, "state", state.into()).await.map_err(judge)?;
    let read = match monitor.execute(load("state")).await {
        Ok(_) => loaded(&monitor).await,
        Err(e) => Err(e),
    };
    if let Err(e) = read {
        let gave_up = matches!(e, MonitorError::Gone) && gave_up(&home).await;
        let Failed { why, blame } = judge(e);
        return Err(Failed { why, blame: if gave_up { Blame::Template } else { blame } });
    }
    timeline.mark("loaded");
    // The guest knows the template's size; this tells it to look.
    let node = plan::machine::devices::throttle_node(fresh.disk.volume);
    monitor.execute(Command::Resize { node, size: fresh.size }).await.map_err(judge)?;
    for (index, tap) in plugged.iter().enumerate() {
        let fd = tap.fd.as_ref().ok_or_else(lacking)?;
        let fd = fd.try_clone().map_err(|e| HostError::transient("copying a descriptor").caused_by(e))?;
        let name = format!("tap{index}");
        pass(&monitor, &name, fd).await.map_err(judge)?;
        for command in plug(&interface(tap), spec.disks.len() + present.len() + index, &name) {
            monitor.execute(command).await.map_err(judge)?;
        }
    }
    timeline.mark("plugged");
    monitor.execute(Command::Continue).await.map_err(judge)?;
    home.is_born();
    timeline.mark("resumed");
    tracing::info!(%instance, template = template.key, milliseconds = %timeline, "resumed from a template");
    Ok(())
}

/// Whether the process ended itself, as QEMU does over a state that it cannot read, and was not killed.
pub async fn gave_up(home: &Home) -> bool {
    let end = tokio::time::Instant::now() + LAST_WORDS;
    while home.alive().unwrap_or(false) && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    home.exit().is_some_and(|exit| exit.starts_with("code ") && exit != "code 0")
}

/// Puts the template's disk under the volume; gives what it stands on then.
fn under(fresh: &Fresh<'_>, ground: &Ground, template: &Template) -> io::Result<Vec<PathBuf>> {
    let Fresh { disk, size } = *fresh;
    let volumes = disk.path.parent().unwrap_or(Path::new("/"));
    let below = block::base_of_template(volumes, &template.base_name(), &template.file(DISK))?;
    block::stand_on(&disk.path, size, &below)?;
    Ok(std::iter::once(below).chain(ground.below.last().cloned()).collect())
}

fn prepare(home: &Home) -> io::Result<()> {
    home.make()?;
    home.expect_birth()
}

pub async fn pass(
    monitor: &Monitor,
    name: &str,
    descriptor: std::os::fd::OwnedFd,
) -> Result<(), MonitorError> {
    monitor.execute_with(Command::GetFd { name: name.to_owned() }, vec![descriptor]).await.map(drop)
}

/// Waits until the state has been read, or written.
pub(super) async fn loaded(monitor: &Monitor) -> Result<(), MonitorError> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match progress(&monitor.execute(query()).await?) {
            Progress::Done => return Ok(()),
            Progress::Failed(why) => return Err(MonitorError::Refused(why)),
            Progress::Moving if tokio::time::Instant::now() > end => return Err(MonitorError::Silent),
            Progress::Moving => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
