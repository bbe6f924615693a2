//! Snapshots of real volumes, with machines that write to them and without.

use crate::guest::{self, run};
use crate::vmm_rig::{Scratch, qemu_of, spec, text, until, until_says, volume};
use agent::host::linux::block::{Filling, LinuxBlock, LinuxBlockConfig};
use agent::host::linux::vmm::LinuxVmm;
use agent::host::{Block, DiskSpec, Fault, MachineSpec, Vmm};
use blocks::{BlockStore, Directory, fsck};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, Tier, VolumeDesired};
use model::{AccountId, GiB, InstanceId, SnapshotId, VolumeId};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn snapshot(number: u32) -> SnapshotId {
    SnapshotId::from_entropy(u128::from(number))
}

fn desired(number: u32, of: u32, parent: Option<u32>) -> SnapshotDesired {
    SnapshotDesired {
        asked: 0,
        tier: model::host::Tier::Standard,
        snapshot: snapshot(number),
        account: AccountId::from_number(1),
        size: GiB(1),
        source: SnapshotSource::Volume {
            volume: volume(of),
            parent: parent.map(snapshot),
            together: Vec::new(),
            during: None,
        },
        data_key: None,
    }
}

fn wanted(number: u32, of: Option<u32>) -> VolumeDesired {
    VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(number),
        size: GiB(1),
        image: None,
        snapshot: of.map(snapshot),
        limits: None,
        data_key: None,
    }
}

async fn disk(block: &LinuxBlock, number: u32) -> DiskSpec {
    let path = block.ensure_volume(&wanted(number, None), None).await.unwrap();
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

/// Fixes the instant of snapshots, each of a volume.
async fn capture(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, set: &[(u32, u32)]) {
    let set: Vec<(SnapshotId, VolumeId)> = set.iter().map(|(s, v)| (snapshot(*s), volume(*v))).collect();
    let volumes: Vec<VolumeId> = set.iter().map(|(_, volume)| *volume).collect();
    block.freeze(&set).await.unwrap();
    vmm.follow(holder, &volumes).await.unwrap();
    block.captured(&set.iter().map(|(snapshot, _)| *snapshot).collect::<Vec<_>>()).await.unwrap();
}

async fn stored(block: &LinuxBlock, wanted: &SnapshotDesired) -> u64 {
    loop {
        match block.store_snapshot(wanted, None).await.unwrap() {
            SnapshotPhase::Pending { .. } => {}
            SnapshotPhase::Completed { full, .. } => return full,
            other => panic!("{other:?}"),
        }
    }
}

async fn trim(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, number: u32) {
    vmm.follow(holder, &[volume(number)]).await.unwrap();
    // One that was cut short may still be ending.
    until("the layers are joined", || async { block.trim(volume(number), None).await.is_ok() }).await;
    vmm.follow(holder, &[volume(number)]).await.unwrap();
}

fn store(scratch: &Scratch) -> BlockStore {
    BlockStore::new(Arc::new(Directory::open(&scratch.path.join("snapshots")).unwrap()))
}

pub fn is_clean(scratch: &Scratch) {
    let report = store(scratch).fsck(fsck::Depth::Full).unwrap();
    assert!(report.is_clean() && report.foreign.is_empty(), "{report:?}");
}

/// The files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn layers(scratch: &Scratch, number: u32) -> usize {
    let files = files(&scratch.path.join("volumes/layers").join(volume(number).to_string()));
    files.iter().filter(|path| path.extension().is_some_and(|e| e == "qcow2")).count()
}

/// Writes a pattern through QEMU's own tools.
pub fn write(path: &Path, pattern: u8, at: &str, length: &str) {
    run(
        "qemu-io",
        &["-c", &format!("write -P {pattern} {at} {length}"), path.to_str().unwrap()],
        Path::new("/"),
    );
}

pub fn holds(path: &Path, pattern: u8, at: &str, length: &str) {
    let read = format!("read -P {pattern} {at} {length}");
    let said = run("qemu-io", &["-r", "-U", "-c", &read, path.to_str().unwrap()], Path::new("/"));
    assert!(!said.contains("verification failed"), "{at} is not {pattern}: {said}");
}

fn are_equal(one: &Path, other: &Path) {
    let said =
        run("qemu-img", &["compare", "-U", one.to_str().unwrap(), other.to_str().unwrap()], Path::new("/"));
    assert!(said.contains("identical"), "{said}");
}

/// The number that the guest last wrote to a volume, as a volume of a snapshot has it.
async fn counted(block: &LinuxBlock, of: u32) -> u64 {
    let path = block.ensure_volume(&wanted(1000 + of, Some(of)), None).await.unwrap();
    let out = path.with_extension("number");
    let arguments = ["dd", "-U", "-f", "qcow2", "-O", "raw", "bs=512", "count=1"];
    let (from, to) = (format!("if={}", path.display()), format!("of={}", out.display()));
    run("qemu-img", &[&arguments[..], &[&from, &to]].concat(), Path::new("/"));
    let text = std::fs::read(&out).unwrap();
    std::fs::remove_file(out).unwrap();
    String::from_utf8_lossy(&text).trim_matches([' ', '\0']).parse().unwrap_or(0)
}

/// Waits until the guest has written so many numbers more.
pub async fn goes_on(vmm: &LinuxVmm, machine: InstanceId) -> u64 {
    let last =
        |text: &str| text.lines().filter_map(|l| l.trim().strip_prefix("COUNT ")?.parse::<u64>().ok()).max();
    let before = last(&text(vmm, machine).await).unwrap_or(0);
    until("the guest writes on", || async { last(&text(vmm, machine).await).unwrap_or(0) >= before + 5 })
        .await;
    before
}

/// The disks that a process has open and that have no name any more.
fn unlinked(pid: i32) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let is_unlinked = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|meta| meta.nlink() == 0);
    let names = entries.filter(is_unlinked).filter_map(|file| std::fs::read_link(file).ok());
    names.filter(|name| name.to_string_lossy().contains("vol-")).collect()
}

#[tokio::test]
async fn what_a_running_guest_had_written_is_what_a_volume_of_the_snapshot_holds() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    // One disk from the start on, one plugged in.
    let (first, second) = (disk(&block, 1).await, disk(&block, 2).await);
    let machine = MachineSpec { disks: vec![first.clone()], ..spec(1, "counter") };
    let id = machine.instance;
    vmm.start(&machine, vec![]).await.unwrap();
    vmm.plug_disk(id, &second).await.unwrap();
    until_says(&vmm, id, "COUNT 5").await;
    let mut last = 0;
    for round in 0..4_u32 {
        let (one, two) = (10 + 2 * round, 11 + 2 * round);
        let parents = [one, two].map(|number| (round > 0).then(|| number - 2));
        let before = goes_on(&vmm, id).await;
        capture(&vmm, &block, id, &[(one, 1), (two, 2)]).await;
        goes_on(&vmm, id).await;
        stored(&block, &desired(one, 1, parents[0])).await;
        stored(&block, &desired(two, 2, parents[1])).await;
        for number in [1, 2] {
            trim(&vmm, &block, id, number).await;
            assert_eq!(layers(&scratch, number), 1, "round {round}");
        }
        assert_eq!(unlinked(qemu_of(&scratch, id)), Vec::<PathBuf>::new(), "round {round}");
        let (a, b) = (counted(&block, one).await, counted(&block, two).await);
        assert!(a >= before && a > last, "{a}: {before}, {last}");
        assert!(b == a || b + 1 == a, "not one instant: {a} and {b}");
        last = a;
        let manifest = store(&scratch).manifest(snapshot(one)).unwrap();
        assert_eq!((manifest.parent, manifest.blocks), (parents[0].map(snapshot), 1));
        assert_eq!(manifest.changed, 1, "only what has changed is read");
    }
    // Grown under the machine, and unplugged, after all that.
    let grown = VolumeDesired { size: GiB(2), ..wanted(2, None) };
    vmm.tune_disk(id, &grown).await.unwrap();
    block.ensure_volume(&grown, None).await.unwrap();
    // What the machine wrote last is there when it is started anew.
    let before = goes_on(&vmm, id).await;
    vmm.end(id).await.unwrap();
    let machine = MachineSpec { disks: vec![first.clone(), second], ..machine };
    vmm.start(&machine, vec![]).await.unwrap();
    vmm.end(id).await.unwrap();
    for number in [1, 2] {
        capture(&vmm, &block, id, &[(30 + number, number)]).await;
        let wanted = SnapshotDesired { size: GiB(number), ..desired(30 + number, number, None) };
        stored(&block, &wanted).await;
    }
    assert!(counted(&block, 31).await >= before);
    run("qemu-img", &["check", "-q", first.path.to_str().unwrap()], Path::new("/"));
    is_clean(&scratch);
}

#[tokio::test]
async fn a_snapshot_that_is_interrupted_anywhere_is_finished() {
    let scratch = Scratch::new();
    let block = scratch.block();
    let disks = vec![disk(&block, 1).await, disk(&block, 2).await];
    drop(block);
    let machine = MachineSpec { disks, ..spec(1, "counter") };
    let id = machine.instance;
    scratch.vmm().await.start(&machine, vec![]).await.unwrap();
    let set = |round: u32| [(snapshot(100 + 2 * round), volume(1)), (snapshot(101 + 2 * round), volume(2))];
    let mut last = 0;
    for round in 0..8_u32 {
        let (vmm, block) = (scratch.vmm().await, scratch.block());
        let before = goes_on(&vmm, id).await;
        block.freeze(&set(round)).await.unwrap();
        let patience = Duration::from_micros(700 * u64::from(round));
        let _cut = tokio::time::timeout(patience, vmm.follow(id, &[volume(1), volume(2)])).await;
        // Agent and, now and then, machine die.
        drop((vmm, block));
        let (vmm, block) = (scratch.vmm().await, scratch.block());
        if round % 3 == 2 {
            let pid = rustix::process::Pid::from_raw(qemu_of(&scratch, id)).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            until("the machine is gone", || async {
                vmm.state(id).await.unwrap() == agent::host::MachineState::Absent
            })
            .await;
            vmm.start(&machine, vec![]).await.unwrap();
        }
        let numbers = [100 + 2 * round, 101 + 2 * round];
        capture(&vmm, &block, id, &[(numbers[0], 1), (numbers[1], 2)]).await;
        // Storing is interrupted, too.
        let parent = (round > 0).then(|| numbers[0] - 2);
        let _begun = block.store_snapshot(&desired(numbers[0], 1, parent), None).await.unwrap();
        drop(block);
        let block = scratch.block();
        stored(&block, &desired(numbers[0], 1, parent)).await;
        stored(&block, &desired(numbers[1], 2, None)).await;
        for number in [1, 2] {
            let _cut = tokio::time::timeout(patience * 4, block.trim(volume(number), None)).await;
            trim(&vmm, &block, id, number).await;
        }
        let (a, b) = (counted(&block, numbers[0]).await, counted(&block, numbers[1]).await);
        assert!(b == a || b + 1 == a, "round {round}: not one instant: {a} and {b}");
        if round % 3 != 2 {
            assert!(a >= before.max(last), "round {round}: {a}, {before}, {last}");
        }
        last = if round % 3 == 2 { 0 } else { a };
    }
    is_clean(&scratch);
}

#[tokio::test]
async fn a_volume_of_a_snapshot_is_as_the_volume_was_images_and_all() {
    let scratch = Scratch::new();
    let images = scratch.path.join("images");
    let image = images.join("packed");
    std::fs::create_dir_all(&image).unwrap();
    // Compressed, as images are, and smaller than the volume.
    let raw = scratch.path.join("raw");
    run("qemu-img", &["create", "-q", "-f", "raw", raw.to_str().unwrap(), "64M"], Path::new("/"));
    for (pattern, at) in [(1, "0"), (2, "3M"), (3, "40M")] {
        run(
            "qemu-io",
            &["-f", "raw", "-c", &format!("write -P {pattern} {at} 700k"), raw.to_str().unwrap()],
            Path::new("/"),
        );
    }
    run(
        "qemu-img",
        &["convert", "-c", "-O", "qcow2", raw.to_str().unwrap(), image.join("disk.qcow2").to_str().unwrap()],
        Path::new("/"),
    );
    let manifest = std::fs::read_to_string(guest::images().join("idle/manifest.json")).unwrap();
    std::fs::write(image.join("manifest.json"), manifest.replace("\"idle\"", "\"packed\"")).unwrap();
    let config = LinuxBlockConfig {
        cloud: scratch.cloud.clone(),
        state_dir: scratch.path.join("volumes"),
        images_dir: images,
        snapshots_dir: scratch.path.join("snapshots"),
        blocks: blocks::Place::Directory,
        filling: Filling::First,
    };
    let (vmm, block) = (scratch.vmm().await, LinuxBlock::open(config.clone()).unwrap());
    let nobody = spec(1, "idle").instance;
    let path = block
        .ensure_volume(&VolumeDesired { image: Some("packed".into()), ..wanted(1, None) }, None)
        .await
        .unwrap();
    write(&path, 4, "3M", "64k");
    write(&path, 5, "900M", "1M");
    capture(&vmm, &block, nobody, &[(1, 1)]).await;
    // What is written from here on is the next snapshot's; zeros are written and given back as well.
    write(&path, 6, "3M", "4k");
    run(
        "qemu-io",
        &["-c", "write -z 40M 64k", "-c", "discard 900M 512k", path.to_str().unwrap()],
        Path::new("/"),
    );
    let full = stored(&block, &desired(1, 1, None)).await;
    let made = block.ensure_volume(&wanted(2, Some(1)), None).await.unwrap();
    for (pattern, at, length) in
        [(1, "0", "700k"), (4, "3M", "64k"), (2, "3200k", "512k"), (5, "900M", "1M"), (0, "500M", "1M")]
    {
        holds(&made, pattern, at, length);
    }
    assert!((4 << 19..=9 << 19).contains(&full), "{full}");
    capture(&vmm, &block, nobody, &[(2, 1)]).await;
    stored(&block, &desired(2, 1, Some(1))).await;
    let changed = store(&scratch).manifest(snapshot(2)).unwrap().changed;
    assert!((2..=4).contains(&changed), "{changed} blocks were read");
    trim(&vmm, &block, nobody, 1).await;
    assert_eq!(layers(&scratch, 1), 1);
    let made = block.ensure_volume(&wanted(3, Some(2)), None).await.unwrap();
    are_equal(&path, &made);
    // Without a layer of its parent all is read, and compared.
    capture(&vmm, &block, nobody, &[(3, 1)]).await;
    stored(&block, &desired(3, 1, Some(1))).await;
    let made = block.ensure_volume(&wanted(4, Some(3)), None).await.unwrap();
    are_equal(&path, &made);
    // In any order, and after the volume; a snapshot of a volume of a snapshot, too.
    write(&made, 9, "1M", "64k");
    capture(&vmm, &block, nobody, &[(4, 4), (5, 1)]).await;
    for number in [1, 4] {
        block.remove_volume(volume(number)).await.unwrap();
    }
    block.remove_snapshot(snapshot(1)).await.unwrap();
    block.remove_snapshot(snapshot(3)).await.unwrap();
    drop(block);
    let block = LinuxBlock::open(config.clone()).unwrap();
    stored(&block, &desired(4, 4, Some(3))).await;
    stored(&block, &desired(5, 1, Some(2))).await;
    for number in [1, 4] {
        block.trim(volume(number), None).await.unwrap();
        assert!(!scratch.path.join("volumes/layers").join(volume(number).to_string()).exists());
    }
    let made = block.ensure_volume(&wanted(5, Some(4)), None).await.unwrap();
    holds(&made, 9, "1M", "64k");
    holds(&made, 6, "3M", "4k");
    // Another account's copy is its own.
    let copy = SnapshotDesired {
        account: AccountId::from_number(2),
        source: SnapshotSource::Copy(snapshot(4)),
        ..desired(6, 4, None)
    };
    stored(&block, &copy).await;
    block.remove_snapshot(snapshot(4)).await.unwrap();
    let collected = store(&scratch).collect().unwrap();
    assert!(collected.live > 0);
    let copied = block.ensure_volume(&wanted(6, Some(6)), None).await.unwrap();
    are_equal(&made, &copied);
    is_clean(&scratch);
    for number in [2, 3, 5, 6] {
        block.remove_volume(volume(number)).await.unwrap();
    }
    for number in [2, 5, 6] {
        block.remove_snapshot(snapshot(number)).await.unwrap();
    }
    drop(block);
    drop(LinuxBlock::open(config).unwrap());
    let left = files(&scratch.path.join("volumes"));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(files(&scratch.path.join("volumes/restored")), Vec::<PathBuf>::new());
    assert_eq!(files(&scratch.path.join("snapshots/captures")), Vec::<PathBuf>::new());
}

async fn placed(block: &LinuxBlock, snapshot: &SnapshotDesired, tier: Tier) {
    let wanted = SnapshotDesired { tier, ..snapshot.clone() };
    loop {
        match block.change_tier(&wanted).await.unwrap() {
            SnapshotPhase::Moving { .. } => {}
            SnapshotPhase::Completed { tier: reached, .. } => return assert_eq!(reached, tier),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_archived_snapshot_lies_apart_and_whole() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let nobody = spec(1, "idle").instance;
    let disk = disk(&block, 1).await;
    write(&disk.path, 7, "0", "4M");
    capture(&vmm, &block, nobody, &[(1, 1)]).await;
    stored(&block, &desired(1, 1, None)).await;
    write(&disk.path, 8, "1M", "512k");
    capture(&vmm, &block, nobody, &[(2, 1)]).await;
    let second = desired(2, 1, Some(1));
    stored(&block, &second).await;
    placed(&block, &second, Tier::Archive).await;
    assert_eq!(store(&scratch).snapshots().unwrap(), [snapshot(1)]);
    let own = scratch.path.join("snapshots/archive").join(snapshot(2).to_string());
    let report = BlockStore::new(Arc::new(Directory::open(&own).unwrap())).fsck(fsck::Depth::Full).unwrap();
    assert!(report.is_clean() && report.snapshots == 1, "{report:?}");
    assert!(report.blocks >= 2, "what it shared is there too: {report:?}");
    // What it was built upon goes, and so does all that nobody refers to.
    block.remove_snapshot(snapshot(1)).await.unwrap();
    store(&scratch).collect().unwrap();
    drop(block);
    let block = scratch.block();
    assert_eq!(block.snapshots().await.unwrap(), [snapshot(2)]);
    placed(&block, &second, Tier::Standard).await;
    assert!(!own.exists());
    is_clean(&scratch);
    let path = block.ensure_volume(&wanted(3, Some(2)), None).await.unwrap();
    holds(&path, 7, "0", "1M");
    holds(&path, 8, "1M", "512k");
    holds(&path, 7, "1536k", "2560k");
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_and_never_data() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let nobody = spec(1, "idle").instance;
    let disk = disk(&block, 1).await;
    write(&disk.path, 7, "0", "4M");
    capture(&vmm, &block, nobody, &[(1, 1)]).await;
    stored(&block, &desired(1, 1, None)).await;
    let stored_blocks = files(&scratch.path.join("snapshots/objects/blocks"));
    let victim = stored_blocks.first().unwrap();
    let mut bytes = std::fs::read(victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(victim, bytes).unwrap();
    drop(block);
    let block = scratch.block();
    let error = block.ensure_volume(&wanted(2, Some(1)), None).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
    let copy = SnapshotDesired {
        account: AccountId::from_number(2),
        source: SnapshotSource::Copy(snapshot(1)),
        ..desired(2, 1, None)
    };
    let refused = loop {
        match block.store_snapshot(&copy, None).await {
            Ok(SnapshotPhase::Pending { .. }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.fault, Fault::Permanent, "{refused}");
    assert_eq!(block.volumes().await.unwrap(), [volume(1)]);
    assert!(!store(&scratch).fsck(fsck::Depth::Full).unwrap().is_clean());
    assert_eq!(files(&scratch.path.join("volumes/restored")), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_store_without_room_is_waited_for() {
    let scratch = Scratch::new();
    let snapshots = scratch.path.join("snapshots");
    let _mount = Scratch::memory(&snapshots, 4 << 20);
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let nobody = spec(1, "idle").instance;
    let disk = disk(&block, 1).await;
    let noise = scratch.path.join("noise");
    run(
        "dd",
        &["if=/dev/urandom", &format!("of={}", noise.display()), "bs=1M", "count=8", "status=none"],
        Path::new("/"),
    );
    let write = format!("write -s {} 0 8M", noise.display());
    run("qemu-io", &["-c", &write, disk.path.to_str().unwrap()], Path::new("/"));
    capture(&vmm, &block, nobody, &[(1, 1)]).await;
    let full = loop {
        match block.store_snapshot(&desired(1, 1, None), None).await {
            Ok(SnapshotPhase::Pending { .. }) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(full.fault, Fault::Transient, "{full}");
    assert!(full.to_string().contains("full"), "{full}");
    run("mount", &["-o", "remount,size=64M", snapshots.to_str().unwrap()], Path::new("/"));
    stored(&block, &desired(1, 1, None)).await;
    let made = block.ensure_volume(&wanted(2, Some(1)), None).await.unwrap();
    are_equal(&disk.path, &made);
    is_clean(&scratch);
}

#[tokio::test]
async fn a_header_that_leads_to_another_volume_is_refused() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let nobody = spec(1, "idle").instance;
    let (own, other) = (disk(&block, 1).await, disk(&block, 2).await);
    capture(&vmm, &block, nobody, &[(1, 1), (2, 2)]).await;
    let layer = |number: u32| {
        let own = scratch.path.join("volumes/layers").join(volume(number).to_string());
        own.join(format!("{}.qcow2", snapshot(number)))
    };
    let secret = layer(2).canonicalize().unwrap();
    let arguments =
        ["rebase", "-u", "-F", "qcow2", "-b", secret.to_str().unwrap(), own.path.to_str().unwrap()];
    run("qemu-img", &arguments, Path::new("/"));
    let machine = MachineSpec { disks: vec![own, other], ..spec(1, "disk") };
    let error = vmm.start(&machine, vec![]).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{error}");
    assert!(error.to_string().contains("no image of this host"), "{error}");
}
