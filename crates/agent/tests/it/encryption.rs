//! The loop and data keys: they are on no disk, and what needs one waits for it after a restart.

use super::rig::{Rig, in_virtual_time, until};
use super::sample::*;
use agent::host::sim::SimConfig;
use base64::Engine as _;
use model::host::*;
use model::{DataKey, GiB};
use std::path::Path;

fn key(n: u8) -> DataKey {
    DataKey::new([n; DataKey::LEN])
}

fn encrypted(n: u32, snapshot: Option<u32>) -> VolumeDesired {
    VolumeDesired { data_key: Some(key(n as u8)), snapshot: snapshot.map(snapshot_id), ..volume(n) }
}

/// VPC 1, group 1, and instance 1 with an encrypted volume.
fn first() -> Vec<Desired> {
    let mut objects = first_instance();
    objects.retain(|object| object.key != ObjectKey::Volume(volume_id(1)));
    objects.push(wish(1, DesiredBody::from(encrypted(1, None))));
    objects
}

async fn applied(rig: &Rig, key: ObjectKey) {
    until(&mut rig.handle().subscribe(), |seen| seen.key == key && seen.body == ObservedBody::Applied).await;
}

async fn stored(rig: &Rig, n: u32) {
    let is_stored = |seen: &Observed| {
        seen.key == ObjectKey::Snapshot(snapshot_id(n))
            && matches!(seen.body, ObservedBody::Snapshot(SnapshotPhase::Completed { .. }))
    };
    until(&mut rig.handle().subscribe(), is_stored).await;
}

async fn runs(rig: &Rig, n: u32) {
    rig.phase(n, |phase| matches!(phase, InstancePhase::Running { .. })).await;
}

/// What an object waits for.
async fn waits(rig: &Rig, key: ObjectKey) -> Option<String> {
    rig.handle().quiet().await;
    let Reply::Status { objects } = rig.handle().request(Request::Status).await else { panic!("no status") };
    objects.into_iter().find(|object| object.key == key.to_string())?.last_error
}

/// Every file below a directory that holds these bytes.
fn holding(directory: &Path, wanted: &[u8]) -> usize {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let held = |path: std::path::PathBuf| {
        if path.is_dir() {
            return holding(&path, wanted);
        }
        usize::from(std::fs::read(path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted))
    };
    entries.map(held).sum()
}

#[test]
fn a_key_is_on_no_disk_and_what_needs_it_waits_for_it_after_a_restart() {
    in_virtual_time(async {
        let mut rig = Rig::new(SimConfig::default()).await;
        let copy = SnapshotDesired {
            source: SnapshotSource::Copy(snapshot_id(1)),
            data_key: Some(key(2)),
            ..snapshot(2, 1)
        };
        let mut objects = first();
        let first_snapshot = SnapshotDesired { data_key: Some(key(1)), ..snapshot(1, 1) };
        objects.push(wish(1, DesiredBody::from(first_snapshot)));
        rig.handle().sync(objects.clone()).await.unwrap();
        runs(&rig, 1).await;
        stored(&rig, 1).await;
        for n in [1, 2] {
            let text = base64::engine::general_purpose::STANDARD.encode(key(n).expose());
            assert_eq!(holding(rig.state_dir.path(), text.as_bytes()), 0);
            assert_eq!(holding(rig.state_dir.path(), key(n).expose()), 0);
        }
        let written = volume_id(1).to_string();
        assert!(holding(rig.state_dir.path(), written.as_bytes()) > 0, "the search finds what is there");

        // Without the server, after a restart: what runs goes on, what is new waits.
        rig.restart().await;
        runs(&rig, 1).await;
        let of_volume = |n| ObjectKey::Volume(volume_id(n));
        assert_eq!(
            waits(&rig, of_volume(1)).await.unwrap(),
            format!("waits for the key of {}", volume_id(1))
        );
        stored(&rig, 1).await;
        let made = wish(1, DesiredBody::from(encrypted(3, Some(1))));
        rig.handle().set(vec![made.clone(), wish(1, DesiredBody::from(copy.clone()))]).await.unwrap();
        let for_source = format!("waits for the key of {}", snapshot_id(1));
        assert_eq!(waits(&rig, of_volume(3)).await.unwrap(), for_source);
        assert_eq!(waits(&rig, ObjectKey::Snapshot(snapshot_id(2))).await.unwrap(), for_source);
        let second = SnapshotDesired { data_key: Some(key(1)), ..snapshot(3, 1) };
        rig.handle().set(vec![wish(1, DesiredBody::from(second.clone()))]).await.unwrap();
        let for_volume = format!("waits for the key of {}", volume_id(1));
        assert_eq!(waits(&rig, ObjectKey::Snapshot(snapshot_id(3))).await.unwrap(), for_volume);

        // The same generations again bring the keys.
        objects.extend([made, wish(1, DesiredBody::from(copy)), wish(1, DesiredBody::from(second))]);
        rig.handle().sync(objects).await.unwrap();
        for n in [1, 3] {
            applied(&rig, of_volume(n)).await;
        }
        stored(&rig, 2).await;
        stored(&rig, 3).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
        assert_eq!(rig.sim.violations(), [] as [String; 0]);
    });
}

#[test]
fn an_instance_whose_volume_lacks_its_key_starts_when_it_comes() {
    in_virtual_time(async {
        let mut rig = Rig::new(SimConfig::default()).await;
        rig.handle().sync(first()).await.unwrap();
        runs(&rig, 1).await;
        rig.kill();
        rig.sim.reboot_host();
        rig.start().await;
        let instance = ObjectKey::Instance(instance_id(1));
        let for_key = format!("waits for the key of {}", volume_id(1));
        assert_eq!(waits(&rig, instance).await.unwrap(), format!("waits for {}", volume_id(1)));
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
        // A wish without the key brings none, and makes nothing plain.
        for generation in [1, 2] {
            rig.handle().set(vec![wish(generation, DesiredBody::from(volume(1)))]).await.unwrap();
            assert_eq!(waits(&rig, ObjectKey::Volume(volume_id(1))).await.unwrap(), for_key);
            rig.restart().await;
        }
        assert!(waits(&rig, instance).await.is_some());
        rig.handle().set(vec![wish(2, DesiredBody::from(encrypted(1, None)))]).await.unwrap();
        runs(&rig, 1).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 2);
        // Withheld from a machine that runs: it goes on, and what is to change of the volume waits.
        let grown = VolumeDesired { size: GiB(2), ..volume(1) };
        rig.handle().set(vec![wish(3, DesiredBody::from(grown))]).await.unwrap();
        assert_eq!(waits(&rig, ObjectKey::Volume(volume_id(1))).await.unwrap(), for_key);
        let grown = VolumeDesired { size: GiB(2), ..encrypted(1, None) };
        rig.handle().set(vec![wish(3, DesiredBody::from(grown))]).await.unwrap();
        assert_eq!(waits(&rig, ObjectKey::Volume(volume_id(1))).await, None);
        assert_eq!(rig.sim.volume(volume_id(1)).unwrap().0, GiB(2));
        assert_eq!(rig.sim.boots(instance_id(1)), 2);
        assert_eq!(rig.sim.violations(), [] as [String; 0]);
    });
}

#[test]
fn a_volume_that_lacks_its_key_can_be_removed_and_a_wrong_key_is_said_to_be_wrong() {
    in_virtual_time(async {
        let mut rig = Rig::new(SimConfig::default()).await;
        let (one, two) = (ObjectKey::Volume(volume_id(1)), ObjectKey::Volume(volume_id(2)));
        let both = [1, 2].map(|n| wish(1, DesiredBody::from(encrypted(n, None))));
        rig.handle().set(both.to_vec()).await.unwrap();
        applied(&rig, one).await;
        applied(&rig, two).await;
        rig.restart().await;
        rig.handle().set(vec![Desired { key: one, generation: 2, body: None }]).await.unwrap();
        until(&mut rig.handle().subscribe(), |seen| seen.key == one && seen.body == ObservedBody::Removed)
            .await;
        let grown = VolumeDesired { size: GiB(2), data_key: Some(key(9)), ..volume(2) };
        rig.handle().set(vec![wish(2, DesiredBody::from(grown.clone()))]).await.unwrap();
        let refused = |seen: &Observed| {
            seen.key == two
                && matches!(&seen.body, ObservedBody::Failing { reason } if reason.contains("another key"))
        };
        until(&mut rig.handle().subscribe(), refused).await;
        let right = VolumeDesired { data_key: Some(key(2)), ..grown };
        rig.handle().set(vec![wish(3, DesiredBody::from(right))]).await.unwrap();
        applied(&rig, two).await;
        assert_eq!(rig.sim.volume(volume_id(2)).unwrap().0, GiB(2));
    });
}
