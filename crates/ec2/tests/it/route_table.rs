use crate::{done, refused, subnet, vpc};
use testkit::Kit;

struct Routed {
    vpc: String,
    gateway: String,
    table: String,
}

/// A VPC with an attached gateway and a table of its own.
async fn routed(kit: &Kit) -> Routed {
    let vpc = vpc(kit).await;
    let gateway = done(kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    done(kit, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    let table = done(kit, "CreateRouteTable", &[("VpcId", &vpc)]).await.one("routeTable/routeTableId");
    Routed { vpc, gateway, table }
}

#[tokio::test]
async fn a_route_lives_and_its_gateways_going_leaves_a_black_hole() {
    let kit = Kit::new().await;
    let Routed { vpc, gateway, table } = routed(&kit).await;
    let route = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "0.0.0.0/0"),
        ("GatewayId", gateway.as_str()),
    ];
    assert_eq!(refused(&kit, "ReplaceRoute", &route).await, "InvalidParameterValue");
    assert_eq!(done(&kit, "CreateRoute", &route).await.one("return"), "true");
    let states = async || {
        let tables = done(&kit, "DescribeRouteTables", &[("RouteTableId.1", &table)]).await;
        tables.all("routeTableSet/item/routeSet/item/state")
    };
    assert_eq!(states().await, ["active", "active"]);
    done(&kit, "ReplaceRoute", &route).await;
    let both = [("InternetGatewayId", gateway.as_str()), ("VpcId", vpc.as_str())];
    done(&kit, "DetachInternetGateway", &both).await;
    assert_eq!(states().await, ["active", "blackhole"]);
    done(&kit, "DeleteInternetGateway", &[("InternetGatewayId", &gateway)]).await;
    assert_eq!(states().await, ["active", "blackhole"]);
    let filter = [("Filter.1.Name", "route.state"), ("Filter.1.Value.1", "blackhole")];
    let found = done(&kit, "DescribeRouteTables", &filter).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), table);
    done(&kit, "DeleteRoute", &route[..2]).await;
    assert_eq!(refused(&kit, "DeleteRoute", &route[..2]).await, "InvalidRoute.NotFound");
    assert_eq!(states().await, ["active"]);
}

#[tokio::test]
async fn routes_that_cannot_be_are_refused() {
    let kit = Kit::new().await;
    let Routed { gateway, table, .. } = routed(&kit).await;
    let other = routed(&kit).await;
    for (destination, target, id, code) in [
        ("10.0.0.0/16", "GatewayId", gateway.as_str(), "InvalidParameterValue"),
        ("nonsense", "GatewayId", &gateway, "InvalidParameterValue"),
        ("0.0.0.0/0", "GatewayId", &other.gateway, "InvalidParameterValue"),
        ("0.0.0.0/0", "GatewayId", "igw-0123456789abcdef0", "InvalidInternetGatewayID.NotFound"),
        ("0.0.0.0/0", "NatGatewayId", "nat-0123456789abcdef0", "NatGatewayNotFound"),
        ("0.0.0.0/0", "GatewayId", "vgw-0123456789abcdef0", "InvalidVpnGatewayID.NotFound"),
    ] {
        let route = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", destination), (target, id)];
        assert_eq!(refused(&kit, "CreateRoute", &route).await, code, "{destination} {id}");
    }
    let nowhere = [("RouteTableId", table.as_str()), ("DestinationCidrBlock", "0.0.0.0/0")];
    assert_eq!(refused(&kit, "CreateRoute", &nowhere).await, "MissingParameter");
    assert_eq!(
        refused(&kit, "DeleteRoute", &[nowhere[0], ("DestinationCidrBlock", "10.0.0.0/16")]).await,
        "InvalidParameterValue"
    );
}

#[tokio::test]
async fn a_subnet_uses_the_table_it_is_associated_with() {
    let kit = Kit::new().await;
    let Routed { vpc, table, .. } = routed(&kit).await;
    let subnet = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let pair = [("RouteTableId", table.as_str()), ("SubnetId", subnet.as_str())];
    let association = done(&kit, "AssociateRouteTable", &pair).await.one("associationId");
    assert_eq!(done(&kit, "AssociateRouteTable", &pair).await.one("associationId"), association);
    let second = done(&kit, "CreateRouteTable", &[("VpcId", &vpc)]).await.one("routeTable/routeTableId");
    let clash = [("RouteTableId", second.as_str()), ("SubnetId", subnet.as_str())];
    assert_eq!(refused(&kit, "AssociateRouteTable", &clash).await, "Resource.AlreadyAssociated");
    assert_eq!(refused(&kit, "DeleteRouteTable", &[("RouteTableId", &table)]).await, "DependencyViolation");
    let move_it = [("AssociationId", association.as_str()), ("RouteTableId", second.as_str())];
    let moved = done(&kit, "ReplaceRouteTableAssociation", &move_it).await.one("newAssociationId");
    assert_ne!(moved, association);
    done(&kit, "DeleteRouteTable", &[("RouteTableId", &table)]).await;
    let filter = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", subnet.as_str())];
    let found = done(&kit, "DescribeRouteTables", &filter).await;
    assert_eq!(found.one("routeTableSet/item/routeTableId"), second);
    done(&kit, "DisassociateRouteTable", &[("AssociationId", &moved)]).await;
    assert_eq!(
        refused(&kit, "DisassociateRouteTable", &[("AssociationId", &moved)]).await,
        "InvalidAssociationID.NotFound"
    );
}

#[tokio::test]
async fn the_main_table_can_be_exchanged_but_not_removed() {
    let kit = Kit::new().await;
    let Routed { vpc, table, .. } = routed(&kit).await;
    let filter = [
        ("Filter.1.Name", "association.main"),
        ("Filter.1.Value.1", "true"),
        ("Filter.2.Name", "vpc-id"),
        ("Filter.2.Value.1", vpc.as_str()),
    ];
    let main = done(&kit, "DescribeRouteTables", &filter).await;
    let association = main.one("routeTableSet/item/associationSet/item/routeTableAssociationId");
    let old = main.one("routeTableSet/item/routeTableId");
    assert_eq!(refused(&kit, "DeleteRouteTable", &[("RouteTableId", &old)]).await, "DependencyViolation");
    let by_id = [("AssociationId", association.as_str())];
    assert_eq!(refused(&kit, "DisassociateRouteTable", &by_id).await, "InvalidParameterValue");
    let exchange = [("AssociationId", association.as_str()), ("RouteTableId", table.as_str())];
    done(&kit, "ReplaceRouteTableAssociation", &exchange).await;
    let main = done(&kit, "DescribeRouteTables", &filter).await;
    assert_eq!(main.one("routeTableSet/item/routeTableId"), table);
    done(&kit, "DeleteRouteTable", &[("RouteTableId", &old)]).await;
}

#[tokio::test]
async fn the_same_client_token_makes_one_table() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let parameters = [("VpcId", vpc.as_str()), ("ClientToken", "once")];
    let first = done(&kit, "CreateRouteTable", &parameters).await;
    let second = done(&kit, "CreateRouteTable", &parameters).await;
    assert_eq!(first.one("routeTable/routeTableId"), second.one("routeTable/routeTableId"));
}
