//! Private addresses beside the primary one, and the elastic ones that stand for them.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::{made, settled};

const ITEM: &str = "networkInterfaceSet/item/privateIpAddressesSet/item";

async fn addresses(cloud: &Cloud, interface: &str) -> Vec<String> {
    let shown = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", interface)]).await;
    shown.all(&format!("{ITEM}/privateIpAddress"))
}

#[tokio::test]
async fn secondary_addresses_come_by_number_and_by_name_and_go_again() {
    let cloud = cloud().await;
    let wanted = [
        ("PrivateIpAddresses.1.PrivateIpAddress", "172.31.0.200"),
        ("PrivateIpAddresses.1.Primary", "true"),
        ("PrivateIpAddresses.2.PrivateIpAddress", "172.31.0.201"),
    ];
    let zone = "us-east-1a";
    let subnet = crate::network_interface_attach::default_subnet(&cloud, zone).await;
    let block = cloud.ok("DescribeSubnets", &[("SubnetId.1", &subnet)]).await.one("subnetSet/item/cidrBlock");
    assert_eq!(block, "172.31.0.0/20");
    let interface = made(&cloud, zone, &wanted).await;
    assert_eq!(addresses(&cloud, &interface).await, ["172.31.0.200", "172.31.0.201"]);
    let named = [("NetworkInterfaceId", interface.as_str()), ("PrivateIpAddress.1", "172.31.0.202")];
    let answer = cloud.ok("AssignPrivateIpAddresses", &named).await;
    assert_eq!(answer.one("assignedPrivateIpAddressesSet/item/privateIpAddress"), "172.31.0.202");
    cloud.ok("AssignPrivateIpAddresses", &named).await;
    let counted = [("NetworkInterfaceId", interface.as_str()), ("SecondaryPrivateIpAddressCount", "2")];
    let answer = cloud.ok("AssignPrivateIpAddresses", &counted).await;
    assert_eq!(answer.all("assignedPrivateIpAddressesSet/item").len(), 2);
    let all = addresses(&cloud, &interface).await;
    assert_eq!(
        (all.len(), &all[..3]),
        (5, ["172.31.0.200", "172.31.0.201", "172.31.0.202"].map(String::from).as_slice())
    );

    for (address, code) in
        [("172.31.0.200", "InvalidParameterValue"), ("172.31.0.250", "InvalidParameterValue")]
    {
        let asked = [("NetworkInterfaceId", interface.as_str()), ("PrivateIpAddress.1", address)];
        assert_eq!(cloud.code("UnassignPrivateIpAddresses", &asked).await, code, "{address}");
    }
    let asked = [("NetworkInterfaceId", interface.as_str()), ("PrivateIpAddress.1", "172.31.0.201")];
    cloud.ok("UnassignPrivateIpAddresses", &asked).await;
    assert_eq!(addresses(&cloud, &interface).await.len(), 4);
    made(&cloud, zone, &[("PrivateIpAddress", "172.31.0.201")]).await;
}

#[tokio::test]
async fn an_address_moves_with_its_elastic_one_when_that_is_allowed() {
    let cloud = cloud().await;
    let (from, to) = (made(&cloud, "us-east-1a", &[]).await, made(&cloud, "us-east-1a", &[]).await);
    let named = |interface: &str| {
        vec![
            ("NetworkInterfaceId".to_owned(), interface.to_owned()),
            ("PrivateIpAddress.1".into(), "172.31.0.222".into()),
        ]
    };
    let borrowed = |pairs: &[(String, String)]| -> Vec<(String, String)> { pairs.to_vec() };
    let call = async |pairs: Vec<(String, String)>| {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        cloud.kit.call("AssignPrivateIpAddresses", &pairs).await
    };
    call(borrowed(&named(&from))).await.unwrap();
    let elastic = cloud.ok("AllocateAddress", &[]).await.one("allocationId");
    let associate = [
        ("AllocationId", elastic.as_str()),
        ("NetworkInterfaceId", from.as_str()),
        ("PrivateIpAddress", "172.31.0.222"),
    ];
    cloud.ok("AssociateAddress", &associate).await;
    assert_eq!(call(named(&to)).await.unwrap_err().code(), "InvalidParameterValue");
    let mut moving = named(&to);
    moving.push(("AllowReassignment".into(), "true".into()));
    call(moving).await.unwrap();
    assert_eq!(addresses(&cloud, &from).await.len(), 1);
    assert_eq!(addresses(&cloud, &to).await[1], "172.31.0.222");
    let shown = cloud.ok("DescribeAddresses", &[("AllocationId.1", &elastic)]).await;
    assert_eq!(shown.one("addressesSet/item/networkInterfaceId"), to);

    let primary = addresses(&cloud, &from).await.remove(0);
    let taking = [
        ("NetworkInterfaceId", to.as_str()),
        ("PrivateIpAddress.1", primary.as_str()),
        ("AllowReassignment", "true"),
    ];
    assert_eq!(cloud.code("AssignPrivateIpAddresses", &taking).await, "InvalidParameterValue");

    let asked = [("NetworkInterfaceId", to.as_str()), ("PrivateIpAddress.1", "172.31.0.222")];
    cloud.ok("UnassignPrivateIpAddresses", &asked).await;
    let shown = cloud.ok("DescribeAddresses", &[("AllocationId.1", &elastic)]).await;
    assert!(shown.all("addressesSet/item/associationId").is_empty());
}

#[tokio::test]
async fn a_type_says_how_many_addresses_its_interfaces_have() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let interface = cloud.shown(&instance, "networkInterfaceSet/item/networkInterfaceId").await;
    let one = [("NetworkInterfaceId", interface.as_str()), ("SecondaryPrivateIpAddressCount", "1")];
    let given = cloud.ok("AssignPrivateIpAddresses", &one).await;
    let given = given.one("assignedPrivateIpAddressesSet/item/privateIpAddress");
    assert_eq!(cloud.code("AssignPrivateIpAddresses", &one).await, "PrivateIpAddressLimitExceeded");
    let wish = settled(&cloud, &instance).await;
    assert_eq!(wish.interfaces[0].addresses[1].private.to_string(), given);
    let both = [
        ("NetworkInterfaceId", interface.as_str()),
        ("SecondaryPrivateIpAddressCount", "1"),
        ("PrivateIpAddress.1", "172.31.0.9"),
    ];
    assert_eq!(cloud.code("AssignPrivateIpAddresses", &both).await, "InvalidParameterCombination");
    let none = [("NetworkInterfaceId", interface.as_str())];
    assert_eq!(cloud.code("AssignPrivateIpAddresses", &none).await, "MissingParameter");
}
