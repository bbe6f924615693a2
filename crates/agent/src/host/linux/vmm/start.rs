//! Starting a machine: the one sequence that makes things, each step safe to repeat.

use super::cgroup::Limits;
use super::image::{DirectBoot, direct_boot};
use super::launcher::{Access, Bind, Kvm, LaunchSpec};
use super::{Inner, LinuxVmmConfig as Config, accel, uids};
use crate::host::linux::block::backing_chain;
use crate::host::linux::{exec, requirements};
use crate::host::{HostError, MachineSpec, Result, Tap};
use model::MiB;
use plan::machine::qmp::Command;
use plan::machine::{
    Accelerator, Boot, Cache, Disk, FIRMWARE, INITRD, Interface, KERNEL, Layout, arguments, disk_path,
    smbios, takes_firmware_file,
};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What QEMU takes beside the guest's memory: itself, its translations (128 MiB under TCG), disk buffers, the keeper.
const OVERHEAD: MiB = MiB(512);
/// How long a new process may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn start(inner: &Arc<Inner>, spec: &MachineSpec, taps: Vec<Tap>) -> Result<()> {
    let instance = spec.instance;
    let config = &inner.config;
    let failed = |what: &str, e: io::Error| HostError::transient(format!("{what} {instance}")).caused_by(e);

    if inner.monitor(instance).await?.is_some() {
        return Err(HostError::transient(format!("{instance} has a process already")));
    }
    inner.sweep(instance).await?;

    let architecture = spec.machine.architecture;
    let program = config
        .qemu
        .iter()
        .find(|(known, program)| *known == architecture && Path::new(program).exists())
        .map(|(_, program)| program.clone())
        .ok_or_else(|| HostError::permanent(requirements::lacks_qemu(architecture)))?;
    let accelerator = {
        let _one = inner.probing.lock().await;
        let Config { accel, images_dir, probe_cache, .. } = config;
        accel::choose(*accel, architecture, &program, images_dir, probe_cache).await?
    };
    let chains = spec.disks.iter().map(|disk| backing_chain(&disk.path)).collect::<Result<Vec<_>>>()?;
    let direct = match &spec.machine.direct_kernel {
        Some(image) => {
            let base = chains.first().and_then(|chain| chain.first()).and_then(|disk| disk.parent());
            Some(direct_boot(&config.images_dir, image, base)?)
        }
        None => None,
    };
    let command_line = direct.as_ref().map(|direct| direct.command_line(accelerator)).unwrap_or_default();
    let boot = direct.as_ref().map_or(Boot::Firmware, |direct| Boot::Kernel {
        command_line: &command_line,
        initrd: direct.initrd_state(),
    });
    let firmware = if takes_firmware_file(&spec.machine, &boot) {
        let lacking = || HostError::permanent(requirements::lacks_uefi(architecture));
        Some(requirements::uefi(architecture).ok_or_else(lacking)?)
    } else {
        None
    };
    let binds = binds(spec, &chains, direct.as_ref(), firmware)?;
    let descriptors = taps
        .iter()
        .map(|tap| tap.fd.as_ref().map(AsRawFd::as_raw_fd))
        .collect::<Option<Vec<i32>>>()
        .ok_or_else(|| HostError::permanent("an interface without a descriptor cannot be plugged in"))?;
    let layout = Layout {
        instance,
        machine: &spec.machine,
        accelerator,
        boot,
        disks: spec
            .disks
            .iter()
            .map(|disk| Ok(Disk { volume: disk.volume, cache: cache_for(&disk.path)?, limits: disk.limits }))
            .collect::<Result<_>>()?,
        interfaces: taps
            .iter()
            .map(|tap| Interface { interface: tap.interface, mac: tap.mac, mtu: tap.mtu })
            .collect(),
    };
    let arguments =
        arguments(&layout).map_err(|e| HostError::permanent(format!("{instance}")).caused_by(e))?;

    let home = inner.home(instance);
    home.make().map_err(|e| failed("making the directory of", e))?;
    let uid = {
        let _one = inner.assigning.lock();
        uids::assign(&config.cloud, &config.state_dir, &home).map_err(|e| failed("finding a user for", e))?
    };
    let disks: Vec<PathBuf> = spec.disks.iter().map(|disk| disk.path.clone()).collect();
    home.lend(&disks, uid).map_err(|e| failed("giving disks to", e))?;
    let limits = Limits {
        memory: MiB(spec.machine.memory.0.saturating_add(OVERHEAD.0)),
        // QEMU's I/O threads (at most 64), a thread a processor, and its few others.
        processes: spec.machine.vcpus.saturating_mul(2).saturating_add(160),
        cpu: None,
    };
    let cgroups =
        inner.cgroups.ensure(instance, limits).map_err(|e| failed("making the control group of", e))?;

    let launch = LaunchSpec {
        program,
        arguments,
        home: home.path().to_owned(),
        uid,
        cgroups,
        binds,
        kvm: if accelerator == Accelerator::Kvm { Kvm::Present } else { Kvm::Absent },
        interfaces: descriptors,
    };
    let text = serde_json::to_vec(&launch)
        .map_err(|e| HostError::permanent(format!("describing the launch of {instance}")).caused_by(e))?;
    let held: Vec<_> = taps.iter().filter_map(|tap| tap.fd.as_ref()).map(AsFd::as_fd).collect();
    let launched =
        exec::spawn_detached(&config.launcher.program, &config.launcher.arguments, &text, &held).await;
    // QEMU has its own copies; its end must be the interfaces' end.
    drop(held);
    drop(taps);
    let greeted = match launched {
        Ok(output) if output.success() => greet(inner, spec).await,
        Ok(output) => Err(HostError::transient(format!("launching {instance}: {}", output.complaint()))),
        Err(e) => Err(e),
    };
    if let Err(error) = greeted {
        if let Err(error) = inner.sweep(instance).await {
            tracing::warn!(%instance, %error, "a failed start left something behind");
        }
        return Err(error);
    }
    Ok(())
}

/// Waits until the process answers, and is who it should be.
async fn greet(inner: &Arc<Inner>, spec: &MachineSpec) -> Result<()> {
    let instance = spec.instance;
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
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The files of the machine's sandbox.
fn binds(
    spec: &MachineSpec,
    chains: &[Vec<PathBuf>],
    direct: Option<&DirectBoot>,
    firmware: Option<&Path>,
) -> Result<Vec<Bind>> {
    let mut binds: Vec<Bind> = Vec::new();
    let mut show = |from: &Path, to: PathBuf, access| {
        if !binds.iter().any(|bind| bind.to == to) {
            binds.push(Bind { from: from.to_owned(), to, access });
        }
    };
    for (disk, chain) in spec.disks.iter().zip(chains) {
        show(&disk.path, disk_path(disk.volume).into(), Access::Write);
        for image in chain {
            readable(image)?;
            show(image, image.clone(), Access::Read);
        }
    }
    if let Some(firmware) = firmware {
        show(firmware, FIRMWARE.into(), Access::Read);
    }
    if let Some(direct) = direct {
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
