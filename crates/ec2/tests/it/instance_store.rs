//! Instance stores: which disks a run has, and what becomes of them.

use crate::instance::{Cloud, cloud};
use model::host::{
    DesiredBody, InstanceDesired, InstancePhase, Medium, ObjectKey, ObservedBody, StopCause, VolumeDesired,
};
use model::record::store_disk::StoreDisk;
use model::{DataKey, GiB, InstanceId, VolumeId};
use std::sync::Arc;

fn key(instance: &str) -> ObjectKey {
    ObjectKey::Instance(InstanceId::parse(instance).unwrap())
}

async fn wish(cloud: &Cloud, instance: &str) -> Arc<InstanceDesired> {
    cloud.settled(key(instance)).await;
    match cloud.host.object(key(instance)).and_then(|desired| desired.body) {
        Some(DesiredBody::Instance(instance)) => instance,
        other => panic!("{other:?}"),
    }
}

/// The disks of its store, each with its name and number.
async fn disks(cloud: &Cloud, instance: &str) -> Vec<(VolumeId, String, u8)> {
    let wish = wish(cloud, instance).await;
    let disks = wish.volumes.iter().filter_map(|attached| match attached.medium {
        Medium::Volume => None,
        Medium::InstanceStore(number) => Some((attached.volume, attached.device.clone(), number)),
    });
    disks.collect()
}

fn held(cloud: &Cloud, disk: VolumeId) -> Option<Arc<VolumeDesired>> {
    match cloud.host.object(ObjectKey::Volume(disk))?.body? {
        DesiredBody::Volume(volume) => Some(volume),
        other => panic!("{other:?}"),
    }
}

fn size(cloud: &Cloud, disk: VolumeId) -> Option<GiB> {
    held(cloud, disk).map(|volume| volume.size)
}

fn key_of(cloud: &Cloud, disk: VolumeId) -> Option<DataKey> {
    held(cloud, disk)?.data_key.clone()
}

fn kept(cloud: &Cloud) -> usize {
    let tables = cloud.kit.cloud.view.read();
    tables.everywhere::<StoreDisk>().count()
}

#[tokio::test]
async fn nvme_disks_come_with_each_run_and_go_with_it() {
    let cloud = cloud().await;
    let mapping = [
        ("InstanceType", "m5d.2xlarge"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.VirtualName", "ephemeral0"),
    ];
    let instance = cloud.launch(&mapping).await.one("instancesSet/item/instanceId");
    let first = disks(&cloud, &instance).await;
    let [(disk, name, 0)] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((name.as_str(), size(&cloud, *disk)), ("", Some(GiB(280))), "300 GB; NVMe disks have no name");
    let first_key = key_of(&cloud, *disk).expect("NVMe disks are encrypted");
    let devices = cloud.shown_all(&instance, "blockDeviceMapping/item/deviceName").await;
    assert_eq!(devices, ["/dev/xvda"], "they are no volumes");
    let named = disk.to_string();
    assert_eq!(cloud.code("DescribeVolumes", &[("VolumeId.1", &named)]).await, "InvalidVolume.NotFound");
    assert_eq!(cloud.code("CreateSnapshot", &[("VolumeId", &named)]).await, "InvalidVolume.NotFound");

    let running =
        |run| InstancePhase::Running { run, since: testkit::START, devices: model::host::Devices::default() };
    cloud.observe(&instance, running(1)).await;
    cloud.ok("RebootInstances", &[("InstanceId.1", &instance)]).await;
    assert_eq!(disks(&cloud, &instance).await, first, "a reboot keeps them");
    cloud.ok("StopInstances", &[("InstanceId.1", &instance)]).await;
    assert_eq!(disks(&cloud, &instance).await, first, "the guest may still write to them");
    cloud.observe(&instance, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert!(disks(&cloud, &instance).await.is_empty());
    cloud.settled(ObjectKey::Volume(*disk)).await;
    assert_eq!(size(&cloud, *disk), None, "the host is to remove it");
    assert_eq!(kept(&cloud), 1, "and has not yet");
    let is_sealed =
        cloud.kit.cloud.view.read().everywhere::<StoreDisk>().any(|(_, disk)| disk.sealed.is_some());
    assert!(!is_sealed, "its key is destroyed at once");
    cloud.observe_object(ObjectKey::Volume(*disk), ObservedBody::Removed).await;
    assert_eq!(kept(&cloud), 0);

    cloud.ok("StartInstances", &[("InstanceId.1", &instance)]).await;
    let second = disks(&cloud, &instance).await;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].0, *disk, "an empty one");
    assert_ne!(key_of(&cloud, second[0].0), Some(first_key), "with a key of its own");
    cloud.observe(&instance, running(2)).await;
    cloud.observe(&instance, InstancePhase::Stopped { run: 2, cause: StopCause::GuestShutdown }).await;
    cloud.observe_object(ObjectKey::Volume(second[0].0), ObservedBody::Removed).await;
    let smaller = [("InstanceId", instance.as_str()), ("InstanceType.Value", "m5.large")];
    cloud.ok("ModifyInstanceAttribute", &smaller).await;
    cloud.ok("StartInstances", &[("InstanceId.1", &instance)]).await;
    assert!(disks(&cloud, &instance).await.is_empty(), "the type has none");
}

#[tokio::test]
async fn other_disks_come_if_they_are_mapped_and_end_with_their_instance() {
    let cloud = cloud().await;
    let plain = cloud.running(&[("InstanceType", "d2.xlarge")]).await;
    assert!(disks(&cloud, &plain).await.is_empty());
    let mapping = [
        ("InstanceType", "d2.xlarge"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.VirtualName", "ephemeral1"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdc"),
        ("BlockDeviceMapping.2.VirtualName", "ephemeral9"),
    ];
    let instance = cloud.running(&mapping).await;
    let given = disks(&cloud, &instance).await;
    let [(disk, name, 1)] = given.as_slice() else { panic!("{given:?}") };
    assert_eq!(name, "/dev/sdb");
    assert!(key_of(&cloud, *disk).is_none(), "d2's disks are not encrypted");
    let volume = crate::volume::available(&cloud, &[]).await;
    let attach = [("VolumeId", volume.as_str()), ("InstanceId", &instance), ("Device", "sdb")];
    assert_eq!(cloud.code("AttachVolume", &attach).await, "InvalidParameterValue", "the name is taken");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance), ("SkipOsShutdown", "true")]).await;
    cloud.gone(&instance).await;
    cloud.observe_object(ObjectKey::Volume(*disk), ObservedBody::Removed).await;
    assert_eq!(kept(&cloud), 0);
}

#[tokio::test]
async fn a_mapping_is_passed_over_where_there_is_no_store_and_names_are_checked() {
    let cloud = cloud().await;
    let mapping = [
        ("InstanceType", "m5.large"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.VirtualName", "ephemeral0"),
    ];
    let instance = cloud.running(&mapping).await;
    assert!(disks(&cloud, &instance).await.is_empty());
    let wrong = [
        ("ImageId", crate::instance::IMAGE),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.1.VirtualName", "ephemeral24"),
    ];
    assert_eq!(cloud.code("RunInstances", &wrong).await, "InvalidBlockDeviceMapping");
}
