//! Routes that lead to what comes and goes: interfaces and the instances that have them.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::{attach, default_subnet, made};
use model::host::{DesiredBody, InstancePhase, ObjectKey, RouteTarget, StopCause};
use model::{NetworkInterfaceId, VpcId};

pub struct Place {
    pub vpc: String,
    pub table: String,
}

/// A table of its own in the default VPC.
pub async fn place(cloud: &Cloud) -> Place {
    let vpcs = [("Filter.1.Name", "is-default"), ("Filter.1.Value.1", "true")];
    let vpc = cloud.ok("DescribeVpcs", &vpcs).await.one("vpcSet/item/vpcId");
    let table = cloud.ok("CreateRouteTable", &[("VpcId", &vpc)]).await.one("routeTable/routeTableId");
    let subnet = default_subnet(cloud, "us-east-1b").await;
    cloud.ok("AssociateRouteTable", &[("RouteTableId", &table), ("SubnetId", &subnet)]).await;
    Place { vpc, table }
}

/// What the described table says of its one route beside the local one.
pub async fn shown(cloud: &Cloud, table: &str, member: &str) -> Vec<String> {
    let tables = cloud.ok("DescribeRouteTables", &[("RouteTableId.1", table)]).await;
    tables.all(&format!("routeTableSet/item/routeSet/item/{member}"))
}

/// The targets that the host is told for a VPC, without blackholes.
pub async fn told(cloud: &Cloud, vpc: &str) -> Vec<RouteTarget> {
    let key = ObjectKey::Vpc(VpcId::parse(vpc).unwrap());
    cloud.settled(key).await;
    let Some(DesiredBody::Vpc(vpc)) = cloud.host.object(key).and_then(|desired| desired.body) else {
        return Vec::new();
    };
    let routes = vpc.route_tables.iter().flat_map(|table| &table.routes);
    routes.map(|route| route.target.clone()).filter(|t| *t != RouteTarget::InternetGateway).collect()
}

#[tokio::test]
async fn a_route_to_an_instance_leads_to_its_interface_while_it_runs() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let interface = cloud.shown(&instance, "networkInterfaceSet/item/networkInterfaceId").await;
    let Place { vpc, table } = place(&cloud).await;
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("InstanceId", instance.as_str()),
    ];
    cloud.ok("CreateRoute", &route).await;
    assert_eq!(shown(&cloud, &table, "instanceId").await, [instance.as_str()]);
    assert_eq!(shown(&cloud, &table, "instanceOwnerId").await, ["111111111111"]);
    assert_eq!(shown(&cloud, &table, "networkInterfaceId").await, [interface.as_str()]);
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "active"]);
    let target = RouteTarget::Interface(NetworkInterfaceId::parse(&interface).unwrap());
    assert_eq!(told(&cloud, &vpc).await, [target]);
    let by_instance = [("Filter.1.Name", "route.instance-id"), ("Filter.1.Value.1", instance.as_str())];
    let found = cloud.ok("DescribeRouteTables", &by_instance).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), table);

    cloud.ok("StopInstances", &[("InstanceId.1", &instance)]).await;
    cloud.observe(&instance, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"]);
    cloud.ok("StartInstances", &[("InstanceId.1", &instance)]).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "active"]);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance), ("SkipOsShutdown", "true")]).await;
    cloud.gone(&instance).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"]);
    assert!(shown(&cloud, &table, "instanceId").await.is_empty());
    assert_eq!(shown(&cloud, &table, "networkInterfaceId").await, [interface]);
}

#[tokio::test]
async fn a_route_to_an_interface_follows_it_from_instance_to_instance() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let zone = cloud.shown(&first, "placement/availabilityZone").await;
    let interface = made(&cloud, &zone, &[]).await;
    let Place { table, .. } = place(&cloud).await;
    let to = |id| {
        [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", "10.9.0.0/16"),
            ("NetworkInterfaceId", id),
        ]
    };
    cloud.ok("CreateRoute", &to(&interface)).await;
    assert_eq!(shown(&cloud, &table, "state").await, ["active", "blackhole"], "nobody has it");
    let attachment = attach(&cloud, &interface, &first, "1").await;
    assert_eq!(shown(&cloud, &table, "instanceId").await, [first.as_str()]);
    assert_eq!(
        cloud
            .code(
                "CreateRoute",
                &[("RouteTableId", &table), ("DestinationCidrBlock", "10.8.0.0/16"), ("InstanceId", &first)]
            )
            .await,
        "InvalidInstanceID",
        "which of its interfaces?"
    );
    cloud.ok("DetachNetworkInterface", &[("AttachmentId", &attachment), ("Force", "true")]).await;
    let devices = model::host::Devices::default();
    cloud.observe(&first, InstancePhase::Running { run: 1, since: testkit::START, devices }).await;
    attach(&cloud, &interface, &second, "1").await;
    assert_eq!(shown(&cloud, &table, "instanceId").await, [second.as_str()]);
    cloud
        .ok(
            "ReplaceRoute",
            &to(&cloud.shown_all(&first, "networkInterfaceSet/item/networkInterfaceId").await[0]),
        )
        .await;
    assert_eq!(shown(&cloud, &table, "instanceId").await, [first.as_str()]);
}

#[tokio::test]
async fn a_route_within_the_vpc_leads_a_whole_subnet_through_an_interface() {
    let cloud = cloud().await;
    let interface = made(&cloud, "us-east-1a", &[]).await;
    let Place { table, .. } = place(&cloud).await;
    let to = |destination| {
        [
            ("RouteTableId", table.as_str()),
            ("DestinationCidrBlock", destination),
            ("NetworkInterfaceId", interface.as_str()),
        ]
    };
    cloud.ok("CreateRoute", &to("172.31.0.0/20")).await;
    for destination in ["172.31.0.0/24", "172.31.0.0/16"] {
        assert_eq!(
            cloud.code("CreateRoute", &to(destination)).await,
            "InvalidParameterValue",
            "{destination}"
        );
    }
    let gateways = cloud.ok("DescribeInternetGateways", &[]).await;
    let gateway = gateways.one("internetGatewaySet/item/internetGatewayId");
    let out = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "172.31.16.0/20"),
        ("GatewayId", gateway.as_str()),
    ];
    assert_eq!(cloud.code("CreateRoute", &out).await, "InvalidParameterValue");
    let both = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("GatewayId", &gateway),
        ("NetworkInterfaceId", &interface),
    ];
    assert_eq!(cloud.code("CreateRoute", &both).await, "InvalidParameterCombination");
    let other = cloud.ok("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.one("vpc/vpcId");
    let tables = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", other.as_str())];
    let other = cloud.ok("DescribeRouteTables", &tables).await.one("routeTableSet/item/routeTableId");
    let foreign = [
        ("RouteTableId", other.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("NetworkInterfaceId", interface.as_str()),
    ];
    assert_eq!(cloud.code("CreateRoute", &foreign).await, "InvalidParameterValue");
}
