//! IPv6 prefixes of interfaces: what they exclude, what excludes them, and what becomes of them.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::settled;
use ipnet::Ipv6Net;
use std::net::Ipv6Addr;

const SHOWN: &str = "networkInterfaceSet/item/ipv6PrefixSet/item/ipv6Prefix";

/// A VPC with one subnet that has a block.
struct Place {
    cloud: Cloud,
    subnet: String,
    block: Ipv6Net,
}

impl Place {
    async fn new() -> Self {
        let cloud = cloud().await;
        let asked = [("CidrBlock", "10.0.0.0/16"), ("AmazonProvidedIpv6CidrBlock", "true")];
        let vpc = cloud.ok("CreateVpc", &asked).await.one("vpc/vpcId");
        let shown = cloud.ok("DescribeVpcs", &[("VpcId.1", &vpc)]).await;
        let whole = shown.one("vpcSet/item/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock");
        let block = whole.parse::<Ipv6Net>().unwrap().subnets(64).unwrap().next().unwrap();
        let text = block.to_string();
        let asked = [("VpcId", vpc.as_str()), ("CidrBlock", "10.0.1.0/24"), ("Ipv6CidrBlock", text.as_str())];
        let subnet = cloud.ok("CreateSubnet", &asked).await.one("subnet/subnetId");
        Self { cloud, subnet, block }
    }

    /// A prefix by its number, an address in it by its own.
    fn address(&self, prefix: u128, number: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.block.network().to_bits() | (prefix << 48) | number)
    }

    fn prefix(&self, number: u128) -> String {
        format!("{}/80", self.address(number, 0))
    }

    async fn made(&self, asked: &[(&str, &str)]) -> String {
        let asked = [&[("SubnetId", self.subnet.as_str())], asked].concat();
        let made = self.cloud.ok("CreateNetworkInterface", &asked).await;
        made.one("networkInterface/networkInterfaceId")
    }

    async fn refused(&self, asked: &[(&str, &str)]) -> String {
        let asked = [&[("SubnetId", self.subnet.as_str())], asked].concat();
        self.cloud.code("CreateNetworkInterface", &asked).await
    }

    async fn prefixes(&self, interface: &str) -> Vec<String> {
        self.cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await.all(SHOWN)
    }
}

#[tokio::test]
async fn prefixes_come_by_number_and_by_name_and_go_again() {
    let place = Place::new().await;
    let [seven, eight, first, last] = [7, 8, 0, 0xffff].map(|number| place.prefix(number));
    let wide = format!("{}/79", place.address(8, 0));
    let crooked = format!("{}/80", place.address(9, 1));
    let cloud = &place.cloud;
    let interface = place.made(&[]).await;
    assert_eq!(place.prefixes(&interface).await, [""; 0]);
    let named = |prefix| [("NetworkInterfaceId", interface.as_str()), ("Ipv6Prefix.1", prefix)];
    let answer = cloud.ok("AssignIpv6Addresses", &named(&seven)).await;
    assert_eq!(answer.one("assignedIpv6PrefixSet/item"), seven);
    assert_eq!(answer.all("assignedIpv6Addresses/item"), [""; 0]);
    // Asked for what is so already.
    cloud.ok("AssignIpv6Addresses", &named(&seven)).await;
    let counted = [("NetworkInterfaceId", interface.as_str()), ("Ipv6PrefixCount", "2")];
    let more = cloud.ok("AssignIpv6Addresses", &counted).await.all("assignedIpv6PrefixSet/item");
    assert_eq!(place.prefixes(&interface).await, [std::slice::from_ref(&seven), more.as_slice()].concat());
    for prefix in &more {
        let prefix: Ipv6Net = prefix.parse().unwrap();
        assert!(prefix.prefix_len() == 80 && place.block.contains(&prefix), "{prefix}");
    }

    for (prefix, code) in [
        (first.as_str(), "InvalidParameterValue"),
        (last.as_str(), "InvalidParameterValue"),
        ("2001:db8::/80", "InvalidParameterValue"),
        (wide.as_str(), "InvalidParameterValue"),
        (crooked.as_str(), "InvalidParameterValue"),
        ("many", "InvalidParameterValue"),
    ] {
        assert_eq!(cloud.code("AssignIpv6Addresses", &named(prefix)).await, code, "{prefix}");
    }
    let ten = place.address(10, 1).to_string();
    for both in [("Ipv6PrefixCount", "1"), ("Ipv6AddressCount", "1"), ("Ipv6Addresses.1", ten.as_str())] {
        let asked = [named(&eight).as_slice(), &[both]].concat();
        assert_eq!(cloud.code("AssignIpv6Addresses", &asked).await, "InvalidParameterCombination");
    }
    for both in [("Ipv6AddressCount", "1"), ("Ipv6Addresses.1.Ipv6Address", ten.as_str())] {
        assert_eq!(place.refused(&[("Ipv6PrefixCount", "1"), both]).await, "InvalidParameterCombination");
    }
    let one = [("SubnetId", place.subnet.as_str()), ("DryRun", "true"), ("Ipv6PrefixCount", "1")];
    assert_eq!(cloud.code("CreateNetworkInterface", &one).await, "DryRunOperation");

    let answer = cloud.ok("UnassignIpv6Addresses", &named(&seven)).await;
    assert_eq!(answer.one("unassignedIpv6PrefixSet/item"), seven);
    assert_eq!(cloud.code("UnassignIpv6Addresses", &named(&seven)).await, "InvalidParameterValue");
    assert_eq!(place.prefixes(&interface).await, more);
    // What is gone with its interface is free again.
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).await;
    let again = place.made(&[("Ipv6Prefix.1.Ipv6Prefix", &more[0])]).await;
    assert_eq!(place.prefixes(&again).await, [more[0].clone()]);
}

#[tokio::test]
async fn no_address_is_given_out_of_a_prefix_and_no_prefix_around_an_address() {
    let place = Place::new().await;
    let (cloud, five, six) = (&place.cloud, place.prefix(5), place.prefix(6));
    let (in_five, in_six) = (place.address(5, 0x99).to_string(), place.address(6, 0x99).to_string());
    let holder = place.made(&[("Ipv6Prefix.1.Ipv6Prefix", &five)]).await;
    assert_eq!(place.refused(&[("Ipv6Prefix.1.Ipv6Prefix", &five)]).await, "InvalidIPAddress.InUse");
    assert_eq!(
        place.refused(&[("Ipv6Addresses.1.Ipv6Address", &in_five)]).await,
        "InvalidIPAddress.InUse",
        "covered"
    );
    let own = [("NetworkInterfaceId", holder.as_str()), ("Ipv6Addresses.1", in_five.as_str())];
    assert_eq!(cloud.code("AssignIpv6Addresses", &own).await, "InvalidIPAddress.InUse", "its own too");

    let other = place.made(&[("Ipv6Addresses.1.Ipv6Address", &in_six)]).await;
    assert_eq!(place.refused(&[("Ipv6Prefix.1.Ipv6Prefix", &six)]).await, "InvalidIPAddress.InUse");
    let back = [("NetworkInterfaceId", other.as_str()), ("Ipv6Addresses.1", in_six.as_str())];
    cloud.ok("UnassignIpv6Addresses", &back).await;
    place.made(&[("Ipv6Prefix.1.Ipv6Prefix", &six)]).await;
    cloud
        .ok(
            "UnassignIpv6Addresses",
            &[("NetworkInterfaceId", holder.as_str()), ("Ipv6Prefix.1", five.as_str())],
        )
        .await;
    place.made(&[("Ipv6Addresses.1.Ipv6Address", &in_five)]).await;

    // A block stays while somebody has a prefix of it.
    let shown = cloud.ok("DescribeSubnets", &[("SubnetId.1", &place.subnet)]).await;
    let association = shown.one("subnetSet/item/ipv6CidrBlockAssociationSet/item/associationId");
    let gone = [("AssociationId", association.as_str())];
    assert_eq!(cloud.code("DisassociateSubnetCidrBlock", &gone).await, "DependencyViolation");
}

#[tokio::test]
async fn an_interface_has_as_many_as_it_may_have_addresses() {
    let place = Place::new().await;
    let full = place.made(&[("Ipv6PrefixCount", "50")]).await;
    let one = [("NetworkInterfaceId", full.as_str()), ("Ipv6PrefixCount", "1")];
    assert_eq!(place.cloud.code("AssignIpv6Addresses", &one).await, "PrivateIpAddressLimitExceeded");
    assert_eq!(place.refused(&[("Ipv6PrefixCount", "51")]).await, "InvalidParameterValue");
    let mut each = place.prefixes(&full).await;
    each.sort();
    each.dedup();
    assert_eq!(each.len(), 50);
}

#[tokio::test]
async fn a_launch_takes_prefixes_as_far_as_its_type_allows_and_its_end_gives_them_back() {
    let place = Place::new().await;
    let cloud = &place.cloud;
    let on = [("SubnetId", place.subnet.as_str()), ("AssignIpv6AddressOnCreation.Value", "true")];
    cloud.ok("ModifySubnetAttribute", &on).await;
    let prefix = place.prefix(0x77);
    let asked = |what, value| {
        [
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", place.subnet.as_str()),
            (what, value),
        ]
    };
    let named = asked("NetworkInterface.1.Ipv6Prefix.1.Ipv6Prefix", prefix.as_str());
    let instance = cloud.running(&named).await;
    let path = "networkInterfaceSet/item/ipv6PrefixSet/item/ipv6Prefix";
    assert_eq!(cloud.shown(&instance, path).await, prefix);
    let wish = settled(cloud, &instance).await;
    assert_eq!(wish.interfaces[0].ipv6_prefixes, [prefix.parse::<Ipv6Net>().unwrap()]);
    assert_eq!(wish.interfaces[0].ipv6.len(), 1, "the subnet gives its address beside");
    // A t3.micro has two places.
    let interface = cloud.shown(&instance, "networkInterfaceSet/item/networkInterfaceId").await;
    for further in [("Ipv6PrefixCount", "1"), ("Ipv6AddressCount", "1")] {
        let more = [("NetworkInterfaceId", interface.as_str()), further];
        assert_eq!(cloud.code("AssignIpv6Addresses", &more).await, "PrivateIpAddressLimitExceeded");
    }
    assert_eq!(place.refused(&[("Ipv6Prefix.1.Ipv6Prefix", &prefix)]).await, "InvalidIPAddress.InUse");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance)]).await;
    cloud.gone(&instance).await;
    place.made(&[("Ipv6Prefix.1.Ipv6Prefix", &prefix)]).await;
}
