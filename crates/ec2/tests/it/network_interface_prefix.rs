//! Prefixes of interfaces: out of what part of a subnet they come, what they take of it, and what becomes of them.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::{default_subnet, made, settled};

const SHOWN: &str = "networkInterfaceSet/item/ipv4PrefixSet/item/ipv4Prefix";
const ZONE: &str = "us-east-1a";

async fn free(cloud: &Cloud) -> usize {
    let subnet = default_subnet(cloud, ZONE).await;
    let shown = cloud.ok("DescribeSubnets", &[("SubnetId.1", &subnet)]).await;
    shown.one("subnetSet/item/availableIpAddressCount").parse().unwrap()
}

async fn prefixes(cloud: &Cloud, interface: &str) -> Vec<String> {
    cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await.all(SHOWN)
}

#[tokio::test]
async fn prefixes_come_by_number_and_by_name_and_go_again() {
    let cloud = cloud().await;
    let before = free(&cloud).await;
    let interface = made(&cloud, ZONE, &[("PrivateIpAddress", "172.31.0.200")]).await;
    assert_eq!(prefixes(&cloud, &interface).await, [""; 0]);
    let named = |prefix| [("NetworkInterfaceId", interface.as_str()), ("Ipv4Prefix.1", prefix)];
    let answer = cloud.ok("AssignPrivateIpAddresses", &named("172.31.0.32/28")).await;
    assert_eq!(answer.one("assignedIpv4PrefixSet/item/ipv4Prefix"), "172.31.0.32/28");
    // Asked for what is so already.
    cloud.ok("AssignPrivateIpAddresses", &named("172.31.0.32/28")).await;
    let counted = [("NetworkInterfaceId", interface.as_str()), ("Ipv4PrefixCount", "2")];
    let answer = cloud.ok("AssignPrivateIpAddresses", &counted).await;
    assert_eq!(answer.all("assignedIpv4PrefixSet/item/ipv4Prefix").len(), 2);
    assert_eq!(prefixes(&cloud, &interface).await.len(), 3);
    assert_eq!(free(&cloud).await, before - 1 - 3 * 16);

    for (prefix, code) in [
        ("172.31.0.0/28", "InvalidParameterValue"),
        ("172.31.15.240/28", "InvalidParameterValue"),
        ("172.31.16.0/28", "InvalidParameterValue"),
        ("172.31.0.40/28", "InvalidParameterValue"),
        ("172.31.0.64/27", "InvalidParameterValue"),
        ("many", "InvalidParameterValue"),
        ("172.31.0.192/28", "InvalidIPAddress.InUse"),
    ] {
        assert_eq!(cloud.code("AssignPrivateIpAddresses", &named(prefix)).await, code, "{prefix}");
    }
    let within = [("NetworkInterfaceId", interface.as_str()), ("PrivateIpAddress.1", "172.31.0.33")];
    assert_eq!(cloud.code("AssignPrivateIpAddresses", &within).await, "InvalidParameterValue");
    assert_eq!(cloud.code("UnassignPrivateIpAddresses", &within).await, "InvalidParameterValue");
    for both in [("Ipv4PrefixCount", "1"), ("PrivateIpAddress.1", "172.31.0.9")] {
        let asked = [named("172.31.0.64/28").as_slice(), &[both]].concat();
        assert_eq!(cloud.code("AssignPrivateIpAddresses", &asked).await, "InvalidParameterCombination");
    }
    let subnet = default_subnet(&cloud, ZONE).await;
    let secondary =
        [("SubnetId", subnet.as_str()), ("Ipv4PrefixCount", "1"), ("SecondaryPrivateIpAddressCount", "1")];
    assert_eq!(cloud.code("CreateNetworkInterface", &secondary).await, "InvalidParameterCombination");

    cloud.ok("UnassignPrivateIpAddresses", &named("172.31.0.32/28")).await;
    assert_eq!(
        cloud.code("UnassignPrivateIpAddresses", &named("172.31.0.32/28")).await,
        "InvalidParameterValue"
    );
    made(&cloud, ZONE, &[("PrivateIpAddress", "172.31.0.33")]).await;
    assert_eq!(
        cloud.code("AssignPrivateIpAddresses", &named("172.31.0.32/28")).await,
        "InvalidIPAddress.InUse"
    );
    assert_eq!(free(&cloud).await, before - 2 - 2 * 16);
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &interface)]).await;
    assert_eq!(free(&cloud).await, before - 1);
}

#[tokio::test]
async fn a_reservation_for_prefixes_is_used_first_and_one_for_addresses_never() {
    let cloud = cloud().await;
    let vpc = cloud.ok("CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.one("vpc/vpcId");
    let made = [("VpcId", vpc.as_str()), ("CidrBlock", "10.0.0.0/25")];
    let subnet = cloud.ok("CreateSubnet", &made).await.one("subnet/subnetId");
    for (cidr, kind) in [("10.0.0.32/27", "prefix"), ("10.0.0.64/28", "explicit")] {
        let asked = [("SubnetId", subnet.as_str()), ("Cidr", cidr), ("ReservationType", kind)];
        cloud.ok("CreateSubnetCidrReservation", &asked).await;
    }
    let asked = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", "10.0.0.6"), ("Ipv4PrefixCount", "2")];
    let given = cloud.ok("CreateNetworkInterface", &asked).await;
    let mut given = given.all("networkInterface/ipv4PrefixSet/item/ipv4Prefix");
    given.sort();
    assert_eq!(given, ["10.0.0.32/28", "10.0.0.48/28"]);
    // Without the first, the last and the reserved ones there are three.
    let asked = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", "10.0.0.4"), ("Ipv4PrefixCount", "3")];
    let given = cloud.ok("CreateNetworkInterface", &asked).await;
    let mut given = given.all("networkInterface/ipv4PrefixSet/item/ipv4Prefix");
    given.sort();
    // By their texts.
    assert_eq!(given, ["10.0.0.16/28", "10.0.0.80/28", "10.0.0.96/28"]);
    let one = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", "10.0.0.5"), ("Ipv4PrefixCount", "1")];
    assert_eq!(cloud.code("CreateNetworkInterface", &one).await, "InsufficientCidrBlocks");
}

#[tokio::test]
async fn a_launch_takes_prefixes_as_far_as_its_type_allows_and_its_end_gives_them_back() {
    let cloud = cloud().await;
    let before = free(&cloud).await;
    let subnet = default_subnet(&cloud, ZONE).await;
    let asked = |count| {
        [
            ("NetworkInterface.1.DeviceIndex", "0"),
            ("NetworkInterface.1.SubnetId", subnet.as_str()),
            ("NetworkInterface.1.Ipv4PrefixCount", count),
        ]
    };
    let instance = cloud.running(&asked("1")).await;
    let path = "networkInterfaceSet/item/ipv4PrefixSet/item/ipv4Prefix";
    let prefix = cloud.shown(&instance, path).await;
    assert_eq!(free(&cloud).await, before - 17);
    let wish = settled(&cloud, &instance).await;
    assert_eq!(wish.interfaces[0].ipv4_prefixes[0].to_string(), prefix);
    let interface = cloud.shown(&instance, "networkInterfaceSet/item/networkInterfaceId").await;
    for further in [("Ipv4PrefixCount", "1"), ("SecondaryPrivateIpAddressCount", "1")] {
        let more = [("NetworkInterfaceId", interface.as_str()), further];
        assert_eq!(cloud.code("AssignPrivateIpAddresses", &more).await, "PrivateIpAddressLimitExceeded");
    }
    cloud.ok("TerminateInstances", &[("InstanceId.1", &instance)]).await;
    cloud.gone(&instance).await;
    assert_eq!(free(&cloud).await, before);
}
