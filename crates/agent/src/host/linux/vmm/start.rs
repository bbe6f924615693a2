//! Starting a machine: the one sequence that makes things, each step safe to repeat.
//!
//! A machine with disks that are encrypted, or that are not wholly on the host yet, is started standing still and without them,
//! and gets them as a running one would, so that keys are in no command line.

use super::cgroup::Limits;
use super::devices::disk;
use super::fork;
use super::hibernation::{self, Kept, Woken};
use super::home::{Home, Stage as Begun};
use super::image::{DirectBoot, direct_boot};
use super::launcher::{Access, Bind, Kvm, LaunchSpec, Priority};
use super::template::{self, Resumed};
use super::timeline::Timeline;
use super::{Inner, Launcher, LinuxVmmConfig as Config, accel, uids};
use crate::host::linux::block::{backing_chain, check_key};
use crate::host::linux::{exec, requirements};
use crate::host::{HostError, MachineSpec, Result, Steps, Tap};
use model::host::Machine;
use model::{InstanceId, MiB};
use plan::machine::qmp::Command;
use plan::machine::{
    Accelerator, Boot, Cache, Disk, FIRMWARE, INITRD, Interface, KERNEL, LAZY, Layout, MEMORY, Stage,
    arguments, devices, disk_path, smbios, takes_firmware_file, waits_for_disks,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What QEMU takes beside the guest's memory: itself, its translations (128 MiB under TCG), disk buffers, the keeper.
pub(super) const OVERHEAD: MiB = MiB(512);
/// How long a new process may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a machine is made from, whichever way it starts.
pub(super) struct Ground {
    pub program: String,
    pub accelerator: Accelerator,
    /// The files under the boot disk, from the nearest down.
    pub below: Vec<PathBuf>,
    direct: Option<DirectBoot>,
    command_line: String,
    firmware: Option<&'static Path>,
}

impl Ground {
    pub fn boot(&self) -> Boot<'_> {
        self.direct.as_ref().map_or(Boot::Firmware, |direct| Boot::Kernel {
            command_line: &self.command_line,
            initrd: direct.initrd_state(),
        })
    }
}

/// Finds what a machine needs of the host. `below` is what its boot disk stands on.
pub(super) async fn ground(inner: &Inner, machine: &Machine, below: Vec<PathBuf>) -> Result<Ground> {
    let config = &inner.config;
    let architecture = machine.architecture;
    let program = config
        .qemu
        .iter()
        .find(|(known, program)| *known == architecture && Path::new(program).exists())
        .map(|(_, program)| program.clone())
        .ok_or_else(|| HostError::permanent(requirements::lacks_qemu(architecture)))?;
    let accelerator = {
        let mut versions = inner.probing.lock().await;
        let Config { accel, images_dir, probe_cache, .. } = config;
        accel::choose(&mut versions, *accel, architecture, &program, images_dir, probe_cache).await?
    };
    let direct = match &machine.direct_kernel {
        // The image's own files lie beside its disk, which is the lowest.
        Some(image) => {
            Some(direct_boot(&config.images_dir, image, below.last().and_then(|disk| disk.parent()))?)
        }
        None => None,
    };
    let command_line = direct.as_ref().map(|direct| direct.command_line(accelerator)).unwrap_or_default();
    let mut ground = Ground { program, accelerator, below, direct, command_line, firmware: None };
    if takes_firmware_file(machine, &ground.boot()) {
        let lacking = || HostError::permanent(requirements::lacks_uefi(architecture));
        ground.firmware = Some(requirements::uefi(architecture).ok_or_else(lacking)?);
    }
    Ok(ground)
}

pub(super) async fn start(inner: &Arc<Inner>, spec: &MachineSpec, taps: Vec<Tap>) -> Result<Steps> {
    let instance = spec.instance;
    let mut timeline = Timeline::new();
    let home = inner.home(instance);
    let sleeps = Kept::of(&home).exists() && !home.is_waking();
    let is_nobody = home.is_unborn() || sleeps || home.stage() == Some(Begun::Nameless);
    if inner.monitor(instance).await?.is_some() && !is_nobody {
        return Err(HostError::transient(format!("{instance} has a process already")));
    }
    inner.sweep(instance).await?;
    home.is_born();
    home.is_forked_from();
    home.is_awake();
    if let Some(fork) = spec.fork
        && matches!(home.stage(), None | Some(Begun::Nameless))
    {
        fork::bear(inner, spec, fork, taps, &mut timeline).await?;
        return Ok(timeline.take());
    }

    for disk in &spec.disks {
        check_key(disk.volume, &disk.path, disk.data_key.as_ref())?;
    }
    let chains = spec.disks.iter().map(|disk| backing_chain(&disk.path)).collect::<Result<Vec<_>>>()?;
    let below = chains.first().cloned().unwrap_or_default();
    let ground = ground(inner, &spec.machine, below).await?;
    let mut lost = None;
    if Kept::of(&home).exists() {
        match hibernation::wake(inner, spec, &ground, &taps, &mut timeline).await? {
            Woken::Yes => {
                home.set_origin("resumed from hibernation");
                return Ok(timeline.take());
            }
            Woken::No(why) => {
                tracing::warn!(%instance, why, "its memory is lost; it boots instead");
                inner.sweep(instance).await?;
                home.is_born();
                inner.forget_memory(instance)?;
                lost = Some(format!("its memory was lost: {why}"));
            }
        }
    }
    let cold = match template::resume(inner, spec, &ground, &taps, &mut timeline).await? {
        Resumed::Yes(key) => {
            inner.home(instance).set_origin(&format!("clone {key}"));
            return Ok(timeline.take());
        }
        Resumed::No(reason) => lost.unwrap_or(reason),
    };
    // An attempt to resume may have moved the boot disk.
    let chains = spec.disks.iter().map(|disk| backing_chain(&disk.path)).collect::<Result<Vec<_>>>()?;
    let held: Vec<_> = taps.iter().filter_map(|tap| tap.fd.as_ref()).map(AsFd::as_fd).collect();
    if held.len() < taps.len() {
        return Err(HostError::permanent("an interface without a descriptor cannot be plugged in"));
    }
    let disks = spec.disks.iter().map(disk).collect::<Result<Vec<_>>>()?;
    let waits = waits_for_disks(&disks);
    if waits {
        let home = inner.home(instance);
        home.make()
            .and_then(|()| home.expect_birth())
            .map_err(|e| HostError::transient(format!("preparing {instance}")).caused_by(e))?;
    }
    let plan = Plan {
        home: &inner.home(instance),
        spec,
        chains: &chains,
        ground: &ground,
        stage: Stage::Boot,
        interfaces: taps.iter().map(interface).collect(),
        descriptors: &held,
        memory: None,
        console: None,
        priority: Priority::Usual,
    };
    let launched = launch(inner, plan).await;
    timeline.mark("launched");
    // QEMU has its own copies; its end must be the interfaces' end.
    drop(held);
    drop(taps);
    let greeted = async {
        launched?;
        greet(inner, instance).await?;
        if waits { give_disks(inner, spec, &disks, &ground.boot()).await } else { Ok(()) }
    };
    let greeted = greeted.await;
    if let Err(error) = greeted {
        if let Err(error) = inner.sweep(instance).await {
            tracing::warn!(%instance, %error, "a failed start left something behind");
        }
        return Err(error);
    }
    timeline.mark("greeted");
    inner.home(instance).set_origin(&format!("cold: {cold}"));
    Ok(timeline.take())
}

/// Gives a machine that stands still the disks that it was started without, and lets it go. What interrupts this leaves one that
/// is unborn.
async fn give_disks(inner: &Arc<Inner>, spec: &MachineSpec, disks: &[Disk], boot: &Boot<'_>) -> Result<()> {
    let process = inner.process(spec.instance).await?;
    let later = spec.disks.iter().zip(disks).enumerate().filter(|(_, (_, disk))| disk.comes_later());
    for (port, (disk, _)) in later {
        inner.reach(disk).await?;
        process.add_disk(disk, devices::first_device(disk.volume, disk.medium, port, boot)).await?;
    }
    // To the firmware they were there from the start.
    process.execute(Command::Reset).await?;
    process.execute(Command::Continue).await?;
    inner.home(spec.instance).is_born();
    Ok(())
}

pub(super) fn interface(tap: &Tap) -> Interface {
    Interface { interface: tap.interface, mac: tap.mac, mtu: tap.mtu }
}

/// One process to be.
pub(super) struct Plan<'a> {
    pub home: &'a Home,
    pub spec: &'a MachineSpec,
    /// What each disk stands on.
    pub chains: &'a [Vec<PathBuf>],
    pub ground: &'a Ground,
    pub stage: Stage<'a>,
    /// Those that it starts with, and their descriptors.
    pub interfaces: Vec<Interface>,
    pub descriptors: &'a [BorrowedFd<'a>],
    /// The template's memory: to be written by a template, to be read by a clone.
    pub memory: Option<&'a Path>,
    pub console: Option<&'a Path>,
    pub priority: Priority,
}

/// Makes the sandbox and starts QEMU in it.
pub(super) async fn launch(inner: &Inner, plan: Plan<'_>) -> Result<()> {
    let Plan { home, spec, ground, .. } = plan;
    let (instance, config) = (spec.instance, &inner.config);
    let failed = |what: &str, e: io::Error| HostError::transient(format!("{what} {instance}")).caused_by(e);
    let layout = Layout {
        instance,
        machine: &spec.machine,
        accelerator: ground.accelerator,
        boot: ground.boot(),
        disks: spec.disks.iter().map(disk).collect::<Result<_>>()?,
        interfaces: plan.interfaces,
        identity: spec.identity.as_ref(),
        stage: plan.stage,
    };
    let arguments =
        arguments(&layout).map_err(|e| HostError::permanent(format!("{instance}")).caused_by(e))?;
    let mut binds = binds(spec, &layout.disks, plan.chains, ground)?;

    home.make().map_err(|e| failed("making the directory of", e))?;
    home.make_lazy().map_err(|e| failed("making the directory of", e))?;
    binds.push(Bind { from: home.lazy(), to: LAZY.into(), access: Access::Read });
    let uid = {
        let _one = inner.assigning.lock();
        let others = inner.templates.nurseries();
        uids::assign(&config.cloud, &config.state_dir, &others, home)
            .map_err(|e| failed("finding a user for", e))?
    };
    let mut lent: Vec<PathBuf> = spec.disks.iter().map(|disk| disk.path.clone()).collect();
    let is_template = matches!(plan.stage, Stage::Template { .. });
    if let Some(memory) = plan.memory.filter(|_| is_template) {
        lent.push(memory.to_owned());
        binds.push(Bind { from: memory.to_owned(), to: MEMORY.into(), access: Access::Write });
    }
    inner.forsake(instance, spec.disks.iter().map(|disk| disk.volume))?;
    home.lend(&lent, uid).map_err(|e| failed("giving disks to", e))?;
    let limits = Limits {
        memory: MiB(spec.machine.memory.0.saturating_add(OVERHEAD.0)),
        // QEMU's I/O threads (at most 64), a thread a processor, and its few others.
        processes: spec.machine.vcpus.saturating_mul(2).saturating_add(160),
        cpu: None,
        priority: plan.priority,
    };
    let cgroups =
        inner.cgroups.ensure(instance, limits).map_err(|e| failed("making the control group of", e))?;

    let launch = LaunchSpec {
        program: ground.program.clone(),
        arguments,
        home: home.path().to_owned(),
        uid,
        cgroups,
        binds,
        kvm: if ground.accelerator == Accelerator::Kvm { Kvm::Present } else { Kvm::Absent },
        interfaces: plan.descriptors.iter().map(AsRawFd::as_raw_fd).collect(),
        memory: plan.memory.filter(|_| !is_template).map(Path::to_owned),
        console: plan.console.map(Path::to_owned),
        priority: plan.priority,
    };
    let text = serde_json::to_vec(&launch)
        .map_err(|e| HostError::permanent(format!("describing the launch of {instance}")).caused_by(e))?;
    let Launcher { program, arguments } = &config.launcher;
    let output = exec::spawn_detached(program, arguments, &text, plan.descriptors).await?;
    if output.success() {
        return Ok(());
    }
    Err(HostError::transient(format!("launching {instance}: {}", output.complaint())))
}

/// Waits until the process answers, and is who it should be.
pub(super) async fn greet(inner: &Arc<Inner>, instance: InstanceId) -> Result<()> {
    let home = inner.home(instance);
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        // The socket listens since before QEMU's first instruction, so a refusal is the end of the process.
        if let Some(monitor) = inner.monitor(instance).await? {
            let uuid = monitor
                .execute(Command::QueryUuid)
                .await
                .map_err(|e| HostError::transient(format!("greeting {instance}")).caused_by(e))?;
            let want = smbios::uuid(instance);
            if uuid.get("UUID").and_then(|u| u.as_str()) != Some(want.as_str()) {
                return Err(HostError::transient(format!("the process of {instance} says it is {uuid}")));
            }
            return Ok(());
        }
        // The keeper closes the log before it lets go of the lock.
        if !home.alive().unwrap_or(false) {
            return Err(HostError::permanent(format!(
                "QEMU refuses the machine {instance}: {} ({})",
                home.log(),
                home.exit().unwrap_or_else(|| "no exit code".into())
            )));
        }
        if tokio::time::Instant::now() > end {
            return Err(HostError::transient(format!("{instance} does not answer after its start")));
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The files of the machine's sandbox.
fn binds(spec: &MachineSpec, disks: &[Disk], chains: &[Vec<PathBuf>], ground: &Ground) -> Result<Vec<Bind>> {
    let mut binds: Vec<Bind> = Vec::new();
    let mut show = |from: &Path, to: PathBuf, access| {
        if !binds.iter().any(|bind| bind.to == to) {
            binds.push(Bind { from: from.to_owned(), to, access });
        }
    };
    // The others come as descriptors.
    let shown = spec.disks.iter().zip(chains).zip(disks).filter(|(_, disk)| !disk.comes_later());
    for ((disk, chain), _) in shown {
        show(&disk.path, disk_path(disk.volume).into(), Access::Write);
        for image in chain {
            readable(image)?;
            show(image, image.clone(), Access::Read);
        }
    }
    if let Some(firmware) = ground.firmware {
        show(firmware, FIRMWARE.into(), Access::Read);
    }
    if let Some(direct) = &ground.direct {
        readable(&direct.kernel)?;
        show(&direct.kernel, KERNEL.into(), Access::Read);
        if let Some(initrd) = &direct.initrd {
            readable(initrd)?;
            show(initrd, INITRD.into(), Access::Read);
        }
    }
    Ok(binds)
}

/// Opens a cached file to every machine that it is shown to. No machine sees what is not in its sandbox, so this gives
/// nothing to others.
fn readable(path: &Path) -> Result<()> {
    let failed =
        |e: io::Error| HostError::permanent(format!("{} cannot be read", path.display())).caused_by(e);
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o004 == 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o444)).map_err(failed)?;
    }
    Ok(())
}

/// Whether the disk's file system knows direct I/O (some of memory and some networked ones do not).
pub(super) fn cache_for(path: &Path) -> Result<Cache> {
    match fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(_) => Ok(Cache::Direct),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(Cache::Buffered),
        Err(e) => {
            Err(HostError::transient(format!("the disk {} cannot be opened", path.display())).caused_by(e))
        }
    }
}
