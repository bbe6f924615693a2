//! Snapshots: taken, described, deleted, and what they hold on to.

use crate::instance::{Cloud, cloud};
use crate::volume::{
    ZONE, applied, available, key as volume_key, made as made_volume, shown as volume_shown,
};
use model::host::{
    DesiredBody, Devices, InstancePhase, ObjectKey, ObservedBody, SnapshotDesired, SnapshotPhase,
    SnapshotSource,
};
use model::{GiB, SnapshotId, VolumeId};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Answer, BOB, START};

pub fn key(id: &str) -> ObjectKey {
    ObjectKey::Snapshot(SnapshotId::parse(id).unwrap())
}

/// Asks for a snapshot of a volume.
pub async fn taken(cloud: &Cloud, volume: &str, more: &[(&str, &str)]) -> String {
    let mut parameters = vec![("VolumeId", volume)];
    parameters.extend(more);
    cloud.ok("CreateSnapshot", &parameters).await.one("snapshotId")
}

/// The host says how far it has come.
pub async fn is(cloud: &Cloud, id: &str, phase: SnapshotPhase) {
    cloud.observe_object(key(id), ObservedBody::Snapshot(phase)).await;
}

pub async fn complete(cloud: &Cloud, id: &str) {
    is(cloud, id, SnapshotPhase::Completed { full: 1 << 20, tier: model::host::Tier::Standard }).await;
}

/// Taken, and its host has all of it.
pub async fn completed(cloud: &Cloud, volume: &str, more: &[(&str, &str)]) -> String {
    let id = taken(cloud, volume, more).await;
    complete(cloud, &id).await;
    assert_eq!(shown(cloud, &id, "status").await, "completed");
    id
}

pub async fn described(cloud: &Cloud, id: &str) -> Answer {
    cloud.ok("DescribeSnapshots", &[("SnapshotId.1", id)]).await
}

pub async fn shown(cloud: &Cloud, id: &str, path: &str) -> String {
    described(cloud, id).await.one(&format!("snapshotSet/item/{path}"))
}

pub async fn ids(cloud: &Cloud, parameters: &[(&str, &str)]) -> Vec<String> {
    cloud.ok("DescribeSnapshots", parameters).await.all("snapshotSet/item/snapshotId")
}

pub async fn wished(cloud: &Cloud, id: &str) -> Option<Arc<SnapshotDesired>> {
    cloud.settled(key(id)).await;
    match cloud.host.object(key(id))?.body? {
        DesiredBody::Snapshot(snapshot) => Some(snapshot),
        other => panic!("{other:?}"),
    }
}

fn parent(wish: &SnapshotDesired) -> Option<String> {
    match &wish.source {
        SnapshotSource::Volume { parent, .. } => parent.map(|id| id.to_string()),
        SnapshotSource::Copy(_) | SnapshotSource::Direct { .. } => None,
    }
}

async fn delete(cloud: &Cloud, id: &str) {
    cloud.ok("DeleteSnapshot", &[("SnapshotId", id)]).await;
    assert_eq!(cloud.code("DescribeSnapshots", &[("SnapshotId.1", id)]).await, "InvalidSnapshot.NotFound");
}

async fn delete_volume(cloud: &Cloud, id: &str) {
    cloud.ok("DeleteVolume", &[("VolumeId", id)]).await;
    cloud.volume_gone(id).await;
}

#[tokio::test]
async fn a_snapshot_is_pending_until_its_host_has_all_of_it() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let tags = [
        ("Description", "nightly"),
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "n1"),
    ];
    let mut parameters = vec![("VolumeId", volume.as_str()), ("DryRun", "true")];
    parameters.extend(tags);
    assert_eq!(cloud.code("CreateSnapshot", &parameters).await, "DryRunOperation");
    parameters.remove(1);
    let answer = cloud.ok("CreateSnapshot", &parameters).await;
    let id = answer.one("snapshotId");
    for (path, value) in [
        ("volumeId", volume.as_str()),
        ("status", "pending"),
        ("progress", "0%"),
        ("ownerId", "111111111111"),
        ("volumeSize", "10"),
        ("description", "nightly"),
        ("encrypted", "false"),
        ("startTime", "2026-01-01T00:00:00.000Z"),
        ("tagSet/item/value", "n1"),
    ] {
        assert_eq!(answer.one(path), value, "{path}");
    }
    let wish = wished(&cloud, &id).await.unwrap();
    assert_eq!((wish.size, wish.account), (GiB(10), testkit::ALICE));
    let source = SnapshotSource::Volume {
        volume: VolumeId::parse(&volume).unwrap(),
        parent: None,
        together: Vec::new(),
        during: None,
    };
    assert_eq!(wish.source, source);
    is(&cloud, &id, SnapshotPhase::Waiting).await;
    assert_eq!(shown(&cloud, &id, "progress").await, "0%");
    is(&cloud, &id, SnapshotPhase::Pending { percent: 42 }).await;
    assert_eq!(shown(&cloud, &id, "progress").await, "40%");
    assert!(described(&cloud, &id).await.all("snapshotSet/item/completionTime").is_empty());
    cloud.kit.clock.advance(Duration::from_secs(5));
    complete(&cloud, &id).await;
    for (path, value) in [
        ("status", "completed"),
        ("progress", "100%"),
        ("storageTier", "standard"),
        ("completionTime", "2026-01-01T00:00:05.000Z"),
        ("fullSnapshotSizeInBytes", "1048576"),
    ] {
        assert_eq!(shown(&cloud, &id, path).await, value, "{path}");
    }
    is(&cloud, &id, SnapshotPhase::Failed { reason: "too late".into() }).await;
    assert_eq!(shown(&cloud, &id, "status").await, "completed");
    assert_eq!(wished(&cloud, &id).await.unwrap(), wish, "what it is never changes");
}

#[tokio::test]
async fn a_capture_that_fails_is_an_error_and_can_be_deleted() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = taken(&cloud, &volume, &[]).await;
    cloud.observe_object(key(&id), ObservedBody::Failing { reason: "busy".into() }).await;
    assert_eq!(shown(&cloud, &id, "status").await, "pending", "it is tried again");
    is(&cloud, &id, SnapshotPhase::Failed { reason: "no space left".into() }).await;
    assert_eq!(shown(&cloud, &id, "status").await, "error");
    assert_eq!(shown(&cloud, &id, "statusMessage").await, "no space left");
    let of_it = [("AvailabilityZone", ZONE), ("SnapshotId", id.as_str())];
    assert_eq!(cloud.code("CreateVolume", &of_it).await, "IncorrectState");
    delete(&cloud, &id).await;
    assert!(wished(&cloud, &id).await.is_none());
    cloud.observe_object(key(&id), ObservedBody::Removed).await;
    assert_eq!(cloud.kit.cloud.host.generation(key(&id)), None, "nothing is left of it");
    assert!(ids(&cloud, &[]).await.is_empty());
}

#[tokio::test]
async fn each_builds_upon_the_latest_completed_one_and_is_deleted_in_any_order() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let mut all = Vec::new();
    for expected in 0..3 {
        cloud.kit.clock.advance(Duration::from_mins(1));
        let id = completed(&cloud, &volume, &[]).await;
        assert_eq!(parent(&wished(&cloud, &id).await.unwrap()), all.last().cloned(), "{expected}");
        all.push(id);
    }
    cloud.kit.clock.advance(Duration::from_mins(1));
    let pending = taken(&cloud, &volume, &[]).await;
    let meanwhile = taken(&cloud, &volume, &[]).await;
    for id in [&pending, &meanwhile] {
        assert_eq!(
            parent(&wished(&cloud, id).await.unwrap()).as_ref(),
            all.last(),
            "pending ones are no parents"
        );
    }
    // The parent goes out of sight at once, and from the host when nothing is made of it any more.
    delete(&cloud, &all[2]).await;
    assert!(wished(&cloud, &all[2]).await.is_some());
    delete(&cloud, &all[0]).await;
    assert!(wished(&cloud, &all[0]).await.is_none());
    complete(&cloud, &pending).await;
    assert!(wished(&cloud, &all[2]).await.is_some(), "the other is still being read");
    is(&cloud, &meanwhile, SnapshotPhase::Failed { reason: String::new() }).await;
    assert!(wished(&cloud, &all[2]).await.is_none());
    assert_eq!(ids(&cloud, &[("Filter.1.Name", "status"), ("Filter.1.Value.1", "completed")]).await.len(), 2);
}

#[tokio::test]
async fn a_snapshot_outlives_its_volume() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let done = completed(&cloud, &volume, &[]).await;
    let awaited = taken(&cloud, &volume, &[]).await;
    cloud.ok("DeleteVolume", &[("VolumeId", &volume)]).await;
    cloud.settled(volume_key(&volume)).await;
    assert!(cloud.host.object(volume_key(&volume)).unwrap().body.is_some(), "its instant is still to come");
    is(&cloud, &awaited, SnapshotPhase::Pending { percent: 0 }).await;
    cloud.settled(volume_key(&volume)).await;
    assert!(cloud.host.object(volume_key(&volume)).unwrap().body.is_none(), "now it may go");
    cloud.volume_gone(&volume).await;
    complete(&cloud, &awaited).await;
    assert_eq!(shown(&cloud, &awaited, "volumeId").await, volume);
    let again = [("AvailabilityZone", ZONE), ("SnapshotId", done.as_str())];
    assert_eq!(cloud.ok("CreateVolume", &again).await.one("size"), "10");
}

#[tokio::test]
async fn a_volume_starts_from_a_snapshot_and_is_no_smaller() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = taken(&cloud, &volume, &[]).await;
    let same_size = [("AvailabilityZone", ZONE), ("SnapshotId", id.as_str())];
    assert_eq!(cloud.code("CreateVolume", &same_size).await, "IncorrectState", "it is pending");
    complete(&cloud, &id).await;
    let smaller = [("AvailabilityZone", ZONE), ("SnapshotId", id.as_str()), ("Size", "9")];
    assert_eq!(cloud.code("CreateVolume", &smaller).await, "InvalidParameterValue");
    let same = cloud.ok("CreateVolume", &same_size).await;
    assert_eq!((same.one("size"), same.one("snapshotId")), ("10".into(), id.clone()));
    let larger = cloud.ok("CreateVolume", &[same_size[0], same_size[1], ("Size", "11")]).await;
    assert_eq!(larger.one("size"), "11");
    let made = larger.one("volumeId");
    cloud.settled(volume_key(&made)).await;
    let wish = crate::volume::wished(&cloud, &made).unwrap();
    assert_eq!(wish.snapshot.map(|id| id.to_string()), Some(id.clone()));
    assert_eq!(wish.image, None);

    // Deleted before its volume is made: the host keeps it as long.
    delete(&cloud, &id).await;
    assert!(wished(&cloud, &id).await.is_some());
    for volume in [same.one("volumeId"), made.clone()] {
        applied(&cloud, &volume).await;
    }
    assert!(wished(&cloud, &id).await.is_none());
    assert_eq!(volume_shown(&cloud, &made, "snapshotId").await, id, "where it came from is still told");
    let by_source = [("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", id.as_str())];
    let found = cloud.ok("DescribeVolumes", &by_source).await;
    assert_eq!(found.all("volumeSet/item").len(), 2);
}

#[tokio::test]
async fn what_cannot_be_captured_is_refused() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let new = made_volume(&cloud, &[]).await;
    for (parameters, code) in [
        (vec![("VolumeId", "vol-0123456789abcdef0")], "InvalidVolume.NotFound"),
        (vec![("VolumeId", "vol-1")], "InvalidVolumeID.Malformed"),
        (vec![], "MissingParameter"),
        (vec![("VolumeId", new.as_str())], "IncorrectState"),
        (vec![("VolumeId", &volume), ("OutpostArn", "arn:aws:outposts:x")], "UnsupportedOperation"),
        (vec![("VolumeId", &volume), ("Location", "local")], "UnsupportedOperation"),
        (
            vec![
                ("VolumeId", &volume),
                ("TagSpecification.1.ResourceType", "volume"),
                ("TagSpecification.1.Tag.1.Key", "a"),
            ],
            "InvalidParameterValue",
        ),
    ] {
        assert_eq!(cloud.code("CreateSnapshot", &parameters).await, code, "{parameters:?}");
    }
    for _ in 0..5 {
        taken(&cloud, &volume, &[]).await;
    }
    let one_more = [("VolumeId", volume.as_str())];
    assert_eq!(cloud.code("CreateSnapshot", &one_more).await, "ConcurrentSnapshotLimitExceeded");
    for (action, parameter) in [("DeleteSnapshot", "SnapshotId"), ("DescribeSnapshots", "SnapshotId.1")] {
        assert_eq!(cloud.code(action, &[(parameter, "snap-1")]).await, "InvalidSnapshotID.Malformed");
        let none = [(parameter, "snap-0123456789abcdef0")];
        assert_eq!(cloud.code(action, &none).await, "InvalidSnapshot.NotFound");
    }
}

#[tokio::test]
async fn snapshots_are_found_by_what_they_are() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let small = available(&cloud, &[("Size", "7")]).await;
    let done = completed(&cloud, &volume, &[("Description", "of the web")]).await;
    let pending = taken(&cloud, &small, &[]).await;
    cloud.ok("CreateTags", &[("ResourceId.1", &done), ("Tag.1.Key", "kind"), ("Tag.1.Value", "web")]).await;
    for (name, value, expected) in [
        ("status", "completed", vec![&done]),
        ("status", "pending", vec![&pending]),
        ("progress", "100%", vec![&done]),
        ("volume-id", small.as_str(), vec![&pending]),
        ("volume-size", "10", vec![&done]),
        ("description", "*web", vec![&done]),
        ("owner-id", "111111111111", vec![&done, &pending]),
        ("owner-alias", "amazon", vec![]),
        ("encrypted", "true", vec![]),
        ("storage-tier", "standard", vec![&done, &pending]),
        ("start-time", "2026-01-01*", vec![&done, &pending]),
        ("tag:kind", "web", vec![&done]),
        ("snapshot-id", done.as_str(), vec![&done]),
    ] {
        let mut found = ids(&cloud, &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]).await;
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}={value}");
    }
    let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(cloud.code("DescribeSnapshots", &unknown).await, "InvalidParameterValue");
    let tags = [("Filter.1.Name", "resource-type"), ("Filter.1.Value.1", "snapshot")];
    let tags = cloud.ok("DescribeTags", &tags).await;
    assert_eq!(tags.one("tagSet/item/resourceId"), done);
    assert_eq!(ids(&cloud, &[("Owner.1", "self")]).await.len(), 2);
    assert!(ids(&cloud, &[("Owner.1", "amazon")]).await.is_empty());
    assert_eq!(cloud.code("DescribeSnapshots", &[("Owner.1", "me")]).await, "InvalidUserID.Malformed");
    for _ in 0..4 {
        taken(&cloud, &volume, &[]).await;
    }
    let first = cloud.ok("DescribeSnapshots", &[("MaxResults", "5")]).await;
    assert_eq!(first.all("snapshotSet/item").len(), 5);
    let rest = [("MaxResults", "5"), ("NextToken", &first.one("nextToken"))];
    assert_eq!(ids(&cloud, &rest).await.len(), 1);
    let foreign = cloud.kit.call_as(BOB, "ec2", "DescribeSnapshots", &[("SnapshotId.1", &done)]).await;
    assert_eq!(foreign.unwrap_err().code(), "InvalidSnapshot.NotFound");
    delete_volume(&cloud, &volume).await;
}

#[tokio::test]
async fn the_volumes_of_an_instance_are_captured_at_one_instant() {
    let cloud = cloud().await;
    let more = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "3"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "4"),
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "of"),
        ("TagSpecification.1.Tag.1.Value", "web"),
    ];
    let instance = cloud.running(&more).await;
    let volumes = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    let of = ("InstanceSpecification.InstanceId", instance.as_str());
    let tagged = [
        of,
        ("CopyTagsFromSource", "volume"),
        ("TagSpecification.1.ResourceType", "snapshot"),
        ("TagSpecification.1.Tag.1.Key", "run"),
        ("TagSpecification.1.Tag.1.Value", "1"),
    ];
    let answer = cloud.ok("CreateSnapshots", &tagged).await;
    assert_eq!(answer.all("snapshotSet/item/volumeId"), volumes);
    assert_eq!(answer.all("snapshotSet/item/state"), ["pending"; 3]);
    assert_eq!(answer.all("snapshotSet/item/tagSet/item/key"), ["of", "run", "of", "run", "of", "run"]);
    let all = answer.all("snapshotSet/item/snapshotId");
    for id in &all {
        let SnapshotSource::Volume { volume, together, during, .. } =
            wished(&cloud, id).await.unwrap().source.clone()
        else {
            panic!("{id} is of a volume");
        };
        let mut expected: Vec<_> = all.iter().zip(&volumes).map(|(s, v)| (s.clone(), v.clone())).collect();
        expected.retain(|(other, _)| other != id);
        let together: Vec<_> = together.iter().map(|(s, v)| (s.to_string(), v.to_string())).collect();
        assert_eq!(together, expected);
        assert!(volumes.contains(&volume.to_string()));
        assert_eq!(during, None);
    }
    let no_boot = [of, ("InstanceSpecification.ExcludeBootVolume", "true")];
    let answer = cloud.ok("CreateSnapshots", &no_boot).await;
    assert_eq!(answer.all("snapshotSet/item/volumeId"), volumes[1..]);
    let excluded = [of, ("InstanceSpecification.ExcludeDataVolumeId.1", &volumes[1])];
    let answer = cloud.ok("CreateSnapshots", &excluded).await;
    assert_eq!(answer.all("snapshotSet/item/volumeId"), [volumes[0].as_str(), &volumes[2]]);
    for (more, code) in [
        (vec![("InstanceSpecification.ExcludeDataVolumeId.1", volumes[0].as_str())], "InvalidParameterValue"),
        (vec![("InstanceSpecification.ExcludeDataVolumeId.1", "vol-1")], "InvalidVolumeID.Malformed"),
        (
            vec![
                ("InstanceSpecification.ExcludeBootVolume", "true"),
                ("InstanceSpecification.ExcludeDataVolumeId.1", &volumes[1]),
                ("InstanceSpecification.ExcludeDataVolumeId.2", &volumes[2]),
            ],
            "InvalidParameterValue",
        ),
        (vec![("CopyTagsFromSource", "instance")], "InvalidParameterValue"),
    ] {
        let parameters: Vec<_> = [of].into_iter().chain(more).collect();
        assert_eq!(cloud.code("CreateSnapshots", &parameters).await, code, "{parameters:?}");
    }
    let none = [("InstanceSpecification.InstanceId", "i-0123456789abcdef0")];
    assert_eq!(cloud.code("CreateSnapshots", &none).await, "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn a_launch_takes_volumes_from_snapshots() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let mapping = |size: Option<&'static str>| {
        let mut mapping = vec![
            ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", id.as_str()),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
        ];
        mapping.extend(size.map(|size| ("BlockDeviceMapping.1.Ebs.VolumeSize", size)));
        mapping
    };
    let launch = |more: Vec<(&'static str, &str)>| {
        let mut parameters = vec![("ImageId", crate::instance::IMAGE), ("InstanceType", "t3.micro")];
        parameters.extend([("MinCount", "1"), ("MaxCount", "1")]);
        parameters.extend(more);
        parameters.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
    };
    let refused = async |more| {
        let parameters = launch(more);
        let parameters: Vec<_> = parameters.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        cloud.code("RunInstances", &parameters).await
    };
    assert_eq!(refused(mapping(Some("9"))).await, "InvalidBlockDeviceMapping");
    let pending = taken(&cloud, &volume, &[]).await;
    let mut of_pending = mapping(None);
    of_pending[1].1 = &pending;
    assert_eq!(refused(of_pending).await, "IncorrectState");
    complete(&cloud, &pending).await;
    let mut of_none = mapping(None);
    of_none[1].1 = "snap-0123456789abcdef0";
    assert_eq!(refused(of_none).await, "InvalidSnapshot.NotFound");
    let instance = cloud.launch(&mapping(None)).await.one("instancesSet/item/instanceId");
    let volumes = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    assert_eq!(volume_shown(&cloud, &volumes[1], "size").await, "10");
    cloud.settled(volume_key(&volumes[1])).await;
    let wish = crate::volume::wished(&cloud, &volumes[1]).unwrap();
    assert_eq!(wish.snapshot.map(|id| id.to_string()), Some(id.clone()));
    // While the host makes the volumes of a launch, what they start from stays.
    delete(&cloud, &id).await;
    assert!(wished(&cloud, &id).await.is_some());
    let devices = Devices::default();
    cloud.observe(&instance, InstancePhase::Running { run: 1, since: START, devices }).await;
    assert!(wished(&cloud, &id).await.is_none());
}
