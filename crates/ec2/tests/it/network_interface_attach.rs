//! Attachments of interfaces: at a launch, to running and stopped instances, how far they come, and what ends them.

use crate::instance::{Cloud, IMAGE, cloud};
use model::host::{DesiredBody, Devices, InstanceDesired, InstancePhase, ObjectKey, Rate, StopCause};
use model::{InstanceId, NetworkInterfaceId};
use std::sync::Arc;
use testkit::START;

pub async fn default_subnet(cloud: &Cloud, zone: &str) -> String {
    let filter = [("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", zone)];
    cloud.ok("DescribeSubnets", &filter).await.one("subnetSet/item/subnetId")
}

/// An interface in the default subnet of a zone.
pub async fn made(cloud: &Cloud, zone: &str, more: &[(&str, &str)]) -> String {
    let subnet = default_subnet(cloud, zone).await;
    let mut parameters = vec![("SubnetId", subnet.as_str())];
    parameters.extend(more);
    cloud.ok("CreateNetworkInterface", &parameters).await.one("networkInterface/networkInterfaceId")
}

pub async fn attach(cloud: &Cloud, interface: &str, instance: &str, index: &str) -> String {
    let parameters = [("NetworkInterfaceId", interface), ("InstanceId", instance), ("DeviceIndex", index)];
    cloud.ok("AttachNetworkInterface", &parameters).await.one("attachmentId")
}

async fn refused(cloud: &Cloud, interface: &str, instance: &str, index: &str) -> String {
    let parameters = [("NetworkInterfaceId", interface), ("InstanceId", instance), ("DeviceIndex", index)];
    cloud.code("AttachNetworkInterface", &parameters).await
}

pub async fn settled(cloud: &Cloud, instance: &str) -> Arc<InstanceDesired> {
    let key = ObjectKey::Instance(InstanceId::parse(instance).unwrap());
    cloud.settled(key).await;
    match cloud.host.object(key).and_then(|desired| desired.body) {
        Some(DesiredBody::Instance(instance)) => instance,
        other => panic!("{other:?}"),
    }
}

fn ids(wish: &InstanceDesired) -> Vec<String> {
    wish.interfaces.iter().map(|i| i.interface.to_string()).collect()
}

/// The machine says which interfaces it has.
async fn wired(cloud: &Cloud, instance: &str, run: u64, interfaces: &[&str]) {
    let interfaces = interfaces.iter().map(|id| NetworkInterfaceId::parse(id).unwrap()).collect();
    let devices = Devices { volumes: Vec::new(), interfaces };
    cloud.observe(instance, InstancePhase::Running { run, since: START, devices }).await;
}

async fn state(cloud: &Cloud, interface: &str) -> (String, Vec<String>) {
    let answer = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await;
    (answer.one("networkInterfaceSet/item/status"), answer.all("networkInterfaceSet/item/attachment/status"))
}

async fn primary(cloud: &Cloud, instance: &str) -> String {
    cloud.shown_all(instance, "networkInterfaceSet/item/networkInterfaceId").await.remove(0)
}

async fn stop(cloud: &Cloud, instance: &str, run: u64) {
    cloud.ok("StopInstances", &[("InstanceId.1", instance)]).await;
    cloud.observe(instance, InstancePhase::Stopped { run, cause: StopCause::Requested }).await;
    assert_eq!(cloud.state(instance).await, "stopped");
}

fn one(state: &str) -> Vec<String> {
    vec![state.to_owned()]
}

#[tokio::test]
async fn an_interface_is_plugged_into_a_running_instance_and_out_again() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let first = primary(&cloud, &instance).await;
    let second = made(&cloud, &zone, &[]).await;
    let attachment = attach(&cloud, &second, &instance, "1").await;
    assert!(attachment.starts_with("eni-attach-"), "{attachment}");
    assert_eq!(state(&cloud, &second).await, ("in-use".into(), one("attaching")));
    let wish = settled(&cloud, &instance).await;
    assert_eq!(ids(&wish), [first.clone(), second.clone()]);
    assert_eq!(wish.interfaces[1].device_index, 1);

    wired(&cloud, &instance, 1, &[&first]).await;
    assert_eq!(state(&cloud, &second).await.1, one("attaching"), "the machine does not have it yet");
    wired(&cloud, &instance, 1, &[&first, &second]).await;
    assert_eq!(state(&cloud, &second).await.1, one("attached"));
    let shown = cloud.shown_all(&instance, "networkInterfaceSet/item/attachment/status").await;
    assert_eq!(shown, ["attached", "attached"]);
    assert_eq!(
        cloud.shown_all(&instance, "networkInterfaceSet/item/attachment/deviceIndex").await,
        ["0", "1"]
    );
    for filter in [("attachment.status", "attached"), ("attachment.attachment-id", attachment.as_str())] {
        let filters = [("Filter.1.Name", filter.0), ("Filter.1.Value.1", filter.1)];
        let found = cloud.ok("DescribeNetworkInterfaces", &filters).await;
        assert!(found.all("networkInterfaceSet/item/networkInterfaceId").contains(&second), "{filter:?}");
    }
    assert_eq!(
        cloud.code("DeleteNetworkInterface", &[("NetworkInterfaceId", &second)]).await,
        "InvalidParameterValue"
    );

    cloud.ok("DetachNetworkInterface", &[("AttachmentId", &attachment)]).await;
    assert_eq!(state(&cloud, &second).await, ("in-use".into(), one("detaching")));
    assert_eq!(
        cloud.code("DetachNetworkInterface", &[("AttachmentId", &attachment)]).await,
        "IncorrectState"
    );
    let wish = settled(&cloud, &instance).await;
    assert_eq!((ids(&wish), wish.cut_off.len()), (vec![first.clone()], 0));
    wired(&cloud, &instance, 1, &[&first, &second]).await;
    assert_eq!(state(&cloud, &second).await.1, one("detaching"), "the guest still has it");
    wired(&cloud, &instance, 1, &[&first]).await;
    assert_eq!(state(&cloud, &second).await, ("available".into(), vec![]));
    assert_eq!(
        cloud.code("DetachNetworkInterface", &[("AttachmentId", &attachment)]).await,
        "InvalidAttachmentID.NotFound"
    );
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &second)]).await;
}

#[tokio::test]
async fn a_forced_detachment_cuts_off_and_the_primary_interface_stays() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let first = primary(&cloud, &instance).await;
    let own = cloud.shown(&instance, "networkInterfaceSet/item/attachment/attachmentId").await;
    assert_eq!(
        cloud.code("DetachNetworkInterface", &[("AttachmentId", &own), ("Force", "true")]).await,
        "OperationNotPermitted"
    );
    let second = made(&cloud, &zone, &[]).await;
    let attachment = attach(&cloud, &second, &instance, "1").await;
    wired(&cloud, &instance, 1, &[&first, &second]).await;
    cloud.ok("DetachNetworkInterface", &[("AttachmentId", &attachment)]).await;
    cloud.ok("DetachNetworkInterface", &[("AttachmentId", &attachment), ("Force", "true")]).await;
    let wish = settled(&cloud, &instance).await;
    assert_eq!(wish.cut_off.iter().map(ToString::to_string).collect::<Vec<_>>(), [second.as_str()]);
    wired(&cloud, &instance, 1, &[&first]).await;
    assert_eq!(state(&cloud, &second).await, ("available".into(), vec![]));
    assert!(settled(&cloud, &instance).await.cut_off.is_empty());
}

#[tokio::test]
async fn a_stopped_instance_gains_and_loses_interfaces_at_once() {
    let cloud = cloud().await;
    let instance = cloud.running(&[("InstanceType", "t3.medium")]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let first = primary(&cloud, &instance).await;
    let (second, third) = (made(&cloud, &zone, &[]).await, made(&cloud, &zone, &[]).await);
    let leaving = attach(&cloud, &second, &instance, "1").await;
    stop(&cloud, &instance, 1).await;
    assert_eq!(state(&cloud, &second).await.1, one("attached"), "the stop ended what was under way");
    attach(&cloud, &third, &instance, "5").await;
    assert_eq!(state(&cloud, &third).await.1, one("attached"));
    cloud.ok("DetachNetworkInterface", &[("AttachmentId", &leaving)]).await;
    assert_eq!(state(&cloud, &second).await, ("available".into(), vec![]));
    attach(&cloud, &second, &instance, "3").await;
    cloud.ok("StartInstances", &[("InstanceId.1", &instance)]).await;
    let wish = settled(&cloud, &instance).await;
    assert_eq!(ids(&wish), [first, second, third], "in the order of their device indexes");
    assert_eq!(wish.interfaces.iter().map(|i| i.device_index).collect::<Vec<_>>(), [0, 3, 5]);
    let publics: Vec<_> = wish.interfaces.iter().filter(|i| i.addresses[0].public.is_some()).collect();
    assert!(publics.is_empty(), "with several interfaces there is no automatic public address");
}

#[tokio::test]
async fn what_an_interface_says_happens_to_it_when_its_instance_ends() {
    let cloud = cloud().await;
    let instance = cloud.running(&[("InstanceType", "t3.medium")]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let (kept, gone) = (made(&cloud, &zone, &[]).await, made(&cloud, &zone, &[]).await);
    attach(&cloud, &kept, &instance, "1").await;
    let attachment = attach(&cloud, &gone, &instance, "2").await;
    let delete = [
        ("NetworkInterfaceId", gone.as_str()),
        ("Attachment.AttachmentId", attachment.as_str()),
        ("Attachment.DeleteOnTermination", "true"),
    ];
    cloud.ok("ModifyNetworkInterfaceAttribute", &delete).await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance), ("SkipOsShutdown", "true")]).await;
    cloud.gone(&instance).await;
    assert_eq!(state(&cloud, &kept).await, ("available".into(), vec![]));
    assert_eq!(
        cloud.code("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &gone)]).await,
        "InvalidNetworkInterfaceID.NotFound"
    );
}

#[tokio::test]
async fn an_attachment_that_cannot_be_is_refused_with_awss_codes() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let zone = cloud.shown(&instance, "placement/availabilityZone").await;
    let elsewhere = if zone == "us-east-1a" { "us-east-1b" } else { "us-east-1a" };
    let pending = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let (free, far) = (made(&cloud, &zone, &[]).await, made(&cloud, elsewhere, &[]).await);
    let crowded = made(&cloud, &zone, &[("SecondaryPrivateIpAddressCount", "5")]).await;
    let own = primary(&cloud, &instance).await;
    for (interface, instance, index, code) in [
        (own.as_str(), instance.as_str(), "1", "InvalidNetworkInterface.InUse"),
        (&free, &instance, "0", "InvalidParameterValue"),
        (&free, &instance, "-1", "InvalidParameterValue"),
        (&far, &instance, "1", "InvalidParameterCombination"),
        (&free, &pending, "1", "IncorrectState"),
        (&crowded, &instance, "1", "PrivateIpAddressLimitExceeded"),
        (&free, "i-0123456789abcdef0", "1", "InvalidInstanceID.NotFound"),
        ("eni-0123456789abcdef0", &instance, "1", "InvalidNetworkInterfaceID.NotFound"),
    ] {
        assert_eq!(refused(&cloud, interface, instance, index).await, code, "{interface} {instance} {index}");
    }
    attach(&cloud, &free, &instance, "1").await;
    let one_more = made(&cloud, &zone, &[]).await;
    assert_eq!(refused(&cloud, &one_more, &instance, "1").await, "InvalidParameterValue", "taken");
    assert_eq!(
        refused(&cloud, &one_more, &instance, "2").await,
        "AttachmentLimitExceeded",
        "t3.micro has two"
    );
    let check = [("InstanceId", instance.as_str()), ("SourceDestCheck.Value", "false")];
    assert_eq!(cloud.code("ModifyInstanceAttribute", &check).await, "InvalidInstanceID", "which one?");
}

#[tokio::test]
async fn the_interfaces_of_an_instance_name_one_bandwidth_which_its_type_gives() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let interface = made(&cloud, "us-east-1a", &[]).await;
    attach(&cloud, &interface, &id, "1").await;
    let wish = settled(&cloud, &id).await;
    let bandwidths: Vec<_> = wish.interfaces.iter().map(|i| i.bandwidth.unwrap()).collect();
    assert_eq!(bandwidths.len(), 2);
    assert!(bandwidths.iter().all(|b| b.instance == wish.instance && b.rate == bandwidths[0].rate));
    stop(&cloud, &id, 1).await;
    let change = [("InstanceId", id.as_str()), ("InstanceType.Value", "m5.24xlarge")];
    cloud.ok("ModifyInstanceAttribute", &change).await;
    let wish = settled(&cloud, &id).await;
    for interface in &wish.interfaces {
        assert_eq!(interface.bandwidth.unwrap().rate, Rate { base: 3_125_000_000, burst: None });
    }
}

#[tokio::test]
async fn a_launch_brings_several_interfaces() {
    let cloud = cloud().await;
    let subnet = default_subnet(&cloud, "us-east-1a").await;
    let existing = made(&cloud, "us-east-1a", &[]).await;
    let two = [
        ("NetworkInterface.1.DeviceIndex", "1"),
        ("NetworkInterface.1.NetworkInterfaceId", existing.as_str()),
        ("NetworkInterface.2.DeviceIndex", "0"),
        ("NetworkInterface.2.SubnetId", subnet.as_str()),
        ("NetworkInterface.2.SecondaryPrivateIpAddressCount", "1"),
    ];
    let instance = cloud.running(&two).await;
    let shown = cloud.shown_all(&instance, "networkInterfaceSet/item/networkInterfaceId").await;
    assert_eq!((shown.len(), shown[1].as_str()), (2, existing.as_str()));
    assert_eq!(
        cloud.shown_all(&instance, "networkInterfaceSet/item/attachment/deviceIndex").await,
        ["0", "1"]
    );
    assert!(cloud.shown_all(&instance, "ipAddress").await.is_empty());
    let wish = settled(&cloud, &instance).await;
    assert_eq!(wish.interfaces.iter().map(|i| i.addresses.len()).collect::<Vec<_>>(), [2, 1]);

    let launch = async |more: &[(&str, &str)]| {
        let mut asked =
            vec![("ImageId", IMAGE), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        asked.extend(more);
        cloud.code("RunInstances", &asked).await
    };
    let first = [("NetworkInterface.1.DeviceIndex", "0"), ("NetworkInterface.1.SubnetId", subnet.as_str())];
    let with = |more: &[(&'static str, &'static str)]| [first.as_slice(), more].concat();
    assert_eq!(launch(&with(&[("NetworkInterface.2.DeviceIndex", "0")])).await, "InvalidParameterValue");
    assert_eq!(
        launch(&with(&[
            ("NetworkInterface.2.DeviceIndex", "1"),
            ("NetworkInterface.1.AssociatePublicIpAddress", "true")
        ]))
        .await,
        "InvalidParameterCombination"
    );
    assert_eq!(
        launch(&with(&[("NetworkInterface.2.DeviceIndex", "1"), ("NetworkInterface.3.DeviceIndex", "2")]))
            .await,
        "AttachmentLimitExceeded"
    );
    assert_eq!(
        launch(&with(&[("NetworkInterface.1.SecondaryPrivateIpAddressCount", "2")])).await,
        "PrivateIpAddressLimitExceeded"
    );
    assert_eq!(launch(&[("NetworkInterface.1.DeviceIndex", "1")]).await, "InvalidParameterValue");
}
