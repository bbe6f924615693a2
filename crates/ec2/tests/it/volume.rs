//! Volumes by themselves: made, described, deleted, refused.

use crate::instance::{Cloud, cloud};
use model::host::{DesiredBody, ObjectKey, ObservedBody, VolumeDesired};
use model::{GiB, VolumeId};
use std::sync::Arc;
use std::time::Duration;
use testkit::{Answer, BOB};

pub const ZONE: &str = "us-east-1a";

pub fn key(id: &str) -> ObjectKey {
    ObjectKey::Volume(VolumeId::parse(id).unwrap())
}

/// The host is told of the volume as it now is, and says that it is so.
pub async fn applied(cloud: &Cloud, id: &str) {
    cloud.observe_object(key(id), ObservedBody::Applied).await;
}

pub async fn made(cloud: &Cloud, more: &[(&str, &str)]) -> String {
    let mut parameters = vec![("AvailabilityZone", ZONE)];
    if !more.iter().any(|(name, _)| *name == "Size") {
        parameters.push(("Size", "10"));
    }
    parameters.extend(more.iter().filter(|(name, _)| *name != "AvailabilityZone"));
    if let Some(zone) = more.iter().find(|(name, _)| *name == "AvailabilityZone") {
        parameters[0] = *zone;
    }
    cloud.ok("CreateVolume", &parameters).await.one("volumeId")
}

/// Made, and its host has said so.
pub async fn available(cloud: &Cloud, more: &[(&str, &str)]) -> String {
    let id = made(cloud, more).await;
    applied(cloud, &id).await;
    assert_eq!(shown(cloud, &id, "status").await, "available");
    id
}

pub async fn described(cloud: &Cloud, id: &str) -> Answer {
    cloud.ok("DescribeVolumes", &[("VolumeId.1", id)]).await
}

pub async fn shown(cloud: &Cloud, id: &str, path: &str) -> String {
    described(cloud, id).await.one(&format!("volumeSet/item/{path}"))
}

pub fn wished(cloud: &Cloud, id: &str) -> Option<Arc<VolumeDesired>> {
    match cloud.host.object(key(id))?.body? {
        DesiredBody::Volume(volume) => Some(volume),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_volume_is_made_used_by_nobody_and_deleted() {
    let cloud = cloud().await;
    let tags = [
        ("VolumeType", "gp3"),
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "data"),
    ];
    let mut parameters = vec![("AvailabilityZone", ZONE), ("Size", "10")];
    parameters.extend(tags);
    let answer = cloud.ok("CreateVolume", &parameters).await;
    let id = answer.one("volumeId");
    for (path, value) in [
        ("status", "creating"),
        ("size", "10"),
        ("volumeType", "gp3"),
        ("iops", "3000"),
        ("throughput", "125"),
        ("availabilityZone", ZONE),
        ("encrypted", "false"),
        ("multiAttachEnabled", "false"),
        ("snapshotId", ""),
        ("tagSet/item/key", "Name"),
    ] {
        assert_eq!(answer.one(path), value, "{path}");
    }
    assert_eq!(shown(&cloud, &id, "status").await, "creating");
    assert_eq!(cloud.code("DeleteVolume", &[("VolumeId", &id)]).await, "IncorrectState");
    applied(&cloud, &id).await;
    let wish = wished(&cloud, &id).unwrap();
    assert_eq!((wish.size, wish.image.clone()), (GiB(10), None));
    assert_eq!(wish.limits.unwrap().iops.base, 3000);
    assert_eq!(shown(&cloud, &id, "status").await, "available");

    assert_eq!(cloud.code("DeleteVolume", &[("VolumeId", &id), ("DryRun", "true")]).await, "DryRunOperation");
    assert_eq!(shown(&cloud, &id, "status").await, "available");
    cloud.ok("DeleteVolume", &[("VolumeId", &id)]).await;
    assert_eq!(shown(&cloud, &id, "status").await, "deleting");
    assert_eq!(cloud.code("DeleteVolume", &[("VolumeId", &id)]).await, "IncorrectState");
    cloud.settled(key(&id)).await;
    assert!(wished(&cloud, &id).is_none(), "the host is to remove it");
    cloud.volume_gone(&id).await;
    assert_eq!(cloud.code("DescribeVolumes", &[("VolumeId.1", &id)]).await, "InvalidVolume.NotFound");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_awss_codes_and_leaves_no_trace() {
    let cloud = cloud().await;
    for (changed, code) in [
        (vec![("AvailabilityZone", "")], "MissingParameter"),
        (vec![("AvailabilityZone", "us-east-1z")], "InvalidZone.NotFound"),
        (vec![("AvailabilityZone", ""), ("AvailabilityZoneId", "use1-az9")], "InvalidZone.NotFound"),
        (vec![("AvailabilityZoneId", "use1-az1")], "InvalidParameterCombination"),
        (vec![("VolumeType", "gp9")], "UnknownVolumeType"),
        (vec![("Size", "0")], "InvalidParameterValue"),
        (vec![("Size", "16385")], "InvalidParameterValue"),
        (vec![("VolumeType", "st1")], "InvalidParameterValue"),
        (vec![("Iops", "100")], "InvalidParameterCombination"),
        (vec![("Throughput", "125")], "InvalidParameterCombination"),
        (vec![("VolumeType", "io1")], "MissingParameter"),
        (vec![("VolumeType", "io1"), ("Iops", "501")], "InvalidParameterValue"),
        (vec![("VolumeType", "io2"), ("Iops", "99")], "InvalidParameterValue"),
        (vec![("VolumeType", "gp3"), ("Iops", "5001")], "InvalidParameterValue"),
        (vec![("VolumeType", "gp3"), ("Throughput", "751")], "InvalidParameterValue"),
        (vec![("MultiAttachEnabled", "true")], "InvalidParameterCombination"),
        (vec![("Encrypted", "true"), ("KmsKeyId", "alias/none")], "InvalidKmsKey.NotFound"),
        (vec![("KmsKeyId", "alias/aws/ebs")], "InvalidParameterDependency"),
        (vec![("OutpostArn", "arn:aws:outposts:us-east-1:1:outpost/op-1")], "UnsupportedOperation"),
        (vec![("SnapshotId", "snap-1")], "InvalidSnapshotID.Malformed"),
        (vec![("SnapshotId", "snap-0123456789abcdef0")], "InvalidSnapshot.NotFound"),
        (
            vec![("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "a")],
            "InvalidParameterValue",
        ),
        (vec![("DryRun", "true")], "DryRunOperation"),
    ] {
        let mut parameters: Vec<(&str, &str)> = vec![("AvailabilityZone", ZONE), ("Size", "10")];
        for (name, value) in &changed {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        assert_eq!(cloud.code("CreateVolume", &parameters).await, code, "{changed:?}");
    }
    assert_eq!(cloud.code("CreateVolume", &[("AvailabilityZone", ZONE)]).await, "MissingParameter");
    assert!(cloud.ok("DescribeVolumes", &[]).await.all("volumeSet/item").is_empty());
}

#[tokio::test]
async fn a_zone_may_be_named_by_its_id() {
    let cloud = cloud().await;
    let answer = cloud.ok("CreateVolume", &[("AvailabilityZoneId", "use1-az2"), ("Size", "1")]).await;
    assert_eq!(answer.one("availabilityZoneId"), "use1-az2");
    assert_eq!(answer.one("volumeType"), "gp2", "the type that nobody named");
    assert_eq!(answer.one("iops"), "100");
    assert!(answer.all("throughput").is_empty());
}

#[tokio::test]
async fn a_token_makes_one_volume() {
    let cloud = cloud().await;
    let first = made(&cloud, &[("ClientToken", "t-1")]).await;
    assert_eq!(made(&cloud, &[("ClientToken", "t-1")]).await, first);
    let other = [("AvailabilityZone", ZONE), ("Size", "11"), ("ClientToken", "t-1")];
    assert_eq!(cloud.code("CreateVolume", &other).await, "IdempotentParameterMismatch");
}

#[tokio::test]
async fn volumes_are_found_by_what_they_are() {
    let cloud = cloud().await;
    let plain = available(&cloud, &[]).await;
    let fast =
        available(&cloud, &[("VolumeType", "io2"), ("Iops", "400"), ("MultiAttachEnabled", "true")]).await;
    let there = made(&cloud, &[("AvailabilityZone", "us-east-1b"), ("Size", "7")]).await;
    for (name, value, expected) in [
        ("volume-type", "io2", vec![&fast]),
        ("volume-type", "gp?", vec![&plain, &there]),
        ("multi-attach-enabled", "true", vec![&fast]),
        ("size", "7", vec![&there]),
        ("status", "creating", vec![&there]),
        ("status", "available", vec![&plain, &fast]),
        ("availability-zone", "us-east-1b", vec![&there]),
        ("volume-id", plain.as_str(), vec![&plain]),
        ("encrypted", "true", vec![]),
        ("attachment.status", "attached", vec![]),
        ("attachment.instance-id", "i-0123456789abcdef0", vec![]),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let mut found = cloud.ok("DescribeVolumes", &filter).await.all("volumeSet/item/volumeId");
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{name}={value}");
    }
    let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(cloud.code("DescribeVolumes", &unknown).await, "InvalidParameterValue");
    let foreign = cloud.kit.call_as(BOB, "ec2", "DescribeVolumes", &[("VolumeId.1", &plain)]).await;
    assert_eq!(foreign.unwrap_err().code(), "InvalidVolume.NotFound");
    assert_eq!(cloud.code("DescribeVolumes", &[("VolumeId.1", "vol-1")]).await, "InvalidVolumeID.Malformed");
}

#[tokio::test]
async fn pages_cover_all_volumes() {
    let cloud = cloud().await;
    for _ in 0..7 {
        made(&cloud, &[]).await;
    }
    let first = cloud.ok("DescribeVolumes", &[("MaxResults", "5")]).await;
    assert_eq!(first.all("volumeSet/item").len(), 5);
    let rest = [("MaxResults", "5"), ("NextToken", &first.one("nextToken"))];
    let rest = cloud.ok("DescribeVolumes", &rest).await;
    assert_eq!(rest.all("volumeSet/item").len(), 2);
    assert!(rest.all("nextToken").is_empty());
}

#[tokio::test]
async fn a_volume_that_its_host_cannot_make_fails_in_the_end_and_may_still_come() {
    let cloud = cloud().await;
    let id = made(&cloud, &[]).await;
    let failing = || ObservedBody::Failing { reason: "no space left".into() };
    cloud.observe_object(key(&id), failing()).await;
    assert_eq!(shown(&cloud, &id, "status").await, "creating", "it is tried again");
    cloud.kit.clock.advance(Duration::from_mins(6));
    cloud.observe_object(key(&id), failing()).await;
    assert_eq!(shown(&cloud, &id, "status").await, "error");
    let status = cloud.ok("DescribeVolumeStatus", &[("VolumeId.1", &id)]).await;
    assert_eq!(status.one("volumeStatusSet/item/volumeStatus/status"), "impaired");
    applied(&cloud, &id).await;
    assert_eq!(shown(&cloud, &id, "status").await, "available");
}

#[tokio::test]
async fn status_and_attributes_are_told() {
    let cloud = cloud().await;
    let id = available(&cloud, &[]).await;
    let new = made(&cloud, &[]).await;
    let status = cloud.ok("DescribeVolumeStatus", &[("VolumeId.1", &id)]).await;
    let item = "volumeStatusSet/item";
    assert_eq!(status.one(&format!("{item}/volumeStatus/status")), "ok");
    assert_eq!(status.all(&format!("{item}/volumeStatus/details/item/status")), ["passed", "not-applicable"]);
    let bad = [("Filter.1.Name", "volume-status.status"), ("Filter.1.Value.1", "insufficient-data")];
    let bad = cloud.ok("DescribeVolumeStatus", &bad).await;
    assert_eq!(bad.all(&format!("{item}/volumeId")), [new.as_str()]);

    let auto = [("VolumeId", id.as_str()), ("Attribute", "autoEnableIO")];
    let path = "autoEnableIO/value";
    assert_eq!(cloud.ok("DescribeVolumeAttribute", &auto).await.one(path), "false");
    cloud.ok("ModifyVolumeAttribute", &[("VolumeId", &id), ("AutoEnableIO.Value", "true")]).await;
    assert_eq!(cloud.ok("DescribeVolumeAttribute", &auto).await.one(path), "true");
    let codes = [("VolumeId", id.as_str()), ("Attribute", "productCodes")];
    assert!(cloud.ok("DescribeVolumeAttribute", &codes).await.all("productCodes/item").is_empty());
    let none = [("VolumeId", id.as_str()), ("Attribute", "colour")];
    assert_eq!(cloud.code("DescribeVolumeAttribute", &none).await, "InvalidParameterValue");
    assert_eq!(cloud.code("ModifyVolumeAttribute", &[("VolumeId", &id)]).await, "MissingParameter");
    cloud.ok("EnableVolumeIO", &[("VolumeId", &id)]).await;
    assert_eq!(cloud.code("EnableVolumeIO", &[("VolumeId", &new)]).await, "IncorrectState");
}
