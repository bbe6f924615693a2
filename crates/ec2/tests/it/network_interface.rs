use crate::{done, group, refused, subnet, vpc};
use testkit::{BOB, Kit};

struct Place {
    vpc: String,
    subnet: String,
}

async fn place(kit: &Kit, cidr: &str) -> Place {
    let vpc = vpc(kit).await;
    let subnet = subnet(kit, &vpc, cidr).await;
    Place { vpc, subnet }
}

async fn interface(kit: &Kit, subnet: &str) -> String {
    let made = done(kit, "CreateNetworkInterface", &[("SubnetId", subnet)]).await;
    made.one("networkInterface/networkInterfaceId")
}

#[tokio::test]
async fn an_interface_has_an_address_of_its_subnet_and_the_default_group() {
    let kit = Kit::new().await;
    let Place { subnet, .. } = place(&kit, "10.0.1.0/24").await;
    let wanted = [("SubnetId", subnet.as_str()), ("PrivateIpAddress", "10.0.1.77"), ("Description", "mine")];
    let made = done(&kit, "CreateNetworkInterface", &wanted).await;
    assert_eq!(made.one("networkInterface/privateIpAddress"), "10.0.1.77");
    assert_eq!(made.one("networkInterface/groupSet/item/groupName"), "default");
    assert!(made.one("networkInterface/macAddress").starts_with("0a:"));
    let id = made.one("networkInterface/networkInterfaceId");
    let shown = done(&kit, "DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &id)]).await;
    assert_eq!(shown.one("networkInterfaceSet/item/status"), "available");
    assert_eq!(shown.one("networkInterfaceSet/item/sourceDestCheck"), "true");
    assert_eq!(shown.one("networkInterfaceSet/item/description"), "mine");
    for (filter, value) in [
        ("private-ip-address", "10.0.1.77"),
        ("addresses.private-ip-address", "10.0.1.*"),
        ("subnet-id", subnet.as_str()),
        ("group-name", "default"),
        ("status", "available"),
        ("description", "mi?e"),
    ] {
        let parameters = [("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
        let found = done(&kit, "DescribeNetworkInterfaces", &parameters).await;
        assert_eq!(found.all("networkInterfaceSet/item/networkInterfaceId"), [id.as_str()], "{filter}");
    }
    let theirs = kit.call_as(BOB, "ec2", "DescribeNetworkInterfaces", &[]).await.unwrap();
    assert!(theirs.all("networkInterfaceSet/item").is_empty());
}

#[tokio::test]
async fn addresses_that_cannot_be_had_are_refused() {
    let kit = Kit::new().await;
    let Place { subnet, .. } = place(&kit, "10.0.1.0/24").await;
    let want = |address| [("SubnetId", subnet.as_str()), ("PrivateIpAddress", address)];
    done(&kit, "CreateNetworkInterface", &want("10.0.1.4")).await;
    for (address, code) in [
        ("10.0.1.4", "InvalidIPAddress.InUse"),
        ("10.0.2.4", "InvalidParameterValue"),
        ("10.0.1.3", "InvalidParameterValue"),
        ("10.0.1.255", "InvalidParameterValue"),
        ("ten", "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&kit, "CreateNetworkInterface", &want(address)).await, code, "{address}");
    }
}

#[tokio::test]
async fn a_full_subnet_gives_no_more_addresses_until_one_is_given_back() {
    let kit = Kit::new().await;
    let Place { subnet, .. } = place(&kit, "10.0.1.0/28").await;
    let count = async || {
        let shown = done(&kit, "DescribeSubnets", &[("SubnetId.1", &subnet)]).await;
        shown.one("subnetSet/item/availableIpAddressCount")
    };
    assert_eq!(count().await, "11");
    let mut interfaces = Vec::new();
    for _ in 0..11 {
        interfaces.push(interface(&kit, &subnet).await);
    }
    assert_eq!(count().await, "0");
    let full = refused(&kit, "CreateNetworkInterface", &[("SubnetId", &subnet)]).await;
    assert_eq!(full, "InsufficientFreeAddressesInSubnet");
    done(&kit, "DeleteNetworkInterface", &[("NetworkInterfaceId", &interfaces[3])]).await;
    assert_eq!(count().await, "1");
    interface(&kit, &subnet).await;
}

#[tokio::test]
async fn secondary_addresses_come_with_the_primary() {
    let kit = Kit::new().await;
    let Place { subnet, .. } = place(&kit, "10.0.1.0/24").await;
    let counted = [("SubnetId", subnet.as_str()), ("SecondaryPrivateIpAddressCount", "2")];
    let made = done(&kit, "CreateNetworkInterface", &counted).await;
    let primary = made.all("networkInterface/privateIpAddressesSet/item/primary");
    assert_eq!(primary, ["true", "false", "false"]);
    let named = [
        ("SubnetId", subnet.as_str()),
        ("PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.30"),
        ("PrivateIpAddresses.2.PrivateIpAddress", "10.0.1.20"),
        ("PrivateIpAddresses.2.Primary", "true"),
    ];
    let made = done(&kit, "CreateNetworkInterface", &named).await;
    let addresses = made.all("networkInterface/privateIpAddressesSet/item/privateIpAddress");
    assert_eq!(addresses, ["10.0.1.20", "10.0.1.30"]);
}

#[tokio::test]
async fn attributes_are_described_changed_and_reset() {
    let kit = Kit::new().await;
    let Place { vpc, subnet } = place(&kit, "10.0.1.0/24").await;
    let id = interface(&kit, &subnet).await;
    let web = group(&kit, &vpc, "web").await;
    let with = |name, value| [("NetworkInterfaceId", id.as_str()), (name, value)];
    done(&kit, "ModifyNetworkInterfaceAttribute", &with("SourceDestCheck.Value", "false")).await;
    let check = with("Attribute", "sourceDestCheck");
    let shown = done(&kit, "DescribeNetworkInterfaceAttribute", &check).await;
    assert_eq!(shown.one("sourceDestCheck/value"), "false");
    done(&kit, "ResetNetworkInterfaceAttribute", &with("SourceDestCheck", "x")).await;
    let shown = done(&kit, "DescribeNetworkInterfaceAttribute", &check).await;
    assert_eq!(shown.one("sourceDestCheck/value"), "true");
    done(&kit, "ModifyNetworkInterfaceAttribute", &with("SecurityGroupId.1", &web)).await;
    let shown = done(&kit, "DescribeNetworkInterfaceAttribute", &with("Attribute", "groupSet")).await;
    assert_eq!(shown.one("groupSet/item/groupId"), web);
    done(&kit, "ModifyNetworkInterfaceAttribute", &with("Description.Value", "new")).await;
    let shown = done(&kit, "DescribeNetworkInterfaceAttribute", &with("Attribute", "description")).await;
    assert_eq!(shown.one("description/value"), "new");
    let nothing = [("NetworkInterfaceId", id.as_str())];
    assert_eq!(
        refused(&kit, "ModifyNetworkInterfaceAttribute", &nothing).await,
        "InvalidParameterCombination"
    );
    let unattached = [
        ("NetworkInterfaceId", id.as_str()),
        ("Attachment.AttachmentId", "eni-attach-0123456789abcdef0"),
        ("Attachment.DeleteOnTermination", "true"),
    ];
    assert_eq!(
        refused(&kit, "ModifyNetworkInterfaceAttribute", &unattached).await,
        "InvalidAttachmentID.NotFound"
    );
    let foreign = with("SecurityGroupId.1", "sg-0123456789abcdef0");
    assert_eq!(refused(&kit, "ModifyNetworkInterfaceAttribute", &foreign).await, "InvalidGroup.NotFound");
}

#[tokio::test]
async fn an_interface_is_a_member_of_five_groups_at_most() {
    let kit = Kit::new().await;
    let Place { vpc, subnet } = place(&kit, "10.0.1.0/24").await;
    let mut parameters = vec![("SubnetId".to_owned(), subnet)];
    for number in 1..=6 {
        let id = group(&kit, &vpc, &format!("g{number}")).await;
        parameters.push((format!("SecurityGroupId.{number}"), id));
    }
    let parameters: Vec<(&str, &str)> = parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let six = refused(&kit, "CreateNetworkInterface", &parameters).await;
    assert_eq!(six, "SecurityGroupsPerInterfaceLimitExceeded");
    done(&kit, "CreateNetworkInterface", &parameters[..6]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_at_once_never_share_an_address_or_a_name() {
    let kit = std::sync::Arc::new(Kit::new().await);
    let Place { vpc, subnet } = place(&kit, "10.0.1.0/26").await;
    let callers = (0..32).map(|_| {
        let (kit, subnet, vpc) = (kit.clone(), subnet.clone(), vpc.clone());
        tokio::spawn(async move {
            let made = done(&kit, "CreateNetworkInterface", &[("SubnetId", &subnet)]).await;
            let named = [("GroupName", "one"), ("GroupDescription", "x"), ("VpcId", vpc.as_str())];
            let won = kit.call("CreateSecurityGroup", &named).await.is_ok();
            (made.one("networkInterface/privateIpAddress"), won)
        })
    });
    let (mut addresses, mut winners) = (std::collections::BTreeSet::new(), 0);
    for caller in callers.collect::<Vec<_>>() {
        let (address, won) = caller.await.unwrap();
        assert!(addresses.insert(address.clone()), "{address} was given twice");
        winners += usize::from(won);
    }
    assert_eq!(winners, 1);
    let shown = done(&kit, "DescribeSubnets", &[("SubnetId.1", &subnet)]).await;
    assert_eq!(shown.one("subnetSet/item/availableIpAddressCount"), (64 - 5 - 32).to_string());
}
