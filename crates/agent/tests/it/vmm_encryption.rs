//! Encrypted volumes and snapshots of them, real ones: with machines that write to them, and at rest.

use crate::guest::{self, run};
use crate::vmm_rig::{Scratch, qemu_of, spec, text, until, until_says, volume};
use agent::host::linux::block::{self, LinuxBlock, backing_chain, is_own, passphrase};
use agent::host::linux::vmm::LinuxVmm;
use agent::host::{Block, Device, DiskSpec, MachineSpec, MachineState, Release, Vmm};
use blocks::{BlockStore, Directory, fsck};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, VolumeDesired};
use model::{AccountId, DataKey, GiB, InstanceId, SnapshotId, VolumeId};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What the guest writes to each disk that it sees for the first time.
pub const PATTERN: &[u8] = b"written-earlier!";

fn key(n: u8) -> DataKey {
    DataKey::new([n; DataKey::LEN])
}

fn snapshot(number: u32) -> SnapshotId {
    SnapshotId::from_entropy(u128::from(number))
}

fn wanted(number: u32, of: Option<u32>, data_key: u8) -> VolumeDesired {
    VolumeDesired {
        shared: false,
        fork: None,
        volume: volume(number),
        size: GiB(1),
        image: None,
        snapshot: of.map(snapshot),
        limits: None,
        data_key: Some(key(data_key)),
    }
}

fn desired(number: u32, source: SnapshotSource, data_key: u8) -> SnapshotDesired {
    SnapshotDesired {
        asked: 0,
        tier: model::host::Tier::Standard,
        snapshot: snapshot(number),
        account: AccountId::from_number(1),
        size: GiB(1),
        source,
        data_key: Some(key(data_key)),
    }
}

fn of_volume(number: u32, parent: Option<u32>) -> SnapshotSource {
    SnapshotSource::Volume {
        volume: volume(number),
        parent: parent.map(snapshot),
        together: Vec::new(),
        during: None,
    }
}

async fn disk(block: &LinuxBlock, wanted: &VolumeDesired, source: Option<&DataKey>) -> DiskSpec {
    let path = block.ensure_volume(wanted, source).await.unwrap();
    let (volume, data_key) = (wanted.volume, wanted.data_key.clone());
    DiskSpec {
        volume,
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/sdf".into(),
        limits: None,
        data_key,
        forked: None,
    }
}

async fn stored(block: &LinuxBlock, wanted: &SnapshotDesired, source: Option<&DataKey>) {
    loop {
        match block.store_snapshot(wanted, source).await.unwrap() {
            SnapshotPhase::Pending { .. } => {}
            SnapshotPhase::Completed { .. } => return,
            other => panic!("{other:?}"),
        }
    }
}

async fn capture(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, set: &[(u32, u32)]) {
    let set: Vec<(SnapshotId, VolumeId)> = set.iter().map(|(s, v)| (snapshot(*s), volume(*v))).collect();
    let volumes: Vec<VolumeId> = set.iter().map(|(_, volume)| *volume).collect();
    block.freeze(&set).await.unwrap();
    vmm.follow(holder, &volumes).await.unwrap();
    block.captured(&set.iter().map(|(snapshot, _)| *snapshot).collect::<Vec<_>>()).await.unwrap();
}

async fn trim(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, number: u32, with: &DataKey) {
    vmm.follow(holder, &[volume(number)]).await.unwrap();
    until("the layers are joined", || async { block.trim(volume(number), Some(with)).await.is_ok() }).await;
    vmm.follow(holder, &[volume(number)]).await.unwrap();
}

fn serial(number: u32) -> String {
    volume(number).to_string().replace('-', "")
}

/// Waits until the guest has found the pattern on a disk that came `times` times.
async fn finds_pattern(vmm: &LinuxVmm, machine: InstanceId, number: u32, times: usize) {
    let word = format!("CAME {} HELD=written-earlier!", serial(number));
    until("the guest reads what was written earlier", || async {
        text(vmm, machine).await.matches(&word).count() >= times
    })
    .await;
}

/// The files below a directory that hold these bytes. The host's images are everybody's: the guest's own script is in one.
pub fn holding(directory: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("bases") {
                found.extend(holding(&path, wanted));
            }
        } else if std::fs::read(&path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted) {
            found.push(path);
        }
    }
    found
}

/// Calls one of QEMU's own tools for a volume, with its key.
pub struct Tool {
    secret: PathBuf,
    image: String,
}

impl Tool {
    pub fn new(scratch: &Scratch, path: &Path, data_key: &DataKey) -> Self {
        let volume = VolumeId::parse(path.file_stem().unwrap().to_str().unwrap()).unwrap();
        let secret = scratch.path.join(format!("secret-{volume}"));
        std::fs::write(&secret, passphrase(volume, data_key)).unwrap();
        let mut image = serde_json::Value::Null;
        let chain: Vec<PathBuf> =
            std::iter::once(path.to_owned()).chain(backing_chain(path).unwrap()).collect();
        for (depth, file) in chain.iter().enumerate().rev() {
            let format = block::format(file).driver();
            let below = std::mem::take(&mut image);
            let place = serde_json::json!({"driver": "file", "filename": file, "locking": "off"});
            image = serde_json::json!({"driver": format, "file": place});
            if depth + 1 < chain.len() {
                image["backing"] = below;
            }
            if depth == 0 || is_own(file, volume) {
                image["encrypt"] = serde_json::json!({"format": "luks", "key-secret": "k"});
            }
        }
        Self { secret, image: format!("json:{image}") }
    }

    fn call(&self, program: &str, before: &[&str], after: &[&str]) -> String {
        let secret = format!("secret,id=k,file={}", self.secret.display());
        run(program, &[before, &["--object", &secret], after, &[&self.image]].concat(), Path::new("/"))
    }

    /// Its content, as a file of its own.
    pub fn raw(&self, scratch: &Scratch, name: &str) -> PathBuf {
        let out = scratch.path.join(name);
        let secret = format!("secret,id=k,file={}", self.secret.display());
        let to = out.to_str().unwrap();
        run("qemu-img", &["convert", "--object", &secret, "-O", "raw", &self.image, to], Path::new("/"));
        out
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.secret);
    }
}

fn is_clean(scratch: &Scratch) {
    let store = BlockStore::new(Arc::new(Directory::open(&scratch.path.join("snapshots")).unwrap()));
    let report = store.fsck(fsck::Depth::Full).unwrap();
    assert!(report.is_clean() && report.foreign.is_empty(), "{report:?}");
}

#[tokio::test]
async fn what_a_guest_writes_is_nowhere_readable_without_the_key() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    // On an image from the start on, and plugged in.
    let first = VolumeDesired { image: Some("devices".into()), ..wanted(1, None, 1) };
    let machine = MachineSpec { disks: vec![disk(&block, &first, None).await], ..spec(1, "devices") };
    let id = machine.instance;
    vmm.start(&machine, vec![]).await.unwrap();
    assert_eq!(vmm.state(id).await.unwrap(), MachineState::Running);
    let second = disk(&block, &wanted(2, None, 2), None).await;
    vmm.plug_disk(id, &second).await.unwrap();
    for number in [1, 2] {
        until_says(&vmm, id, &format!("WROTE {}", serial(number))).await;
    }
    // No argument and no variable of the process holds a key, nor what is made of it.
    let process = PathBuf::from(format!("/proc/{}", qemu_of(&scratch, id)));
    for name in ["cmdline", "environ"] {
        let bytes = std::fs::read(process.join(name)).unwrap();
        for (number, data_key) in [(1, key(1)), (2, key(2))] {
            let secret = passphrase(volume(number), &data_key);
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{name}");
        }
    }
    for round in 0..3_u32 {
        capture(&vmm, &block, id, &[(10 + round, 1), (20 + round, 2)]).await;
        let parent = |base: u32| round.checked_sub(1).map(|before| base + before);
        stored(&block, &desired(10 + round, of_volume(1, parent(10)), 1), None).await;
        stored(&block, &desired(20 + round, of_volume(2, parent(20)), 2), None).await;
        if round > 0 {
            trim(&vmm, &block, id, 1, &key(1)).await;
            trim(&vmm, &block, id, 2, &key(2)).await;
        }
    }
    // Grown under the machine.
    let grown = VolumeDesired { size: GiB(2), ..wanted(2, None, 2) };
    vmm.tune_disk(id, &grown).await.unwrap();
    block.ensure_volume(&grown, None).await.unwrap();
    until_says(&vmm, id, &format!("SIZE {} {}", serial(2), 2 << 21)).await;
    // A copy with another key, volumes of both, one of them larger and then grown on its own.
    stored(&block, &desired(30, SnapshotSource::Copy(snapshot(12)), 3), Some(&key(1))).await;
    let copied = disk(&block, &wanted(3, Some(30), 4), Some(&key(3))).await;
    let restored = VolumeDesired { size: GiB(2), ..wanted(4, Some(22), 2) };
    let larger = disk(&block, &restored, Some(&key(2))).await;
    block.ensure_volume(&VolumeDesired { size: GiB(3), ..restored }, Some(&key(2))).await.unwrap();
    for (number, disk, data_key) in [(3, &copied, key(4)), (4, &larger, key(2))] {
        Tool::new(&scratch, &disk.path, &data_key).call("qemu-img", &["check"], &["-q"]);
        vmm.plug_disk(id, disk).await.unwrap();
        finds_pattern(&vmm, id, number, 1).await;
    }
    while vmm.unplug(id, Device::Volume(copied.volume)).await.unwrap() == Release::Pending {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Started anew with what it wrote.
    vmm.end(id).await.unwrap();
    let machine = MachineSpec { disks: vec![machine.disks[0].clone(), second.clone()], ..machine };
    vmm.start(&machine, vec![]).await.unwrap();
    for number in [1, 2] {
        finds_pattern(&vmm, id, number, 1).await;
    }
    vmm.end(id).await.unwrap();
    for (disk, data_key) in [(&machine.disks[0], key(1)), (&second, key(2))] {
        Tool::new(&scratch, &disk.path, &data_key).call("qemu-img", &["check"], &["-q"]);
    }
    is_clean(&scratch);

    let at_rest = |bytes: &[u8]| {
        let places = ["volumes", "snapshots"].map(|place| holding(&scratch.path.join(place), bytes));
        places.concat()
    };
    assert_eq!(at_rest(PATTERN), [] as [PathBuf; 0]);
    for n in 1..=4 {
        assert_eq!(at_rest(key(n).expose()), [] as [PathBuf; 0]);
    }
    // The search would have found it: a volume without a key.
    let plain = VolumeDesired { data_key: None, ..wanted(9, None, 0) };
    let path = block.ensure_volume(&plain, None).await.unwrap();
    let mark = scratch.path.join("mark");
    std::fs::write(&mark, [PATTERN, &[0; 496]].concat()).unwrap();
    let write = format!("write -s {} 4096 512", mark.display());
    run("qemu-io", &["-c", &write, path.to_str().unwrap()], Path::new("/"));
    assert_eq!(at_rest(PATTERN), [path]);
}

#[tokio::test]
async fn our_reader_and_our_writer_agree_with_qemus() {
    let scratch = Scratch::new();
    let (vmm, block) = (scratch.vmm().await, scratch.block());
    let nobody = spec(1, "idle").instance;
    let first = VolumeDesired { image: Some("idle".into()), ..wanted(1, None, 1) };
    let path = block.ensure_volume(&first, None).await.unwrap();
    let tool = |path: &Path, n| Tool::new(&scratch, path, &key(n));
    // Clusters written whole, in part, twice, and given back, in places that have second tables of their own.
    let commands = [
        ["write -P 1 0 3M", "write -P 2 65000k 200k", "write -P 3 700M 5M", "write -P 4 701M 512"],
        ["write -P 5 513M 64k", "write -z 1M 512k", "discard 702M 1M", "write -P 6 1023M 1M"],
    ];
    let mut parent = None;
    for (round, commands) in (1..).zip(commands) {
        for command in commands {
            tool(&path, 1).call("qemu-io", &[], &["-c", command]);
        }
        capture(&vmm, &block, nobody, &[(round, 1)]).await;
        stored(&block, &desired(round, of_volume(1, parent), 1), None).await;
        parent = Some(round);
        // Of a volume that is detached, joined while there are three layers.
        tool(&path, 1).call("qemu-io", &[], &["-c", "write -P 9 900M 4k"]);
        capture(&vmm, &block, nobody, &[(10 + round, 1)]).await;
        stored(&block, &desired(10 + round, of_volume(1, parent), 1), None).await;
        trim(&vmm, &block, nobody, 1, &key(1)).await;
        parent = Some(10 + round);
        let made = block.ensure_volume(&wanted(100 + round, parent, 7), Some(&key(1))).await.unwrap();
        let check = tool(&made, 7).call("qemu-img", &["check"], &[]);
        assert!(check.contains("No errors were found"), "{check}");
        let (one, two) = (tool(&path, 1).raw(&scratch, "one"), tool(&made, 7).raw(&scratch, "two"));
        let said = run(
            "qemu-img",
            &["compare", "-f", "raw", "-F", "raw", one.to_str().unwrap(), two.to_str().unwrap()],
            Path::new("/"),
        );
        assert!(said.contains("identical"), "{said}");
    }
    // A snapshot of what was made of a snapshot.
    capture(&vmm, &block, nobody, &[(50, 102)]).await;
    stored(&block, &desired(50, of_volume(102, None), 7), None).await;
    let made = block.ensure_volume(&wanted(200, Some(50), 7), Some(&key(7))).await.unwrap();
    let (one, two) = (tool(&path, 1).raw(&scratch, "one"), tool(&made, 7).raw(&scratch, "two"));
    assert!(std::fs::read(one).unwrap() == std::fs::read(two).unwrap());
    is_clean(&scratch);
}

#[tokio::test]
async fn an_encrypted_snapshot_that_is_interrupted_anywhere_is_finished() {
    let scratch = Scratch::new();
    let block = scratch.block();
    let disks =
        vec![disk(&block, &wanted(1, None, 1), None).await, disk(&block, &wanted(2, None, 2), None).await];
    drop(block);
    let machine = MachineSpec { disks, ..spec(1, "counter") };
    let id = machine.instance;
    scratch.vmm().await.start(&machine, vec![]).await.unwrap();
    let last = async |vmm: &LinuxVmm| {
        let text = text(vmm, id).await;
        text.lines().filter_map(|l| l.trim().strip_prefix("COUNT ")?.parse::<u64>().ok()).max().unwrap_or(0)
    };
    for round in 0..6_u32 {
        let set = [(snapshot(100 + 2 * round), volume(1)), (snapshot(101 + 2 * round), volume(2))];
        let (vmm, block) = (scratch.vmm().await, scratch.block());
        let before = last(&vmm).await;
        until("the guest writes on", || async { last(&vmm).await >= before + 5 }).await;
        block.freeze(&set).await.unwrap();
        let patience = Duration::from_micros(900 * u64::from(round));
        let _cut = tokio::time::timeout(patience, vmm.follow(id, &[volume(1), volume(2)])).await;
        // Agent and, now and then, machine die. Nobody has a key to finish it with.
        drop((vmm, block));
        let (mut vmm, block) = (scratch.vmm().await, scratch.block());
        if round % 3 == 2 {
            let pid = rustix::process::Pid::from_raw(qemu_of(&scratch, id)).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            until("the machine is gone", || async { vmm.state(id).await.unwrap() == MachineState::Absent })
                .await;
            // So does a start, before it gave the machine its disks or after.
            let _cut = tokio::time::timeout(patience * 40, vmm.start(&machine, vec![])).await;
            drop(vmm);
            vmm = scratch.vmm().await;
            if vmm.state(id).await.unwrap() == MachineState::Absent {
                // What was cut short may still be on its way out.
                until("the machine starts", || async { vmm.start(&machine, vec![]).await.is_ok() }).await;
            }
        }
        let (one, two) = (100 + 2 * round, 101 + 2 * round);
        capture(&vmm, &block, id, &[(one, 1), (two, 2)]).await;
        let parent = (round > 0).then(|| one - 2);
        let _begun = block.store_snapshot(&desired(one, of_volume(1, parent), 1), None).await.unwrap();
        drop(block);
        let block = scratch.block();
        stored(&block, &desired(one, of_volume(1, parent), 1), None).await;
        stored(&block, &desired(two, of_volume(2, None), 2), None).await;
        for number in [1, 2_u8] {
            let (volume, with) = (volume(number.into()), key(number));
            let _cut = tokio::time::timeout(patience * 4, block.trim(volume, Some(&with))).await;
            trim(&vmm, &block, id, number.into(), &with).await;
        }
        let mut counted = Vec::new();
        for (of, n) in [(one, 1), (two, 2)] {
            let cut = tokio::time::timeout(
                patience,
                block.ensure_volume(&wanted(1000 + of, Some(of), n), Some(&key(n))),
            )
            .await;
            drop(cut);
            let path = block.ensure_volume(&wanted(1000 + of, Some(of), n), Some(&key(n))).await.unwrap();
            let raw = Tool::new(&scratch, &path, &key(n)).raw(&scratch, "raw");
            let mut number = [0; 512];
            std::io::Read::read_exact(&mut std::fs::File::open(raw).unwrap(), &mut number).unwrap();
            let number = String::from_utf8_lossy(&number).trim_matches([' ', '\0']).parse::<u64>();
            counted.push(number.unwrap_or(0));
        }
        let (a, b) = (counted[0], counted[1]);
        assert!(b == a || b + 1 == a, "round {round}: not one instant: {a} and {b}");
        assert!(round % 3 == 2 || a >= before, "round {round}: {a}, {before}");
    }
    is_clean(&scratch);
}

#[tokio::test]
async fn the_firmware_boots_an_encrypted_disk() {
    let scratch = Scratch::new();
    let images = scratch.path.join("images");
    let image = images.join("sector");
    std::fs::create_dir_all(&image).unwrap();
    // A boot sector that writes to the serial port: mov dx, 0x3f8; then each letter; then it halts.
    let mut sector = vec![0xba, 0xf8, 0x03];
    for letter in b"BOOTED-FROM-DISK" {
        sector.extend([0xb0, *letter, 0xee]);
    }
    sector.extend([0xf4, 0xeb, 0xfd]);
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    std::fs::write(image.join("raw"), sector).unwrap();
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "raw", "disk.qcow2"], &image);
    std::fs::remove_file(image.join("raw")).unwrap();
    std::fs::write(
        image.join("manifest.json"),
        r#"{"name":"sector","digest":"sha256:1","boot":{"mode":"firmware","firmware":"legacy-bios"}}"#,
    )
    .unwrap();
    guest::images();
    let block = LinuxBlock::open(block::LinuxBlockConfig {
        cloud: scratch.cloud.clone(),
        state_dir: scratch.path.join("volumes"),
        images_dir: images,
        snapshots_dir: scratch.path.join("snapshots"),
        blocks: blocks::Place::Directory,
        filling: block::Filling::First,
    })
    .unwrap();
    let vmm = scratch.vmm().await;
    let root = VolumeDesired { image: Some("sector".into()), ..wanted(1, None, 1) };
    let mut machine = MachineSpec { disks: vec![disk(&block, &root, None).await], ..spec(1, "idle") };
    // One that does not boot comes after it, in a lower place of the firmware's own order.
    machine
        .disks
        .push(DiskSpec { device: "/dev/sdf".into(), ..disk(&block, &wanted(2, None, 2), None).await });
    machine.machine.direct_kernel = None;
    vmm.start(&machine, vec![]).await.unwrap();
    until_says(&vmm, machine.instance, "BOOTED-FROM-DISK").await;
}
