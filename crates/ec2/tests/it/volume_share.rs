//! Multi-Attach volumes: who has them, what each may do of them, and whose end is theirs.

use crate::instance::{Cloud, cloud, cloud_with};
use crate::volume::{applied, available, described, key, shown, wished};
use model::VolumeId;
use model::host::{Capacity, Devices, InstancePhase, StopCause};
use testkit::START;

/// A snapshot of it is taken while two instances have it; what is made of that is what was asked for.
#[tokio::test]
async fn snapshots_are_taken_of_a_shared_volume_whoever_has_it() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let asked =
        [("VolumeType", "io2"), ("Iops", "400"), ("MultiAttachEnabled", "true"), ("Encrypted", "true")];
    let volume = available(&cloud, &asked).await;
    for instance in [&first, &second] {
        attach(&cloud, &volume, instance).await;
        plugged(&cloud, instance, &[&volume]).await;
    }
    let snapshot = cloud.ok("CreateSnapshot", &[("VolumeId", &volume)]).await.one("snapshotId");
    let desired = crate::snapshot::wished(&cloud, &snapshot).await.unwrap();
    assert_eq!(desired.data_key, wished(&cloud, &volume).unwrap().data_key);
    crate::snapshot::complete(&cloud, &snapshot).await;
    let of_instance = [("InstanceSpecification.InstanceId", second.as_str())];
    let set = cloud.ok("CreateSnapshots", &of_instance).await.all("snapshotSet/item/volumeId");
    assert!(set.len() == 2 && set.contains(&volume), "{set:?}");
    for (more, is_shared) in [(&[][..], false), (&asked[..3], true)] {
        let of_snapshot = [&[("SnapshotId", snapshot.as_str())], more].concat();
        let made = available(&cloud, &of_snapshot).await;
        let desired = wished(&cloud, &made).unwrap();
        assert_eq!((desired.shared, desired.data_key.is_some()), (is_shared, true));
    }
}

async fn shared(cloud: &Cloud) -> String {
    let asked = [("VolumeType", "io2"), ("Iops", "400"), ("MultiAttachEnabled", "true")];
    available(cloud, &asked).await
}

async fn attach(cloud: &Cloud, volume: &str, instance: &str) {
    let asked = [("VolumeId", volume), ("InstanceId", instance), ("Device", "/dev/sdf")];
    cloud.ok("AttachVolume", &asked).await;
}

/// The machine says that it has these beside its root volume.
async fn plugged(cloud: &Cloud, instance: &str, volumes: &[&str]) {
    let root = cloud.shown_all(instance, "blockDeviceMapping/item/ebs/volumeId").await.remove(0);
    let all = std::iter::once(root.as_str()).chain(volumes.iter().copied());
    let volumes = all.map(|id| VolumeId::parse(id).unwrap()).collect();
    let devices = Devices { volumes, interfaces: Vec::new() };
    cloud.observe(instance, InstancePhase::Running { run: 1, since: START, devices }).await;
}

/// Whose it is, and how far that has come.
async fn places(cloud: &Cloud, volume: &str) -> Vec<(String, String)> {
    let answer = described(cloud, volume).await;
    let all = |name: &str| answer.all(&format!("volumeSet/item/attachmentSet/item/{name}"));
    all("instanceId").into_iter().zip(all("status")).collect()
}

fn is(instance: &str, state: &str) -> (String, String) {
    (instance.to_owned(), state.to_owned())
}

#[tokio::test]
async fn a_shared_volume_is_attached_to_several_instances_and_each_has_its_part_of_it() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let volume = shared(&cloud).await;
    assert!(wished(&cloud, &volume).unwrap().shared);
    for instance in [&first, &second] {
        attach(&cloud, &volume, instance).await;
    }
    assert_eq!(places(&cloud, &volume).await, [is(&first, "attaching"), is(&second, "attaching")]);
    plugged(&cloud, &second, &[&volume]).await;
    assert_eq!(places(&cloud, &volume).await, [is(&first, "attaching"), is(&second, "attached")]);
    cloud.settled(key(&volume)).await;
    assert_eq!(wished(&cloud, &volume).unwrap().limits.unwrap().iops.base, 200, "half of it each");
    for instance in [&first, &second] {
        let filter = [("Filter.1.Name", "attachment.instance-id"), ("Filter.1.Value.1", instance.as_str())];
        let found = cloud.ok("DescribeVolumes", &filter).await.all("volumeSet/item/volumeId");
        assert!(found.contains(&volume), "{found:?}");
    }
    plugged(&cloud, &first, &[&volume]).await;
    assert_eq!(cloud.code("DetachVolume", &[("VolumeId", &volume)]).await, "MissingParameter");
    assert_eq!(cloud.code("DeleteVolume", &[("VolumeId", &volume)]).await, "VolumeInUse");
    let part = [("VolumeId", volume.as_str()), ("InstanceId", &first), ("Force", "true")];
    assert_eq!(cloud.ok("DetachVolume", &part).await.one("status"), "detaching");
    plugged(&cloud, &first, &[]).await;
    assert_eq!(places(&cloud, &volume).await, [is(&second, "attached")]);
    assert_eq!(shown(&cloud, &volume, "status").await, "in-use");
    cloud.settled(key(&volume)).await;
    assert_eq!(wished(&cloud, &volume).unwrap().limits.unwrap().iops.base, 400);
}

#[tokio::test]
async fn the_last_instance_decides_whether_a_shared_volume_goes_with_it() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let volume = shared(&cloud).await;
    for instance in [&first, &second] {
        attach(&cloud, &volume, instance).await;
        plugged(&cloud, instance, &[&volume]).await;
        let goes = [
            ("InstanceId", instance.as_str()),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
            ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ];
        cloud.ok("ModifyInstanceAttribute", &goes).await;
    }
    for (instance, state) in [(&first, "in-use"), (&second, "deleting")] {
        let end = [("InstanceId.1", instance.as_str()), ("SkipOsShutdown", "true")];
        cloud.ok("TerminateInstances", &end).await;
        cloud.gone(instance).await;
        assert_eq!(shown(&cloud, &volume, "status").await, state);
    }
}

#[tokio::test]
async fn a_shared_volume_has_its_bounds() {
    let cloud = cloud_with(Capacity::UNLIMITED).await;
    let volume = shared(&cloud).await;
    let stopped = cloud.running(&[]).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &stopped)]).await;
    cloud.observe(&stopped, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    let root = cloud.shown_all(&stopped, "blockDeviceMapping/item/ebs/volumeId").await.remove(0);
    cloud.ok("DetachVolume", &[("VolumeId", &root)]).await;
    let as_root = [("VolumeId", volume.as_str()), ("InstanceId", &stopped), ("Device", "/dev/xvda")];
    assert_eq!(cloud.code("AttachVolume", &as_root).await, "InvalidParameterValue");
    for _ in 0..16 {
        let instance = cloud.running(&[]).await;
        attach(&cloud, &volume, &instance).await;
    }
    let more = [("VolumeId", volume.as_str()), ("InstanceId", &stopped), ("Device", "/dev/sdf")];
    assert_eq!(cloud.code("AttachVolume", &more).await, "AttachmentLimitExceeded");
    let off = [("VolumeId", volume.as_str()), ("MultiAttachEnabled", "false")];
    assert_eq!(cloud.code("ModifyVolume", &off).await, "InvalidParameterCombination", "while it is attached");
    let single = available(
        &cloud,
        &[("VolumeType", "io2"), ("Iops", "400"), ("MultiAttachEnabled", "true"), ("Encrypted", "true")],
    )
    .await;
    assert!(wished(&cloud, &single).unwrap().data_key.is_some());
    cloud.ok("ModifyVolume", &[("VolumeId", &single), ("MultiAttachEnabled", "false")]).await;
    cloud.settled(key(&single)).await;
    assert!(!wished(&cloud, &single).unwrap().shared);
    assert_eq!(shown(&cloud, &single, "multiAttachEnabled").await, "true", "until its host says so");
    applied(&cloud, &single).await;
    assert_eq!(shown(&cloud, &single, "multiAttachEnabled").await, "false");
}
