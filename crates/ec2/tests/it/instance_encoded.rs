//! DescribeInstances keeps what it has encoded: every answer must be, byte for byte, that of a service that keeps nothing.

use crate::instance::{Cloud, cloud};
use model::host::{InstancePhase, StopCause};
use testkit::ALICE;
use wire::Form;

/// From the first launch on: what comes before names the request.
fn launches(answer: &str) -> &str {
    &answer[answer.find("<reservationSet").unwrap()..]
}

fn instances(answer: &str) -> &str {
    let (start, end) = (answer.find("<instancesSet>").unwrap(), answer.find("</instancesSet>").unwrap());
    &answer[start..end]
}

/// Described by the cloud's service, which has described it before, and by one that has not.
async fn described_as_afresh(cloud: &Cloud, after: &str) {
    let kept = cloud.ok("DescribeInstances", &[]).await.0;
    let form = Form::parse(b"Action=DescribeInstances").unwrap();
    let fresh = ec2::service().dispatch(cloud.kit.context(ALICE), "DescribeInstances", &form).await.unwrap();
    let fresh = String::from_utf8(fresh.body.into_bytes().to_vec()).unwrap();
    assert_eq!(launches(&kept), launches(&fresh), "after {after}");
}

#[tokio::test]
async fn a_describe_shows_an_instance_as_the_answer_to_its_launch_does() {
    let cloud = cloud().await;
    let launched = cloud.launch(&[("MinCount", "3"), ("MaxCount", "3")]).await.0;
    for _ in 0..2 {
        let described = cloud.ok("DescribeInstances", &[]).await.0;
        assert_eq!(instances(&described), instances(&launched));
    }
}

#[tokio::test]
async fn whatever_changes_what_an_instance_shows_is_shown() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let other = cloud.running(&[]).await;
    described_as_afresh(&cloud, "the launches").await;
    let vpc = cloud.shown(&id, "vpcId").await;
    let interface = cloud.shown(&id, "networkInterfaceSet/item/networkInterfaceId").await;
    let group = crate::group(&cloud.kit, &vpc, "web").await;
    let allocation = cloud.ok("AllocateAddress", &[]).await.one("allocationId");
    let association = [("AllocationId", &*allocation), ("InstanceId", &*id)];
    let association = cloud.ok("AssociateAddress", &association).await.one("associationId");
    described_as_afresh(&cloud, "AssociateAddress").await;
    let changes: [(&str, &[(&str, &str)]); 9] = [
        ("CreateTags", &[("ResourceId.1", &id), ("Tag.1.Key", "Name"), ("Tag.1.Value", "a<b")]),
        ("ModifyVpcAttribute", &[("VpcId", &vpc), ("EnableDnsHostnames.Value", "false")]),
        ("ModifyInstanceAttribute", &[("InstanceId", &id), ("GroupId.1", &group)]),
        (
            "ModifyNetworkInterfaceAttribute",
            &[("NetworkInterfaceId", &interface), ("Description.Value", "changed")],
        ),
        ("ModifyVpcAttribute", &[("VpcId", &vpc), ("EnableDnsHostnames.Value", "true")]),
        ("DisassociateAddress", &[("AssociationId", &association)]),
        ("MonitorInstances", &[("InstanceId.1", &other)]),
        ("DeleteTags", &[("ResourceId.1", &id)]),
        ("StopInstances", &[("InstanceId.1", &id)]),
    ];
    let mut before = cloud.describe(&id).await.0 + &cloud.describe(&other).await.0;
    for (action, parameters) in changes {
        cloud.ok(action, parameters).await;
        described_as_afresh(&cloud, action).await;
        let now = cloud.describe(&id).await.0 + &cloud.describe(&other).await.0;
        assert_ne!(launches(&now), launches(&before), "{action} shows");
        before = now;
    }
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    described_as_afresh(&cloud, "the stop").await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    cloud.gone(&id).await;
    described_as_afresh(&cloud, "the end").await;
    assert_eq!(cloud.state(&id).await, "terminated");
}

#[tokio::test]
async fn what_changes_beside_an_instance_leaves_it_as_it_was() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let (vpc, before) = (cloud.shown(&id, "vpcId").await, cloud.describe(&id).await.0);
    let group = crate::group(&cloud.kit, &vpc, "unused").await;
    let changes: [(&str, &[(&str, &str)]); 4] = [
        ("CreateTags", &[("ResourceId.1", &group), ("Tag.1.Key", "Name"), ("Tag.1.Value", "x")]),
        ("CreateTags", &[("ResourceId.1", &vpc), ("Tag.1.Key", "Name"), ("Tag.1.Value", "x")]),
        ("CreateVpc", &[("CidrBlock", "10.9.0.0/16")]),
        ("DeleteSecurityGroup", &[("GroupId", &group)]),
    ];
    for (action, parameters) in changes {
        cloud.ok(action, parameters).await;
        described_as_afresh(&cloud, action).await;
        assert_eq!(launches(&cloud.describe(&id).await.0), launches(&before), "{action} does not show");
    }
    // Other instances come and go beside it, each with an interface that is new in the region.
    let other = cloud.running(&[]).await;
    described_as_afresh(&cloud, "another launch").await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &other)]).await;
    cloud.gone(&other).await;
    described_as_afresh(&cloud, "another's end").await;
    assert_eq!(launches(&cloud.describe(&id).await.0), launches(&before));
}

#[tokio::test]
async fn instances_named_twice_or_in_any_order_are_shown_once_and_in_order() {
    let cloud = cloud().await;
    let mut ids = [cloud.running(&[]).await, cloud.running(&[]).await, cloud.running(&[]).await];
    ids.sort();
    let (a, b, c) = (&ids[0], &ids[1], &ids[2]);
    let named = [("InstanceId.1", &**c), ("InstanceId.2", a), ("InstanceId.3", b), ("InstanceId.4", c)];
    let named = cloud.ok("DescribeInstances", &named).await.0;
    let all = cloud.ok("DescribeInstances", &[]).await.0;
    assert_eq!(launches(&named), launches(&all));
}
