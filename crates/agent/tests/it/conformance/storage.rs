//! Volumes and snapshots, encrypted ones too.

use super::*;

/// Waits until a snapshot is stored, or never will be.
async fn ended(
    host: &impl TestHost,
    snapshot: &SnapshotDesired,
    source: Option<&DataKey>,
) -> agent::host::Result<SnapshotPhase> {
    let storing = async {
        loop {
            match host.block().store_snapshot(snapshot, source).await? {
                SnapshotPhase::Pending { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                phase => return Ok(phase),
            }
        }
    };
    tokio::time::timeout(host.patience(), storing).await.expect("the snapshot is completed")
}

async fn stored(host: &impl TestHost, snapshot: &SnapshotDesired, source: Option<&DataKey>) {
    let phase = ended(host, snapshot, source).await.unwrap();
    assert!(matches!(phase, SnapshotPhase::Completed { .. }), "{phase:?}");
}

pub async fn snapshots_are_taken_together_and_outlive_their_volumes(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let disk = extra_disk(host, 7, None).await;
    host.vmm().plug_disk(instance, &disk).await.unwrap();
    let numbers = [(1, 1), (2, 7)];
    let set = numbers.map(|(s, v)| (sample::snapshot_id(s), sample::volume_id(v)));
    for _ in 0..2 {
        host.block().freeze(&set).await.unwrap();
        // Machines that do not hold them, or are not there, have nothing to do.
        host.vmm().follow(sample::instance_id(99), &set.map(|(_, volume)| volume)).await.unwrap();
        host.vmm().follow(instance, &set.map(|(_, volume)| volume)).await.unwrap();
        host.block().captured(&set.map(|(snapshot, _)| snapshot)).await.unwrap();
        assert!(host.block().is_captured(set[0].0).await.unwrap());
    }
    assert_eq!(host.block().snapshots().await.unwrap(), set.map(|(snapshot, _)| snapshot));
    stored(host, &sample::snapshot_of(1, &numbers, None), None).await;
    // From its instant on a volume may go.
    host.vmm().tear_out(instance, disk.volume).await.unwrap();
    host.block().remove_volume(disk.volume).await.unwrap();
    for _ in 0..2 {
        stored(host, &sample::snapshot_of(2, &numbers, None), None).await;
        for (_, volume) in set {
            host.block().trim(volume, None).await.unwrap();
            host.vmm().follow(instance, &[volume]).await.unwrap();
        }
    }
    let copy = SnapshotDesired {
        account: model::AccountId::from_number(2),
        source: SnapshotSource::Copy(sample::snapshot_id(2)),
        ..sample::snapshot(3, 1)
    };
    stored(host, &copy, None).await;
    host.block().remove_snapshot(sample::snapshot_id(2)).await.unwrap();
    let made = VolumeDesired { snapshot: Some(copy.snapshot), size: GiB(2), ..sample::volume(8) };
    for _ in 0..2 {
        host.block().ensure_volume(&made, None).await.unwrap();
    }
    for snapshot in [sample::snapshot_id(1), copy.snapshot] {
        host.block().remove_snapshot(snapshot).await.unwrap();
    }
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    assert_eq!(host.vmm().state(instance).await.unwrap(), MachineState::Running);
    assert!(found(host, instance).await.holds(sample::volume_id(1)));
    host.block().remove_volume(made.volume).await.unwrap();
    clean_up(host, started).await;
}

async fn placed(host: &impl TestHost, snapshot: &SnapshotDesired, tier: Tier) {
    let wanted = SnapshotDesired { tier, ..snapshot.clone() };
    let moving = async {
        loop {
            match host.block().change_tier(&wanted).await.unwrap() {
                SnapshotPhase::Moving { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
                SnapshotPhase::Completed { tier: reached, .. } => return assert_eq!(reached, tier),
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(host.patience(), moving).await.expect("the snapshot is moved");
}

pub async fn an_archived_snapshot_cannot_be_used_until_it_is_restored(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let (snapshot, of) = (sample::snapshot_id(1), sample::volume_id(1));
    host.block().freeze(&[(snapshot, of)]).await.unwrap();
    host.vmm().follow(instance, &[of]).await.unwrap();
    host.block().captured(&[snapshot]).await.unwrap();
    let desired = sample::snapshot(1, 1);
    stored(host, &desired, None).await;
    let made = VolumeDesired { snapshot: Some(snapshot), ..sample::volume(8) };
    for _ in 0..2 {
        placed(host, &desired, Tier::Archive).await;
        let error = host.block().ensure_volume(&made, None).await.unwrap_err();
        assert_eq!(error.fault, Fault::Permanent, "{error}");
        assert_eq!(host.block().snapshots().await.unwrap(), [snapshot]);
        placed(host, &desired, Tier::Both).await;
    }
    host.block().ensure_volume(&made, None).await.unwrap();
    placed(host, &desired, Tier::Standard).await;
    host.block().remove_volume(made.volume).await.unwrap();
    placed(host, &desired, Tier::Archive).await;
    host.block().remove_snapshot(snapshot).await.unwrap();
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    clean_up(host, started).await;
}

pub async fn a_fast_snapshot_is_kept_for_as_long_as_that_is_desired(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let (snapshot, of) = (sample::snapshot_id(1), sample::volume_id(1));
    host.block().freeze(&[(snapshot, of)]).await.unwrap();
    host.vmm().follow(instance, &[of]).await.unwrap();
    host.block().captured(&[snapshot]).await.unwrap();
    let desired = sample::snapshot(1, 1);
    stored(host, &desired, None).await;
    let made = VolumeDesired { snapshot: Some(snapshot), ..sample::volume(8) };
    for tier in [Tier::Fast, Tier::Fast, Tier::Standard, Tier::Fast] {
        placed(host, &desired, tier).await;
        assert_eq!(host.block().is_fast(snapshot).await.unwrap(), tier == Tier::Fast);
        assert_eq!(host.block().snapshots().await.unwrap(), [snapshot]);
    }
    host.block().ensure_volume(&made, None).await.unwrap();
    assert_eq!(host.block().lacking_of(snapshot).await.unwrap(), None, "it lacks nothing");
    placed(host, &desired, Tier::Archive).await;
    assert!(!host.block().is_fast(snapshot).await.unwrap());
    placed(host, &desired, Tier::Fast).await;
    host.block().remove_snapshot(snapshot).await.unwrap();
    assert!(!host.block().is_fast(snapshot).await.unwrap());
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    host.block().remove_volume(made.volume).await.unwrap();
    clean_up(host, started).await;
}

pub async fn a_volume_of_a_snapshot_is_used_whether_or_not_all_of_it_is_here(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let (snapshot, of) = (sample::snapshot_id(1), sample::volume_id(7));
    let source = extra_disk(host, 7, None).await;
    host.block().freeze(&[(snapshot, of)]).await.unwrap();
    host.block().captured(&[snapshot]).await.unwrap();
    stored(host, &sample::snapshot(1, 7), None).await;
    host.block().remove_volume(source.volume).await.unwrap();
    let wanted = VolumeDesired { snapshot: Some(snapshot), ..sample::volume(8) };
    let path = host.block().ensure_volume(&wanted, None).await.unwrap();
    let disk = DiskSpec { volume: wanted.volume, path, ..source };
    host.vmm().plug_disk(instance, &disk).await.unwrap();
    assert!(found(host, instance).await.holds(disk.volume));
    while host.block().lacking_of(snapshot).await.unwrap() == Some(disk.volume) {
        // Until then it is not removed.
        assert!(host.block().remove_snapshot(snapshot).await.is_err());
        let filled = host.block().filled().await;
        host.block().take_in(filled).await.unwrap();
        host.vmm().follow(instance, &[filled]).await.unwrap();
        host.block().taken_in(filled).await.unwrap();
    }
    host.block().remove_snapshot(snapshot).await.unwrap();
    assert!(found(host, instance).await.holds(disk.volume));
    host.vmm().tear_out(instance, disk.volume).await.unwrap();
    host.block().remove_volume(disk.volume).await.unwrap();
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    clean_up(host, started).await;
}

pub async fn a_snapshot_of_no_volume_is_refused_and_one_that_is_not_there_is_removed(host: &impl TestHost) {
    let (snapshot, volume) = (sample::snapshot_id(9), sample::volume_id(9));
    assert!(!host.block().is_captured(snapshot).await.unwrap());
    let error = host.block().freeze(&[(snapshot, volume)]).await.unwrap_err();
    assert_eq!(error.fault, agent::host::Fault::Permanent);
    assert_eq!(host.block().remove_snapshot(snapshot).await.unwrap(), None::<VolumeId>);
    host.block().trim(volume, None).await.unwrap();
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
}

fn key(n: u8) -> DataKey {
    DataKey::new([n; DataKey::LEN])
}

fn is_refused<T: std::fmt::Debug>(result: agent::host::Result<T>, why: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.fault, agent::host::Fault::Permanent, "{error}");
    assert!(error.to_string().contains(why), "{error}");
}

pub async fn an_encrypted_volume_opens_with_its_own_key_alone(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let mut desired = VolumeDesired { data_key: Some(key(1)), ..sample::volume(7) };
    let path = host.block().ensure_volume(&desired, None).await.unwrap();
    let disk = |data_key| DiskSpec {
        volume: sample::volume_id(7),
        medium: model::host::Medium::Volume,
        path: path.clone(),
        device: "/dev/sdf".into(),
        limits: None,
        data_key,
        forked: None,
    };
    let (other, none) = ("another key", "its key was not given");
    is_refused(host.vmm().plug_disk(instance, &disk(Some(key(2)))).await, other);
    is_refused(host.vmm().plug_disk(instance, &disk(None)).await, none);
    let given = |data_key| VolumeDesired { data_key, ..sample::volume(7) };
    is_refused(host.block().ensure_volume(&given(Some(key(2))), None).await, other);
    is_refused(host.block().ensure_volume(&given(None), None).await, none);
    let plain = VolumeDesired { data_key: Some(key(1)), ..sample::volume(1) };
    is_refused(host.block().ensure_volume(&plain, None).await, "cannot become so");
    // Grown on its own, and within the machine.
    desired.size = GiB(2);
    assert_eq!(host.block().ensure_volume(&desired, None).await.unwrap(), path);
    for _ in 0..2 {
        host.vmm().plug_disk(instance, &disk(Some(key(1)))).await.unwrap();
        assert_eq!(found(host, instance).await, held(&[1, 7], &[1]));
    }
    desired.size = GiB(3);
    host.vmm().tune_disk(instance, &desired).await.unwrap();
    assert_eq!(host.block().ensure_volume(&desired, None).await.unwrap(), path);
    host.vmm().tear_out(instance, desired.volume).await.unwrap();
    // From the start of another machine on.
    let start = |n, data_key| MachineSpec {
        instance: sample::instance_id(n),
        disks: vec![disk(data_key)],
        ..started.spec.clone()
    };
    is_refused(host.vmm().start(&start(2, Some(key(2))), Vec::new()).await, other);
    assert_eq!(host.vmm().state(sample::instance_id(2)).await.unwrap(), MachineState::Absent);
    host.vmm().start(&start(2, Some(key(1))), Vec::new()).await.unwrap();
    assert_eq!(found(host, sample::instance_id(2)).await, held(&[7], &[]));
    assert_eq!(host.vmm().state(sample::instance_id(2)).await.unwrap(), MachineState::Running);
    for _ in 0..2 {
        host.vmm().end(sample::instance_id(2)).await.unwrap();
        host.vmm().forget(sample::instance_id(2)).await.unwrap();
        // It needs no key to go.
        host.block().remove_volume(desired.volume).await.unwrap();
    }
    host.vmm().end(instance).await.unwrap();
    clean_up(host, started).await;
}

pub async fn what_is_made_of_an_encrypted_volume_is_encrypted_too(host: &impl TestHost) {
    let (volume, snapshot) = (sample::volume_id(7), sample::snapshot_id);
    let desired = VolumeDesired { data_key: Some(key(1)), ..sample::volume(7) };
    host.block().ensure_volume(&desired, None).await.unwrap();
    let (other, none) = ("another key", "its key was not given");
    for (n, data_key, why) in [(1, None, none), (2, Some(key(2)), other), (3, Some(key(1)), "")] {
        host.block().freeze(&[(snapshot(n), volume)]).await.unwrap();
        host.block().captured(&[snapshot(n)]).await.unwrap();
        let wanted = SnapshotDesired { data_key, ..sample::snapshot(n, 7) };
        if why.is_empty() {
            stored(host, &wanted, None).await;
        } else {
            is_refused(ended(host, &wanted, None).await, why);
        }
    }
    for _ in 0..2 {
        host.block().trim(volume, Some(&key(1))).await.unwrap();
    }
    // Of another account, with another key and with the same.
    let copy = |n, data_key| SnapshotDesired {
        account: model::AccountId::from_number(2),
        source: SnapshotSource::Copy(snapshot(3)),
        data_key,
        ..sample::snapshot(n, 7)
    };
    is_refused(ended(host, &copy(4, Some(key(2))), Some(&key(3))).await, other);
    is_refused(ended(host, &copy(4, Some(key(2))), None).await, none);
    is_refused(ended(host, &copy(5, None), Some(&key(1))).await, "so must be what is made of it");
    stored(host, &copy(6, Some(key(2))), Some(&key(1))).await;
    stored(host, &copy(7, Some(key(1))), Some(&key(1))).await;
    host.block().remove_snapshot(snapshot(3)).await.unwrap();
    host.block().remove_volume(volume).await.unwrap();
    let made =
        |n, of, data_key| VolumeDesired { snapshot: Some(snapshot(of)), data_key, ..sample::volume(n) };
    let ensure = async |wanted: &VolumeDesired, source: Option<&DataKey>| {
        host.block().ensure_volume(wanted, source).await
    };
    is_refused(ensure(&made(8, 6, Some(key(4))), Some(&key(1))).await, other);
    is_refused(ensure(&made(8, 6, Some(key(4))), None).await, none);
    is_refused(ensure(&made(8, 6, None), Some(&key(2))).await, "so must be what is made of it");
    ensure(&made(8, 6, Some(key(4))), Some(&key(2))).await.unwrap();
    ensure(&made(9, 7, Some(key(1))), Some(&key(1))).await.unwrap();
    for n in [8, 9] {
        host.block().remove_volume(sample::volume_id(n)).await.unwrap();
    }
    for n in 1..8 {
        host.block().remove_snapshot(snapshot(n)).await.unwrap();
    }
    assert_eq!(host.block().snapshots().await.unwrap(), [] as [SnapshotId; 0]);
    assert_eq!(host.block().volumes().await.unwrap(), []);
}

pub async fn a_snapshot_that_is_not_encrypted_becomes_an_encrypted_volume(host: &impl TestHost) {
    host.block().ensure_volume(&sample::volume(7), None).await.unwrap();
    let (snapshot, copy) = (sample::snapshot_id(1), sample::snapshot_id(2));
    host.block().freeze(&[(snapshot, sample::volume_id(7))]).await.unwrap();
    host.block().captured(&[snapshot]).await.unwrap();
    stored(host, &sample::snapshot(1, 7), None).await;
    let wanted = SnapshotDesired {
        source: SnapshotSource::Copy(snapshot),
        data_key: Some(key(1)),
        ..sample::snapshot(2, 7)
    };
    stored(host, &wanted, None).await;
    for (n, of, source) in [(8, snapshot, None), (9, copy, Some(&key(1)))] {
        let made = VolumeDesired { snapshot: Some(of), data_key: Some(key(2)), ..sample::volume(n) };
        host.block().ensure_volume(&made, source).await.unwrap();
        is_refused(
            host.block().ensure_volume(&VolumeDesired { data_key: Some(key(1)), ..made }, source).await,
            "another key",
        );
        host.block().remove_volume(sample::volume_id(n)).await.unwrap();
    }
    for snapshot in [snapshot, copy] {
        host.block().remove_snapshot(snapshot).await.unwrap();
    }
    host.block().remove_volume(sample::volume_id(7)).await.unwrap();
}
