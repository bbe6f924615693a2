//! Subnets of IPv6 alone: how they are made, what stands in them, and what cannot.

use crate::instance::{Cloud, IMAGE, cloud};
use crate::transit_gateway::gateway;
use crate::vpc;
use ipnet::Ipv6Net;
use model::host::{DesiredBody, ObjectKey};
use model::{InstanceId, VpcId};
use std::net::Ipv6Addr;

const SUBNET: &str = "subnetSet/item";
const NAMES: &str = "privateDnsNameOptionsOnLaunch";

/// A VPC with a block, a subnet of IPv6 alone in it, and its net.
struct Place {
    cloud: Cloud,
    vpc: String,
    block: Ipv6Net,
    subnet: String,
    net: Ipv6Net,
}

impl Place {
    async fn new() -> Self {
        let cloud = cloud().await;
        let asked = [("CidrBlock", "10.0.0.0/16"), ("AmazonProvidedIpv6CidrBlock", "true")];
        let made = cloud.ok("CreateVpc", &asked).await;
        let block: Ipv6Net = made.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock").parse().unwrap();
        let (vpc, net) = (made.one("vpc/vpcId"), block.subnets(64).unwrap().nth(1).unwrap());
        let text = net.to_string();
        let asked = [("VpcId", vpc.as_str()), ("Ipv6Native", "true"), ("Ipv6CidrBlock", text.as_str())];
        let made = cloud.ok("CreateSubnet", &asked).await;
        assert_eq!(made.one("subnet/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock"), text);
        assert!(made.all("subnet/cidrBlock").is_empty());
        let subnet = made.one("subnet/subnetId");
        Self { cloud, vpc, block, subnet, net }
    }

    async fn code(&self, action: &str, key: &str, more: &[(&str, &str)]) -> String {
        let own = [(key, self.subnet.as_str())];
        self.cloud.code(action, &[own.as_slice(), more].concat()).await
    }

    async fn shown(&self, path: &str) -> String {
        let found = self.cloud.ok("DescribeSubnets", &[("SubnetId.1", &self.subnet)]).await;
        found.one(&format!("{SUBNET}/{path}"))
    }

    async fn interface(&self, more: &[(&str, &str)]) -> testkit::Answer {
        let own = [("SubnetId", self.subnet.as_str())];
        self.cloud.ok("CreateNetworkInterface", &[own.as_slice(), more].concat()).await
    }

    /// The address of that number.
    fn at(&self, number: u128) -> String {
        Ipv6Addr::from_bits(self.net.network().to_bits() | number).to_string()
    }
}

#[tokio::test]
async fn such_a_subnet_has_an_ipv6_block_and_nothing_of_ipv4() {
    let place = Place::new().await;
    for (path, value) in [
        ("ipv6Native", "true"),
        ("availableIpAddressCount", "0"),
        ("assignIpv6AddressOnCreation", "true"),
        ("mapPublicIpOnLaunch", "false"),
        (&format!("{NAMES}/hostnameType"), "resource-name"),
        (&format!("{NAMES}/enableResourceNameDnsARecord"), "false"),
        (&format!("{NAMES}/enableResourceNameDnsAAAARecord"), "true"),
    ] {
        assert_eq!(place.shown(path).await, value, "{path}");
    }
    crate::subnet(&place.cloud.kit, &place.vpc, "10.0.2.0/24").await;
    for (name, value) in [
        ("ipv6-native", "true"),
        ("private-dns-name-options-on-launch.hostname-type", "resource-name"),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", "true"),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = place.cloud.ok("DescribeSubnets", &filter).await;
        assert_eq!(found.all(&format!("{SUBNET}/subnetId")), [place.subnet.as_str()], "{name}");
    }
    let any = [("Filter.1.Name", "cidr-block"), ("Filter.1.Value.1", "*")];
    let any = place.cloud.ok("DescribeSubnets", &any).await.all(&format!("{SUBNET}/subnetId"));
    assert!(!any.is_empty() && !any.contains(&place.subnet));
    // Its block is all that it has.
    let association = place.shown("ipv6CidrBlockAssociationSet/item/associationId").await;
    let code = place.cloud.code("DisassociateSubnetCidrBlock", &[("AssociationId", &association)]).await;
    assert_eq!(code, "InvalidCidrBlock.InUse");
    let half = format!("{}/65", place.net.network());
    let kept = [("Cidr", half.as_str()), ("ReservationType", "explicit")];
    let asked = [[("SubnetId", place.subnet.as_str())].as_slice(), &kept].concat();
    place.cloud.ok("CreateSubnetCidrReservation", &asked).await;
    let v4 = [("Cidr", "10.0.1.0/28"), ("ReservationType", "explicit")];
    assert_eq!(place.code("CreateSubnetCidrReservation", "SubnetId", &v4).await, "InvalidParameterValue");
    place.cloud.ok("DeleteSubnet", &[("SubnetId", &place.subnet)]).await;
}

#[tokio::test]
async fn it_is_made_of_an_ipv6_block_and_of_no_other() {
    let place = Place::new().await;
    let (taken, free) = (place.net.to_string(), place.block.subnets(64).unwrap().nth(2).unwrap().to_string());
    let native = [("VpcId", place.vpc.as_str()), ("Ipv6Native", "true")];
    for (more, code) in [
        (vec![], "MissingParameter"),
        (vec![("CidrBlock", "10.0.1.0/24")], "MissingParameter"),
        (vec![("CidrBlock", "10.0.1.0/24"), ("Ipv6CidrBlock", &free)], "InvalidParameterCombination"),
        (vec![("Ipv6CidrBlock", &taken)], "InvalidSubnet.Conflict"),
        (vec![("Ipv6CidrBlock", "2001:db8::/64")], "InvalidSubnet.Range"),
    ] {
        let asked = [native.as_slice(), &more].concat();
        assert_eq!(place.cloud.code("CreateSubnet", &asked).await, code, "{more:?}");
    }
    let plain = [("VpcId", place.vpc.as_str()), ("Ipv6CidrBlock", &free)];
    assert_eq!(place.cloud.code("CreateSubnet", &plain).await, "MissingParameter");
    let without = vpc(&place.cloud.kit).await;
    let asked = [("VpcId", without.as_str()), ("Ipv6Native", "true"), ("Ipv6CidrBlock", &free)];
    assert_eq!(place.cloud.code("CreateSubnet", &asked).await, "InvalidSubnet.Range");
}

#[tokio::test]
async fn its_attributes_are_what_they_must_be() {
    let place = Place::new().await;
    for (attribute, value) in [
        ("MapPublicIpOnLaunch.Value", "true"),
        ("AssignIpv6AddressOnCreation.Value", "false"),
        ("PrivateDnsHostnameTypeOnLaunch", "ip-name"),
        ("EnableResourceNameDnsARecordOnLaunch.Value", "true"),
    ] {
        let code = place.code("ModifySubnetAttribute", "SubnetId", &[(attribute, value)]).await;
        assert_eq!(code, "InvalidParameterValue", "{attribute}");
    }
    let off = [("EnableResourceNameDnsAAAARecordOnLaunch.Value", "false")];
    assert_eq!(place.code("ModifySubnetAttribute", "SubnetId", &off).await, "UnsupportedOperation");
    for (attribute, value) in [
        ("MapPublicIpOnLaunch.Value", "false"),
        ("AssignIpv6AddressOnCreation.Value", "true"),
        ("PrivateDnsHostnameTypeOnLaunch", "resource-name"),
        ("EnableResourceNameDnsAAAARecordOnLaunch.Value", "true"),
    ] {
        let asked = [("SubnetId", place.subnet.as_str()), (attribute, value)];
        place.cloud.ok("ModifySubnetAttribute", &asked).await;
    }
    assert_eq!(place.shown("assignIpv6AddressOnCreation").await, "true");
    // Of others it is as it was.
    let other = crate::subnet(&place.cloud.kit, &place.vpc, "10.0.2.0/24").await;
    let asked = [("SubnetId", other.as_str()), ("PrivateDnsHostnameTypeOnLaunch", "resource-name")];
    assert_eq!(place.cloud.code("ModifySubnetAttribute", &asked).await, "UnsupportedOperation");
}

#[tokio::test]
async fn its_interfaces_have_ipv6_addresses_alone() {
    let place = Place::new().await;
    let made = place.interface(&[]).await;
    let given: Ipv6Addr = made.one("networkInterface/ipv6Address").parse().unwrap();
    assert!(place.net.contains(&given));
    assert_eq!(made.one("networkInterface/ipv6Native"), "true");
    for path in ["privateIpAddress", "privateIpAddressesSet/item", "privateDnsName"] {
        assert!(made.all(&format!("networkInterface/{path}")).is_empty(), "{path}");
    }
    let named = place.interface(&[("Ipv6Addresses.1.Ipv6Address", &place.at(16))]).await;
    assert_eq!(named.one("networkInterface/ipv6Address"), place.at(16));
    let none = place.interface(&[("Ipv6AddressCount", "0")]).await;
    assert_eq!(none.all("networkInterface/ipv6AddressesSet/item").len(), 1, "it is not made without one");
    for more in [
        ("PrivateIpAddress", "10.0.1.9"),
        ("PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.9"),
        ("SecondaryPrivateIpAddressCount", "1"),
        ("Ipv4PrefixCount", "1"),
        ("Ipv4Prefix.1.Ipv4Prefix", "10.0.1.16/28"),
    ] {
        let code = place.code("CreateNetworkInterface", "SubnetId", &[more]).await;
        assert_eq!(code, "InvalidParameterValue", "{more:?}");
    }
    let id = made.one("networkInterface/networkInterfaceId");
    let own = [("NetworkInterfaceId", id.as_str())];
    for more in [
        ("SecondaryPrivateIpAddressCount", "1"),
        ("PrivateIpAddress.1", "10.0.1.9"),
        ("Ipv4PrefixCount", "1"),
    ] {
        let code = place.cloud.code("AssignPrivateIpAddresses", &[own.as_slice(), &[more]].concat()).await;
        assert_eq!(code, "InvalidParameterValue", "{more:?}");
    }
    let more = [own.as_slice(), &[("Ipv6AddressCount", "2")]].concat();
    place.cloud.ok("AssignIpv6Addresses", &more).await;
    let internet =
        place.cloud.ok("CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    let joined = [("InternetGatewayId", internet.as_str()), ("VpcId", place.vpc.as_str())];
    place.cloud.ok("AttachInternetGateway", &joined).await;
    let elastic = place.cloud.ok("AllocateAddress", &[]).await.one("allocationId");
    let asked = [own.as_slice(), &[("AllocationId", elastic.as_str())]].concat();
    assert_eq!(place.cloud.code("AssociateAddress", &asked).await, "InvalidParameterValue");
    assert_eq!(place.cloud.code("CreateTrafficMirrorTarget", &own).await, "InvalidParameterValue");
    let asked = [own.as_slice(), &[("Attribute", "associatePublicIpAddress")]].concat();
    let told = place.cloud.ok("DescribeNetworkInterfaceAttribute", &asked).await;
    assert_eq!(told.one("associatePublicIpAddress"), "false");
    place.cloud.ok("DeleteNetworkInterface", &own).await;
}

#[tokio::test]
async fn what_needs_an_ipv4_address_stands_in_none() {
    let place = Place::new().await;
    let private = [("ConnectivityType", "private")];
    assert_eq!(place.code("CreateNatGateway", "SubnetId", &private).await, "InvalidParameterValue");
    let service = [
        ("VpcId", place.vpc.as_str()),
        ("ServiceName", "com.amazonaws.us-east-1.ec2"),
        ("VpcEndpointType", "Interface"),
        ("PrivateDnsEnabled", "false"),
    ];
    assert_eq!(place.code("CreateVpcEndpoint", "SubnetId.1", &service).await, "InvalidParameter");
    let hub = gateway(&place.cloud.kit, &[]).await;
    let asked = [
        ("TransitGatewayId", hub.as_str()),
        ("VpcId", place.vpc.as_str()),
        ("Options.Ipv6Support", "enable"),
    ];
    let code = place.code("CreateTransitGatewayVpcAttachment", "SubnetIds.1", &asked).await;
    assert_eq!(code, "InvalidParameterValue");
}

#[tokio::test]
async fn an_instance_in_it_goes_by_its_id() {
    let place = Place::new().await;
    let (cloud, place_of) = (&place.cloud, ("SubnetId", place.subnet.as_str()));
    let names = [
        ("PrivateDnsNameOptions.HostnameType", "resource-name"),
        ("PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord", "true"),
    ];
    let id = cloud.running(&[[place_of].as_slice(), &names].concat()).await;
    let address: Ipv6Addr = cloud.shown(&id, "ipv6Address").await.parse().unwrap();
    assert!(place.net.contains(&address));
    let name = format!("{id}.ec2.internal");
    for (path, value) in [
        ("privateDnsName", name.as_str()),
        ("networkInterfaceSet/item/privateDnsName", &name),
        ("networkInterfaceSet/item/ipv6AddressesSet/item/ipv6Address", &address.to_string()),
        ("privateDnsNameOptions/hostnameType", "resource-name"),
        ("privateDnsNameOptions/enableResourceNameDnsARecord", "false"),
        ("privateDnsNameOptions/enableResourceNameDnsAAAARecord", "true"),
        ("metadataOptions/httpProtocolIpv6", "disabled"),
    ] {
        assert_eq!(cloud.shown(&id, path).await, value, "{path}");
    }
    for path in ["privateIpAddress", "ipAddress", "networkInterfaceSet/item/privateIpAddress"] {
        assert!(cloud.shown_all(&id, path).await.is_empty(), "{path}");
    }
    let interface = cloud.shown(&id, "networkInterfaceSet/item/networkInterfaceId").await;
    let dns = [("VpcId", place.vpc.as_str()), ("EnableDnsHostnames.Value", "true")];
    cloud.ok("ModifyVpcAttribute", &dns).await;
    let found = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &interface)]).await;
    assert_eq!(found.one("networkInterfaceSet/item/privateDnsName"), name);
    for (filter, value) in [
        ("private-dns-name", name.as_str()),
        ("network-interface.private-dns-name", &name),
        ("private-dns-name-options.hostname-type", "resource-name"),
        ("private-dns-name-options.enable-resource-name-dns-aaaa-record", "true"),
        ("network-interface.ipv6-addresses.ipv6-address", &address.to_string()),
    ] {
        let filter = [("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeInstances", &filter).await;
        assert_eq!(
            found.all("reservationSet/item/instancesSet/item/instanceId"),
            [id.as_str()],
            "{filter:?}"
        );
    }
    let by_address = [("Filter.1.Name", "private-ip-address"), ("Filter.1.Value.1", "10.0.0.9")];
    assert!(cloud.ok("DescribeInstances", &by_address).await.all("reservationSet/item").is_empty());
    // What its host is told of it.
    let key = ObjectKey::Instance(InstanceId::parse(&id).unwrap());
    cloud.settled(key).await;
    let Some(DesiredBody::Instance(wish)) = cloud.host.object(key).unwrap().body else { panic!() };
    let told = &wish.interfaces[0];
    assert_eq!((told.subnet_cidr, told.addresses.len(), told.ipv6.as_slice()), (None, 0, &[address][..]));
    assert_eq!(told.hostname, id);
    let key = ObjectKey::Vpc(VpcId::parse(&place.vpc).unwrap());
    cloud.settled(key).await;
    let Some(DesiredBody::Vpc(wish)) = cloud.host.object(key).unwrap().body else { panic!() };
    assert_eq!((wish.subnets[0].cidr, wish.subnets[0].ipv6_cidr), (None, Some(place.net)));
    let elastic = cloud.ok("AllocateAddress", &[]).await.one("allocationId");
    let asked = [("InstanceId", id.as_str()), ("AllocationId", elastic.as_str())];
    let internet = cloud.ok("CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    let joined = [("InternetGatewayId", internet.as_str()), ("VpcId", place.vpc.as_str())];
    cloud.ok("AttachInternetGateway", &joined).await;
    assert_eq!(cloud.code("AssociateAddress", &asked).await, "InvalidParameterValue");
    // It is stopped and started as any other.
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    let run = model::host::InstancePhase::Stopped { run: 1, cause: model::host::StopCause::Requested };
    cloud.observe(&id, run).await;
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.shown(&id, "ipv6Address").await, address.to_string());
}

#[tokio::test]
async fn a_launch_into_it_asks_for_nothing_of_ipv4() {
    let place = Place::new().await;
    let (cloud, count) = (&place.cloud, [("ImageId", IMAGE), ("MinCount", "1"), ("MaxCount", "1")]);
    let nested = [("NetworkInterface.1.DeviceIndex", "0"), ("NetworkInterface.1.SubnetId", &*place.subnet)];
    let plain = [("SubnetId", &*place.subnet)];
    for (own, more, code) in [
        (&plain[..], ("PrivateIpAddress", "10.0.1.9"), "InvalidParameterValue"),
        (&plain, ("PrivateDnsNameOptions.HostnameType", "ip-name"), "InvalidParameterValue"),
        (&plain, ("PrivateDnsNameOptions.EnableResourceNameDnsARecord", "true"), "InvalidParameterValue"),
        (&plain, ("PrivateDnsNameOptions.EnableResourceNameDnsAAAARecord", "false"), "UnsupportedOperation"),
        (&nested, ("NetworkInterface.1.AssociatePublicIpAddress", "true"), "InvalidParameterValue"),
        (&nested, ("NetworkInterface.1.PrivateIpAddress", "10.0.1.9"), "InvalidParameterValue"),
        (&nested, ("NetworkInterface.1.SecondaryPrivateIpAddressCount", "1"), "InvalidParameterValue"),
        (&nested, ("NetworkInterface.1.Ipv4PrefixCount", "1"), "InvalidParameterValue"),
    ] {
        let asked = [&count[..], &[("InstanceType", "t3.micro")], own, &[more]].concat();
        assert_eq!(cloud.code("RunInstances", &asked).await, code, "{more:?}");
    }
    let old = [&count[..], &[("InstanceType", "t2.micro")], &plain].concat();
    assert_eq!(cloud.code("RunInstances", &old).await, "InvalidParameterCombination");
    // Names by ID are for subnets that have nothing else.
    let other = crate::subnet(&cloud.kit, &place.vpc, "10.0.2.0/24").await;
    let named = [
        ("InstanceType", "t3.micro"),
        ("SubnetId", &*other),
        ("PrivateDnsNameOptions.HostnameType", "resource-name"),
    ];
    assert_eq!(cloud.code("RunInstances", &[&count[..], &named].concat()).await, "UnsupportedOperation");
    // An address that is named, several at once, and an interface that was there.
    let address = place.at(32);
    let made = cloud.launch(&[plain[0], ("Ipv6Address.1.Ipv6Address", &address)]).await;
    assert_eq!(made.one("instancesSet/item/ipv6Address"), address);
    let many = cloud.launch(&[plain[0], ("MinCount", "3"), ("MaxCount", "3")]).await;
    assert_eq!(many.all("instancesSet/item/ipv6Address").len(), 3);
    let there = place.interface(&[]).await;
    let (id, own) =
        (there.one("networkInterface/networkInterfaceId"), there.one("networkInterface/ipv6Address"));
    let by = [("NetworkInterface.1.DeviceIndex", "0"), ("NetworkInterface.1.NetworkInterfaceId", &*id)];
    assert_eq!(cloud.launch(&by).await.one("instancesSet/item/ipv6Address"), own);
    // As a second interface of an instance that has IPv4.
    let zone = place.shown("availabilityZone").await;
    let asked = [("VpcId", &*place.vpc), ("CidrBlock", "10.0.3.0/24"), ("AvailabilityZone", &*zone)];
    let beside = cloud.ok("CreateSubnet", &asked).await.one("subnet/subnetId");
    let both = [
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.SubnetId", &*beside),
        ("NetworkInterface.2.DeviceIndex", "1"),
        ("NetworkInterface.2.SubnetId", &*place.subnet),
    ];
    let made = cloud.launch(&both).await;
    assert_eq!(made.one("instancesSet/item/privateDnsNameOptions/hostnameType"), "ip-name");
    assert_eq!(made.all("instancesSet/item/networkInterfaceSet/item/privateIpAddress").len(), 1);
    assert_eq!(made.all("instancesSet/item/networkInterfaceSet/item/ipv6AddressesSet/item").len(), 1);
}

#[tokio::test]
async fn a_default_subnet_may_be_one() {
    let cloud = cloud().await;
    let vpc = crate::default_vpc(&cloud.kit).await;
    let zone = ("AvailabilityZone", "us-east-1a");
    let filter = [
        ("Filter.1.Name", "availability-zone"),
        ("Filter.1.Value.1", "us-east-1a"),
        ("Filter.2.Name", "default-for-az"),
        ("Filter.2.Value.1", "true"),
    ];
    let old = cloud.ok("DescribeSubnets", &filter).await.one("subnetSet/item/subnetId");
    let asked = [zone, ("Ipv6Native", "true")];
    let code = cloud.code("CreateDefaultSubnet", &asked).await;
    assert_eq!(code, "DefaultSubnetAlreadyExistsInAvailabilityZone");
    cloud.ok("DeleteSubnet", &[("SubnetId", &old)]).await;
    assert_eq!(cloud.code("CreateDefaultSubnet", &asked).await, "InvalidParameterValue", "it has no block");
    let with = [("VpcId", vpc.as_str()), ("AmazonProvidedIpv6CidrBlock", "true")];
    cloud.ok("AssociateVpcCidrBlock", &with).await;
    let made = cloud.ok("CreateDefaultSubnet", &asked).await;
    for (path, value) in [("ipv6Native", "true"), ("defaultForAz", "true"), ("mapPublicIpOnLaunch", "false")]
    {
        assert_eq!(made.one(&format!("subnet/{path}")), value);
    }
    let id = cloud.running(&[("Placement.AvailabilityZone", "us-east-1a")]).await;
    assert_eq!(cloud.shown(&id, "privateDnsName").await, format!("{id}.ec2.internal"));
    assert!(cloud.shown_all(&id, "ipAddress").await.is_empty());
}
