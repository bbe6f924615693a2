//! Attachments: to running and stopped instances, how far they come, and what ends them.

use crate::instance::{Cloud, cloud, cloud_with};
use crate::volume::{available, described, key, made, shown};
use model::host::{Capacity, DesiredBody, Devices, InstanceDesired, InstancePhase, ObjectKey, StopCause};
use model::{InstanceId, VolumeId};
use std::sync::Arc;
use std::time::Duration;
use testkit::START;

const ATTACHMENT: &str = "attachmentSet/item";

async fn attach(cloud: &Cloud, volume: &str, instance: &str, device: &str) -> testkit::Answer {
    let parameters = [("VolumeId", volume), ("InstanceId", instance), ("Device", device)];
    cloud.ok("AttachVolume", &parameters).await
}

async fn refused(cloud: &Cloud, volume: &str, instance: &str, device: &str) -> String {
    let parameters = [("VolumeId", volume), ("InstanceId", instance), ("Device", device)];
    cloud.code("AttachVolume", &parameters).await
}

fn wish(cloud: &Cloud, instance: &str) -> Arc<InstanceDesired> {
    let key = ObjectKey::Instance(InstanceId::parse(instance).unwrap());
    match cloud.host.object(key).and_then(|desired| desired.body) {
        Some(DesiredBody::Instance(instance)) => instance,
        other => panic!("{other:?}"),
    }
}

async fn settled(cloud: &Cloud, instance: &str) -> Arc<InstanceDesired> {
    cloud.settled(ObjectKey::Instance(InstanceId::parse(instance).unwrap())).await;
    wish(cloud, instance)
}

/// The machine says what is plugged into it.
async fn plugged(cloud: &Cloud, instance: &str, run: u64, volumes: &[&str]) {
    let volumes = volumes.iter().map(|id| VolumeId::parse(id).unwrap()).collect();
    let devices = Devices { volumes, interfaces: Vec::new() };
    cloud.observe(instance, InstancePhase::Running { run, since: START, devices }).await;
}

async fn root(cloud: &Cloud, instance: &str) -> String {
    cloud.shown_all(instance, "blockDeviceMapping/item/ebs/volumeId").await.remove(0)
}

async fn state(cloud: &Cloud, volume: &str) -> (String, Vec<String>) {
    let answer = described(cloud, volume).await;
    (answer.one("volumeSet/item/status"), answer.all(&format!("volumeSet/item/{ATTACHMENT}/status")))
}

async fn stop(cloud: &Cloud, instance: &str) {
    cloud.ok("StopInstances", &[("InstanceId.1", instance)]).await;
    cloud.observe(instance, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert_eq!(cloud.state(instance).await, "stopped");
}

#[tokio::test]
async fn a_volume_is_plugged_into_a_running_instance_and_out_again() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let volume = available(&cloud, &[("AvailabilityZone", &zone)]).await;
    let root = root(&cloud, &instance).await;
    let answer = attach(&cloud, &volume, &instance, "/dev/sdf").await;
    assert_eq!(answer.one("status"), "attaching");
    assert_eq!(answer.one("deleteOnTermination"), "false");
    assert_eq!(answer.one("device"), "/dev/sdf");
    let one = |state: &str| vec![state.to_owned()];
    assert_eq!(state(&cloud, &volume).await, ("in-use".into(), one("attaching")));
    let desired = settled(&cloud, &instance).await;
    let order: Vec<String> = desired.volumes.iter().map(|v| v.volume.to_string()).collect();
    assert_eq!(order, [root.clone(), volume.clone()]);
    assert_eq!(desired.volumes[1].device, "/dev/sdf");

    plugged(&cloud, &instance, 1, &[&root]).await;
    assert_eq!(state(&cloud, &volume).await.1, one("attaching"), "the machine does not have it yet");
    plugged(&cloud, &instance, 1, &[&root, &volume]).await;
    assert_eq!(state(&cloud, &volume).await, ("in-use".into(), one("attached")));
    let mapping = "blockDeviceMapping/item";
    let all = |path: &str| format!("{mapping}/{path}");
    assert_eq!(cloud.shown_all(&instance, &all("deviceName")).await, ["/dev/xvda", "/dev/sdf"]);
    assert_eq!(cloud.shown_all(&instance, &all("ebs/status")).await, ["attached", "attached"]);
    let attached = [("Filter.1.Name", "attachment.instance-id"), ("Filter.1.Value.1", instance.as_str())];
    assert_eq!(cloud.ok("DescribeVolumes", &attached).await.all("volumeSet/item").len(), 2);
    assert_eq!(cloud.code("DeleteVolume", &[("VolumeId", &volume)]).await, "VolumeInUse");

    let answer = cloud.ok("DetachVolume", &[("VolumeId", &volume)]).await;
    assert_eq!(answer.one("status"), "detaching");
    assert_eq!(state(&cloud, &volume).await, ("in-use".into(), one("detaching")));
    assert_eq!(cloud.code("DetachVolume", &[("VolumeId", &volume)]).await, "IncorrectState");
    let desired = settled(&cloud, &instance).await;
    assert_eq!((desired.volumes.len(), desired.torn_out.len()), (1, 0));
    plugged(&cloud, &instance, 1, &[&root, &volume]).await;
    assert_eq!(state(&cloud, &volume).await.1, one("detaching"), "the guest still has it");
    plugged(&cloud, &instance, 1, &[&root]).await;
    assert_eq!(state(&cloud, &volume).await, ("available".into(), vec![]));
    assert_eq!(cloud.shown_all(&instance, &all("deviceName")).await, ["/dev/xvda"]);
    assert_eq!(cloud.code("DetachVolume", &[("VolumeId", &volume)]).await, "IncorrectState");
    attach(&cloud, &volume, &instance, "/dev/sdf").await;
}

#[tokio::test]
async fn a_guest_that_keeps_a_volume_makes_it_busy_until_it_is_torn_out() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let volume = available(&cloud, &[]).await;
    let root = root(&cloud, &instance).await;
    attach(&cloud, &volume, &instance, "/dev/sdf").await;
    plugged(&cloud, &instance, 1, &[&root, &volume]).await;
    cloud.ok("DetachVolume", &[("VolumeId", &volume)]).await;
    ec2::instance::sweep::detachments(&cloud.kit.cloud).await.unwrap();
    assert_eq!(state(&cloud, &volume).await.1, ["detaching"]);
    cloud.kit.clock.advance(Duration::from_mins(2));
    ec2::instance::sweep::detachments(&cloud.kit.cloud).await.unwrap();
    assert_eq!(state(&cloud, &volume).await.1, ["busy"]);
    assert_eq!(cloud.code("DetachVolume", &[("VolumeId", &volume)]).await, "IncorrectState");
    assert!(settled(&cloud, &instance).await.torn_out.is_empty());
    cloud.ok("DetachVolume", &[("VolumeId", &volume), ("Force", "true")]).await;
    let torn: Vec<String> =
        settled(&cloud, &instance).await.torn_out.iter().map(ToString::to_string).collect();
    assert_eq!(torn, [volume.as_str()]);
    plugged(&cloud, &instance, 1, &[&root]).await;
    assert_eq!(state(&cloud, &volume).await, ("available".into(), vec![]));
    assert!(settled(&cloud, &instance).await.torn_out.is_empty());
}

#[tokio::test]
async fn a_stopped_instance_gains_and_loses_volumes_at_once_its_root_too() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let volume = available(&cloud, &[]).await;
    let root = root(&cloud, &instance).await;
    assert_eq!(
        cloud.code("DetachVolume", &[("VolumeId", &root)]).await,
        "OperationNotPermitted",
        "the root of a running instance"
    );
    stop(&cloud, &instance).await;
    attach(&cloud, &volume, &instance, "/dev/sdf").await;
    assert_eq!(state(&cloud, &volume).await, ("in-use".into(), vec!["attached".into()]));
    cloud.ok("DetachVolume", &[("VolumeId", &root)]).await;
    assert_eq!(state(&cloud, &root).await, ("available".into(), vec![]));
    assert_eq!(cloud.code("StartInstances", &[("InstanceId.1", &instance)]).await, "InvalidParameterValue");
    attach(&cloud, &root, &instance, "/dev/xvda").await;
    cloud.ok("StartInstances", &[("InstanceId.1", &instance)]).await;
    let desired = settled(&cloud, &instance).await;
    let order: Vec<String> = desired.volumes.iter().map(|v| v.volume.to_string()).collect();
    assert_eq!(order, [root.clone(), volume.clone()], "the root is the first");
    plugged(&cloud, &instance, 2, &[&root, &volume]).await;
    assert_eq!(cloud.state(&instance).await, "running");
}

#[tokio::test]
async fn a_stop_ends_what_was_under_way() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let (coming, going) = (available(&cloud, &[]).await, available(&cloud, &[]).await);
    let root = root(&cloud, &instance).await;
    attach(&cloud, &going, &instance, "/dev/sdg").await;
    plugged(&cloud, &instance, 1, &[&root, &going]).await;
    attach(&cloud, &coming, &instance, "/dev/sdf").await;
    cloud.ok("DetachVolume", &[("VolumeId", &going), ("InstanceId", &instance)]).await;
    stop(&cloud, &instance).await;
    assert_eq!(state(&cloud, &coming).await, ("in-use".into(), vec!["attached".into()]));
    assert_eq!(state(&cloud, &going).await, ("available".into(), vec![]));
}

#[tokio::test]
async fn the_end_of_an_instance_takes_what_was_to_go_and_frees_the_rest() {
    let cloud = cloud().await;
    let mapping = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "3"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "io1"),
        ("BlockDeviceMapping.1.Ebs.Iops", "150"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.2.Ebs.VolumeSize", "4"),
        ("BlockDeviceMapping.3.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.3.Ebs.VolumeSize", "5"),
        ("BlockDeviceMapping.3.Ebs.Throughput", "250"),
        ("BlockDeviceMapping.4.DeviceName", "/dev/sdh"),
        ("BlockDeviceMapping.4.VirtualName", "ephemeral0"),
        ("TagSpecification.1.ResourceType", "volume"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "launched"),
    ];
    let small = mapping.to_vec();
    let mut launch = vec![("ImageId", crate::instance::IMAGE), ("InstanceType", "t3.micro")];
    launch.extend([("MinCount", "1"), ("MaxCount", "1")]);
    launch.extend(&small);
    assert_eq!(cloud.code("RunInstances", &launch).await, "InvalidParameterValue", "io1 begins at 4 GiB");
    let large: Vec<_> = small
        .iter()
        .map(|(name, value)| {
            (*name, if *name == "BlockDeviceMapping.1.Ebs.VolumeSize" { "4" } else { value })
        })
        .collect();
    let instance = cloud.running(&large).await;
    let named = [("Filter.1.Name", "tag:Name"), ("Filter.1.Value.1", "launched")];
    let volumes = cloud.ok("DescribeVolumes", &named).await;
    assert_eq!(volumes.all("volumeSet/item").len(), 3, "t3 types have no instance store");
    let ids = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    let devices = cloud.shown_all(&instance, "blockDeviceMapping/item/deviceName").await;
    assert_eq!(devices, ["/dev/xvda", "/dev/sdf", "/dev/sdg"]);
    assert_eq!(shown(&cloud, &ids[0], "size").await, "5");
    assert_eq!(shown(&cloud, &ids[0], "throughput").await, "250");
    assert_eq!(shown(&cloud, &ids[1], "iops").await, "150");
    let limits = crate::volume::wished(&cloud, &ids[1]).unwrap().limits.unwrap();
    assert_eq!(limits.iops.base, 150);
    let late = available(&cloud, &[]).await;
    attach(&cloud, &late, &instance, "/dev/sdh").await;
    let kept_after_all = [
        ("InstanceId", instance.as_str()),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdh"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
    ];
    cloud.ok("ModifyInstanceAttribute", &kept_after_all).await;
    let flag = format!("{ATTACHMENT}/deleteOnTermination");
    assert_eq!(shown(&cloud, &late, &flag).await, "true");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance), ("SkipOsShutdown", "true")]).await;
    cloud.gone(&instance).await;
    for (volume, state) in
        [(&ids[0], "deleting"), (&ids[1], "deleting"), (&ids[2], "available"), (&late, "deleting")]
    {
        assert_eq!(shown(&cloud, volume, "status").await, state, "{volume}");
    }
}

#[tokio::test]
async fn a_volume_on_its_way_out_outlives_its_instance() {
    let cloud = cloud().await;
    let mapping = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "4"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true"),
    ];
    let instance = cloud.running(&mapping).await;
    let volume = cloud.shown_all(&instance, "blockDeviceMapping/item/ebs/volumeId").await.remove(1);
    cloud.ok("DetachVolume", &[("VolumeId", &volume)]).await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance), ("SkipOsShutdown", "true")]).await;
    assert_eq!(state(&cloud, &volume).await, ("in-use".into(), vec!["detaching".into()]));
    cloud.gone(&instance).await;
    assert_eq!(state(&cloud, &volume).await, ("available".into(), vec![]));
}

#[tokio::test]
async fn an_attachment_that_cannot_be_is_refused_with_awss_codes() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let other = cloud.running(&[]).await;
    let pending = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let volume = available(&cloud, &[]).await;
    let new = made(&cloud, &[]).await;
    let far = available(&cloud, &[("AvailabilityZone", "us-east-1b")]).await;
    let shared = [("VolumeType", "io2"), ("Iops", "100"), ("MultiAttachEnabled", "true")];
    let shared = available(&cloud, &shared).await;
    attach(&cloud, &shared, &other, "/dev/sdf").await;
    let root = root(&cloud, &instance).await;
    for (volume, instance, device, code) in [
        (volume.as_str(), instance.as_str(), "disk1", "InvalidParameterValue"),
        (&volume, &instance, "/dev/xvda", "InvalidParameterValue"),
        (&volume, &instance, "xvda", "InvalidParameterValue"),
        (&volume, "i-0123456789abcdef0", "/dev/sdf", "InvalidInstanceID.NotFound"),
        ("vol-0123456789abcdef0", &instance, "/dev/sdf", "InvalidVolume.NotFound"),
        (&volume, &pending, "/dev/sdf", "IncorrectState"),
        (&new, &instance, "/dev/sdf", "IncorrectState"),
        (&far, &instance, "/dev/sdf", "InvalidVolume.ZoneMismatch"),
        (&root, &other, "/dev/sdf", "VolumeInUse"),
        (&shared, &other, "/dev/sdg", "VolumeInUse"),
    ] {
        assert_eq!(refused(&cloud, volume, instance, device).await, code, "{volume} {instance} {device}");
    }
    let dry =
        [("VolumeId", volume.as_str()), ("InstanceId", &instance), ("Device", "sdf"), ("DryRun", "true")];
    assert_eq!(cloud.code("AttachVolume", &dry).await, "DryRunOperation");
    assert_eq!(shown(&cloud, &volume, "status").await, "available");

    attach(&cloud, &volume, &instance, "/dev/sdf").await;
    for (more, code) in [
        (("InstanceId", other.as_str()), "InvalidAttachment.NotFound"),
        (("Device", "/dev/sdg"), "InvalidAttachment.NotFound"),
        (("InstanceId", "i-0123456789abcdef0"), "InvalidInstanceID.NotFound"),
    ] {
        assert_eq!(cloud.code("DetachVolume", &[("VolumeId", &volume), more]).await, code, "{more:?}");
    }
    cloud.settled(key(&volume)).await;
}

#[tokio::test]
async fn an_instance_takes_as_many_volumes_as_its_type_says_and_its_machine_has_slots_for() {
    let cloud = cloud_with(Capacity::UNLIMITED).await;
    // The root volume is one of them, and the network interface takes a slot.
    for (kind, most) in [("d3.8xlarge", 3), ("t3.micro", plan::machine::ROOT_PORTS - 1)] {
        let instance = cloud.running(&[("InstanceType", kind)]).await;
        for number in 1..most {
            let volume = available(&cloud, &[]).await;
            attach(&cloud, &volume, &instance, &format!("/dev/sdf{number}")).await;
        }
        let volume = available(&cloud, &[]).await;
        assert_eq!(
            refused(&cloud, &volume, &instance, "/dev/sdz").await,
            "AttachmentLimitExceeded",
            "{kind}"
        );
    }
}
