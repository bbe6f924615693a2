//! Images that accounts make: of instances, of snapshots, of other images; launched and deregistered.

use crate::instance::{Cloud, IMAGE, cloud};
use crate::snapshot::{complete, completed, is, shown as snapshot_shown, wished};
use crate::volume::available;
use model::host::{
    DesiredBody, Devices, Downtime, InstanceDesired, InstancePhase, ObjectKey, SnapshotPhase, SnapshotSource,
    StopCause,
};
use model::{InstanceId, VolumeId};
use std::sync::Arc;
use testkit::START;

pub async fn shown(cloud: &Cloud, id: &str, path: &str) -> String {
    let answer = cloud.ok("DescribeImages", &[("ImageId.1", id)]).await;
    answer.one(&format!("imagesSet/item/{path}"))
}

async fn shown_all(cloud: &Cloud, id: &str, path: &str) -> Vec<String> {
    let answer = cloud.ok("DescribeImages", &[("ImageId.1", id)]).await;
    answer.all(&format!("imagesSet/item/{path}"))
}

pub async fn snapshots(cloud: &Cloud, id: &str) -> Vec<String> {
    shown_all(cloud, id, "blockDeviceMapping/item/ebs/snapshotId").await
}

pub async fn made(cloud: &Cloud, instance: &str, name: &str, more: &[(&str, &str)]) -> String {
    let mut parameters = vec![("InstanceId", instance), ("Name", name)];
    parameters.extend(more);
    cloud.ok("CreateImage", &parameters).await.one("imageId")
}

/// Made, and the host has all of it.
pub async fn available_image(cloud: &Cloud, name: &str) -> String {
    let instance = cloud.running(&[]).await;
    let id = made(cloud, &instance, name, &[]).await;
    for snapshot in snapshots(cloud, &id).await {
        complete(cloud, &snapshot).await;
    }
    assert_eq!(shown(cloud, &id, "imageState").await, "available");
    id
}

fn wish(cloud: &Cloud, instance: &str) -> Arc<InstanceDesired> {
    match cloud.host.object(key(instance)).and_then(|desired| desired.body) {
        Some(DesiredBody::Instance(instance)) => instance,
        other => panic!("{other:?}"),
    }
}

fn key(instance: &str) -> ObjectKey {
    ObjectKey::Instance(InstanceId::parse(instance).unwrap())
}

const DATA: [(&str, &str); 4] = [
    ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
    ("BlockDeviceMapping.1.Ebs.VolumeSize", "3"),
    ("BlockDeviceMapping.2.DeviceName", "/dev/sdg"),
    ("BlockDeviceMapping.2.Ebs.VolumeSize", "4"),
];

#[tokio::test]
async fn an_image_of_an_instance_is_taken_during_a_reboot_and_launched() {
    let cloud = cloud().await;
    let instance = cloud.running(&DATA).await;
    let tagged = [
        ("Description", "the web"),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "of"),
        ("TagSpecification.1.Tag.1.Value", "image"),
        ("TagSpecification.2.ResourceType", "snapshot"),
        ("TagSpecification.2.Tag.1.Key", "of"),
        ("TagSpecification.2.Tag.1.Value", "snapshot"),
    ];
    let dry = [("InstanceId", instance.as_str()), ("Name", "web 1"), ("DryRun", "true")];
    assert_eq!(cloud.code("CreateImage", &dry).await, "DryRunOperation");
    let id = made(&cloud, &instance, "web 1", &tagged).await;
    for (path, value) in [
        ("imageState", "pending"),
        ("name", "web 1"),
        ("description", "the web"),
        ("imageOwnerId", "111111111111"),
        ("imageLocation", "111111111111/web 1"),
        ("isPublic", "false"),
        ("rootDeviceName", "/dev/xvda"),
        ("rootDeviceType", "ebs"),
        ("architecture", "x86_64"),
        ("sourceInstanceId", instance.as_str()),
        ("sourceImageId", IMAGE),
        ("sourceImageRegion", "us-east-1"),
        ("tagSet/item/value", "image"),
        ("creationDate", "2026-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(shown(&cloud, &id, path).await, value, "{path}");
    }
    let devices = shown_all(&cloud, &id, "blockDeviceMapping/item/deviceName").await;
    assert_eq!(devices, ["/dev/xvda", "/dev/sdf", "/dev/sdg"]);
    assert_eq!(shown_all(&cloud, &id, "blockDeviceMapping/item/ebs/volumeSize").await, ["1", "3", "4"]);
    let endings = shown_all(&cloud, &id, "blockDeviceMapping/item/ebs/deleteOnTermination").await;
    assert_eq!(endings, ["true", "false", "false"]);

    // All volumes at the instant of one reboot, of which the host hears after them.
    cloud.settled(key(&instance)).await;
    assert_eq!(wish(&cloud, &instance).reboots, 1);
    let all = snapshots(&cloud, &id).await;
    let during = Downtime { instance: InstanceId::parse(&instance).unwrap(), run: 1, reboot: 1 };
    for snapshot in &all {
        let SnapshotSource::Volume { during: told, together, .. } =
            wished(&cloud, snapshot).await.unwrap().source.clone()
        else {
            panic!("{snapshot} is of a volume");
        };
        assert_eq!((told, together.len()), (Some(during), 2));
    }
    let order = cloud.host.told(|told| told.order.clone());
    let reboot = order.iter().rposition(|k| *k == key(&instance)).unwrap();
    for snapshot in &all {
        let at = order.iter().position(|k| *k == crate::snapshot::key(snapshot)).unwrap();
        assert!(at < reboot, "{snapshot} comes first");
    }
    assert_eq!(snapshot_shown(&cloud, &all[0], "tagSet/item/value").await, "snapshot");
    let told = snapshot_shown(&cloud, &all[0], "description").await;
    assert_eq!(told, format!("Created by CreateImage({instance}) for {id}"));

    assert_eq!(launch_code(&cloud, &id).await, "InvalidAMIID.Unavailable");
    complete(&cloud, &all[0]).await;
    complete(&cloud, &all[2]).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "pending");
    complete(&cloud, &all[1]).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "available");

    let parameters =
        [("ImageId", id.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let copy = cloud.ok("RunInstances", &parameters).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&copy)).await;
    let wish = wish(&cloud, &copy);
    assert_eq!(wish.machine.direct_kernel.as_deref(), Some("nano"), "the kernel that the first one boots by");
    for (device, snapshot) in wish.volumes.iter().zip(&all) {
        let volume = crate::volume::wished(&cloud, &device.volume.to_string()).unwrap();
        assert_eq!(
            (volume.snapshot.map(|s| s.to_string()).as_ref(), volume.image.clone()),
            (Some(snapshot), None)
        );
    }
    assert_eq!(wish.metadata.image.to_string(), id);
}

async fn launch_code(cloud: &Cloud, image: &str) -> String {
    let parameters = [("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    cloud.code("RunInstances", &parameters).await
}

#[tokio::test]
async fn without_a_reboot_it_is_taken_at_once_and_mappings_change_it() {
    let cloud = cloud().await;
    let instance = cloud.running(&DATA).await;
    let volumes = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    let changed = [
        ("NoReboot", "true"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "9"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.2.NoDevice", ""),
        ("BlockDeviceMapping.3.DeviceName", "/dev/sdh"),
        ("BlockDeviceMapping.3.Ebs.VolumeSize", "5"),
    ];
    let id = made(&cloud, &instance, "web", &changed).await;
    assert_eq!(
        shown_all(&cloud, &id, "blockDeviceMapping/item/deviceName").await,
        ["/dev/xvda", "/dev/sdg", "/dev/sdh"]
    );
    assert_eq!(shown_all(&cloud, &id, "blockDeviceMapping/item/ebs/volumeSize").await, ["9", "4", "5"]);
    let all = snapshots(&cloud, &id).await;
    assert_eq!(all.len(), 2, "an empty one has none");
    let SnapshotSource::Volume { volume, during, together, .. } =
        wished(&cloud, &all[0]).await.unwrap().source.clone()
    else {
        panic!("of a volume");
    };
    assert_eq!((volume, during), (VolumeId::parse(&volumes[0]).unwrap(), None));
    assert_eq!(together.len(), 1);
    cloud.settled(key(&instance)).await;
    assert_eq!(wish(&cloud, &instance).reboots, 0);

    for (name, more, code) in [
        ("web", vec![], "InvalidAMIName.Duplicate"),
        ("web+1", vec![], "InvalidAMIName.Malformed"),
        ("web:2", vec![], "InvalidAMIName.Malformed"),
        (
            "web 2",
            vec![("BlockDeviceMapping.1.DeviceName", "/dev/xvda"), ("BlockDeviceMapping.1.NoDevice", "")],
            "InvalidBlockDeviceMapping",
        ),
        (
            "web 2",
            vec![
                ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
            ],
            "InvalidBlockDeviceMapping",
        ),
        (
            "web 2",
            vec![
                ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
                ("BlockDeviceMapping.1.Ebs.SnapshotId", "snap-0123456789abcdef0"),
            ],
            "InvalidSnapshot.NotFound",
        ),
        ("web 2", vec![("SnapshotLocation", "local")], "UnsupportedOperation"),
    ] {
        let parameters: Vec<_> =
            [("InstanceId", instance.as_str()), ("Name", name)].into_iter().chain(more).collect();
        assert_eq!(cloud.code("CreateImage", &parameters).await, code, "{parameters:?}");
    }
    let none = [("InstanceId", "i-0123456789abcdef0"), ("Name", "web 2")];
    assert_eq!(cloud.code("CreateImage", &none).await, "InvalidInstanceID.NotFound");
    let pending = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let of_pending = [("InstanceId", pending.as_str()), ("Name", "web 2")];
    assert_eq!(cloud.code("CreateImage", &of_pending).await, "IncorrectInstanceState");
}

#[tokio::test]
async fn a_stopped_instance_becomes_an_image_without_being_started() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &instance)]).await;
    cloud.observe(&instance, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    let id = made(&cloud, &instance, "stopped", &[]).await;
    let [snapshot] = snapshots(&cloud, &id).await.try_into().unwrap();
    let SnapshotSource::Volume { during, .. } = wished(&cloud, &snapshot).await.unwrap().source.clone()
    else {
        panic!("of a volume");
    };
    assert_eq!(during, None);
    assert_eq!(cloud.state(&instance).await, "stopped");
}

#[tokio::test]
async fn an_image_whose_snapshot_fails_has_failed() {
    let cloud = cloud().await;
    let instance = cloud.running(&DATA).await;
    let id = made(&cloud, &instance, "doomed", &[]).await;
    let all = snapshots(&cloud, &id).await;
    complete(&cloud, &all[0]).await;
    is(&cloud, &all[1], SnapshotPhase::Failed { reason: "no space left".into() }).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "failed");
    assert_eq!(shown(&cloud, &id, "stateReason/code").await, "Server.InternalError");
    complete(&cloud, &all[2]).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "failed", "for good");
    assert_eq!(launch_code(&cloud, &id).await, "InvalidAMIID.Unavailable");
    cloud.ok("DeregisterImage", &[("ImageId", &id)]).await;
}

#[tokio::test]
async fn a_registered_image_keeps_its_snapshots_and_gives_them_back() {
    let cloud = cloud().await;
    let id = available_image(&cloud, "kept").await;
    let [snapshot] = snapshots(&cloud, &id).await.try_into().unwrap();
    let delete = [("SnapshotId", snapshot.as_str())];
    assert_eq!(cloud.code("DeleteSnapshot", &delete).await, "InvalidSnapshot.InUse");
    let parameters =
        [("ImageId", id.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let instance = cloud.ok("RunInstances", &parameters).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&instance)).await;
    let before = wish(&cloud, &instance);
    let gone = [("ImageId", id.as_str()), ("DeleteAssociatedSnapshots", "true")];
    let answer = cloud.ok("DeregisterImage", &gone).await;
    assert_eq!(answer.one("return"), "true");
    assert_eq!(answer.one("deleteSnapshotResultSet/item/snapshotId"), snapshot);
    assert_eq!(answer.one("deleteSnapshotResultSet/item/returnCode"), "success");
    assert_eq!(cloud.code("DescribeImages", &[("ImageId.1", &id)]).await, "InvalidAMIID.NotFound");
    assert_eq!(launch_code(&cloud, &id).await, "InvalidAMIID.NotFound");
    assert_eq!(cloud.code("DeleteSnapshot", &delete).await, "InvalidSnapshot.NotFound");
    // The instance goes on, and what it is being made of stays until it is.
    cloud.settled(key(&instance)).await;
    assert_eq!(wish(&cloud, &instance), before, "it boots by the same kernel");
    assert!(wished(&cloud, &snapshot).await.is_some());
    let devices = Devices::default();
    cloud.observe(&instance, InstancePhase::Running { run: 1, since: START, devices }).await;
    assert!(wished(&cloud, &snapshot).await.is_none());
    available_image(&cloud, "kept").await;
}

#[tokio::test]
async fn an_image_is_registered_of_snapshots() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[("Size", "8")]).await;
    let root = completed(&cloud, &volume, &[]).await;
    let parameters = [
        ("Name", "mine"),
        ("Description", "by hand"),
        ("Architecture", "x86_64"),
        ("VirtualizationType", "hvm"),
        ("EnaSupport", "true"),
        ("BootMode", "uefi"),
        ("ImdsSupport", "v2.0"),
        ("RootDeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.2.Ebs.SnapshotId", root.as_str()),
        ("BlockDeviceMapping.2.Ebs.VolumeType", "gp3"),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "a"),
    ];
    let id = cloud.ok("RegisterImage", &parameters).await.one("imageId");
    for (path, value) in [
        ("imageState", "available"),
        ("bootMode", "uefi"),
        ("imdsSupport", "v2.0"),
        ("rootDeviceName", "/dev/sda1"),
        ("tagSet/item/key", "a"),
    ] {
        assert_eq!(shown(&cloud, &id, path).await, value, "{path}");
    }
    assert_eq!(shown_all(&cloud, &id, "blockDeviceMapping/item/deviceName").await, ["/dev/sda1", "/dev/sdb"]);
    let launched =
        [("ImageId", id.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let instance = cloud.ok("RunInstances", &launched).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&instance)).await;
    let wish = wish(&cloud, &instance);
    assert_eq!(
        (wish.machine.direct_kernel.clone(), wish.machine.firmware),
        (None, model::host::Firmware::Uefi)
    );
    let volume = crate::volume::wished(&cloud, &wish.volumes[0].volume.to_string()).unwrap();
    assert_eq!(volume.snapshot.map(|id| id.to_string()), Some(root.clone()));

    let mapping = |device: &'static str| {
        [("BlockDeviceMapping.1.DeviceName", device), ("BlockDeviceMapping.1.Ebs.SnapshotId", root.as_str())]
    };
    for (name, more, code) in [
        ("mine", mapping("/dev/sda1").to_vec(), "InvalidAMIName.Duplicate"),
        ("no!", mapping("/dev/sda1").to_vec(), "InvalidAMIName.Malformed"),
        ("other", vec![], "MissingParameter"),
        ("other", mapping("/dev/sdb").to_vec(), "InvalidBlockDeviceMapping"),
        (
            "other",
            vec![
                ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "8"),
            ],
            "InvalidBlockDeviceMapping",
        ),
        ("other", [&mapping("/dev/sda1")[..], &[("Architecture", "vax")]].concat(), "InvalidParameterValue"),
        ("other", [&mapping("/dev/sda1")[..], &[("Architecture", "i386")]].concat(), "UnsupportedOperation"),
        ("other", [&mapping("/dev/sda1")[..], &[("BootMode", "tape")]].concat(), "InvalidParameterValue"),
        (
            "other",
            [&mapping("/dev/sda1")[..], &[("VirtualizationType", "paravirtual")]].concat(),
            "UnsupportedOperation",
        ),
        ("other", [&mapping("/dev/sda1")[..], &[("KernelId", "aki-1")]].concat(), "UnsupportedOperation"),
        ("other", vec![("ImageLocation", "bucket/manifest.xml")], "UnsupportedOperation"),
    ] {
        let parameters: Vec<_> = [("Name", name)].into_iter().chain(more).collect();
        assert_eq!(cloud.code("RegisterImage", &parameters).await, code, "{parameters:?}");
    }
}

#[tokio::test]
async fn a_system_without_a_boot_loader_keeps_its_kernel_through_snapshots() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let root = cloud.shown(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    let first = completed(&cloud, &root, &[]).await;
    let of_first = [("AvailabilityZone", crate::volume::ZONE), ("SnapshotId", first.as_str())];
    let volume = cloud.ok("CreateVolume", &of_first).await.one("volumeId");
    crate::volume::applied(&cloud, &volume).await;
    let second = completed(&cloud, &volume, &[]).await;
    let parameters = [
        ("Name", "again"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", second.as_str()),
    ];
    let id = cloud.ok("RegisterImage", &parameters).await.one("imageId");
    let launched =
        [("ImageId", id.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let copy = cloud.ok("RunInstances", &launched).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&copy)).await;
    assert_eq!(wish(&cloud, &copy).machine.direct_kernel.as_deref(), Some("nano"));
}

#[tokio::test]
async fn an_image_is_copied_with_its_snapshots() {
    let cloud = cloud().await;
    let source = available_image(&cloud, "original").await;
    let [snapshot] = snapshots(&cloud, &source).await.try_into().unwrap();
    cloud.ok("CreateTags", &[("ResourceId.1", &source), ("Tag.1.Key", "a"), ("Tag.1.Value", "1")]).await;
    let parameters = [
        ("SourceRegion", "us-east-1"),
        ("SourceImageId", source.as_str()),
        ("Name", "copy"),
        ("CopyImageTags", "true"),
    ];
    let id = cloud.ok("CopyImage", &parameters).await.one("imageId");
    assert_eq!(shown(&cloud, &id, "imageState").await, "pending");
    assert_eq!(shown(&cloud, &id, "sourceImageId").await, source);
    assert_eq!(shown(&cloud, &id, "tagSet/item/key").await, "a");
    assert_eq!(shown(&cloud, &id, "description").await, format!("[Copied {source} from us-east-1] original"));
    let [copy] = snapshots(&cloud, &id).await.try_into().unwrap();
    assert_ne!(copy, snapshot);
    let wish = wished(&cloud, &copy).await.unwrap();
    assert_eq!(wish.source, SnapshotSource::Copy(model::SnapshotId::parse(&snapshot).unwrap()));
    complete(&cloud, &copy).await;
    assert_eq!(shown(&cloud, &id, "imageState").await, "available");
    assert_eq!(cloud.code("CopyImage", &parameters).await, "InvalidAMIName.Duplicate");
    let stock = [("SourceRegion", "us-east-1"), ("SourceImageId", IMAGE), ("Name", "nano of mine")];
    let own = cloud.ok("CopyImage", &stock).await.one("imageId");
    assert_eq!(shown(&cloud, &own, "imageState").await, "available");
    assert_eq!(shown(&cloud, &own, "imageOwnerId").await, "111111111111");
    let launched =
        [("ImageId", own.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    let instance = cloud.ok("RunInstances", &launched).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&instance)).await;
    assert_eq!(self::wish(&cloud, &instance).machine.direct_kernel.as_deref(), Some("nano"));
    cloud.ok("DeregisterImage", &[("ImageId", &own)]).await;
    for (name, value, code) in [
        ("SourceImageId", "ami-0123456789abcdef0", "InvalidAMIID.NotFound"),
        ("SourceImageId", "ami-1", "InvalidAMIID.Malformed"),
        ("SourceRegion", "mars-1", "InvalidParameterValue"),
        ("KmsKeyId", "alias/aws/ebs", "InvalidParameterDependency"),
    ] {
        let mut parameters =
            vec![("SourceRegion", "us-east-1"), ("SourceImageId", source.as_str()), ("Name", "third")];
        parameters.retain(|(given, _)| *given != name);
        parameters.push((name, value));
        assert_eq!(cloud.code("CopyImage", &parameters).await, code, "{parameters:?}");
    }
    let filter = [("Filter.1.Name", "source-image-id"), ("Filter.1.Value.1", source.as_str())];
    let found = cloud.ok("DescribeImages", &filter).await;
    assert_eq!(found.all("imagesSet/item/imageId"), [id.as_str()]);
}
