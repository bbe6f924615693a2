//! Volumes that several real machines have at once, and snapshots of them.

use crate::guest::run;
use crate::vmm_encryption::{PATTERN, Tool, holding};
use crate::vmm_rig::{Scratch, spec, text, until, until_says, volume};
use crate::vmm_snapshots::{goes_on, holds, is_clean, write};
use agent::host::linux::block::LinuxBlock;
use agent::host::linux::vmm::LinuxVmm;
use agent::host::{Block, Device, DiskSpec, Fault, MachineSpec, Release, Vmm};
use model::host::{Medium, SnapshotDesired, SnapshotPhase, SnapshotSource, Tier, VolumeDesired};
use model::{AccountId, DataKey, GiB, InstanceId, SnapshotId, VolumeId};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn snapshot(number: u32) -> SnapshotId {
    SnapshotId::from_entropy(u128::from(number))
}

fn wanted(number: u32, of: Option<u32>, data_key: Option<&DataKey>) -> VolumeDesired {
    VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(number),
        size: GiB(1),
        image: None,
        snapshot: of.map(snapshot),
        limits: None,
        data_key: data_key.cloned(),
    }
}

fn shared(number: u32, of: Option<u32>, data_key: Option<&DataKey>) -> VolumeDesired {
    VolumeDesired { shared: true, ..wanted(number, of, data_key) }
}

async fn disk(block: &LinuxBlock, wanted: &VolumeDesired) -> DiskSpec {
    DiskSpec {
        volume: wanted.volume,
        medium: Medium::Volume,
        path: block.ensure_volume(wanted, wanted.data_key.as_ref()).await.unwrap(),
        device: "/dev/sdf".into(),
        limits: None,
        data_key: wanted.data_key.clone(),
        forked: None,
    }
}

async fn stored(block: &LinuxBlock, number: u32, of: u32, parent: Option<u32>, data_key: Option<&DataKey>) {
    let desired = SnapshotDesired {
        asked: 0,
        tier: Tier::Standard,
        snapshot: snapshot(number),
        account: AccountId::from_number(1),
        size: GiB(1),
        source: SnapshotSource::Volume {
            volume: volume(of),
            parent: parent.map(snapshot),
            together: Vec::new(),
            during: None,
        },
        data_key: data_key.cloned(),
    };
    while !matches!(block.store_snapshot(&desired, None).await.unwrap(), SnapshotPhase::Completed { .. }) {}
}

async fn capture(vmm: &LinuxVmm, block: &LinuxBlock, holders: &[InstanceId], set: &[(SnapshotId, VolumeId)]) {
    let (snapshots, volumes): (Vec<_>, Vec<_>) = set.iter().copied().unzip();
    block.freeze(set).await.unwrap();
    for holder in holders {
        vmm.follow(*holder, &volumes).await.unwrap();
    }
    block.captured(&snapshots).await.unwrap();
}

async fn trim(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, of: u32, data_key: Option<&DataKey>) {
    vmm.follow(holder, &[volume(of)]).await.unwrap();
    until("the layers are joined", || async { block.trim(volume(of), data_key).await.is_ok() }).await;
    vmm.follow(holder, &[volume(of)]).await.unwrap();
}

/// The numbers that the two guests last wrote, as a volume of the snapshot has them.
async fn counted(scratch: &Scratch, block: &LinuxBlock, of: u32, data_key: Option<&DataKey>) -> (u64, u64) {
    let made = wanted(1000 + of, Some(of), data_key);
    let path = block.ensure_volume(&made, data_key).await.unwrap();
    let raw = scratch.path.join("numbers");
    if let Some(key) = data_key {
        std::fs::rename(Tool::new(scratch, &path, key).raw(scratch, "raw"), &raw).unwrap();
    } else {
        let (from, to) = (path.to_str().unwrap(), raw.to_str().unwrap());
        run("qemu-img", &["convert", "-U", "-O", "raw", from, to], Path::new("/"));
    }
    let file = std::fs::File::open(&raw).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 512];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, at).unwrap();
        String::from_utf8_lossy(&bytes).split([' ', '\0']).next().unwrap().parse().unwrap_or(0)
    };
    let numbers = (number(0), number(4096));
    std::fs::remove_file(raw).unwrap();
    numbers
}

/// The process that has the files of a volume: what its user runs under QEMU's name.
fn server(scratch: &Scratch, of: u32) -> Option<i32> {
    let homes = std::fs::read_dir(scratch.path.join("vms")).unwrap().map(|home| home.unwrap().path());
    let serves = |home: &PathBuf| {
        std::fs::read_to_string(home.join("serves")).is_ok_and(|of_it| of_it == volume(of).to_string())
    };
    let uid: u32 = std::fs::read_to_string(homes.into_iter().find(serves)?.join("uid")).ok()?.parse().ok()?;
    let name = format!("{},debug-threads=on", volume(of));
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found = processes.into_iter().find(|process| {
        let line = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        std::fs::metadata(process).is_ok_and(|meta| meta.uid() == uid) && line.contains(&name)
    });
    found?.file_name()?.to_str()?.parse().ok()
}

/// A volume's own files, as they lie on the disk, that hold what a guest wrote.
fn in_the_clear(scratch: &Scratch, of: u32) -> Vec<PathBuf> {
    let volumes = scratch.path.join("volumes");
    let own = scratch.path.join("own");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(volumes.join(format!("{}.qcow2", volume(of))), own.join("newest")).unwrap();
    let mut found = holding(&own, PATTERN);
    found.extend(holding(&volumes.join("layers").join(volume(of).to_string()), PATTERN));
    found
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// An agent as it begins: it looks at each machine, and at each of its disks.
async fn agent(scratch: &Scratch, machines: &[&MachineSpec]) -> (LinuxVmm, LinuxBlock) {
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    look(&vmm, machines).await;
    (vmm, block)
}

async fn look(vmm: &LinuxVmm, machines: &[&MachineSpec]) {
    // Each is looked at again until it is well, and none waits for another.
    until("all is well", || async {
        let mut is_well = true;
        for machine in machines {
            is_well &= vmm.state(machine.instance).await.is_ok();
            for disk in &machine.disks {
                let desired =
                    VolumeDesired { volume: disk.volume, ..wanted(1, None, disk.data_key.as_ref()) };
                is_well &= vmm.tune_disk(machine.instance, &desired).await.is_ok();
            }
        }
        is_well
    })
    .await;
}

/// Two guests count, one on a disk of its own too. Each snapshot has one instant for all of that, whatever is killed at whatever time.
async fn one_instant(data_key: Option<DataKey>) {
    let key = data_key.as_ref();
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let several = disk(&block, &shared(1, None, key)).await;
    let own = disk(&block, &wanted(2, None, None)).await;
    let first = MachineSpec { disks: vec![own, several.clone()], ..spec(1, "counter") };
    let second = MachineSpec { disks: vec![several], ..spec(2, "counterb") };
    let (one, two) = (first.instance, second.instance);
    vmm.start(&first, vec![]).await.unwrap();
    vmm.start(&second, vec![]).await.unwrap();
    for id in [one, two] {
        until_says(&vmm, id, "COUNT 3").await;
    }
    drop((vmm, block));
    let machines = [&first, &second];
    for round in 0..6_u32 {
        let (a, b) = (100 + 2 * round, 101 + 2 * round);
        let set = [(snapshot(a), volume(2)), (snapshot(b), volume(1))];
        let (vmm, block) = agent(&scratch, &machines).await;
        if round % 3 == 1 {
            let killed = server(&scratch, 1).unwrap();
            kill(killed);
            until("it is begun anew", || async { server(&scratch, 1).is_some_and(|pid| pid != killed) })
                .await;
        }
        let before = (goes_on(&vmm, one).await, goes_on(&vmm, two).await);
        block.freeze(&set).await.unwrap();
        let patience = Duration::from_millis(4 * u64::from(round));
        let _cut = tokio::time::timeout(patience, vmm.follow(one, &[volume(2), volume(1)])).await;
        drop((vmm, block));
        // Nobody looks after it while the agent is dead, either.
        if round % 3 == 2 {
            kill(server(&scratch, 1).unwrap());
        }
        let (vmm, block) = agent(&scratch, &machines).await;
        capture(&vmm, &block, &[one, two], &set).await;
        goes_on(&vmm, one).await;
        goes_on(&vmm, two).await;
        let parent = |number: u32| (round > 0).then(|| number - 2);
        stored(&block, a, 2, parent(a), None).await;
        stored(&block, b, 1, parent(b), key).await;
        trim(&vmm, &block, one, 2, None).await;
        trim(&vmm, &block, one, 1, key).await;
        let (alone, _) = counted(&scratch, &block, a, None).await;
        let (together, other) = counted(&scratch, &block, b, key).await;
        println!("round {round}: {before:?} {alone} {together} {other}");
        assert!(
            together == alone || together + 1 == alone,
            "round {round}: not one instant: {alone} and {together}"
        );
        assert!(
            together + 1 >= before.0 && other >= before.1,
            "round {round}: {before:?} {together} {other}"
        );
    }
    let found = in_the_clear(&scratch, 1);
    assert_eq!(found.is_empty(), key.is_some(), "{found:?}");
    is_clean(&scratch);
    let (vmm, _block) = agent(&scratch, &machines).await;
    vmm.end(one).await.unwrap();
    goes_on(&vmm, two).await;
    assert!(server(&scratch, 1).is_some());
    vmm.end(two).await.unwrap();
    assert_eq!(server(&scratch, 1), None, "nobody has it");
}

#[tokio::test]
async fn a_snapshot_is_of_one_instant_for_all_machines() {
    one_instant(None).await;
}

#[tokio::test]
async fn a_snapshot_of_an_encrypted_one_is_of_one_instant_for_all_machines() {
    one_instant(Some(DataKey::new([7; 32]))).await;
}

#[tokio::test]
async fn it_is_plugged_in_grown_and_unplugged_while_machines_run() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let key = DataKey::new([3; 32]);
    let desired = shared(1, None, Some(&key));
    let several = disk(&block, &desired).await;
    let machines = [spec(1, "devices"), spec(2, "devices")];
    for machine in &machines {
        vmm.start(machine, vec![]).await.unwrap();
    }
    let serial = plan::machine::disk_serial(volume(1), Medium::Volume);
    vmm.plug_disk(machines[0].instance, &several).await.unwrap();
    until_says(&vmm, machines[0].instance, &format!("WROTE {serial}")).await;
    vmm.plug_disk(machines[1].instance, &several).await.unwrap();
    // What the one has written the other reads.
    until_says(&vmm, machines[1].instance, &format!("CAME {serial} HELD=written-earlier!")).await;
    let owner = std::fs::metadata(several.path.with_extension("qcow2")).unwrap().uid();
    assert!(owner != 0 && std::fs::metadata(&several.path).unwrap().uid() == 0);

    let grown = VolumeDesired { size: GiB(2), ..desired.clone() };
    for machine in &machines {
        vmm.tune_disk(machine.instance, &grown).await.unwrap();
    }
    assert_eq!(block.ensure_volume(&grown, None).await.unwrap(), several.path);
    for machine in &machines {
        until_says(&vmm, machine.instance, &format!("SIZE {serial} {}", 2 << 21)).await;
    }

    // One is asked for it, of the other it is taken.
    let asked = machines[0].instance;
    until("it is let go", || async {
        vmm.unplug(asked, Device::Volume(volume(1))).await.unwrap() == Release::Done
    })
    .await;
    until_says(&vmm, asked, &format!("LEFT {serial}")).await;
    assert!(server(&scratch, 1).is_some() && !text(&vmm, machines[1].instance).await.contains("FAILS"));
    vmm.tear_out(machines[1].instance, volume(1)).await.unwrap();
    assert_eq!(server(&scratch, 1), None);
    // Its guest finds out by reading, or lets go of it first.
    until("the guest has noticed", || async {
        let text = text(&vmm, machines[1].instance).await;
        text.contains(&format!("FAILS {serial}")) || text.contains(&format!("LEFT {serial}"))
    })
    .await;
    assert_eq!(std::fs::metadata(several.path.with_extension("qcow2")).unwrap().uid(), 0);
    // Then it is one machine's.
    let single = disk(&block, &VolumeDesired { shared: false, ..grown }).await;
    assert!(single.path != several.path && !several.path.exists());
    vmm.plug_disk(asked, &single).await.unwrap();
    until("it is back", || async {
        text(&vmm, asked).await.matches(&format!("CAME {serial} HELD=written-earlier!")).count() == 1
    })
    .await;
}

#[tokio::test]
async fn what_an_earlier_version_shared_as_a_raw_file_is_taken_over_once_nobody_has_it() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let raw = scratch.path.join("volumes").join(format!("{}.raw", volume(1)));
    let file = std::fs::File::create(&raw).unwrap();
    file.set_len(1 << 30).unwrap();
    run("qemu-io", &["-f", "raw", "-c", "write -P 7 1M 1M", raw.to_str().unwrap()], Path::new("/"));
    // Somebody has it.
    let desired = shared(1, None, None);
    let grown = VolumeDesired { size: GiB(2), ..desired.clone() };
    assert_eq!(block.ensure_volume(&grown, None).await.unwrap(), raw);
    assert_eq!(std::fs::metadata(&raw).unwrap().len(), 2 << 30);
    let refused = block.freeze(&[(snapshot(2), volume(1))]).await.unwrap_err();
    assert_eq!(refused.fault, Fault::Permanent, "{refused}");
    drop(file);
    for _ in 0..2 {
        let path = block.ensure_volume(&grown, None).await.unwrap();
        assert_eq!((path.extension().unwrap().to_str(), raw.exists()), (Some("shared"), false));
    }
    let file = raw.with_extension("qcow2");
    holds(&file, 7, "1M", "1M");
    write(&file, 8, "2M", "64k");
    capture(&vmm, &block, &[], &[(snapshot(3), volume(1))]).await;
    write(&file, 9, "2M", "64k");
    let single = VolumeDesired { shared: false, ..grown };
    assert_eq!(block.ensure_volume(&single, None).await.unwrap(), file);
    holds(&file, 9, "2M", "64k");
    block.remove_volume(volume(1)).await.unwrap();
    assert!(block.volumes().await.unwrap().is_empty());
}
