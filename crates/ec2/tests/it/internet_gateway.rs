use crate::{default_vpc, done, refused, vpc};
use testkit::Kit;

async fn gateway(kit: &Kit) -> String {
    done(kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId")
}

#[tokio::test]
async fn a_gateway_is_attached_to_one_vpc_at_a_time() {
    let kit = Kit::new().await;
    let (first, second) = (vpc(&kit).await, vpc(&kit).await);
    let id = gateway(&kit).await;
    let to = |vpc| [("InternetGatewayId", id.as_str()), ("VpcId", vpc)];
    assert_eq!(refused(&kit, "DetachInternetGateway", &to(&first)).await, "Gateway.NotAttached");
    done(&kit, "AttachInternetGateway", &to(&first)).await;
    assert_eq!(refused(&kit, "AttachInternetGateway", &to(&second)).await, "Resource.AlreadyAssociated");
    let other = gateway(&kit).await;
    let second_gateway = [("InternetGatewayId", other.as_str()), ("VpcId", first.as_str())];
    assert_eq!(refused(&kit, "AttachInternetGateway", &second_gateway).await, "InvalidParameterValue");
    let filter = [("Filter.1.Name", "attachment.vpc-id"), ("Filter.1.Value.1", first.as_str())];
    let found = done(&kit, "DescribeInternetGateways", &filter).await;
    assert_eq!(found.one("internetGatewaySet/item/internetGatewayId"), id);
    assert_eq!(found.one("internetGatewaySet/item/attachmentSet/item/state"), "available");
    let itself = [("InternetGatewayId", id.as_str())];
    assert_eq!(refused(&kit, "DeleteInternetGateway", &itself).await, "DependencyViolation");
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &first)]).await, "DependencyViolation");
    done(&kit, "DetachInternetGateway", &to(&first)).await;
    done(&kit, "DeleteInternetGateway", &itself).await;
    assert_eq!(refused(&kit, "DeleteInternetGateway", &itself).await, "InvalidInternetGatewayID.NotFound");
}

#[tokio::test]
async fn the_default_vpc_has_a_gateway_and_a_route_to_it() {
    let kit = Kit::new().await;
    let vpc = default_vpc(&kit).await;
    let gateways = done(&kit, "DescribeInternetGateways", &[]).await;
    assert_eq!(gateways.one("internetGatewaySet/item/attachmentSet/item/vpcId"), vpc);
    let tables = done(&kit, "DescribeRouteTables", &[]).await;
    let routes = tables.all("routeTableSet/item/routeSet/item/destinationCidrBlock");
    assert_eq!(routes, ["172.31.0.0/16", "0.0.0.0/0"]);
    assert_eq!(tables.all("routeTableSet/item/routeSet/item/state"), ["active", "active"]);
}

#[tokio::test]
async fn an_account_has_five_gateways_at_most() {
    let kit = Kit::new().await;
    for _ in 0..4 {
        gateway(&kit).await;
    }
    assert_eq!(refused(&kit, "CreateInternetGateway", &[]).await, "InternetGatewayLimitExceeded");
}
