//! Route tables of gateways: what may be in them, and what they hold back.

use crate::{done, refused, subnet, vpc};
use model::VpcId;
use model::host::{RouteTarget, VpcDesired};
use testkit::Kit;

struct Edge {
    kit: Kit,
    vpc: String,
    gateway: String,
    table: String,
    interface: String,
}

/// A VPC with an attached gateway, a subnet 10.0.1.0/24, an interface elsewhere and a table without routes.
async fn edge() -> Edge {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let gateway = done(&kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    done(&kit, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    subnet(&kit, &vpc, "10.0.1.0/24").await;
    let front = subnet(&kit, &vpc, "10.0.0.0/24").await;
    let made = done(&kit, "CreateNetworkInterface", &[("SubnetId", &front)]).await;
    let interface = made.one("networkInterface/networkInterfaceId");
    let table = table(&kit, &vpc).await;
    Edge { kit, vpc, gateway, table, interface }
}

async fn table(kit: &Kit, vpc: &str) -> String {
    done(kit, "CreateRouteTable", &[("VpcId", vpc)]).await.one("routeTable/routeTableId")
}

impl Edge {
    async fn associate(&self) -> String {
        let pair = [("RouteTableId", self.table.as_str()), ("GatewayId", self.gateway.as_str())];
        done(&self.kit, "AssociateRouteTable", &pair).await.one("associationId")
    }

    fn route<'a>(&'a self, to: &'a str, by: (&'a str, &'a str)) -> [(&'a str, &'a str); 3] {
        [("RouteTableId", &self.table), ("DestinationCidrBlock", to), by]
    }

    fn machine(&self) -> (&str, &str) {
        ("NetworkInterfaceId", &self.interface)
    }

    async fn shown(&self, member: &str) -> Vec<String> {
        let tables = done(&self.kit, "DescribeRouteTables", &[("RouteTableId.1", &self.table)]).await;
        tables.all(&format!("routeTableSet/item/{member}"))
    }

    fn told(&self) -> VpcDesired {
        let tables = self.kit.cloud.view.read();
        ec2::vpc::desired(&tables, &self.kit.region(), VpcId::parse(&self.vpc).unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_gateways_table_lives_and_holds_the_gateway() {
    let edge = edge().await;
    let kit = &edge.kit;
    assert_eq!(edge.told().gateway_table, None);
    let association = edge.associate().await;
    assert_eq!(edge.associate().await, association, "what is already so");
    assert_eq!(edge.shown("associationSet/item/gatewayId").await, [edge.gateway.as_str()]);
    assert_eq!(edge.shown("associationSet/item/main").await, ["false"]);
    assert!(edge.shown("associationSet/item/subnetId").await.is_empty());
    let filter = [("Filter.1.Name", "association.gateway-id"), ("Filter.1.Value.1", edge.gateway.as_str())];
    let found = done(kit, "DescribeRouteTables", &filter).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), edge.table);

    done(kit, "CreateRoute", &edge.route("10.0.1.0/24", edge.machine())).await;
    let told = edge.told();
    let mut tables = told.route_tables.iter();
    let led = tables.find(|table| Some(table.route_table) == told.gateway_table).unwrap();
    assert!(matches!(led.routes[0].target, RouteTarget::Interface(_)));

    let both = [("InternetGatewayId", edge.gateway.as_str()), ("VpcId", edge.vpc.as_str())];
    assert_eq!(refused(kit, "DetachInternetGateway", &both).await, "DependencyViolation");
    assert_eq!(
        refused(kit, "DeleteRouteTable", &[("RouteTableId", &edge.table)]).await,
        "DependencyViolation"
    );
    let other = table(kit, &edge.vpc).await;
    let second = [("RouteTableId", other.as_str()), ("GatewayId", edge.gateway.as_str())];
    assert_eq!(refused(kit, "AssociateRouteTable", &second).await, "Resource.AlreadyAssociated");
    let move_it = [("AssociationId", association.as_str()), ("RouteTableId", other.as_str())];
    let moved = done(kit, "ReplaceRouteTableAssociation", &move_it).await.one("newAssociationId");
    done(kit, "DeleteRouteTable", &[("RouteTableId", &edge.table)]).await;
    done(kit, "DisassociateRouteTable", &[("AssociationId", &moved)]).await;
    assert_eq!(edge.told().gateway_table, None);
    done(kit, "DetachInternetGateway", &both).await;
}

#[tokio::test]
async fn a_gateways_table_leads_whole_subnets_to_interfaces_and_nothing_else() {
    let edge = edge().await;
    let kit = &edge.kit;
    let pair = [("RouteTableId", edge.table.as_str()), ("GatewayId", edge.gateway.as_str())];
    let out = edge.route("0.0.0.0/0", ("GatewayId", &edge.gateway));
    done(kit, "CreateRoute", &out).await;
    assert_eq!(refused(kit, "AssociateRouteTable", &pair).await, "InvalidParameterValue");
    done(kit, "DeleteRoute", &out[..2]).await;
    let main = [("Filter.1.Name", "association.main"), ("Filter.1.Value.1", "true")];
    let main = [main[0], main[1], ("Filter.2.Name", "vpc-id"), ("Filter.2.Value.1", &edge.vpc)];
    let main = done(kit, "DescribeRouteTables", &main).await;
    let main_table = main.one("routeTableSet/item/routeTableId");
    let main_pair = [("RouteTableId", main_table.as_str()), pair[1]];
    assert_eq!(refused(kit, "AssociateRouteTable", &main_pair).await, "InvalidParameterValue");
    edge.associate().await;
    for (to, by) in [
        ("0.0.0.0/0", ("GatewayId", edge.gateway.as_str())),
        ("0.0.0.0/0", edge.machine()),
        ("192.0.2.0/24", edge.machine()),
        ("10.0.1.0/25", edge.machine()),
        ("10.0.2.0/24", edge.machine()),
    ] {
        let code = refused(kit, "CreateRoute", &edge.route(to, by)).await;
        assert_eq!(code, "InvalidParameterValue", "{to} {by:?}");
    }
    let endpoint = edge.route("10.0.1.0/24", ("VpcEndpointId", "vpce-0123456789abcdef0"));
    assert_eq!(refused(kit, "CreateRoute", &endpoint).await, "UnsupportedOperation");
    let id = main.one("routeTableSet/item/associationSet/item/routeTableAssociationId");
    let exchange = [("AssociationId", id.as_str()), ("RouteTableId", edge.table.as_str())];
    assert_eq!(refused(kit, "ReplaceRouteTableAssociation", &exchange).await, "InvalidParameterValue");
    let subnet_too = [pair[0], pair[1], ("SubnetId", "subnet-0123456789abcdef0")];
    assert_eq!(refused(kit, "AssociateRouteTable", &subnet_too).await, "InvalidParameterCombination");
    assert_eq!(refused(kit, "AssociateRouteTable", &pair[..1]).await, "MissingParameter");
}

#[tokio::test]
async fn a_gateway_must_be_the_vpcs_own() {
    let edge = edge().await;
    let kit = &edge.kit;
    let loose = done(kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    let associate = |gateway: &str| [("RouteTableId", edge.table.clone()), ("GatewayId", gateway.to_owned())];
    let code = async |gateway: &str| {
        let pair = associate(gateway);
        let pair: Vec<(&str, &str)> = pair.iter().map(|(name, value)| (*name, value.as_str())).collect();
        refused(kit, "AssociateRouteTable", &pair).await
    };
    assert_eq!(code(&loose).await, "Gateway.NotAttached");
    let other = vpc(kit).await;
    done(kit, "AttachInternetGateway", &[("InternetGatewayId", &loose), ("VpcId", &other)]).await;
    assert_eq!(code(&loose).await, "InvalidParameterValue");
    assert_eq!(code("igw-0123456789abcdef0").await, "InvalidInternetGatewayID.NotFound");
    let vgw = done(kit, "CreateVpnGateway", &[("Type", "ipsec.1")]).await.one("vpnGateway/vpnGatewayId");
    assert_eq!(code(&vgw).await, "Gateway.NotAttached");
}

#[tokio::test]
async fn the_local_route_may_lead_to_an_interface_and_be_local_again() {
    let edge = edge().await;
    let kit = &edge.kit;
    let whole = "10.0.0.0/16";
    let out = edge.route(whole, ("GatewayId", &edge.gateway));
    assert_eq!(refused(kit, "ReplaceRoute", &out).await, "InvalidParameterValue");
    edge.associate().await;
    done(kit, "ReplaceRoute", &edge.route(whole, edge.machine())).await;
    assert_eq!(edge.shown("routeSet/item/networkInterfaceId").await, [edge.interface.as_str()]);
    assert_eq!(edge.shown("routeSet/item/destinationCidrBlock").await, [whole]);
    assert_eq!(edge.shown("routeSet/item/origin").await, ["CreateRouteTable"]);
    assert!(edge.shown("routeSet/item/gatewayId").await.is_empty());
    assert_eq!(refused(kit, "DeleteRoute", &out[..2]).await, "InvalidParameterValue");
    let again = edge.route(whole, ("LocalTarget", "true"));
    let two = [again[0], again[1], again[2], edge.machine()];
    assert_eq!(refused(kit, "ReplaceRoute", &two).await, "InvalidParameterCombination");
    done(kit, "ReplaceRoute", &again).await;
    assert_eq!(edge.shown("routeSet/item/gatewayId").await, ["local"]);
    let other = edge.route("10.0.1.0/24", ("LocalTarget", "true"));
    assert_eq!(refused(kit, "ReplaceRoute", &other).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_virtual_private_gateways_table_is_like_an_internet_gateways() {
    let edge = edge().await;
    let kit = &edge.kit;
    let made = done(kit, "CreateVpnGateway", &[("Type", "ipsec.1")]).await;
    let gateway = made.one("vpnGateway/vpnGatewayId");
    let pair = [("RouteTableId", edge.table.as_str()), ("GatewayId", gateway.as_str())];
    assert_eq!(refused(kit, "AssociateRouteTable", &pair).await, "Gateway.NotAttached");
    let both = [("VpnGatewayId", gateway.as_str()), ("VpcId", edge.vpc.as_str())];
    done(kit, "AttachVpnGateway", &both).await;
    assert_eq!(edge.told().vpn_table, None);
    let association = done(kit, "AssociateRouteTable", &pair).await.one("associationId");
    assert_eq!(edge.shown("associationSet/item/gatewayId").await, [gateway.as_str()]);
    let filter = [("Filter.1.Name", "association.gateway-id"), ("Filter.1.Value.1", gateway.as_str())];
    let found = done(kit, "DescribeRouteTables", &filter).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), edge.table);

    done(kit, "CreateRoute", &edge.route("10.0.1.0/24", edge.machine())).await;
    let told = edge.told();
    assert_eq!(told.gateway_table, None);
    let led = told.route_tables.iter().find(|table| Some(table.route_table) == told.vpn_table).unwrap();
    assert!(matches!(led.routes[0].target, RouteTarget::Interface(_)));
    let out = edge.route("192.168.0.0/16", ("GatewayId", &gateway));
    assert_eq!(refused(kit, "CreateRoute", &out).await, "InvalidParameterValue");
    let propagation = [pair[0], ("GatewayId", gateway.as_str())];
    assert_eq!(refused(kit, "EnableVgwRoutePropagation", &propagation).await, "InvalidParameterValue");

    // The same one may be the internet gateway's.
    let internet = edge.associate().await;
    assert_eq!(edge.told().gateway_table, edge.told().vpn_table);
    done(kit, "DisassociateRouteTable", &[("AssociationId", &internet)]).await;
    assert_eq!(edge.told().gateway_table, None);
    assert_eq!(refused(kit, "DetachVpnGateway", &both).await, "DependencyViolation");
    assert_eq!(refused(kit, "DeleteRouteTable", &pair[..1]).await, "DependencyViolation");
    done(kit, "DisassociateRouteTable", &[("AssociationId", &association)]).await;
    assert_eq!(edge.told().vpn_table, None);
    done(kit, "DetachVpnGateway", &both).await;
}
