//! IPv6: blocks of VPCs and subnets, addresses of interfaces, routes, rules and egress-only gateways.

use crate::{done, refused, subnet, vpc};
use model::VpcId;
use model::host::RouteTarget;
use std::net::Ipv6Addr;
use testkit::Kit;

const BLOCK: &str = "vpcSet/item/ipv6CidrBlockAssociationSet/item";

/// A VPC with a block, and that block.
async fn with_block(kit: &Kit) -> (String, ipnet::Ipv6Net) {
    let asked = [("CidrBlock", "10.0.0.0/16"), ("AmazonProvidedIpv6CidrBlock", "true")];
    let made = done(kit, "CreateVpc", &asked).await;
    assert_eq!(made.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlockState/state"), "associating");
    let block = made.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock").parse().unwrap();
    (made.one("vpc/vpcId"), block)
}

/// A subnet with the first /64 of the block.
async fn with_net(kit: &Kit, vpc: &str, block: ipnet::Ipv6Net) -> (String, ipnet::Ipv6Net) {
    let net = block.subnets(64).unwrap().next().unwrap();
    let text = net.to_string();
    let asked = [("VpcId", vpc), ("CidrBlock", "10.0.1.0/24"), ("Ipv6CidrBlock", text.as_str())];
    let made = done(kit, "CreateSubnet", &asked).await;
    assert_eq!(made.one("subnet/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock"), text);
    (made.one("subnet/subnetId"), net)
}

#[tokio::test]
async fn a_vpc_gets_blocks_of_the_pool_and_gives_them_back() {
    let kit = Kit::new().await;
    let (made, block) = with_block(&kit).await;
    let pool = kit.cloud.settings.ipv6_pool;
    assert!(block.prefix_len() == 56 && pool.contains(&block), "{block}");
    let text = block.to_string();
    for (name, value) in [
        ("ipv6-cidr-block-association.ipv6-cidr-block", text.as_str()),
        ("ipv6-cidr-block-association.ipv6-pool", "Amazon"),
        ("ipv6-cidr-block-association.state", "associated"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = done(&kit, "DescribeVpcs", &filter).await;
        assert_eq!(found.one("vpcSet/item/vpcId"), made, "{name}");
        assert_eq!(found.one(&format!("{BLOCK}/ipv6CidrBlockState/state")), "associated");
    }
    let more = [("VpcId", made.as_str()), ("AmazonProvidedIpv6CidrBlock", "true")];
    let second = done(&kit, "AssociateVpcCidrBlock", &more).await;
    let id = second.one("ipv6CidrBlockAssociation/associationId");
    assert_ne!(second.one("ipv6CidrBlockAssociation/ipv6CidrBlock"), text);
    let gone = [("AssociationId", id.as_str())];
    let answer = done(&kit, "DisassociateVpcCidrBlock", &gone).await;
    assert_eq!(answer.one("ipv6CidrBlockAssociation/ipv6CidrBlockState/state"), "disassociating");
    let missing = refused(&kit, "DisassociateVpcCidrBlock", &gone).await;
    assert_eq!(missing, "InvalidVpcCidrBlockAssociationID.NotFound");
    let (inner, _) = with_net(&kit, &made, block).await;
    let shown = done(&kit, "DescribeVpcs", &[("VpcId.1", &made)]).await;
    let first = shown.one(&format!("{BLOCK}/associationId"));
    let in_use = refused(&kit, "DisassociateVpcCidrBlock", &[("AssociationId", &first)]).await;
    assert_eq!(in_use, "DependencyViolation");
    done(&kit, "DeleteSubnet", &[("SubnetId", &inner)]).await;
    done(&kit, "DeleteVpc", &[("VpcId", &made)]).await;
    let claim = format!("ipv6-block/{text}");
    assert!(kit.cloud.view.read().claimed(&model::Region::global(), &claim).is_none());
}

#[tokio::test]
async fn a_first_block_opens_what_was_open_to_ipv4() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let acl = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let before = done(&kit, "DescribeNetworkAcls", &acl).await;
    assert_eq!(before.all("networkAclSet/item/entrySet/item/ruleNumber").len(), 4);
    let asked = [("VpcId", vpc.as_str()), ("AmazonProvidedIpv6CidrBlock", "true")];
    done(&kit, "AssociateVpcCidrBlock", &asked).await;
    let after = done(&kit, "DescribeNetworkAcls", &acl).await;
    assert_eq!(after.all("networkAclSet/item/entrySet/item/ruleNumber").len(), 8);
    assert_eq!(after.all("networkAclSet/item/entrySet/item/ipv6CidrBlock"), ["::/0"; 4]);
    crate::group(&kit, &vpc, "new").await;
    let groups = done(&kit, "DescribeSecurityGroups", &acl).await;
    let out = groups.all("securityGroupInfo/item/ipPermissionsEgress/item/ipv6Ranges/item/cidrIpv6");
    assert_eq!(out, ["::/0"; 2]);
}

#[tokio::test]
async fn a_vpc_that_is_made_with_a_block_is_open_by_it() {
    let kit = Kit::new().await;
    let (vpc, _) = with_block(&kit).await;
    let of = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let acls = done(&kit, "DescribeNetworkAcls", &of).await;
    assert_eq!(acls.all("networkAclSet/item/entrySet/item/ipv6CidrBlock"), ["::/0"; 4]);
    let groups = done(&kit, "DescribeSecurityGroups", &of).await;
    assert_eq!(
        groups.all("securityGroupInfo/item/ipPermissionsEgress/item/ipv6Ranges/item/cidrIpv6"),
        ["::/0"]
    );
}

#[tokio::test]
async fn a_subnet_has_one_net_of_its_vpcs_block() {
    let kit = Kit::new().await;
    let (vpc, block) = with_block(&kit).await;
    let inner = subnet(&kit, &vpc, "10.0.2.0/24").await;
    let on = [("SubnetId", inner.as_str()), ("AssignIpv6AddressOnCreation.Value", "true")];
    assert_eq!(refused(&kit, "ModifySubnetAttribute", &on).await, "InvalidParameterValue");
    let net = block.subnets(64).unwrap().nth(7).unwrap().to_string();
    for (wrong, code) in
        [(block.to_string(), "InvalidSubnet.Range"), ("2001:db8::/64".into(), "InvalidSubnet.Range")]
    {
        let asked = [("SubnetId", inner.as_str()), ("Ipv6CidrBlock", wrong.as_str())];
        assert_eq!(refused(&kit, "AssociateSubnetCidrBlock", &asked).await, code, "{wrong}");
    }
    let asked = [("SubnetId", inner.as_str()), ("Ipv6CidrBlock", net.as_str())];
    let made = done(&kit, "AssociateSubnetCidrBlock", &asked).await;
    let other = subnet(&kit, &vpc, "10.0.3.0/24").await;
    let taken = [("SubnetId", other.as_str()), ("Ipv6CidrBlock", net.as_str())];
    assert_eq!(refused(&kit, "AssociateSubnetCidrBlock", &taken).await, "InvalidSubnet.Conflict");
    done(&kit, "ModifySubnetAttribute", &on).await;
    let shown = done(&kit, "DescribeSubnets", &[("SubnetId.1", &inner)]).await;
    assert_eq!(shown.one("subnetSet/item/assignIpv6AddressOnCreation"), "true");
    let interface = done(&kit, "CreateNetworkInterface", &[("SubnetId", &inner)]).await;
    let id = interface.one("networkInterface/networkInterfaceId");
    let given: Ipv6Addr =
        interface.one("networkInterface/ipv6AddressesSet/item/ipv6Address").parse().unwrap();
    assert!(net.parse::<ipnet::Ipv6Net>().unwrap().contains(&given));
    let association = made.one("ipv6CidrBlockAssociation/associationId");
    let gone = [("AssociationId", association.as_str())];
    assert_eq!(refused(&kit, "DisassociateSubnetCidrBlock", &gone).await, "DependencyViolation");
    done(&kit, "DeleteNetworkInterface", &[("NetworkInterfaceId", &id)]).await;
    done(&kit, "DisassociateSubnetCidrBlock", &gone).await;
    let again = refused(&kit, "DisassociateSubnetCidrBlock", &gone).await;
    assert_eq!(again, "InvalidSubnetCidrBlockAssociationID.NotFound");
}

#[tokio::test]
async fn addresses_are_assigned_by_number_and_by_name_and_taken_back() {
    let kit = Kit::new().await;
    let (vpc, block) = with_block(&kit).await;
    let (subnet, net) = with_net(&kit, &vpc, block).await;
    let at = |number: u128| Ipv6Addr::from_bits(net.network().to_bits() | number).to_string();
    let (ten, eleven, three) = (at(10), at(11), at(3));
    let wanted = [("SubnetId", subnet.as_str()), ("Ipv6Addresses.1.Ipv6Address", ten.as_str())];
    let made = done(&kit, "CreateNetworkInterface", &wanted).await;
    let id = made.one("networkInterface/networkInterfaceId");
    assert_eq!(made.one("networkInterface/ipv6Address"), ten);
    assert_eq!(refused(&kit, "CreateNetworkInterface", &wanted).await, "InvalidIPAddress.InUse");
    let named = |address| [("NetworkInterfaceId", id.as_str()), ("Ipv6Addresses.1", address)];
    let answer = done(&kit, "AssignIpv6Addresses", &named(&eleven)).await;
    assert_eq!(answer.one("assignedIpv6Addresses/item"), eleven);
    for wrong in [three.as_str(), "2001:db8::1", "not an address"] {
        assert_eq!(
            refused(&kit, "AssignIpv6Addresses", &named(wrong)).await,
            "InvalidParameterValue",
            "{wrong}"
        );
    }
    let counted = [("NetworkInterfaceId", id.as_str()), ("Ipv6AddressCount", "3")];
    assert_eq!(done(&kit, "AssignIpv6Addresses", &counted).await.all("assignedIpv6Addresses/item").len(), 3);
    let filter = [("Filter.1.Name", "ipv6-addresses.ipv6-address"), ("Filter.1.Value.1", eleven.as_str())];
    let found = done(&kit, "DescribeNetworkInterfaces", &filter).await;
    assert_eq!(found.all("networkInterfaceSet/item/ipv6AddressesSet/item/ipv6Address").len(), 5);
    done(&kit, "UnassignIpv6Addresses", &named(&eleven)).await;
    assert_eq!(refused(&kit, "UnassignIpv6Addresses", &named(&eleven)).await, "InvalidParameterValue");
    let none = crate::subnet(&kit, &vpc, "10.0.9.0/24").await;
    let asked = [("SubnetId", none.as_str()), ("Ipv6AddressCount", "1")];
    assert_eq!(refused(&kit, "CreateNetworkInterface", &asked).await, "InvalidParameterValue");
}

#[tokio::test]
async fn routes_lead_out_by_an_egress_only_gateway_while_it_is_there() {
    let kit = Kit::new().await;
    let (vpc, block) = with_block(&kit).await;
    with_net(&kit, &vpc, block).await;
    let made = done(&kit, "CreateEgressOnlyInternetGateway", &[("VpcId", &vpc)]).await;
    let gateway = made.one("egressOnlyInternetGateway/egressOnlyInternetGatewayId");
    let mine = [("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", vpc.as_str())];
    let table = done(&kit, "DescribeRouteTables", &mine).await.one("routeTableSet/item/routeTableId");
    let to = |destination| {
        [("RouteTableId", table.as_str()), ("EgressOnlyInternetGatewayId", gateway.as_str()), destination]
    };
    let v4 = refused(&kit, "CreateRoute", &to(("DestinationCidrBlock", "0.0.0.0/0"))).await;
    assert_eq!(v4, "InvalidParameterValue");
    done(&kit, "CreateRoute", &to(("DestinationIpv6CidrBlock", "::/0"))).await;
    let shown = done(&kit, "DescribeRouteTables", &mine).await;
    let destinations = shown.all("routeTableSet/item/routeSet/item/destinationIpv6CidrBlock");
    assert_eq!(destinations, [block.to_string(), "::/0".into()]);
    for (name, value) in [
        ("route.egress-only-internet-gateway-id", gateway.as_str()),
        ("route.destination-ipv6-cidr-block", "::/0"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(
            done(&kit, "DescribeRouteTables", &filter).await.one("routeTableSet/item/routeTableId"),
            table
        );
    }
    let targets = |kit: &Kit| {
        let id = VpcId::parse(&vpc).unwrap();
        let desired = ec2::vpc::desired(&kit.cloud.view.read(), &kit.region(), id).unwrap();
        assert_eq!(desired.ipv6_cidrs, [block]);
        desired.route_tables[0].routes.iter().map(|route| route.target.clone()).collect::<Vec<_>>()
    };
    assert_eq!(targets(&kit), [RouteTarget::EgressOnly]);
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &vpc)]).await, "DependencyViolation");
    let itself = [("EgressOnlyInternetGatewayId", gateway.as_str())];
    done(&kit, "DeleteEgressOnlyInternetGateway", &itself).await;
    assert_eq!(targets(&kit), [RouteTarget::Blackhole]);
    assert_eq!(refused(&kit, "DeleteEgressOnlyInternetGateway", &itself).await, "InvalidGatewayID.NotFound");
    let left = done(&kit, "DescribeEgressOnlyInternetGateways", &[]).await;
    assert!(left.all("egressOnlyInternetGatewaySet/item").is_empty());
}
