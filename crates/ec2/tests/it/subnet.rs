use crate::{default_vpc, done, refused, subnet, vpc};
use testkit::Kit;

#[tokio::test]
async fn the_default_vpc_has_a_default_subnet_in_each_zone() {
    let kit = Kit::new().await;
    let subnets = done(&kit, "DescribeSubnets", &[]).await;
    let mut zones = subnets.all("subnetSet/item/availabilityZone");
    zones.sort();
    assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
    assert_eq!(subnets.all("subnetSet/item/defaultForAz"), ["true"; 3]);
    assert_eq!(subnets.all("subnetSet/item/mapPublicIpOnLaunch"), ["true"; 3]);
    assert_eq!(subnets.all("subnetSet/item/availableIpAddressCount"), ["4091"; 3]);
}

#[tokio::test]
async fn a_subnet_is_made_where_it_was_asked_for() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let parameters =
        [("VpcId", vpc.as_str()), ("CidrBlock", "10.0.1.7/24"), ("AvailabilityZone", "us-east-1b")];
    let made = done(&kit, "CreateSubnet", &parameters).await;
    assert_eq!(made.one("subnet/cidrBlock"), "10.0.1.0/24");
    assert_eq!(made.one("subnet/availabilityZone"), "us-east-1b");
    assert_eq!(made.one("subnet/availabilityZoneId"), "use1-az2");
    assert_eq!(made.one("subnet/availableIpAddressCount"), "251");
    assert_eq!(made.one("subnet/mapPublicIpOnLaunch"), "false");
    let arn = made.one("subnet/subnetArn");
    let by_arn = [("Filter.1.Name", "subnet-arn"), ("Filter.1.Value.1", arn.as_str())];
    let found = done(&kit, "DescribeSubnets", &by_arn).await;
    assert_eq!(found.one("subnetSet/item/subnetId"), made.one("subnet/subnetId"));
}

#[tokio::test]
async fn blocks_that_clash_or_lie_outside_are_refused() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    subnet(&kit, &vpc, "10.0.0.0/20").await;
    for (block, code) in [
        ("10.0.0.0/20", "InvalidSubnet.Conflict"),
        ("10.0.15.0/24", "InvalidSubnet.Conflict"),
        ("10.0.0.0/16", "InvalidSubnet.Conflict"),
        ("10.1.0.0/24", "InvalidSubnet.Range"),
        ("10.0.16.0/29", "InvalidSubnet.Range"),
        ("10.0.16.0/240", "InvalidParameterValue"),
    ] {
        let parameters = [("VpcId", vpc.as_str()), ("CidrBlock", block)];
        assert_eq!(refused(&kit, "CreateSubnet", &parameters).await, code, "{block}");
    }
    let nowhere =
        [("VpcId", vpc.as_str()), ("CidrBlock", "10.0.16.0/24"), ("AvailabilityZone", "us-east-1z")];
    assert_eq!(refused(&kit, "CreateSubnet", &nowhere).await, "InvalidParameterValue");
    let no_vpc = [("VpcId", "vpc-0123456789abcdef0"), ("CidrBlock", "10.0.16.0/24")];
    assert_eq!(refused(&kit, "CreateSubnet", &no_vpc).await, "InvalidVpcID.NotFound");
    let malformed = [("VpcId", "vpc-zzz"), ("CidrBlock", "10.0.16.0/24")];
    assert_eq!(refused(&kit, "CreateSubnet", &malformed).await, "InvalidVpcId.Malformed");
}

#[tokio::test]
async fn public_addresses_on_launch_can_be_switched() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = subnet(&kit, &vpc, "10.0.1.0/24").await;
    done(&kit, "ModifySubnetAttribute", &[("SubnetId", &id), ("MapPublicIpOnLaunch.Value", "true")]).await;
    let filter = [("Filter.1.Name", "map-public-ip-on-launch"), ("Filter.1.Value.1", "true")];
    let found = done(&kit, "DescribeSubnets", &filter).await;
    assert!(found.all("subnetSet/item/subnetId").contains(&id));
    let unbuilt = [("SubnetId", id.as_str()), ("EnableDns64.Value", "true")];
    assert_eq!(refused(&kit, "ModifySubnetAttribute", &unbuilt).await, "UnsupportedOperation");
    assert_eq!(
        refused(&kit, "ModifySubnetAttribute", &[("SubnetId", &id)]).await,
        "InvalidParameterCombination"
    );
}

#[tokio::test]
async fn a_subnet_with_an_interface_stays() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let made = done(&kit, "CreateNetworkInterface", &[("SubnetId", &id)]).await;
    assert_eq!(refused(&kit, "DeleteSubnet", &[("SubnetId", &id)]).await, "DependencyViolation");
    let interface = made.one("networkInterface/networkInterfaceId");
    done(&kit, "DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).await;
    done(&kit, "DeleteSubnet", &[("SubnetId", &id)]).await;
    assert_eq!(refused(&kit, "DescribeSubnets", &[("SubnetId.1", &id)]).await, "InvalidSubnetID.NotFound");
    let filter = [("Filter.1.Name", "association.subnet-id"), ("Filter.1.Value.1", id.as_str())];
    let acls = done(&kit, "DescribeNetworkAcls", &filter).await;
    assert!(acls.all("networkAclSet/item").is_empty(), "the association goes with the subnet");
}

#[tokio::test]
async fn a_default_subnet_is_made_where_none_is() {
    let kit = Kit::new().await;
    let zone = [("AvailabilityZone", "us-east-1a")];
    assert_eq!(
        refused(&kit, "CreateDefaultSubnet", &zone).await,
        "DefaultSubnetAlreadyExistsInAvailabilityZone"
    );
    let filter = [("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", "us-east-1a")];
    let old = done(&kit, "DescribeSubnets", &filter).await;
    done(&kit, "DeleteSubnet", &[("SubnetId", &old.one("subnetSet/item/subnetId"))]).await;
    let made = done(&kit, "CreateDefaultSubnet", &zone).await;
    assert_eq!(made.one("subnet/cidrBlock"), old.one("subnetSet/item/cidrBlock"));
    assert_eq!(made.one("subnet/defaultForAz"), "true");
    assert_eq!(made.one("subnet/vpcId"), default_vpc(&kit).await);
}

#[tokio::test]
async fn subnets_come_in_pages() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    for third in 0..9 {
        subnet(&kit, &vpc, &format!("10.0.{third}.0/24")).await;
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let mut parameters = vec![("MaxResults", "5")];
        if !token.is_empty() {
            parameters.push(("NextToken", token.as_str()));
        }
        let page = done(&kit, "DescribeSubnets", &parameters).await;
        seen.extend(page.all("subnetSet/item/subnetId"));
        match page.all("nextToken").pop() {
            Some(next) => token = next,
            None => break,
        }
    }
    let whole = done(&kit, "DescribeSubnets", &[]).await.all("subnetSet/item/subnetId");
    assert_eq!(seen, whole);
    assert_eq!(seen.len(), 12);
    assert_eq!(refused(&kit, "DescribeSubnets", &[("MaxResults", "4")]).await, "InvalidParameterValue");
}
