//! Ranges that accounts bring: who may, the pools that they are, and what hosts are told of their addresses.

use crate::instance::{Cloud, ROOMY, cloud_of};
use crate::network_interface_attach::default_subnet;
use crate::{done, refused};
use model::host::{AddressDesired, DesiredBody, ObjectKey};
use model::{InstanceId, VpcId};
use std::time::Duration;
use testkit::{Answer, BOB, Kit};

const RANGE: &str = "203.0.113.0/24";

/// A cloud whose operator lets anybody bring one range, and Alice another.
async fn kit() -> Kit {
    let grants = ["203.0.112.0/23", "198.51.100.0/24=111111111111"].map(|grant| grant.parse().unwrap());
    Kit::with(|settings| settings.byoip = grants.to_vec()).await
}

async fn ranges(kit: &Kit) -> Answer {
    done(kit, "DescribeByoipCidrs", &[("MaxResults", "100")]).await
}

async fn state(kit: &Kit) -> String {
    ranges(kit).await.one("byoipCidrSet/item/state")
}

/// The pool of [`RANGE`], newly brought.
async fn provisioned(kit: &Kit) -> String {
    done(kit, "ProvisionByoipCidr", &[("Cidr", RANGE)]).await;
    done(kit, "DescribePublicIpv4Pools", &[]).await.one("publicIpv4PoolSet/item/poolId")
}

#[tokio::test]
async fn a_range_is_a_pool_from_its_provision_to_its_end() {
    let kit = kit().await;
    let asked = [
        ("Cidr", RANGE),
        ("Description", "ours"),
        ("CidrAuthorizationContext.Message", "1|aws|111111111111|203.0.113.0/24|20270101|SHA256|RSAPSS"),
        ("CidrAuthorizationContext.Signature", "ab-_~"),
        ("PoolTagSpecification.1.ResourceType", "ipv4pool-ec2"),
        ("PoolTagSpecification.1.Tag.1.Key", "Name"),
        ("PoolTagSpecification.1.Tag.1.Value", "office"),
    ];
    let made = done(&kit, "ProvisionByoipCidr", &asked).await;
    assert_eq!(made.one("byoipCidr/state"), "pending-provision");
    assert_eq!(made.one("byoipCidr/cidr"), RANGE);
    let pools = done(&kit, "DescribePublicIpv4Pools", &[]).await;
    let pool = pools.one("publicIpv4PoolSet/item/poolId");
    assert!(pool.starts_with("ipv4pool-ec2-"), "{pool}");
    assert_eq!(pools.one("publicIpv4PoolSet/item/description"), "ours");
    let one = "publicIpv4PoolSet/item/poolAddressRangeSet/item";
    assert_eq!(pools.one(&format!("{one}/firstAddress")), "203.0.113.0");
    assert_eq!(pools.one(&format!("{one}/lastAddress")), "203.0.113.255");
    assert_eq!(pools.one(&format!("{one}/availableAddressCount")), "256");
    let shown = ranges(&kit).await;
    assert_eq!(shown.one("byoipCidrSet/item/state"), "provisioned");
    assert_eq!(shown.one("byoipCidrSet/item/statusMessage"), pool);

    // Tags, filters and pages are those of any resource.
    let tagged = [("Filter.1.Name", "tag:Name"), ("Filter.1.Value.1", "office")];
    assert_eq!(done(&kit, "DescribePublicIpv4Pools", &tagged).await.all("publicIpv4PoolSet/item").len(), 1);
    let retag = [("ResourceId.1", pool.as_str()), ("Tag.1.Key", "Name"), ("Tag.1.Value", "home")];
    done(&kit, "CreateTags", &retag).await;
    assert!(done(&kit, "DescribePublicIpv4Pools", &tagged).await.all("publicIpv4PoolSet/item").is_empty());
    let by_id = done(&kit, "DescribePublicIpv4Pools", &[("PoolId.1", &pool)]).await;
    assert_eq!(by_id.one("publicIpv4PoolSet/item/tagSet/item/value"), "home");

    let this = [("Cidr", RANGE)];
    let dry = [("Cidr", RANGE), ("DryRun", "true")];
    assert_eq!(refused(&kit, "AdvertiseByoipCidr", &dry).await, "DryRunOperation");
    assert_eq!(state(&kit).await, "provisioned");
    assert_eq!(refused(&kit, "WithdrawByoipCidr", &this).await, "IncorrectState");
    assert_eq!(done(&kit, "AdvertiseByoipCidr", &this).await.one("byoipCidr/state"), "advertised");
    assert_eq!(refused(&kit, "AdvertiseByoipCidr", &this).await, "IncorrectState");
    assert_eq!(refused(&kit, "DeprovisionByoipCidr", &this).await, "IncorrectState");
    assert_eq!(done(&kit, "WithdrawByoipCidr", &this).await.one("byoipCidr/state"), "provisioned");
    let address = done(&kit, "AllocateAddress", &[("PublicIpv4Pool", &pool)]).await.one("allocationId");
    assert_eq!(refused(&kit, "DeprovisionByoipCidr", &this).await, "DependencyViolation");
    done(&kit, "ReleaseAddress", &[("AllocationId", &address)]).await;
    let ended = done(&kit, "DeprovisionByoipCidr", &this).await;
    assert_eq!(ended.one("byoipCidr/state"), "pending-deprovision");
    assert_eq!(state(&kit).await, "deprovisioned");
    assert!(done(&kit, "DescribePublicIpv4Pools", &[]).await.all("publicIpv4PoolSet/item").is_empty());
    assert_eq!(
        refused(&kit, "AllocateAddress", &[("PublicIpv4Pool", &pool)]).await,
        "InvalidPublicIpv4PoolID.NotFound"
    );
    assert_eq!(refused(&kit, "DeprovisionByoipCidr", &this).await, "InvalidParameterValue");

    // It can come again, and what ended fades.
    let again = provisioned(&kit).await;
    assert_ne!(again, pool);
    assert_eq!(ranges(&kit).await.all("byoipCidrSet/item").len(), 2);
    kit.clock.advance(Duration::from_hours(2));
    ec2::byoip::sweep(&kit.cloud).await.unwrap();
    assert_eq!(state(&kit).await, "provisioned");
}

#[tokio::test]
async fn a_range_that_the_operator_does_not_grant_fails_and_is_in_nobodys_way() {
    let kit = kit().await;
    let hers = [("Cidr", "198.51.100.0/24")];
    let page = [("MaxResults", "5")];
    kit.call_as(BOB, "ec2", "ProvisionByoipCidr", &hers).await.unwrap();
    let shown = kit.call_as(BOB, "ec2", "DescribeByoipCidrs", &page).await.unwrap();
    assert_eq!(shown.one("byoipCidrSet/item/state"), "failed-provision");
    assert!(shown.one("byoipCidrSet/item/statusMessage").contains("operator"));
    let pools = kit.call_as(BOB, "ec2", "DescribePublicIpv4Pools", &[]).await.unwrap();
    assert!(pools.all("publicIpv4PoolSet/item").is_empty());
    let advertised = kit.call_as(BOB, "ec2", "AdvertiseByoipCidr", &hers).await;
    assert_eq!(advertised.unwrap_err().code(), "IncorrectState");
    // A second try replaces the first.
    kit.call_as(BOB, "ec2", "ProvisionByoipCidr", &hers).await.unwrap();
    let shown = kit.call_as(BOB, "ec2", "DescribeByoipCidrs", &page).await.unwrap();
    assert_eq!(shown.all("byoipCidrSet/item").len(), 1);

    done(&kit, "ProvisionByoipCidr", &hers).await;
    assert_eq!(state(&kit).await, "provisioned");
    // Nobody sees or takes what another account brought.
    let pool = done(&kit, "DescribePublicIpv4Pools", &[]).await.one("publicIpv4PoolSet/item/poolId");
    for (asked, code) in [
        ([("PublicIpv4Pool", pool.as_str())], "InvalidPublicIpv4PoolID.NotFound"),
        ([("Address", "198.51.100.7")], "InvalidAddress.NotFound"),
    ] {
        let taken = kit.call_as(BOB, "ec2", "AllocateAddress", &asked).await;
        assert_eq!(taken.unwrap_err().code(), code);
    }
}

#[tokio::test]
async fn what_cannot_be_brought_is_refused_in_the_call() {
    let kit = kit().await;
    provisioned(&kit).await;
    let message = |text| [("Cidr", "203.0.112.0/24"), ("CidrAuthorizationContext.Message", text)];
    for (asked, code) in [
        (vec![("Cidr", "203.0.112.128/25")], "InvalidParameterValue"),
        (vec![("Cidr", "203.0.112.9/24")], "InvalidParameterValue"),
        (vec![("Cidr", "nonsense")], "InvalidParameterValue"),
        (vec![("Cidr", RANGE)], "InvalidParameterValue"),
        (vec![("Cidr", "203.0.112.0/23")], "InvalidParameterValue"),
        (vec![("Cidr", "2001:db8::/48")], "UnsupportedOperation"),
        (vec![("Cidr", "203.0.112.0/24"), ("MultiRegion", "true")], "UnsupportedOperation"),
        (vec![("Cidr", "203.0.112.0/24"), ("NetworkBorderGroup", "mars-1")], "InvalidParameterValue"),
        (
            [&message("1|aws|me")[..], &[("CidrAuthorizationContext.Signature", "ab")]].concat(),
            "InvalidParameterValue",
        ),
        (vec![("Cidr", "203.0.112.0/24"), ("DryRun", "true")], "DryRunOperation"),
    ] {
        assert_eq!(refused(&kit, "ProvisionByoipCidr", &asked).await, code, "{asked:?}");
    }
    for action in ["AdvertiseByoipCidr", "WithdrawByoipCidr", "DeprovisionByoipCidr"] {
        assert_eq!(
            refused(&kit, action, &[("Cidr", "203.0.112.0/24")]).await,
            "InvalidParameterValue",
            "{action}"
        );
    }
    assert_eq!(ranges(&kit).await.all("byoipCidrSet/item").len(), 1, "nothing else was left behind");
    let asn = [("Cidr", RANGE), ("Asn", "65000")];
    assert_eq!(refused(&kit, "AdvertiseByoipCidr", &asn).await, "UnsupportedOperation");
    for (asked, code) in [
        ("ipv4pool-ec2-00000000000000000", "InvalidPublicIpv4PoolID.NotFound"),
        ("ipv4pool-ec2-x", "InvalidPublicIpv4PoolID.Malformed"),
    ] {
        assert_eq!(refused(&kit, "DescribePublicIpv4Pools", &[("PoolId.1", asked)]).await, code);
    }
    // One that never is to be advertised never is.
    done(&kit, "ProvisionByoipCidr", &[("Cidr", "203.0.112.0/24"), ("PubliclyAdvertisable", "false")]).await;
    let states = ranges(&kit).await.all("byoipCidrSet/item/state");
    assert!(states.contains(&"provisioned-not-publicly-advertisable".to_owned()), "{states:?}");
    assert_eq!(refused(&kit, "AdvertiseByoipCidr", &[("Cidr", "203.0.112.0/24")]).await, "IncorrectState");
    let page = done(&kit, "DescribeByoipCidrs", &[("MaxResults", "1")]).await;
    let rest = [("MaxResults", "1"), ("NextToken", &page.one("nextToken"))];
    let rest = done(&kit, "DescribeByoipCidrs", &rest).await;
    assert_ne!(rest.one("byoipCidrSet/item/cidr"), page.one("byoipCidrSet/item/cidr"));
}

#[tokio::test]
async fn addresses_come_out_of_the_pool_any_of_them_or_the_one_that_is_wanted() {
    let kit = kit().await;
    let pool = provisioned(&kit).await;
    let any = done(&kit, "AllocateAddress", &[("PublicIpv4Pool", &pool)]).await;
    assert!(any.one("publicIp").starts_with("203.0.113."));
    assert_eq!(any.one("publicIpv4Pool"), pool);
    assert!(done(&kit, "AllocateAddress", &[]).await.one("publicIp").starts_with("198.18."));
    let wanted = ["203.0.113.0", "203.0.113.255"].into_iter().find(|a| *a != any.one("publicIp")).unwrap();
    let one = done(&kit, "AllocateAddress", &[("Address", wanted)]).await;
    assert_eq!((one.one("publicIp"), one.one("publicIpv4Pool")), (wanted.to_owned(), pool.clone()));
    for asked in [
        vec![("Address", wanted)],
        vec![("Address", "198.18.0.9"), ("PublicIpv4Pool", pool.as_str())],
        vec![("Address", "203.0.113.77"), ("PublicIpv4Pool", "amazon")],
        vec![("Address", "203.0.112.7")],
    ] {
        assert_eq!(refused(&kit, "AllocateAddress", &asked).await, "InvalidAddress.NotFound", "{asked:?}");
    }
    let shown = done(&kit, "DescribeAddresses", &[("PublicIp.1", wanted)]).await;
    assert_eq!(shown.one("addressesSet/item/publicIpv4Pool"), pool);
    let pools = done(&kit, "DescribePublicIpv4Pools", &[]).await;
    assert_eq!(pools.one("publicIpv4PoolSet/item/totalAvailableAddressCount"), "254");
    assert_eq!(pools.one("publicIpv4PoolSet/item/totalAddressCount"), "256");
    let offer = [("AllocationId", &*one.one("allocationId")), ("TransferAccountId", "222222222222")]
        .map(|(k, v)| (k, v.to_owned()));
    let offer: Vec<(&str, &str)> = offer.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(refused(&kit, "EnableAddressTransfer", &offer).await, "UnsupportedOperation");
    // What was released is there to be had again.
    done(&kit, "ReleaseAddress", &[("AllocationId", &one.one("allocationId"))]).await;
    assert_eq!(done(&kit, "AllocateAddress", &[("Address", wanted)]).await.one("publicIp"), wanted);
}

/// What the host is told of an instance's first address.
async fn told(cloud: &Cloud, instance: &str) -> AddressDesired {
    let key = ObjectKey::Instance(InstanceId::parse(instance).unwrap());
    cloud.settled(key).await;
    match cloud.host.object(key).unwrap().body {
        Some(DesiredBody::Instance(wish)) => wish.interfaces[0].addresses[0],
        _ => panic!("{instance} is no instance of the host's"),
    }
}

#[tokio::test]
async fn the_host_maps_an_address_while_its_range_is_advertised() {
    let cloud = cloud_of(kit().await, ROOMY).await;
    let id = cloud.running(&[]).await;
    let pool = provisioned(&cloud.kit).await;
    let made = cloud.ok("AllocateAddress", &[("PublicIpv4Pool", &pool)]).await;
    let (allocation, public) = (made.one("allocationId"), made.one("publicIp").parse().unwrap());
    cloud.ok("AssociateAddress", &[("AllocationId", &allocation), ("InstanceId", &id)]).await;
    assert_eq!(cloud.shown(&id, "ipAddress").await, made.one("publicIp"));
    assert_eq!(cloud.shown(&id, "networkInterfaceSet/item/association/ipOwnerId").await, "111111111111");
    let silent = told(&cloud, &id).await;
    assert_eq!((silent.public, silent.withheld), (None, Some(public)));

    cloud.ok("AdvertiseByoipCidr", &[("Cidr", RANGE)]).await;
    let heard = told(&cloud, &id).await;
    assert_eq!((heard.public, heard.withheld), (Some(public), None));
    cloud.ok("WithdrawByoipCidr", &[("Cidr", RANGE)]).await;
    assert_eq!(told(&cloud, &id).await, silent);
}

#[tokio::test]
async fn a_nat_gateway_has_its_address_while_the_range_is_advertised() {
    let cloud = cloud_of(kit().await, ROOMY).await;
    let id = cloud.running(&[]).await;
    let vpc = VpcId::parse(&cloud.shown(&id, "vpcId").await).unwrap();
    let pool = provisioned(&cloud.kit).await;
    let allocation = cloud.ok("AllocateAddress", &[("PublicIpv4Pool", &pool)]).await.one("allocationId");
    let subnet = default_subnet(&cloud, "us-east-1a").await;
    cloud.ok("CreateNatGateway", &[("SubnetId", &subnet), ("AllocationId", &allocation)]).await;
    for (action, mapped) in [("AdvertiseByoipCidr", true), ("WithdrawByoipCidr", false)] {
        cloud.ok(action, &[("Cidr", RANGE)]).await;
        cloud.settled(ObjectKey::Vpc(vpc)).await;
        let Some(DesiredBody::Vpc(wish)) = cloud.host.object(ObjectKey::Vpc(vpc)).and_then(|o| o.body) else {
            panic!()
        };
        let address = wish.nat_gateways[0].address;
        assert_eq!((address.public.is_some(), address.withheld.is_some()), (mapped, !mapped), "{action}");
    }
}
