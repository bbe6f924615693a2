//! NAT gateways: their addresses and interfaces, routes to them, and their end.

use crate::instance::cloud;
use crate::network_interface_attach::default_subnet;
use crate::route_target::{Place, place, shown, told};
use model::host::{DesiredBody, ObjectKey, RouteTarget};
use model::{NatGatewayId, VpcId};
use std::time::Duration;

#[tokio::test]
async fn a_public_gateway_holds_an_elastic_address_and_an_interface_of_its_own() {
    let cloud = cloud().await;
    cloud.running(&[]).await;
    let Place { vpc, table } = place(&cloud).await;
    let subnet = default_subnet(&cloud, "us-east-1a").await;
    let elastic = cloud.ok("AllocateAddress", &[]).await;
    let (allocation, public) = (elastic.one("allocationId"), elastic.one("publicIp"));
    let asked = [
        ("SubnetId", subnet.as_str()),
        ("AllocationId", allocation.as_str()),
        ("TagSpecification.1.ResourceType", "natgateway"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "out"),
    ];
    let made = cloud.ok("CreateNatGateway", &asked).await;
    assert_eq!(made.one("natGateway/state"), "pending");
    let id = made.one("natGateway/natGatewayId");
    let one = "natGatewaySet/item/natGatewayAddressSet/item";
    let described = cloud.ok("DescribeNatGateways", &[("NatGatewayId.1", &id)]).await;
    assert_eq!(described.one("natGatewaySet/item/state"), "available");
    assert_eq!(described.one(&format!("{one}/publicIp")), public);
    assert_eq!(described.one(&format!("{one}/allocationId")), allocation);
    let private = described.one(&format!("{one}/privateIp"));
    let interface = described.one(&format!("{one}/networkInterfaceId"));
    for (name, value) in [("state", "available"), ("vpc-id", vpc.as_str()), ("tag:Name", "out")] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeNatGateways", &filter).await;
        assert_eq!(found.all("natGatewaySet/item/natGatewayId"), [id.as_str()], "{name}");
    }
    let eni = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &interface)]).await;
    assert_eq!(eni.one("networkInterfaceSet/item/interfaceType"), "natGateway");
    assert_eq!(eni.one("networkInterfaceSet/item/requesterManaged"), "true");
    assert_eq!(eni.one("networkInterfaceSet/item/status"), "in-use");

    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NatGatewayId", id.as_str()),
    ];
    cloud.ok("CreateRoute", &route).await;
    assert_eq!(shown(&cloud, &table, "natGatewayId").await, [id.as_str()]);
    let gateway: NatGatewayId = id.parse().unwrap();
    assert_eq!(told(&cloud, &vpc).await, [RouteTarget::NatGateway(gateway)]);
    let key = ObjectKey::Vpc(VpcId::parse(&vpc).unwrap());
    let Some(DesiredBody::Vpc(wish)) = cloud.host.object(key).and_then(|desired| desired.body) else {
        panic!()
    };
    assert_eq!(wish.nat_gateways.len(), 1);
    let address = wish.nat_gateways[0].address;
    assert_eq!((address.private.to_string(), address.public.map(|p| p.to_string())), (private, Some(public)));

    // It is nobody else's.
    let association = described.one(&format!("{one}/associationId"));
    for (action, parameters, code) in [
        ("DeleteNetworkInterface", vec![("NetworkInterfaceId", interface.as_str())], "InvalidParameterValue"),
        ("DisassociateAddress", vec![("AssociationId", association.as_str())], "OperationNotPermitted"),
        (
            "AssignPrivateIpAddresses",
            vec![("NetworkInterfaceId", interface.as_str()), ("SecondaryPrivateIpAddressCount", "1")],
            "OperationNotPermitted",
        ),
        (
            "ModifyNetworkInterfaceAttribute",
            vec![("NetworkInterfaceId", interface.as_str()), ("SourceDestCheck.Value", "true")],
            "OperationNotPermitted",
        ),
        ("CreateNatGateway", asked[..2].to_vec(), "Resource.AlreadyAssociated"),
    ] {
        assert_eq!(cloud.code(action, &parameters).await, code, "{action}");
    }

    assert_eq!(cloud.ok("DeleteNatGateway", &[("NatGatewayId", &id)]).await.one("natGatewayId"), id);
    let described = cloud.ok("DescribeNatGateways", &[("NatGatewayId.1", &id)]).await;
    assert_eq!(described.one("natGatewaySet/item/state"), "deleted");
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"]);
    assert_eq!(told(&cloud, &vpc).await, [RouteTarget::Blackhole]);
    cloud.ok("ReleaseAddress", &[("AllocationId", &allocation)]).await;
    assert_eq!(cloud.code("DeleteNatGateway", &[("NatGatewayId", &id)]).await, "NatGatewayNotFound");
    cloud.kit.clock.advance(Duration::from_hours(2));
    ec2::nat_gateway::sweep(&cloud.kit.cloud).await.unwrap();
    assert_eq!(cloud.code("DescribeNatGateways", &[("NatGatewayId.1", &id)]).await, "NatGatewayNotFound");
}

#[tokio::test]
async fn a_private_gateway_has_no_public_address_and_what_cannot_be_is_refused() {
    let cloud = cloud().await;
    let subnet = default_subnet(&cloud, "us-east-1a").await;
    let private =
        [("SubnetId", subnet.as_str()), ("ConnectivityType", "private"), ("PrivateIpAddress", "172.31.0.99")];
    let made = cloud.ok("CreateNatGateway", &private).await;
    assert_eq!(made.one("natGateway/natGatewayAddressSet/item/privateIp"), "172.31.0.99");
    assert!(made.all("natGateway/natGatewayAddressSet/item/publicIp").is_empty());
    assert_eq!(cloud.code("CreateNatGateway", &private).await, "InvalidIPAddress.InUse");
    assert_eq!(cloud.code("CreateNatGateway", &private[..1]).await, "MissingParameter");
    assert_eq!(cloud.code("DeleteSubnet", &[("SubnetId", &subnet)]).await, "DependencyViolation");
    let allocation = cloud.ok("AllocateAddress", &[]).await.one("allocationId");
    let both = [private[0], private[1], ("AllocationId", allocation.as_str())];
    assert_eq!(cloud.code("CreateNatGateway", &both).await, "InvalidParameterCombination");
    let lonely = cloud.ok("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.one("vpc/vpcId");
    let lonely = cloud.ok("CreateSubnet", &[("VpcId", &lonely), ("CidrBlock", "10.0.0.0/24")]).await;
    let lonely = lonely.one("subnet/subnetId");
    let no_way = [("SubnetId", lonely.as_str()), ("AllocationId", allocation.as_str())];
    assert_eq!(cloud.code("CreateNatGateway", &no_way).await, "Gateway.NotAttached");
}
