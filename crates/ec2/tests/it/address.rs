//! Elastic addresses: whose they are, what they stand for, and what becomes of them when instances stop and end.

use crate::instance::{Cloud, cloud};
use crate::{done, refused, subnet, vpc};
use model::InstanceId;
use model::host::{DesiredBody, InstancePhase, ObjectKey, StopCause};
use testkit::{BOB, Kit};

async fn allocated(cloud: &Cloud) -> (String, String) {
    let made = cloud.ok("AllocateAddress", &[]).await;
    (made.one("allocationId"), made.one("publicIp"))
}

async fn associated(cloud: &Cloud, allocation: &str, instance: &str) -> String {
    let asked = [("AllocationId", allocation), ("InstanceId", instance)];
    cloud.ok("AssociateAddress", &asked).await.one("associationId")
}

/// The public address that the host translates for an instance.
async fn translated(cloud: &Cloud, instance: &str) -> Option<String> {
    let key = ObjectKey::Instance(InstanceId::parse(instance).unwrap());
    cloud.settled(key).await;
    match cloud.host.object(key).unwrap().body {
        Some(DesiredBody::Instance(wish)) => {
            wish.interfaces[0].addresses[0].public.map(|public| public.to_string())
        }
        _ => None,
    }
}

#[tokio::test]
async fn an_elastic_address_takes_the_place_of_the_automatic_one_and_gives_it_back() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let automatic = cloud.shown(&id, "ipAddress").await;
    let (allocation, public) = allocated(&cloud).await;
    assert_ne!(public, automatic);
    let association = associated(&cloud, &allocation, &id).await;
    assert_eq!(associated(&cloud, &allocation, &id).await, association, "asked again, nothing changes");
    assert_eq!(cloud.shown(&id, "ipAddress").await, public);
    assert_eq!(cloud.shown(&id, "networkInterfaceSet/item/association/ipOwnerId").await, "111111111111");
    assert_eq!(translated(&cloud, &id).await, Some(public.clone()));

    let shown = cloud.ok("DescribeAddresses", &[("PublicIp.1", &public)]).await;
    assert_eq!(shown.one("addressesSet/item/instanceId"), id);
    assert_eq!(shown.one("addressesSet/item/associationId"), association);
    assert_eq!(shown.one("addressesSet/item/privateIpAddress"), cloud.shown(&id, "privateIpAddress").await);
    let filter = [("Filter.1.Name", "instance-id"), ("Filter.1.Value.1", "i-00000000000000000")];
    assert!(cloud.ok("DescribeAddresses", &filter).await.all("addressesSet/item").is_empty());
    let by_allocation =
        [("Filter.1.Name", "association.allocation-id"), ("Filter.1.Value.1", allocation.as_str())];
    let interfaces = cloud.ok("DescribeNetworkInterfaces", &by_allocation).await;
    assert_eq!(interfaces.one("networkInterfaceSet/item/attachment/instanceId"), id);
    assert_eq!(interfaces.one("networkInterfaceSet/item/association/associationId"), association);

    assert_eq!(
        cloud.code("ReleaseAddress", &[("AllocationId", &allocation)]).await,
        "InvalidIPAddress.InUse"
    );
    cloud.ok("DisassociateAddress", &[("AssociationId", &association)]).await;
    let fresh = cloud.shown(&id, "ipAddress").await;
    assert_ne!(fresh, public);
    assert_eq!(translated(&cloud, &id).await, Some(fresh));
    let again = [("AssociationId", association.as_str())];
    assert_eq!(cloud.code("DisassociateAddress", &again).await, "InvalidAssociationID.NotFound");
    cloud.ok("ReleaseAddress", &[("AllocationId", &allocation)]).await;
    assert_eq!(
        cloud.code("ReleaseAddress", &[("AllocationId", &allocation)]).await,
        "InvalidAllocationID.NotFound"
    );
    // It is anybody's again.
    assert_eq!(cloud.ok("AllocateAddress", &[("Address", &public)]).await.one("publicIp"), public);
    assert_eq!(cloud.code("AllocateAddress", &[("Address", &public)]).await, "InvalidAddress.NotFound");
}

#[tokio::test]
async fn an_elastic_address_stays_over_a_stop_and_is_free_after_the_end() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let (allocation, public) = allocated(&cloud).await;
    associated(&cloud, &allocation, &id).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert_eq!(cloud.state(&id).await, "stopped");
    assert_eq!(cloud.shown(&id, "ipAddress").await, public);
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.shown(&id, "ipAddress").await, public);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    cloud.gone(&id).await;
    assert_eq!(cloud.state(&id).await, "terminated");
    let shown = cloud.ok("DescribeAddresses", &[("AllocationId.1", &allocation)]).await;
    assert!(shown.all("addressesSet/item/associationId").is_empty());
    cloud.ok("ReleaseAddress", &[("AllocationId", &allocation)]).await;
}

#[tokio::test]
async fn an_address_moves_unless_that_is_forbidden_and_displaces_what_was_there() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let (allocation, public) = allocated(&cloud).await;
    associated(&cloud, &allocation, &first).await;
    let stay =
        [("AllocationId", allocation.as_str()), ("InstanceId", &second), ("AllowReassociation", "false")];
    assert_eq!(cloud.code("AssociateAddress", &stay).await, "Resource.AlreadyAssociated");
    associated(&cloud, &allocation, &second).await;
    assert_ne!(cloud.shown(&first, "ipAddress").await, public, "it has one of the cloud's own again");
    assert_eq!(translated(&cloud, &second).await, Some(public));
    let (other, other_public) = allocated(&cloud).await;
    associated(&cloud, &other, &second).await;
    assert_eq!(cloud.shown(&second, "ipAddress").await, other_public);
    let displaced = cloud.ok("DescribeAddresses", &[("AllocationId.1", &allocation)]).await;
    assert!(displaced.all("addressesSet/item/instanceId").is_empty());
}

#[tokio::test]
async fn an_address_is_its_owners_and_needs_a_way_to_the_internet() {
    let kit = Kit::new().await;
    let allocation = done(&kit, "AllocateAddress", &[]).await.one("allocationId");
    let foreign = kit.call_as(BOB, "ec2", "ReleaseAddress", &[("AllocationId", &allocation)]).await;
    assert_eq!(foreign.unwrap_err().code(), "InvalidAllocationID.NotFound");
    let vpc = vpc(&kit).await;
    let subnet = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let made = done(&kit, "CreateNetworkInterface", &[("SubnetId", &subnet)]).await;
    let interface = made.one("networkInterface/networkInterfaceId");
    let asked = [("AllocationId", allocation.as_str()), ("NetworkInterfaceId", &interface)];
    assert_eq!(refused(&kit, "AssociateAddress", &asked).await, "Gateway.NotAttached");
    let gateway = done(&kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    done(&kit, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    let wrong = [
        ("AllocationId", allocation.as_str()),
        ("NetworkInterfaceId", &interface),
        ("PrivateIpAddress", "10.0.9.9"),
    ];
    assert_eq!(refused(&kit, "AssociateAddress", &wrong).await, "InvalidParameterValue");
    done(&kit, "AssociateAddress", &asked).await;
    let detach = [("InternetGatewayId", gateway.as_str()), ("VpcId", &vpc)];
    assert_eq!(refused(&kit, "DetachInternetGateway", &detach).await, "DependencyViolation");
    done(&kit, "DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).await;
    done(&kit, "ReleaseAddress", &[("AllocationId", &allocation)]).await;
    for (action, parameters, code) in [
        ("AssociateAddress", [("InstanceId", "i-00000000000000000")], "MissingParameter"),
        ("ReleaseAddress", [("PublicIp", "198.18.0.9")], "InvalidParameterValue"),
        ("DisassociateAddress", [("PublicIp", "198.18.0.9")], "InvalidParameterValue"),
        ("DescribeAddresses", [("PublicIp.1", "198.18.0.9")], "InvalidAddress.NotFound"),
        ("DescribeAddresses", [("AllocationId.1", "eipalloc-nonsense")], "InvalidAllocationID.Malformed"),
        ("AllocateAddress", [("Domain", "standard")], "InvalidParameterValue"),
        ("AllocateAddress", [("PublicIpv4Pool", "ipv4pool-ec2-0")], "InvalidPublicIpv4PoolID.NotFound"),
    ] {
        assert_eq!(refused(&kit, action, &parameters).await, code, "{action} {parameters:?}");
    }
}
