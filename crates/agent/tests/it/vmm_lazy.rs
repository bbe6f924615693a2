//! Volumes of snapshots that machines use before they are on the host: served by blockd, which comes and goes, and filled.

use crate::vmm_rig::{Scratch, spec, text, until, until_says, volume};
use agent::host::linux::block::lazy::{self, blockd::Blockd};
use agent::host::linux::block::{Filling, LinuxBlock};
use agent::host::linux::vmm::LinuxVmm;
use agent::host::{Block, Device, DiskSpec, Fault, MachineSpec, Release, Vmm};
use blocks::{BLOCK_SIZE, Begin, BlockStore, Directory, Domain, DomainId, fsck};
use model::host::{SnapshotDesired, SnapshotPhase, SnapshotSource, Tier, VolumeDesired};
use model::{AccountId, DataKey, GiB, InstanceId, SnapshotId, Timestamp};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What the guest reads, again and again.
const BLOCKS: u64 = 40;
const NEVER: Filling = Filling::After(Duration::from_hours(1));
pub const SOON: Filling = Filling::After(Duration::ZERO);

fn key(n: u8) -> DataKey {
    DataKey::new([n; DataKey::LEN])
}

fn snapshot(number: u32) -> SnapshotId {
    SnapshotId::from_entropy(u128::from(number))
}

fn store(scratch: &Scratch) -> BlockStore {
    BlockStore::new(Arc::new(Directory::open(&scratch.path.join("snapshots")).unwrap()))
}

fn said(index: u64) -> String {
    format!("block-{index:010}")
}

/// How snapshot and volume are encrypted, if they are.
#[derive(Clone, Default)]
struct Keys {
    snapshot: Option<DataKey>,
    volume: Option<DataKey>,
}

fn domain(scratch: &Scratch, key: Option<&DataKey>) -> Domain {
    if let Some(key) = key {
        return Domain::of_key(key.expose());
    }
    let account = AccountId::from_number(1).to_string();
    let path = scratch.path.join("snapshots/domains").join(&account);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, [5; 32]).unwrap();
    Domain::plain(DomainId::parse(&account).unwrap(), &[5; 32])
}

/// A snapshot of 1 GiB whose first blocks say which they are.
fn take(scratch: &Scratch, number: u32, key: Option<&DataKey>) {
    let begin = Begin {
        snapshot: snapshot(number),
        parent: None,
        account: AccountId::from_number(1),
        key_id: None,
        size: 1 << 30,
        created_at: Timestamp::from_millis(0),
    };
    let domain = domain(scratch, key);
    let session = store(scratch).begin(begin, Arc::new(domain)).unwrap();
    for index in 0..BLOCKS {
        let mut block = vec![index as u8 + 1; BLOCK_SIZE];
        block[..16].copy_from_slice(said(index).as_bytes());
        session.put_block(index, &block).unwrap();
    }
    session.complete().unwrap();
}

fn wanted(number: u32, of: u32, keys: &Keys) -> VolumeDesired {
    VolumeDesired {
        shared: false,
        volume: volume(number),
        size: GiB(2),
        image: None,
        snapshot: Some(snapshot(of)),
        fork: None,
        limits: None,
        data_key: keys.volume.clone(),
    }
}

async fn disk(block: &LinuxBlock, number: u32, of: u32, keys: &Keys) -> DiskSpec {
    let wanted = wanted(number, of, keys);
    let path = block.ensure_volume(&wanted, keys.snapshot.as_ref()).await.unwrap();
    let (volume, data_key) = (wanted.volume, wanted.data_key);
    DiskSpec {
        volume,
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/sda1".into(),
        limits: None,
        data_key,
        forked: None,
    }
}

pub fn serve(scratch: &Scratch) -> JoinHandle<()> {
    let blockd = Blockd::open(
        &scratch.path.join("volumes"),
        &scratch.path.join("snapshots"),
        &blocks::Place::Directory,
    )
    .unwrap();
    tokio::spawn(async move { blockd.serve().await.unwrap() })
}

pub async fn until_served(scratch: &Scratch) {
    let socket = scratch.path.join("volumes/lazy/control.sock");
    until("blockd listens", || async { socket.exists() }).await;
}

/// Ends it as a kill does: nothing is tidied.
async fn kill(serving: JoinHandle<()>) {
    serving.abort();
    let _ = serving.await;
}

async fn rounds(vmm: &LinuxVmm, machine: InstanceId) -> usize {
    text(vmm, machine).await.lines().filter(|line| line.trim() == "ROUND").count()
}

/// Waits until the guest has read all blocks from now on.
async fn reads_all(vmm: &LinuxVmm, machine: InstanceId) {
    let before = rounds(vmm, machine).await;
    until("the guest has read all blocks", || async { rounds(vmm, machine).await >= before + 2 }).await;
    reads_right(vmm, machine, &[]).await;
}

/// Whatever the guest has read was right, and only these blocks failed.
async fn reads_right(vmm: &LinuxVmm, machine: InstanceId, damaged: &[u64]) {
    let text = text(vmm, machine).await;
    let end = text.rfind('\n').unwrap_or(0);
    for line in text[..end].lines().map(str::trim) {
        if let Some((index, held)) = line.strip_prefix("READ ").and_then(|read| read.split_once('=')) {
            assert_eq!(held, said(index.parse().unwrap()));
        }
        if let Some(index) = line.strip_prefix("FAILED ") {
            assert!(damaged.contains(&index.parse().unwrap()), "{line}");
        }
    }
}

async fn capture(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, taken: u32, of: u32) {
    block.freeze(&[(snapshot(taken), volume(of))]).await.unwrap();
    vmm.follow(holder, &[volume(of)]).await.unwrap();
    block.captured(&[snapshot(taken)]).await.unwrap();
}

async fn stored(block: &LinuxBlock, taken: u32, of: u32, keys: &Keys) {
    let wanted = SnapshotDesired {
        asked: 0,
        tier: model::host::Tier::Standard,
        snapshot: snapshot(taken),
        account: AccountId::from_number(1),
        size: GiB(2),
        source: SnapshotSource::Volume {
            volume: volume(of),
            parent: None,
            together: Vec::new(),
            during: None,
        },
        data_key: keys.volume.clone(),
    };
    loop {
        match block.store_snapshot(&wanted, None).await.unwrap() {
            SnapshotPhase::Pending { .. } => {}
            SnapshotPhase::Completed { .. } => return,
            other => panic!("{other:?}"),
        }
    }
}

async fn trim(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, number: u32, keys: &Keys) {
    vmm.follow(holder, &[volume(number)]).await.unwrap();
    block.trim(volume(number), keys.volume.as_ref()).await.unwrap();
    vmm.follow(holder, &[volume(number)]).await.unwrap();
}

/// Has the next volume that lacks nothing stand on what it lacked, as the host's loop does.
async fn take_in(vmm: &LinuxVmm, block: &LinuxBlock, holder: InstanceId, number: u32) {
    while block.filled().await != volume(number) {}
    block.take_in(volume(number)).await.unwrap();
    vmm.follow(holder, &[volume(number)]).await.unwrap();
    block.taken_in(volume(number)).await.unwrap();
}

fn socket(scratch: &Scratch, machine: InstanceId, number: u32) -> PathBuf {
    scratch.path.join("vms").join(machine.to_string()).join("lazy").join(format!("{}.sock", volume(number)))
}

fn records(scratch: &Scratch) -> usize {
    lazy::records(&scratch.path.join("volumes")).unwrap().len()
}

fn is_clean(scratch: &Scratch) {
    let report = store(scratch).fsck(fsck::Depth::Full).unwrap();
    assert!(report.is_clean() && report.foreign.is_empty(), "{report:?}");
}

async fn lives_through_everything(keys: Keys) {
    let scratch = Scratch::new();
    take(&scratch, 1, keys.snapshot.as_ref());
    let (vmm, block, serving) = (scratch.vmm().await, scratch.block_filling(NEVER), serve(&scratch));
    let began = Instant::now();
    let first = disk(&block, 1, 1, &keys).await;
    println!("usable after {:?}", began.elapsed());
    assert_eq!(disk(&block, 1, 1, &keys).await, first, "it is made once");
    let base = scratch.path.join("volumes/restored");
    assert_eq!(std::fs::read_dir(&base).unwrap().count(), 0, "nothing of it is on the host");
    let machine = MachineSpec { disks: vec![first.clone()], ..spec(1, "reader") };
    let id = machine.instance;
    until_served(&scratch).await;
    vmm.start(&machine, vec![]).await.unwrap();
    until_says(&vmm, id, "READ 3=").await;
    let met = std::fs::metadata(socket(&scratch, id, 1)).unwrap();
    assert!(met.file_type().is_socket() && met.mode() & 0o777 == 0o600 && met.uid() > 0);

    // Killed amid reads, and back some time later.
    kill(serving).await;
    let before = rounds(&vmm, id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let serving = serve(&scratch);
    until("the guest reads on", || async { rounds(&vmm, id).await > before }).await;
    reads_all(&vmm, id).await;

    // The snapshot stays, whoever wants it gone.
    assert_eq!(block.lacking_of(snapshot(1)).await.unwrap(), Some(volume(1)));
    assert_eq!(block.remove_snapshot(snapshot(1)).await.unwrap_err().fault, Fault::Transient);

    // A snapshot of what lacks something costs what was written.
    until_says(&vmm, id, "WROTE").await;
    capture(&vmm, &block, id, 2, 1).await;
    stored(&block, 2, 1, &keys).await;
    let manifest = store(&scratch).manifest(snapshot(2)).unwrap();
    if keys.snapshot == keys.volume {
        assert_eq!(manifest.parent, Some(snapshot(1)));
        assert!(manifest.changed <= 2, "{manifest:?}");
    }
    assert_eq!(manifest.blocks, BLOCKS);
    let taken = store(&scratch)
        .snapshot(snapshot(2), Arc::new(domain(&scratch, keys.volume.as_ref())))
        .unwrap()
        .block(7)
        .unwrap()
        .unwrap();
    assert_eq!((&taken[..16], &taken[4096..4103]), (said(7).as_bytes(), &b"written"[..]));
    capture(&vmm, &block, id, 3, 1).await;
    stored(&block, 3, 1, &keys).await;
    trim(&vmm, &block, id, 1, &keys).await;
    reads_all(&vmm, id).await;

    // Plugged in while it runs, grown, taken away again.
    let second = disk(&block, 2, 1, &keys).await;
    vmm.plug_disk(id, &second).await.unwrap();
    assert!(vmm.plugged(id).await.unwrap().whole.volumes.contains(&volume(2)));
    let grown = VolumeDesired { size: GiB(3), ..wanted(2, 1, &keys) };
    vmm.tune_disk(id, &grown).await.unwrap();
    block.ensure_volume(&grown, keys.snapshot.as_ref()).await.unwrap();
    until("the guest has let go", || async {
        vmm.unplug(id, Device::Volume(volume(2))).await.unwrap() == Release::Done
    })
    .await;
    assert!(!socket(&scratch, id, 2).exists());
    block.remove_volume(volume(2)).await.unwrap();
    assert_eq!(records(&scratch), 1);

    // Agent and machine die; what they left is taken up.
    drop((vmm, block));
    let (vmm, block) = (scratch.vmm().await, scratch.block_filling(NEVER));
    block.ensure_volume(&wanted(1, 1, &keys), None).await.unwrap();
    vmm.end(id).await.unwrap();
    vmm.start(&machine, vec![]).await.unwrap();
    reads_all(&vmm, id).await;

    // It becomes whole under the guest's reads, and nobody is asked any more.
    drop(block);
    let block = scratch.block_filling(SOON);
    block.ensure_volume(&wanted(1, 1, &keys), None).await.unwrap();
    take_in(&vmm, &block, id, 1).await;
    assert_eq!(records(&scratch), 0);
    assert!(!socket(&scratch, id, 1).exists());
    kill(serving).await;
    block.remove_snapshot(snapshot(1)).await.unwrap();
    store(&scratch).collect().unwrap();
    reads_all(&vmm, id).await;
    vmm.end(id).await.unwrap();
    vmm.start(&machine, vec![]).await.unwrap();
    reads_all(&vmm, id).await;
    vmm.end(id).await.unwrap();
    is_clean(&scratch);
    block.remove_volume(volume(1)).await.unwrap();
    let left = std::fs::read_dir(scratch.path.join("volumes/layers")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_used_before_its_snapshot_is_on_the_host() {
    lives_through_everything(Keys::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_an_encrypted_one_and_its_key_is_on_no_disk() {
    lives_through_everything(Keys { snapshot: Some(key(9)), volume: Some(key(7)) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_the_guests_error_and_no_disk_is_made_of_it() {
    let scratch = Scratch::new();
    take(&scratch, 1, None);
    let objects = blocks_of(&scratch.path.join("snapshots/objects/blocks"));
    let victim = &objects[0];
    let mut bytes = std::fs::read(victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(victim, bytes).unwrap();
    let report = store(&scratch).fsck(fsck::Depth::Full).unwrap();
    let damaged = report.problems[0].block.unwrap();

    let (vmm, block, serving) = (scratch.vmm().await, scratch.block_filling(SOON), serve(&scratch));
    let machine =
        MachineSpec { disks: vec![disk(&block, 1, 1, &Keys::default()).await], ..spec(1, "reader") };
    let id = machine.instance;
    until_served(&scratch).await;
    vmm.start(&machine, vec![]).await.unwrap();
    until_says(&vmm, id, &format!("FAILED {damaged}")).await;
    until("the guest has read the rest", || async { rounds(&vmm, id).await >= 2 }).await;
    reads_right(&vmm, id, &[damaged]).await;
    assert_eq!(std::fs::read_dir(scratch.path.join("volumes/restored")).unwrap().count(), 0);
    assert_eq!(records(&scratch), 1);
    kill(serving).await;
}

fn placed_at(number: u32, keys: &Keys, tier: Tier) -> SnapshotDesired {
    SnapshotDesired {
        asked: 0,
        tier,
        snapshot: snapshot(number),
        account: AccountId::from_number(1),
        size: GiB(1),
        source: SnapshotSource::Copy(snapshot(99)),
        data_key: keys.snapshot.clone(),
    }
}

async fn placed(block: &LinuxBlock, number: u32, keys: &Keys, tier: Tier) {
    loop {
        match block.change_tier(&placed_at(number, keys, tier)).await.unwrap() {
            SnapshotPhase::Moving { .. } => tokio::time::sleep(Duration::from_millis(20)).await,
            SnapshotPhase::Completed { tier: reached, .. } => return assert_eq!(reached, tier),
            other => panic!("{other:?}"),
        }
    }
}

fn kept(scratch: &Scratch) -> Vec<PathBuf> {
    blocks_of(&scratch.path.join("volumes/fast"))
}

/// Volumes of a snapshot that is kept read all of it without anybody who serves it, whatever became of the snapshot.
async fn lacks_nothing(keys: Keys) {
    let scratch = Scratch::new();
    take(&scratch, 1, keys.snapshot.as_ref());
    let vmm = scratch.vmm().await;
    let block = scratch.block_filling(NEVER);
    placed(&block, 1, &keys, Tier::Fast).await;
    drop(block);
    let half = scratch.path.join("volumes/fast").join(format!("{}.tmp", snapshot(2)));
    std::fs::write(&half, "of an agent that died").unwrap();
    let block = scratch.block_filling(NEVER);
    assert!(block.is_fast(snapshot(1)).await.unwrap() && !half.exists());
    let disk = disk(&block, 1, 1, &keys).await;
    assert_eq!((records(&scratch), block.lacking_of(snapshot(1)).await.unwrap()), (0, None));
    for path in kept(&scratch) {
        let mut held = Vec::new();
        // All of its blocks lie there.
        std::fs::File::open(&path).unwrap().take(24 << 20).read_to_end(&mut held).unwrap();
        let is_readable = held.windows(16).any(|at| at == said(1).as_bytes());
        assert_eq!(is_readable, keys.snapshot.is_none(), "{}", path.display());
    }
    placed(&block, 1, &keys, Tier::Standard).await;
    assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
    block.remove_snapshot(snapshot(1)).await.unwrap();
    assert_eq!(std::fs::read_dir(scratch.path.join("volumes/restored")).unwrap().count(), 0);
    let machine = MachineSpec { disks: vec![disk], ..spec(1, "reader") };
    vmm.start(&machine, vec![]).await.unwrap();
    until_says(&vmm, machine.instance, "READ 3=").await;
    reads_all(&vmm, machine.instance).await;
    vmm.end(machine.instance).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_a_fast_snapshot_lacks_nothing() {
    lacks_nothing(Keys::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_of_an_encrypted_fast_snapshot_lacks_nothing() {
    lacks_nothing(Keys { snapshot: Some(key(1)), volume: Some(key(2)) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fast_goes_with_its_snapshot() {
    let scratch = Scratch::new();
    let keys = Keys::default();
    take(&scratch, 1, None);
    let block = scratch.block_filling(NEVER);
    placed(&block, 1, &keys, Tier::Fast).await;
    block.remove_snapshot(snapshot(1)).await.unwrap();
    assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
    assert_eq!(std::fs::read_dir(scratch.path.join("volumes/restored")).unwrap().count(), 0);
    assert_eq!(block.snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    // What is left of one that a crash removed by half is found.
    std::fs::write(scratch.path.join("volumes/fast").join(format!("{}.raw", snapshot(7))), "").unwrap();
    assert_eq!(block.snapshots().await.unwrap(), [snapshot(7)]);
    block.remove_snapshot(snapshot(7)).await.unwrap();
    assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_never_kept() {
    let scratch = Scratch::new();
    let keys = Keys::default();
    take(&scratch, 3, None);
    let block = scratch.block_filling(NEVER);
    let victim = blocks_of(&scratch.path.join("snapshots/objects/blocks")).pop().unwrap();
    let mut bytes = std::fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let failed = loop {
        match block.change_tier(&placed_at(3, &keys, Tier::Fast)).await {
            Ok(SnapshotPhase::Moving { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            end => break end.unwrap_err(),
        }
    };
    assert_eq!(failed.fault, Fault::Permanent, "{failed}");
    assert!(!block.is_fast(snapshot(3)).await.unwrap());
    assert_eq!(kept(&scratch), [] as [PathBuf; 0]);
}

fn blocks_of(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(blocks_of(&path)) } else { found.push(path) }
    }
    found
}
