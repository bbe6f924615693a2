//! Disks and interfaces that come and go while real machines run.

use crate::conformance::{self, TestHost};
use crate::guest;
use crate::vmm_rig::{BOOT, Scratch, processes, qemu_of, spec, text, until_says, volume};
use agent::host::linux::block::LinuxBlock;
use agent::host::linux::vmm::LinuxVmm;
use agent::host::sim::{SimConfig, SimHost};
use agent::host::{Block, Device, DiskSpec, MachineSpec, Net, Plugged, Release, Result, Standing, Tap, Vmm};
use model::clock::SystemClock;
use model::host::*;
use model::{GiB, InstanceId, NetworkInterfaceId, SecurityGroupId, VpcId};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn disk(block: &LinuxBlock, number: u32, image: Option<&str>) -> DiskSpec {
    let desired = VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(number),
        size: GiB(1),
        image: image.map(Into::into),
        snapshot: None,
        limits: None,
        data_key: None,
    };
    let path = block.ensure_volume(&desired, None).await.unwrap();
    DiskSpec {
        volume: volume(number),
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/sdf".into(),
        limits: None,
        data_key: None,
        forked: None,
    }
}

async fn unplugged(vmm: &LinuxVmm, from: InstanceId, device: Device) {
    let end = Instant::now() + BOOT;
    while vmm.unplug(from, device).await.unwrap() == Release::Pending {
        assert!(Instant::now() < end, "{device} stays in {from}");
        let _nudge = tokio::time::timeout(Duration::from_secs(1), vmm.changed()).await;
    }
}

fn serial(number: u32) -> String {
    plan::machine::disk_serial(volume(number), Medium::Volume)
}

fn held(volumes: &[u32]) -> Plugged {
    let mut plugged = Plugged::default();
    plugged.whole.volumes = volumes.iter().map(|n| volume(*n)).collect();
    plugged
}

/// The files that a process has open.
fn open_files(pid: i32) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let paths = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    paths.map(|path| path.to_string_lossy().into_owned()).collect()
}

fn has_open(pid: i32, path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let inside = path.file_stem().unwrap().to_str().unwrap();
    open_files(pid).iter().any(|open| open.contains(name) || open.ends_with(&format!("/disks/{inside}")))
}

#[tokio::test]
async fn what_a_guest_wrote_moves_with_the_disk_to_another_running_machine() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let (first, second) = (spec(1, "devices"), spec(2, "devices"));
    vmm.start(&first, vec![]).await.unwrap();
    // The second has the disk's neighbour from its start on.
    let boot = disk(&block, 4, None).await;
    vmm.start(&MachineSpec { disks: vec![boot.clone()], ..second.clone() }, vec![]).await.unwrap();
    until_says(&vmm, first.instance, guest::READY).await;

    let disk = disk(&block, 3, Some("idle")).await;
    vmm.plug_disk(first.instance, &disk).await.unwrap();
    let console = until_says(&vmm, first.instance, &format!("WROTE {}", serial(3))).await;
    assert!(console.contains(&format!("CAME {} HELD=\r\n", serial(3))), "{console}");
    let owner = || std::fs::metadata(&disk.path).unwrap().uid();
    assert_ne!(owner(), 0);
    // Whoever unplugs it is not who plugged it in.
    drop(vmm);
    let vmm = scratch.vmm().await;
    assert_eq!(vmm.plugged(first.instance).await.unwrap(), held(&[3]));
    unplugged(&vmm, first.instance, Device::Volume(disk.volume)).await;
    until_says(&vmm, first.instance, &format!("LEFT {}", serial(3))).await;
    assert_eq!(owner(), 0);
    assert!(!has_open(qemu_of(&scratch, first.instance), &disk.path));

    vmm.plug_disk(second.instance, &disk).await.unwrap();
    let console = until_says(&vmm, second.instance, &format!("WROTE {}", serial(3))).await;
    assert!(console.contains(&format!("CAME {} HELD=written-earlier!\r\n", serial(3))), "{console}");
    // It grows under the running guest, and so does the one that was there from the start.
    for number in [3, 4] {
        let grown = VolumeDesired {
            shared: false,
            fork: None,
            volume: volume(number),
            size: GiB(2),
            image: None,
            snapshot: None,
            limits: None,
            data_key: None,
        };
        vmm.tune_disk(second.instance, &grown).await.unwrap();
        block.ensure_volume(&grown, None).await.unwrap();
        until_says(&vmm, second.instance, &format!("SIZE {} 4194304", serial(number))).await;
    }
    unplugged(&vmm, second.instance, Device::Volume(boot.volume)).await;
    until_says(&vmm, second.instance, &format!("LEFT {}", serial(4))).await;
    assert_eq!(vmm.plugged(second.instance).await.unwrap(), held(&[3]));
    assert!(!has_open(qemu_of(&scratch, second.instance), &boot.path));
}

#[tokio::test]
async fn a_guest_that_hears_nothing_keeps_its_disk_until_it_is_torn_out() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    // An empty disk: the firmware finds nothing to boot, and nobody listens.
    let boot = disk(&block, 1, None).await;
    let mut deaf = MachineSpec { disks: vec![boot], ..spec(1, "devices") };
    deaf.machine.direct_kernel = None;
    vmm.start(&deaf, vec![]).await.unwrap();
    let disk = disk(&block, 3, Some("idle")).await;
    vmm.plug_disk(deaf.instance, &disk).await.unwrap();
    let qemu = qemu_of(&scratch, deaf.instance);
    assert!(has_open(qemu, &disk.path));
    for _ in 0..3 {
        let asked = vmm.unplug(deaf.instance, Device::Volume(disk.volume)).await.unwrap();
        assert_eq!(asked, Release::Pending);
        assert_eq!(vmm.plugged(deaf.instance).await.unwrap(), held(&[1, 3]));
    }
    vmm.tear_out(deaf.instance, disk.volume).await.unwrap();
    assert!(!has_open(qemu, &disk.path));
    assert!(!open_files(qemu).iter().any(|file| file.contains("/bases/")), "{:?}", open_files(qemu));
    assert_eq!(std::fs::metadata(&disk.path).unwrap().uid(), 0);
    let plugged = vmm.plugged(deaf.instance).await.unwrap();
    assert_eq!((plugged.whole.volumes, plugged.dead), (vec![volume(1)], vec![volume(3)]));
    // It cannot come back beside its dead device; a reset makes the guest let go.
    assert!(vmm.plug_disk(deaf.instance, &disk).await.is_err());
    vmm.reset(deaf.instance).await.unwrap();
    unplugged(&vmm, deaf.instance, Device::Volume(disk.volume)).await;
    assert_eq!(vmm.plugged(deaf.instance).await.unwrap(), held(&[1]));
    vmm.plug_disk(deaf.instance, &disk).await.unwrap();
    assert_eq!(vmm.plugged(deaf.instance).await.unwrap(), held(&[1, 3]));
}

#[tokio::test]
async fn a_guest_reads_errors_from_a_disk_that_was_torn_out() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let machine = spec(1, "devices");
    vmm.start(&machine, vec![]).await.unwrap();
    let disk = disk(&block, 3, None).await;
    vmm.plug_disk(machine.instance, &disk).await.unwrap();
    until_says(&vmm, machine.instance, &format!("WROTE {}", serial(3))).await;
    vmm.tear_out(machine.instance, disk.volume).await.unwrap();
    // Then it lets go, as it would of any other.
    unplugged(&vmm, machine.instance, Device::Volume(disk.volume)).await;
    until_says(&vmm, machine.instance, &format!("LEFT {}", serial(3))).await;
}

#[tokio::test]
async fn a_plug_that_was_interrupted_anywhere_is_finished_or_undone() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let machine = spec(1, "devices");
    vmm.start(&machine, vec![]).await.unwrap();
    until_says(&vmm, machine.instance, guest::READY).await;
    let disk = disk(&block, 3, Some("idle")).await;
    drop(vmm);
    for round in 0..10_u64 {
        let vmm = scratch.vmm().await;
        let _cut =
            tokio::time::timeout(Duration::from_micros(600 * round), vmm.plug_disk(machine.instance, &disk))
                .await;
        drop(vmm);
        let vmm = scratch.vmm().await;
        if round % 2 == 0 {
            vmm.plug_disk(machine.instance, &disk).await.unwrap();
            assert_eq!(vmm.plugged(machine.instance).await.unwrap(), held(&[3]));
        }
        let _cut = tokio::time::timeout(
            Duration::from_micros(600 * round),
            vmm.unplug(machine.instance, Device::Volume(disk.volume)),
        )
        .await;
        drop(vmm);
        let vmm = scratch.vmm().await;
        unplugged(&vmm, machine.instance, Device::Volume(disk.volume)).await;
        assert_eq!(vmm.plugged(machine.instance).await.unwrap(), Plugged::default(), "round {round}");
        assert!(!has_open(qemu_of(&scratch, machine.instance), &disk.path), "round {round}");
        assert_eq!(std::fs::metadata(&disk.path).unwrap().uid(), 0, "round {round}");
    }
}

/// The rates that the guest measured at this disk, in reads of 4 KiB per second.
fn rates(console: &str, number: u32) -> Vec<u64> {
    let marker = format!("RATE {} ", serial(number));
    console.lines().filter_map(|line| line.trim().strip_prefix(&marker)?.parse().ok()).collect()
}

#[tokio::test]
async fn a_disk_does_as_many_operations_in_a_second_as_its_limits_say() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let machine = spec(1, "devices");
    let limits = |iops| VolumeLimits {
        iops: Rate { base: iops, burst: None },
        bytes: Rate { base: 131_072_000, burst: None },
        operation: 256 << 10,
    };
    let disk = DiskSpec { limits: Some(limits(100)), ..disk(&block, 3, None).await };
    let raw = scratch.path.join("mark");
    std::fs::write(&raw, [b"rate".as_slice(), &[0; 508]].concat()).unwrap();
    let write = format!("write -s {} 4096 512", raw.to_str().unwrap());
    guest::run("qemu-io", &["-c", &write, disk.path.to_str().unwrap()], Path::new("/"));
    // From the start, then changed while the guest reads.
    vmm.start(&MachineSpec { disks: vec![disk.clone()], ..machine.clone() }, vec![]).await.unwrap();
    for iops in [100, 250] {
        let desired = VolumeDesired {
            shared: false,
            fork: None,
            volume: disk.volume,
            size: GiB(1),
            image: None,
            snapshot: None,
            limits: Some(limits(iops)),
            data_key: None,
        };
        vmm.tune_disk(machine.instance, &desired).await.unwrap();
        // The measurement under way saw both limits. A busy host can make a guest slower, never faster.
        let skip = rates(&text(&vmm, machine.instance).await, 3).len() + 1;
        let end = Instant::now() + 2 * BOOT;
        let seen = loop {
            let seen = rates(&text(&vmm, machine.instance).await, 3);
            let seen = seen.get(skip..).unwrap_or_default().to_vec();
            if seen.iter().any(|rate| (iops * 9 / 10..=iops * 11 / 10).contains(rate)) {
                break seen;
            }
            assert!(Instant::now() < end, "the guest does not do {iops} operations a second: {seen:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        // A tenth of a second's operations are let through at once, which two ends of a measurement may both see.
        assert!(seen.iter().all(|rate| *rate <= iops * 5 / 4), "{iops}: {seen:?}");
        println!("{iops} operations a second: {seen:?}");
    }
}

/// Real machines and disks. Networks are the simulator's, their TAPs real.
struct Real {
    scratch: Scratch,
    vmm: LinuxVmm,
    block: LinuxBlock,
    net: Taps,
}

struct Taps(SimHost);

impl Net for Taps {
    async fn tunnels(&self) -> agent::host::Result<agent::host::Tunnels> {
        Ok(agent::host::Tunnels::default())
    }

    async fn ensure_vpc(&self, vpc: &VpcDesired) -> Result<()> {
        self.0.ensure_vpc(vpc).await
    }
    async fn remove_vpc(&self, vpc: VpcId) -> Result<()> {
        self.0.remove_vpc(vpc).await
    }
    async fn ensure_security_group(&self, group: &SecurityGroupDesired) -> Result<()> {
        self.0.ensure_security_group(group).await
    }
    async fn remove_security_group(&self, group: SecurityGroupId) -> Result<()> {
        self.0.remove_security_group(group).await
    }
    async fn open_port(&self, interface: &InterfaceDesired) -> Result<Tap> {
        let tap = self.0.open_port(interface).await?;
        Ok(Tap { fd: crate::vmm_rig::tap(1).fd, ..tap })
    }
    async fn ensure_port(&self, interface: &InterfaceDesired) -> Result<()> {
        self.0.ensure_port(interface).await
    }
    async fn remove_port(&self, interface: NetworkInterfaceId) -> Result<()> {
        self.0.remove_port(interface).await
    }
    async fn standing(&self) -> Result<Standing> {
        self.0.standing().await
    }
}

impl TestHost for Real {
    fn vmm(&self) -> &impl Vmm {
        &self.vmm
    }
    fn net(&self) -> &impl Net {
        &self.net
    }
    fn block(&self) -> &impl Block {
        &self.block
    }
    fn fit(&self, instance: &mut InstanceDesired) {
        instance.machine = spec(1, "devices").machine;
    }
    async fn booted(&self, instance: InstanceId) {
        until_says(&self.vmm, instance, guest::READY).await;
    }
    async fn kill(&self, instance: InstanceId) {
        let pid = rustix::process::Pid::from_raw(qemu_of(&self.scratch, instance)).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}

async fn on_real_machines(test: impl AsyncFn(&Real)) {
    let scratch = Scratch::new();
    let block = scratch.block();
    on_machines_with(scratch, block, test).await;
}

async fn on_machines_with(scratch: Scratch, block: LinuxBlock, test: impl AsyncFn(&Real)) {
    let vmm = scratch.vmm().await;
    let net = Taps(SimHost::new(SimConfig::default(), Arc::new(SystemClock)));
    let host = Real { scratch, vmm, block, net };
    test(&host).await;
    for left in host.vmm.machines().await.unwrap() {
        assert!(processes(&host.scratch, left).is_empty());
    }
}

#[tokio::test]
async fn disks_and_interfaces_come_and_go_while_a_machine_runs() {
    on_real_machines(conformance::disks_and_interfaces_come_and_go_while_a_machine_runs).await;
}

#[tokio::test]
async fn a_volume_that_is_torn_out_is_free_at_once() {
    on_real_machines(conformance::a_volume_that_is_torn_out_is_free_at_once).await;
}

#[tokio::test]
async fn a_volume_in_use_grows_and_takes_other_limits() {
    on_real_machines(conformance::a_volume_in_use_grows_and_takes_other_limits).await;
}

#[tokio::test]
async fn snapshots_are_taken_together_and_outlive_their_volumes() {
    on_real_machines(conformance::snapshots_are_taken_together_and_outlive_their_volumes).await;
}

#[tokio::test]
async fn a_volume_of_a_snapshot_is_used_whether_or_not_all_of_it_is_here() {
    let scratch = Scratch::new();
    let serving = crate::vmm_lazy::serve(&scratch);
    let block = scratch.block_filling(crate::vmm_lazy::SOON);
    crate::vmm_lazy::until_served(&scratch).await;
    let test = conformance::a_volume_of_a_snapshot_is_used_whether_or_not_all_of_it_is_here;
    on_machines_with(scratch, block, test).await;
    serving.abort();
}

#[tokio::test]
async fn a_snapshot_of_no_volume_is_refused_and_one_that_is_not_there_is_removed() {
    on_real_machines(conformance::a_snapshot_of_no_volume_is_refused_and_one_that_is_not_there_is_removed)
        .await;
}

#[tokio::test]
async fn a_machine_without_a_free_slot_says_so() {
    on_real_machines(conformance::a_machine_without_a_free_slot_says_so).await;
}

#[tokio::test]
async fn an_encrypted_volume_opens_with_its_own_key_alone() {
    on_real_machines(conformance::an_encrypted_volume_opens_with_its_own_key_alone).await;
}

#[tokio::test]
async fn a_fast_snapshot_is_kept_for_as_long_as_that_is_desired() {
    on_real_machines(conformance::a_fast_snapshot_is_kept_for_as_long_as_that_is_desired).await;
}

#[tokio::test]
async fn an_archived_snapshot_cannot_be_used_until_it_is_restored() {
    on_real_machines(conformance::an_archived_snapshot_cannot_be_used_until_it_is_restored).await;
}

#[tokio::test]
async fn what_is_made_of_an_encrypted_volume_is_encrypted_too() {
    on_real_machines(conformance::what_is_made_of_an_encrypted_volume_is_encrypted_too).await;
}

#[tokio::test]
async fn a_snapshot_that_is_not_encrypted_becomes_an_encrypted_volume() {
    on_real_machines(conformance::a_snapshot_that_is_not_encrypted_becomes_an_encrypted_volume).await;
}
