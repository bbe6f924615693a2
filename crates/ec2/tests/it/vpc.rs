use crate::{default_vpc, done, group, refused, subnet, vpc};
use testkit::{BOB, Kit};

#[tokio::test]
async fn an_account_has_a_default_vpc_from_its_first_call() {
    let kit = Kit::new().await;
    let vpcs = done(&kit, "DescribeVpcs", &[]).await;
    assert_eq!(vpcs.one("vpcSet/item/cidrBlock"), "172.31.0.0/16");
    assert_eq!(vpcs.one("vpcSet/item/isDefault"), "true");
    assert_eq!(vpcs.one("vpcSet/item/state"), "available");
    let again = done(&kit, "DescribeVpcs", &[]).await;
    assert_eq!(again.one("vpcSet/item/vpcId"), vpcs.one("vpcSet/item/vpcId"));
}

#[tokio::test]
async fn another_account_sees_its_own_vpcs_alone() {
    let kit = Kit::new().await;
    let mine = vpc(&kit).await;
    let theirs = kit.call_as(BOB, "ec2", "DescribeVpcs", &[]).await.unwrap();
    assert!(!theirs.all("vpcSet/item/vpcId").contains(&mine));
    let refused = kit.call_as(BOB, "ec2", "DeleteVpc", &[("VpcId", &mine)]).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidVpcID.NotFound");
}

#[tokio::test]
async fn a_new_vpc_comes_with_its_table_acl_and_group() {
    let kit = Kit::new().await;
    let made = done(&kit, "CreateVpc", &[("CidrBlock", "10.1.2.3/16")]).await;
    assert_eq!(made.one("vpc/cidrBlock"), "10.1.0.0/16");
    assert_eq!(made.one("vpc/isDefault"), "false");
    let id = made.one("vpc/vpcId");
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", id.as_str())];
    let tables = done(&kit, "DescribeRouteTables", &filter).await;
    assert_eq!(tables.one("routeTableSet/item/associationSet/item/main"), "true");
    assert_eq!(tables.one("routeTableSet/item/routeSet/item/gatewayId"), "local");
    let acls = done(&kit, "DescribeNetworkAcls", &filter).await;
    assert_eq!(acls.one("networkAclSet/item/default"), "true");
    let groups = done(&kit, "DescribeSecurityGroups", &filter).await;
    assert_eq!(groups.one("securityGroupInfo/item/groupName"), "default");
    let described = done(&kit, "DescribeVpcs", &[("VpcId.1", &id)]).await;
    assert_eq!(described.one("vpcSet/item/cidrBlockAssociationSet/item/cidrBlock"), "10.1.0.0/16");
}

#[tokio::test]
async fn blocks_that_no_vpc_can_have_are_refused() {
    let kit = Kit::new().await;
    for (block, code) in [
        ("10.0.0.0/8", "InvalidVpc.Range"),
        ("10.0.0.0/29", "InvalidVpc.Range"),
        ("127.0.0.0/16", "InvalidVpc.Range"),
        ("169.254.0.0/16", "InvalidVpc.Range"),
        ("230.0.0.0/16", "InvalidVpc.Range"),
        ("10.0.0.0", "InvalidParameterValue"),
        ("10.0.0/16", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&kit, "CreateVpc", &[("CidrBlock", block)]).await, code, "{block}");
    }
    assert_eq!(refused(&kit, "CreateVpc", &[]).await, "MissingParameter");
    let unbuilt = [("CidrBlock", "10.0.0.0/16"), ("Ipv6Pool", "ipv6pool-ec2-0")];
    assert_eq!(refused(&kit, "CreateVpc", &unbuilt).await, "UnsupportedOperation");
}

#[tokio::test]
async fn tags_given_at_creation_are_found_by_filters() {
    let kit = Kit::new().await;
    let tags = [
        ("CidrBlock", "10.0.0.0/16"),
        ("TagSpecification.1.ResourceType", "vpc"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "front"),
    ];
    let made = done(&kit, "CreateVpc", &tags).await;
    assert_eq!(made.one("vpc/tagSet/item/value"), "front");
    let filter = [("Filter.1.Name", "tag:Name"), ("Filter.1.Value.1", "fr*")];
    let found = done(&kit, "DescribeVpcs", &filter).await;
    assert_eq!(found.one("vpcSet/item/vpcId"), made.one("vpc/vpcId"));
    let wrong = [("CidrBlock", "10.0.0.0/16"), ("TagSpecification.1.ResourceType", "subnet")];
    assert_eq!(refused(&kit, "CreateVpc", &wrong).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_filter_that_nobody_knows_is_refused() {
    let kit = Kit::new().await;
    let filter = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(refused(&kit, "DescribeVpcs", &filter).await, "InvalidParameterValue");
}

#[tokio::test]
async fn an_account_has_five_vpcs_at_most() {
    let kit = Kit::new().await;
    for _ in 0..4 {
        vpc(&kit).await;
    }
    assert_eq!(refused(&kit, "CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await, "VpcLimitExceeded");
}

#[tokio::test]
async fn a_dry_run_makes_nothing() {
    let kit = Kit::new().await;
    let dry = [("CidrBlock", "10.0.0.0/16"), ("DryRun", "true")];
    assert_eq!(refused(&kit, "CreateVpc", &dry).await, "DryRunOperation");
    assert_eq!(done(&kit, "DescribeVpcs", &[]).await.all("vpcSet/item").len(), 1);
}

#[tokio::test]
async fn a_vpc_goes_only_when_it_is_empty_and_takes_its_own_along() {
    let kit = Kit::new().await;
    let id = vpc(&kit).await;
    let subnet = subnet(&kit, &id, "10.0.1.0/24").await;
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &id)]).await, "DependencyViolation");
    done(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await;
    let group = group(&kit, &id, "web").await;
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &id)]).await, "DependencyViolation");
    done(&kit, "DeleteSecurityGroup", &[("GroupId", &group)]).await;
    let gone = done(&kit, "DeleteVpc", &[("VpcId", &id)]).await;
    assert_eq!(gone.one("return"), "true");
    assert_eq!(refused(&kit, "DescribeVpcs", &[("VpcId.1", &id)]).await, "InvalidVpcID.NotFound");
    let filter = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", id.as_str())];
    assert!(done(&kit, "DescribeSecurityGroups", &filter).await.all("securityGroupInfo/item").is_empty());
    assert!(done(&kit, "DescribeNetworkAcls", &filter).await.all("networkAclSet/item").is_empty());
    assert!(done(&kit, "DescribeRouteTables", &filter).await.all("routeTableSet/item").is_empty());
}

#[tokio::test]
async fn attributes_are_changed_one_at_a_time() {
    let kit = Kit::new().await;
    let id = vpc(&kit).await;
    let attribute = |name| [("VpcId", id.clone()), ("Attribute", String::from(name))];
    let read = async |name, path: &str| {
        let parameters = attribute(name);
        let parameters: Vec<_> = parameters.iter().map(|(k, v)| (*k, v.as_str())).collect();
        done(&kit, "DescribeVpcAttribute", &parameters).await.one(path)
    };
    assert_eq!(read("enableDnsHostnames", "enableDnsHostnames/value").await, "false");
    assert_eq!(read("enableDnsSupport", "enableDnsSupport/value").await, "true");
    done(&kit, "ModifyVpcAttribute", &[("VpcId", &id), ("EnableDnsHostnames.Value", "true")]).await;
    assert_eq!(read("enableDnsHostnames", "enableDnsHostnames/value").await, "true");
    let both =
        [("VpcId", id.as_str()), ("EnableDnsHostnames.Value", "true"), ("EnableDnsSupport.Value", "true")];
    assert_eq!(refused(&kit, "ModifyVpcAttribute", &both).await, "InvalidParameterCombination");
    assert_eq!(refused(&kit, "ModifyVpcAttribute", &[("VpcId", &id)]).await, "InvalidParameterCombination");
    let unknown = [("VpcId", id.as_str()), ("Attribute", "colour")];
    assert_eq!(refused(&kit, "DescribeVpcAttribute", &unknown).await, "InvalidParameterValue");
}

#[tokio::test]
async fn a_deleted_default_vpc_can_be_made_anew() {
    let kit = Kit::new().await;
    assert_eq!(refused(&kit, "CreateDefaultVpc", &[]).await, "DefaultVpcAlreadyExists");
    let id = default_vpc(&kit).await;
    for subnet in done(&kit, "DescribeSubnets", &[]).await.all("subnetSet/item/subnetId") {
        done(&kit, "DeleteSubnet", &[("SubnetId", &subnet)]).await;
    }
    let gateway = done(&kit, "DescribeInternetGateways", &[]).await;
    let gateway = gateway.one("internetGatewaySet/item/internetGatewayId");
    let both = [("InternetGatewayId", gateway.as_str()), ("VpcId", id.as_str())];
    done(&kit, "DetachInternetGateway", &both).await;
    done(&kit, "DeleteInternetGateway", &[("InternetGatewayId", &gateway)]).await;
    done(&kit, "DeleteVpc", &[("VpcId", &id)]).await;
    assert!(done(&kit, "DescribeVpcs", &[]).await.all("vpcSet/item").is_empty(), "defaults are made once");
    let made = done(&kit, "CreateDefaultVpc", &[]).await;
    assert_eq!(made.one("vpc/isDefault"), "true");
    assert_eq!(done(&kit, "DescribeSubnets", &[]).await.all("subnetSet/item").len(), 3);
}
