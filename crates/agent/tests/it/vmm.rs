//! Machines.

use crate::guest::{self, READY};
use crate::vmm_rig::*;
use agent::host::linux::vmm::{AccelPolicy, LinuxVmm, LinuxVmmConfig, default_qemu};
use agent::host::{Block as _, DiskSpec, Fault, MachineSpec, MachineState, Vmm as _};
use model::host::{Machine, VolumeDesired};
use model::{GiB, MiB};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_machine_starts_once_and_its_end_keeps_the_console() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "identity");
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Absent);
    let began = Instant::now();
    vmm.start(&spec, vec![]).await.unwrap();
    let started = began.elapsed();
    until("the guest has said anything", || async { !text(&vmm, spec.instance).await.is_empty() }).await;
    let first = began.elapsed();
    let console = until_says(&vmm, spec.instance, "IDENTITY-DONE").await;
    println!("start() {started:?}, first console byte {first:?}, user space done {:?}", began.elapsed());
    for want in [READY, "Amazon EC2", "ec200000-0000-4000-8000-000000000001", "i-00000000000000001"] {
        assert!(console.contains(want), "{want}: {console}");
    }
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);
    assert_eq!(vmm.machines().await.unwrap(), [spec.instance]);
    assert_eq!(vmm.start(&spec, vec![]).await.unwrap_err().fault, Fault::Transient);
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);

    vmm.end(spec.instance).await.unwrap();
    vmm.end(spec.instance).await.unwrap();
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Absent);
    assert!(vmm.machines().await.unwrap().is_empty());
    assert!(processes(&scratch, spec.instance).is_empty());
    let (tail, at) = vmm.console(spec.instance, 14).await.unwrap();
    assert_eq!(tail.len(), 14);
    assert!(at.is_some());
    assert_eq!(vmm.last_exit(spec.instance).as_deref(), Some("code 0"));
    vmm.forget(spec.instance).await.unwrap();
    vmm.forget(spec.instance).await.unwrap();
    assert_eq!(vmm.console(spec.instance, 14).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn a_guest_that_powers_off_while_no_agent_looks_is_found_powered_off() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "poweroff");
    vmm.start(&spec, vec![]).await.unwrap();
    let home = scratch.path.join("vms").join(spec.instance.to_string());
    drop(vmm);
    let end = Instant::now() + BOOT;
    while !std::fs::read_to_string(home.join("console/console")).is_ok_and(|c| c.contains(READY)) {
        assert!(Instant::now() < end, "the guest never came up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let vmm = scratch.vmm().await;
    assert_eq!(vmm.machines().await.unwrap(), [spec.instance]);
    until_state(&vmm, spec.instance, MachineState::PoweredOff).await;
    assert_eq!(vmm.start(&spec, vec![]).await.unwrap_err().fault, Fault::Transient);
    // Powered off, it can still be reset, and boots again.
    vmm.reset(spec.instance).await.unwrap();
    until_state(&vmm, spec.instance, MachineState::Running).await;
    until_state(&vmm, spec.instance, MachineState::PoweredOff).await;
    assert_eq!(text(&vmm, spec.instance).await.matches(READY).count(), 2);
}

#[tokio::test]
async fn a_killed_process_is_noticed_and_can_be_started_again() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "idle");
    vmm.start(&spec, vec![]).await.unwrap();
    drop(vmm);
    let vmm = scratch.vmm().await;
    until_says(&vmm, spec.instance, READY).await;
    let pid = rustix::process::Pid::from_raw(qemu_of(&scratch, spec.instance)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let named = tokio::time::timeout(Duration::from_mins(1), vmm.changed()).await.unwrap();
    assert_eq!(named, spec.instance);
    until_state(&vmm, spec.instance, MachineState::Absent).await;
    until("the keeper has noted the end", || async { vmm.last_exit(spec.instance).is_some() }).await;
    assert_eq!(vmm.last_exit(spec.instance).as_deref(), Some("signal 9"));
    assert!(text(&vmm, spec.instance).await.contains(READY));
    vmm.start(&spec, vec![]).await.unwrap();
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);
}

#[tokio::test]
async fn the_power_button_asks_and_the_guest_goes() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "button");
    vmm.start(&spec, vec![]).await.unwrap();
    until_says(&vmm, spec.instance, READY).await;
    // The guest may not listen yet when it says so.
    until("the guest has gone", || async {
        vmm.press_power_button(spec.instance).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        vmm.state(spec.instance).await.unwrap() == MachineState::PoweredOff
    })
    .await;
    assert!(text(&vmm, spec.instance).await.contains("GUEST-BUTTON"));
    let named = tokio::time::timeout(Duration::from_mins(1), vmm.changed()).await.unwrap();
    assert_eq!(named, spec.instance);
}

#[tokio::test]
async fn a_panicking_guest_reboots_in_place() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "panic");
    vmm.start(&spec, vec![]).await.unwrap();
    let pid = qemu_of(&scratch, spec.instance);
    until("the guest has come up twice", || async {
        text(&vmm, spec.instance).await.matches(READY).count() >= 2
    })
    .await;
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);
    assert_eq!(qemu_of(&scratch, spec.instance), pid);
}

#[tokio::test]
async fn a_running_machine_is_reset_in_place() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "idle");
    vmm.start(&spec, vec![]).await.unwrap();
    let pid = qemu_of(&scratch, spec.instance);
    until_says(&vmm, spec.instance, READY).await;
    vmm.reset(spec.instance).await.unwrap();
    until("the guest has come up again", || async {
        text(&vmm, spec.instance).await.matches(READY).count() == 2
    })
    .await;
    assert_eq!(qemu_of(&scratch, spec.instance), pid);
}

#[tokio::test]
async fn a_spewing_guest_cannot_outgrow_the_consoles_bound() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "spew");
    vmm.start(&spec, vec![]).await.unwrap();
    // No agent is there while it spews.
    drop(vmm);
    let console = scratch.path.join("vms").join(spec.instance.to_string()).join("console");
    let size = |name: &str| std::fs::metadata(console.join(name)).map_or(0, |m| m.len());
    let end = Instant::now() + 2 * BOOT;
    // Until the files have turned over twice, which the older one's inode tells.
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        assert!(Instant::now() < end, "it spews too slowly: {} bytes", size("console"));
        assert!(size("console") <= 512 << 10 && size("console.old") <= 512 << 10);
        if let Ok(old) = std::fs::metadata(console.join("console.old")) {
            seen.insert((old.ino(), old.mtime_nsec()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let vmm = scratch.vmm().await;
    let (tail, _) = vmm.console(spec.instance, 64 << 10).await.unwrap();
    assert_eq!(tail.len(), 64 << 10);
    assert!(String::from_utf8_lossy(&tail).contains("spew spew"));
}

#[tokio::test]
async fn a_machine_is_alone_in_its_sandbox() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let first = with_disk(&block, 1, "idle", 1).await;
    let second = with_disk(&block, 2, "idle", 1).await;
    vmm.start(&first, vec![]).await.unwrap();
    vmm.start(&second, vec![]).await.unwrap();
    let (one, two) = (qemu_of(&scratch, first.instance), qemu_of(&scratch, second.instance));
    let mut users = std::collections::BTreeSet::new();
    for pid in processes(&scratch, first.instance).into_iter().chain(processes(&scratch, second.instance)) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, set), "0000000000000000", "{set}");
        }
        assert_eq!(status(pid, "NoNewPrivs"), "1");
        assert_eq!(status(pid, "Groups"), "");
        let uid = status(pid, "Uid");
        assert!(!uid.split_whitespace().any(|u| u == "0"), "{uid}");
        assert_eq!(uid, status(pid, "Gid"));
        users.insert(uid);
    }
    assert_eq!(users.len(), 2, "{users:?}");
    for pid in [one, two] {
        assert_eq!(status(pid, "Seccomp"), "2");
        let link = |name: &str, pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        for name in ["net", "mnt", "ipc"] {
            assert_ne!(link(name, &pid.to_string()), link(name, "self"), "{name}");
        }
        let links = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        assert_eq!(links.lines().skip(2).count(), 1, "only a loopback that is down: {links}");
    }
    let root = PathBuf::from(format!("/proc/{one}/root"));
    let names = |path: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&root.join("disks")), [volume(1).to_string()]);
    assert_eq!(names(&root.join("boot")), ["initrd", "kernel"]);
    assert_eq!(names(&root.join("dev")), ["null", "random", "urandom", "zero"]);
    assert_eq!(names(&root.join("lazy")), Vec::<String>::new());
    let top = names(&root);
    // Beside these there is only the way to the volume's image.
    let image = scratch.path.components().nth(1).unwrap().as_os_str().to_str().unwrap().to_owned();
    let known =
        ["bin", "boot", "dev", "disks", "etc", "lazy", "lib", "lib32", "lib64", "libx32", "sbin", "usr"];
    for name in &top {
        assert!(known.contains(&name.as_str()) || *name == image, "{name} in {top:?}");
    }
    assert_eq!(names(&root.join("etc")), ["ld.so.cache"]);
    assert!(!root.join(second.disks[0].path.strip_prefix("/").unwrap()).exists());
    let mounts = std::fs::read_to_string(format!("/proc/{one}/mounts")).unwrap();
    for mount in mounts.lines() {
        let fields: Vec<_> = mount.split(' ').collect();
        let writable = fields[3].split(',').any(|o| o == "rw");
        let may_write = fields[1].starts_with("/disks/") || fields[1].starts_with("/dev/");
        assert!(!writable || may_write, "{mount}");
    }
    // The disks are the machines' own while they run, and root's again after.
    let owner = |spec: &MachineSpec| std::fs::metadata(&spec.disks[0].path).unwrap().uid();
    assert_ne!(owner(&first), owner(&second));
    assert_ne!(owner(&first), 0);
    vmm.end(first.instance).await.unwrap();
    assert_eq!(owner(&first), 0);
    assert_ne!(owner(&second), 0);
}

#[tokio::test]
async fn what_a_guest_wrote_is_there_after_the_next_start_and_the_disk_has_grown() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let spec = with_disk(&block, 1, "disk", 1).await;
    vmm.start(&spec, vec![]).await.unwrap();
    let first = until_says(&vmm, spec.instance, "DISK-DONE").await;
    assert!(first.contains("DISK-HELD=\r\n") && first.contains("DISK-SIZE=2097152\r\n"), "{first}");
    assert!(first.contains("DISK-SERIAL=vol00000000000000001\r\n"), "{first}");
    // Killed right after its flush was acknowledged.
    let pid = rustix::process::Pid::from_raw(qemu_of(&scratch, spec.instance)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until_state(&vmm, spec.instance, MachineState::Absent).await;
    vmm.end(spec.instance).await.unwrap();
    let spec = with_disk(&block, 1, "disk", 2).await;
    vmm.start(&spec, vec![]).await.unwrap();
    let second = until_says(&vmm, spec.instance, "DISK-DONE").await;
    assert!(second.contains("DISK-HELD=written-earlier!\r\n"), "{second}");
    assert!(second.contains("DISK-SIZE=4194304\r\n"), "{second}");
}

#[tokio::test]
async fn a_guest_waits_for_room_on_a_full_host_and_then_goes_on() {
    let scratch = Scratch::new();
    let state = scratch.path.join("volumes");
    let _mount = Scratch::memory(&state, 6 << 20);
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let desired = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(1),
        image: None,
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&desired, None).await.unwrap();
    let disks = vec![DiskSpec {
        volume: volume(1),
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/xvda".into(),
        limits: None,
        data_key: None,
        forked: None,
    }];
    let spec = MachineSpec { disks, ..spec(1, "fill") };
    vmm.start(&spec, vec![]).await.unwrap();
    until_says(&vmm, spec.instance, READY).await;
    tokio::time::timeout(BOOT, vmm.changed()).await.unwrap();
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);
    guest::run("mount", &["-o", "remount,size=64m", state.to_str().unwrap()], Path::new("/"));
    let console = until_says(&vmm, spec.instance, "FILL-").await;
    assert!(console.contains("FILL-DONE"), "{console}");
    vmm.end(spec.instance).await.unwrap();
}

#[tokio::test]
async fn an_interface_belongs_to_the_machine_until_its_end() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "idle");
    let link = format!("/sys/class/net/nt{}", std::process::id());
    vmm.start(&spec, vec![tap(0)]).await.unwrap();
    assert!(Path::new(&link).exists());
    vmm.end(spec.instance).await.unwrap();
    assert!(!Path::new(&link).exists());
}

#[tokio::test]
async fn a_start_that_was_interrupted_anywhere_is_repeated() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "idle");
    let home = scratch.path.join("vms").join(spec.instance.to_string());
    std::fs::create_dir_all(home.join("root")).unwrap();
    std::fs::create_dir_all(home.join("console")).unwrap();
    std::fs::write(home.join("monitor.sock"), "").unwrap();
    std::fs::write(home.join("lock"), "").unwrap();
    std::fs::write(home.join("disks"), "/no/such/disk\n").unwrap();
    vmm.start(&spec, vec![]).await.unwrap();
    vmm.end(spec.instance).await.unwrap();

    // A machine that QEMU refuses leaves nothing behind, and says why.
    let refused = MachineSpec {
        machine: Machine { memory: MiB(u32::MAX / 2), ..spec.machine.clone() },
        ..spec.clone()
    };
    let error = vmm.start(&refused, vec![]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{error}");
    assert!(error.to_string().contains("memory"), "{error}");
    assert!(processes(&scratch, spec.instance).is_empty());
    vmm.start(&spec, vec![]).await.unwrap();
}

#[tokio::test]
async fn purging_leaves_no_process_group_or_file() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    for number in 1..=2 {
        let spec = with_disk(&block, number, "idle", 1).await;
        vmm.start(&spec, vec![]).await.unwrap();
    }
    let pids: Vec<i32> =
        [1, 2].into_iter().flat_map(|number| processes(&scratch, instance(number))).collect();
    assert_eq!(pids.len(), 4, "a keeper and a QEMU each");
    // One of them is known by its control group alone.
    std::fs::remove_dir_all(scratch.path.join("vms").join(instance(2).to_string())).unwrap();
    vmm.purge().await.unwrap();
    block.purge().await.unwrap();
    for pid in pids {
        let gone = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |s| s.contains(") Z "));
        assert!(gone, "{pid} is still there");
    }
    assert_eq!(std::fs::read_dir(&scratch.path).unwrap().count(), 0);
    let groups =
        guest::run("find", &["/sys/fs/cgroup", "-name", &format!("nube-{}", scratch.cloud)], Path::new("/"));
    assert_eq!(groups, "");
}

#[tokio::test]
async fn an_accelerator_is_believed_only_after_a_guest_ran() {
    use agent::host::linux::vmm::accel::runs_a_guest;
    use plan::machine::{Accelerator, Threads};
    let scratch = Scratch::new();
    let kernel = guest::images().join("idle/kernel");
    let cache = scratch.path.join("accel");
    let qemu = &default_qemu()[0].1;
    let emulation = Accelerator::Tcg(Threads::Shared);
    assert!(runs_a_guest(emulation, qemu, &kernel, &cache).await);
    let no_kernel = guest::images().join("idle/initrd");
    assert!(!runs_a_guest(emulation, qemu, &no_kernel, &cache).await);
    // Whatever this host's KVM is worth, a machine starts.
    let config = LinuxVmmConfig { accel: AccelPolicy::Probe, ..scratch.config() };
    let vmm = LinuxVmm::open(config).await.unwrap();
    let spec = spec(1, "idle");
    vmm.start(&spec, vec![]).await.unwrap();
    until_says(&vmm, spec.instance, READY).await;
}

#[tokio::test]
async fn a_machine_that_hangs_is_ended_all_the_same() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "idle");
    vmm.start(&spec, vec![]).await.unwrap();
    let pid = rustix::process::Pid::from_raw(qemu_of(&scratch, spec.instance)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    vmm.end(spec.instance).await.unwrap();
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Absent);
    assert!(processes(&scratch, spec.instance).is_empty());
}

#[tokio::test]
async fn a_machine_survives_the_loss_of_its_keeper() {
    let scratch = Scratch::new();
    let vmm = scratch.vmm().await;
    let spec = spec(1, "spew");
    vmm.start(&spec, vec![]).await.unwrap();
    until_says(&vmm, spec.instance, "spew spew").await;
    let qemu = qemu_of(&scratch, spec.instance);
    let keeper = processes(&scratch, spec.instance).into_iter().find(|pid| *pid != qemu).unwrap();
    let pid = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("the keeper is gone", || async { processes(&scratch, spec.instance) == [qemu] }).await;
    // The guest still writes, to nobody.
    vmm.reset(spec.instance).await.unwrap();
    assert_eq!(vmm.state(spec.instance).await.unwrap(), MachineState::Running);
    drop(vmm);
    let vmm = scratch.vmm().await;
    assert_eq!(vmm.machines().await.unwrap(), [spec.instance]);
    vmm.end(spec.instance).await.unwrap();
    assert!(processes(&scratch, spec.instance).is_empty());
}

#[tokio::test]
async fn a_machine_without_a_kernel_of_its_own_boots_its_first_disk() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let desired = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(1),
        size: GiB(1),
        image: None,
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&desired, None).await.unwrap();
    // Sixteen-bit code that writes a text to the first serial port and halts.
    let mut sector =
        vec![0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x15, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03];
    sector.extend([0xee, 0xeb, 0xf8, 0xf4, 0xeb, 0xfd]);
    sector.extend(b"FROM-THE-DISK\r\n\0");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    let raw = scratch.path.join("sector");
    std::fs::write(&raw, sector).unwrap();
    let write = format!("write -s {} 0 512", raw.to_str().unwrap());
    guest::run("qemu-io", &["-c", &write, path.to_str().unwrap()], Path::new("/"));
    let mut spec = spec(1, "idle");
    spec.machine.direct_kernel = None;
    spec.disks = vec![DiskSpec {
        volume: volume(1),
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/xvda".into(),
        limits: None,
        data_key: None,
        forked: None,
    }];
    vmm.start(&spec, vec![]).await.unwrap();
    until_says(&vmm, spec.instance, "FROM-THE-DISK").await;
}
