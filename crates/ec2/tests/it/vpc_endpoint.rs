//! VPC endpoints: what they own and show, what a host is told of them, and their policies.

use crate::instance::{Cloud, cloud};
use crate::network_interface_attach::default_subnet;
use control::{Passage, Touched};
use model::host::{Arrival, DesiredBody, ObjectKey, VpcDesired};
use model::{SecurityGroupId, VpcId};
use std::sync::Arc;
use std::time::Duration;

const EC2: &str = "com.amazonaws.us-east-1.ec2";

/// The default VPC, and its subnets in two zones.
struct Place {
    cloud: Cloud,
    vpc: String,
    subnets: [String; 2],
}

impl Place {
    async fn new() -> Self {
        let cloud = cloud().await;
        let vpc = crate::default_vpc(&cloud.kit).await;
        let subnets =
            [default_subnet(&cloud, "us-east-1a").await, default_subnet(&cloud, "us-east-1b").await];
        Self { cloud, vpc, subnets }
    }

    fn asked<'a>(&'a self, service: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let usual =
            [("VpcId", self.vpc.as_str()), ("ServiceName", service), ("VpcEndpointType", "Interface")];
        let usual = usual.into_iter().filter(|(name, _)| !more.iter().any(|(given, _)| given == name));
        usual.chain(more.iter().copied()).collect()
    }

    async fn made(&self, service: &str, more: &[(&str, &str)]) -> String {
        self.cloud.ok("CreateVpcEndpoint", &self.asked(service, more)).await.one("vpcEndpoint/vpcEndpointId")
    }

    async fn refused(&self, service: &str, more: &[(&str, &str)]) -> (String, String) {
        let error = self.cloud.kit.call("CreateVpcEndpoint", &self.asked(service, more)).await.unwrap_err();
        (error.code().to_owned(), error.message().to_owned())
    }

    async fn shown(&self, id: &str, path: &str) -> Vec<String> {
        let described = self.cloud.ok("DescribeVpcEndpoints", &[("VpcEndpointId.1", id)]).await;
        described.all(&format!("vpcEndpointSet/item/{path}"))
    }

    async fn wish(&self, vpc: &str) -> Option<Arc<VpcDesired>> {
        let key = ObjectKey::Vpc(VpcId::parse(vpc).unwrap());
        self.cloud.settled(key).await;
        match self.cloud.host.object(key)?.body? {
            DesiredBody::Vpc(wish) => Some(wish),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_endpoint_owns_an_interface_in_each_subnet_and_its_names_lead_there() {
    let place = Place::new().await;
    let (cloud, vpc) = (&place.cloud, &place.vpc);
    let group = crate::group(&cloud.kit, vpc, "doors").await;
    let asked = [
        ("SubnetId.1", place.subnets[0].as_str()),
        ("SubnetId.2", place.subnets[1].as_str()),
        ("SubnetConfiguration.1.SubnetId", place.subnets[0].as_str()),
        ("SubnetConfiguration.1.Ipv4", "172.31.0.77"),
        ("SecurityGroupId.1", group.as_str()),
        ("TagSpecification.1.ResourceType", "vpc-endpoint"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "api"),
    ];
    let made = cloud.ok("CreateVpcEndpoint", &place.asked(EC2, &asked)).await;
    assert_eq!(made.one("vpcEndpoint/state"), "pending");
    let id = made.one("vpcEndpoint/vpcEndpointId");
    for (path, value) in [
        ("state", "available"),
        ("serviceName", EC2),
        ("vpcEndpointType", "Interface"),
        ("vpcId", vpc.as_str()),
        ("privateDnsEnabled", "true"),
        ("ipAddressType", "ipv4"),
        ("groupSet/item/groupId", group.as_str()),
        ("groupSet/item/groupName", "doors"),
    ] {
        assert_eq!(place.shown(&id, path).await, [value], "{path}");
    }
    assert!(place.shown(&id, "policyDocument").await[0].contains("\"Action\": \"*\""));
    let names = place.shown(&id, "dnsEntrySet/item/dnsName").await;
    assert_eq!(names.len(), 4);
    assert!(
        names[0].starts_with(&format!("{id}-")) && names[0].ends_with(".ec2.us-east-1.vpce.amazonaws.com")
    );
    assert!(names[1].contains("-us-east-1a.ec2.") && names[2].contains("-us-east-1b.ec2."));
    assert_eq!(names[3], "ec2.us-east-1.amazonaws.com");
    for (name, value) in [
        ("service-name", EC2),
        ("vpc-endpoint-state", "available"),
        ("vpc-endpoint-type", "Interface"),
        ("tag:Name", "api"),
        ("vpc-id", vpc.as_str()),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeVpcEndpoints", &filter).await;
        assert_eq!(found.all("vpcEndpointSet/item/vpcEndpointId"), [id.as_str()], "{name}");
    }

    let filter = [("Filter.1.Name", "interface-type"), ("Filter.1.Value.1", "vpc_endpoint")];
    let interfaces = cloud.ok("DescribeNetworkInterfaces", &filter).await;
    let of = |path: &str| interfaces.all(&format!("networkInterfaceSet/item/{path}"));
    assert_eq!(of("description"), vec![format!("VPC Endpoint Interface {id}"); 2]);
    assert_eq!((of("status"), of("requesterManaged")), (vec!["in-use".into(); 2], vec!["true".into(); 2]));
    assert!(of("privateIpAddress").contains(&"172.31.0.77".to_owned()));
    let mut own = place.shown(&id, "networkInterfaceIdSet/item").await;
    own.sort();
    let mut all = of("networkInterfaceId");
    all.sort();
    assert_eq!(own, all);

    // There is no instance, and yet the host carries it.
    let wish = place.wish(vpc).await.expect("the VPC is wished for");
    let [told] = &wish.endpoints[..] else { panic!("{:?}", wish.endpoints) };
    assert_eq!((told.endpoint.to_string(), told.interfaces.len()), (id.clone(), 2));
    let lead =
        |name: &str| told.names.iter().find(|n| n.name == name).map(|n| (n.addresses.len(), n.private));
    assert_eq!(lead(&names[0]), Some((2, false)));
    assert_eq!(lead(&names[1]), Some((1, false)));
    assert_eq!(lead(&names[3]), Some((2, true)));
    let key = ObjectKey::SecurityGroup(SecurityGroupId::parse(&group).unwrap());
    assert!(cloud.host.object(key).is_some_and(|object| object.body.is_some()));

    // What it owns is nobody else's, and what it stands in stays.
    let eni = own[0].as_str();
    for (action, parameters, code) in [
        ("DeleteNetworkInterface", vec![("NetworkInterfaceId", eni)], "InvalidParameterValue"),
        (
            "ModifyNetworkInterfaceAttribute",
            vec![("NetworkInterfaceId", eni), ("SecurityGroupId.1", group.as_str())],
            "OperationNotPermitted",
        ),
        ("DeleteSubnet", vec![("SubnetId", place.subnets[1].as_str())], "DependencyViolation"),
        ("DeleteSecurityGroup", vec![("GroupId", group.as_str())], "DependencyViolation"),
    ] {
        assert_eq!(cloud.code(action, &parameters).await, code, "{action}");
    }

    let gone = cloud.ok("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    assert!(gone.all("unsuccessful/item/resourceId").is_empty());
    assert_eq!(place.shown(&id, "state").await, ["deleted"]);
    assert!(cloud.ok("DescribeNetworkInterfaces", &filter).await.all("networkInterfaceSet/item").is_empty());
    assert!(place.wish(vpc).await.is_none(), "the host needs nothing of it any more");
    assert!(cloud.host.object(key).is_none_or(|object| object.body.is_none()));
    let again = cloud.ok("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    assert_eq!(again.one("unsuccessful/item/error/code"), "InvalidVpcEndpointId.NotFound");
    assert_eq!(again.one("unsuccessful/item/resourceId"), id);
    cloud.kit.clock.advance(Duration::from_hours(1));
    ec2::vpc_endpoint::sweep(&cloud.kit.cloud).await.unwrap();
    let code = cloud.code("DescribeVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    assert_eq!(code, "InvalidVpcEndpointId.NotFound");
    cloud.ok("DeleteSecurityGroup", &[("GroupId", &group)]).await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_as_aws_refuses_it() {
    let place = Place::new().await;
    let cloud = &place.cloud;
    let s3 = "com.amazonaws.us-east-1.s3";
    let (code, message) = place.refused(s3, &[]).await;
    assert_eq!(code, "InvalidServiceName");
    assert_eq!(message, format!("The Vpc Endpoint Service '{s3}' does not exist"));
    let (code, message) = place.refused(EC2, &[("VpcEndpointType", "Gateway")]).await;
    assert_eq!(code, "InvalidParameter");
    assert_eq!(message, "Endpoint type (Gateway) does not match available service types ([Interface]).");
    for (more, code) in [
        (vec![("RouteTableId.1", "rtb-0123456789abcdef0")], "InvalidParameter"),
        (vec![("IpAddressType", "ipv5")], "InvalidParameterValue"),
        (vec![("IpAddressType", "dualstack"), ("SubnetId.1", &place.subnets[0])], "InvalidParameter"),
        (vec![("DnsOptions.DnsRecordIpType", "ipv6")], "InvalidParameter"),
        (vec![("PolicyDocument", "{}")], "InvalidPolicyDocument"),
        (vec![("SubnetId.1", "subnet-0123456789abcdef0")], "InvalidSubnetID.NotFound"),
        (vec![("SecurityGroupId.1", "sg-0123456789abcdef0")], "InvalidGroup.NotFound"),
        (vec![("DryRun", "true")], "DryRunOperation"),
    ] {
        assert_eq!(place.refused(EC2, &more).await.0, code, "{more:?}");
    }

    let vpc = crate::vpc(&cloud.kit).await;
    let subnet = async |cidr: &str| {
        let asked = [("VpcId", vpc.as_str()), ("CidrBlock", cidr), ("AvailabilityZone", "us-east-1a")];
        cloud.ok("CreateSubnet", &asked).await.one("subnet/subnetId")
    };
    let (one, two) = (subnet("10.0.1.0/24").await, subnet("10.0.2.0/24").await);
    let asked = |more: &[(&'static str, &str)]| {
        let all = [("VpcId", vpc.as_str()), ("ServiceName", EC2), ("VpcEndpointType", "Interface")];
        let all = all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.collect::<Vec<_>>()
    };
    let code = async |more: &[(&'static str, &str)]| {
        let asked = asked(more);
        let asked: Vec<(&str, &str)> = asked.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        match cloud.kit.call("CreateVpcEndpoint", &asked).await {
            Ok(answer) => answer.one("vpcEndpoint/vpcEndpointId"),
            Err(error) => error.code().to_owned(),
        }
    };
    // Such a VPC has no DNS host names, which private DNS needs.
    assert_eq!(code(&[]).await, "InvalidParameter");
    let without = ("PrivateDnsEnabled", "false");
    assert_eq!(
        code(&[without, ("SubnetId.1", one.as_str()), ("SubnetId.2", two.as_str())]).await,
        "DuplicateSubnetsInSameZone"
    );
    assert_eq!(code(&[without, ("SubnetId.1", place.subnets[0].as_str())]).await, "InvalidParameter");
    let lone = code(&[without]).await;
    assert!(lone.starts_with("vpce-"), "{lone}");
    let delete = [("VpcId", vpc.as_str())];
    cloud.ok("DeleteSubnet", &[("SubnetId", &one)]).await;
    cloud.ok("DeleteSubnet", &[("SubnetId", &two)]).await;
    assert_eq!(cloud.code("DeleteVpc", &delete).await, "DependencyViolation");
    cloud.ok("DeleteVpcEndpoints", &[("VpcEndpointId.1", &lone)]).await;
    cloud.ok("DeleteVpc", &delete).await;

    // A name leads to one endpoint of a VPC.
    place.made(EC2, &[("ClientToken", "one")]).await;
    let (code, message) = place.refused(EC2, &[]).await;
    assert_eq!(code, "InvalidParameter");
    assert!(message.contains("conflicting DNS domain for ec2.us-east-1.amazonaws.com"), "{message}");
    let first = place.made(EC2, &[("ClientToken", "one")]).await;
    assert_eq!(place.shown(&first, "privateDnsEnabled").await, ["true"]);
    let second = place.made(EC2, &[("PrivateDnsEnabled", "false")]).await;
    let enable = [("VpcEndpointId", second.as_str()), ("PrivateDnsEnabled", "true")];
    assert_eq!(cloud.code("ModifyVpcEndpoint", &enable).await, "InvalidParameter");
    cloud.ok("ModifyVpcEndpoint", &[("VpcEndpointId", &first), ("PrivateDnsEnabled", "false")]).await;
    cloud.ok("ModifyVpcEndpoint", &enable).await;
    assert_eq!(place.shown(&second, "privateDnsEnabled").await, ["true"]);
    let bad = [("VpcEndpointId.1", "vpce-zz")];
    assert_eq!(cloud.code("DeleteVpcEndpoints", &bad).await, "InvalidVpcEndpointId.Malformed");
}

#[tokio::test]
async fn an_endpoint_is_changed_in_place() {
    let place = Place::new().await;
    let (cloud, vpc) = (&place.cloud, &place.vpc);
    let id = place.made(EC2, &[("SubnetId.1", &place.subnets[0])]).await;
    let default = place.shown(&id, "groupSet/item/groupId").await.remove(0);
    let group = crate::group(&cloud.kit, vpc, "doors").await;
    let of = |more: &[(&'static str, &str)]| {
        let all = [("VpcEndpointId", id.as_str())];
        let all = all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.collect::<Vec<_>>()
    };
    let modify = async |more: &[(&'static str, &str)]| {
        let asked = of(more);
        let asked: Vec<(&str, &str)> = asked.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        cloud
            .kit
            .call("ModifyVpcEndpoint", &asked)
            .await
            .map_or_else(|error| error.code().to_owned(), |_| String::new())
    };
    assert_eq!(modify(&[("AddSecurityGroupId.1", &group), ("RemoveSecurityGroupId.1", &default)]).await, "");
    assert_eq!(place.shown(&id, "groupSet/item/groupId").await, [group.as_str()]);
    let members = [("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group.as_str())];
    let members = cloud.ok("DescribeNetworkInterfaces", &members).await;
    assert_eq!(members.all("networkInterfaceSet/item/networkInterfaceId").len(), 1);
    assert_eq!(modify(&[("RemoveSecurityGroupId.1", &group)]).await, "InvalidParameterValue");
    assert_eq!(modify(&[("RemoveSecurityGroupId.1", &default)]).await, "InvalidParameter");
    let wish = place.wish(vpc).await.unwrap();
    let told = &wish.endpoints[0].interfaces[0].security_groups;
    assert_eq!(told, &[SecurityGroupId::parse(&group).unwrap()]);
    let left = ObjectKey::SecurityGroup(SecurityGroupId::parse(&default).unwrap());
    cloud.settled(left).await;
    assert!(cloud.host.object(left).is_none_or(|object| object.body.is_none()), "nobody is in it now");

    assert_eq!(modify(&[("AddSubnetId.1", &place.subnets[1])]).await, "");
    assert_eq!(place.shown(&id, "subnetIdSet/item").await.len(), 2);
    assert_eq!(modify(&[("RemoveSubnetId.1", &place.subnets[0])]).await, "");
    assert_eq!(place.shown(&id, "subnetIdSet/item").await, [place.subnets[1].as_str()]);
    assert_eq!(modify(&[("RemoveSubnetId.1", &place.subnets[0])]).await, "InvalidParameter");

    let policy = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}"#;
    assert_eq!(modify(&[("PolicyDocument", policy)]).await, "");
    assert_eq!(place.shown(&id, "policyDocument").await.len(), 1);
    assert!(place.shown(&id, "policyDocument").await[0].contains("Deny"));
    assert_eq!(modify(&[("PolicyDocument", "not one")]).await, "InvalidPolicyDocument");
    assert_eq!(
        modify(&[("PolicyDocument", policy), ("ResetPolicy", "true")]).await,
        "InvalidParameterCombination"
    );
    assert_eq!(modify(&[("ResetPolicy", "true")]).await, "");
    assert!(place.shown(&id, "policyDocument").await[0].contains("\"Effect\": \"Allow\""));
    assert_eq!(modify(&[("AddRouteTableId.1", "rtb-0123456789abcdef0")]).await, "InvalidParameter");
}

#[tokio::test]
async fn the_services_are_those_of_the_cloud() {
    let cloud = cloud().await;
    let all = cloud.ok("DescribeVpcEndpointServices", &[]).await;
    let mut served: Vec<String> =
        testkit::services().iter().map(|s| format!("com.amazonaws.us-east-1.{}", s.shape().name)).collect();
    served.sort();
    assert_eq!(all.all("serviceNameSet/item"), served);
    let one = cloud.ok("DescribeVpcEndpointServices", &[("ServiceName.1", EC2)]).await;
    let shown = |path: &str| one.all(&format!("serviceDetailSet/item/{path}"));
    assert_eq!(shown("serviceType/item/serviceType"), ["Interface"]);
    assert_eq!(shown("privateDnsName"), ["ec2.us-east-1.amazonaws.com"]);
    assert_eq!(shown("baseEndpointDnsNameSet/item"), ["ec2.us-east-1.vpce.amazonaws.com"]);
    assert_eq!(
        (shown("owner"), shown("vpcEndpointPolicySupported")),
        (vec!["amazon".into()], vec!["true".into()])
    );
    assert!(shown("availabilityZoneSet/item").contains(&"us-east-1a".to_owned()));
    let first = cloud.ok("DescribeVpcEndpointServices", &[("MaxResults", "2")]).await;
    let token = first.one("nextToken");
    let rest = cloud.ok("DescribeVpcEndpointServices", &[("NextToken", &token)]).await;
    let both = [first.all("serviceNameSet/item"), rest.all("serviceNameSet/item")].concat();
    assert_eq!(both, served);
    let gateways = [("Filter.1.Name", "service-type"), ("Filter.1.Value.1", "Gateway")];
    assert!(cloud.ok("DescribeVpcEndpointServices", &gateways).await.all("serviceNameSet/item").is_empty());
    let s3 = [("ServiceName.1", "com.amazonaws.us-east-1.s3")];
    assert_eq!(cloud.code("DescribeVpcEndpointServices", &s3).await, "InvalidServiceName");
}

#[tokio::test]
async fn a_policy_says_what_passes_an_endpoint() {
    let place = Place::new().await;
    let cloud = &place.cloud;
    let policy = format!(
        r#"{{"Statement":[
          {{"Effect":"Allow","Principal":"*","Action":"ec2:Describe*","Resource":"*"}},
          {{"Effect":"Allow","Principal":"*","Action":"ec2:DeleteVpc","Resource":"arn:aws:ec2:*:*:vpc/{}"}},
          {{"Effect":"Deny","Principal":"*","Action":"ec2:DescribeImages","Resource":"*",
            "Condition":{{"IpAddress":{{"aws:VpcSourceIp":"172.31.0.0/24"}}}}}}]}}"#,
        place.vpc
    );
    let id = place.made(EC2, &[("PolicyDocument", &policy)]).await;
    let arrival = |source: &str| Arrival {
        region: cloud.kit.region(),
        vpc: place.vpc.parse().unwrap(),
        endpoint: id.parse().unwrap(),
        source: source.parse().unwrap(),
    };
    let found = |source: &str| Passage::find(&cloud.kit.cloud.view.read(), &arrival(source));
    let passage = found("172.31.0.9").unwrap();
    let caller = cloud.kit.context(testkit::ALICE).caller;
    let vpc = |id: &str| {
        let arn = control::Arn::new("ec2", &cloud.kit.region(), caller.account, "vpc", id);
        [Touched::new(arn)]
    };
    let anything = Touched::anything();
    assert_eq!(passage.permit(&caller, "ec2:DescribeVpcs", &anything), Ok(()));
    assert_eq!(passage.permit(&caller, "ec2:DeleteVpc", &vpc(&place.vpc)), Ok(()));
    let why = passage.permit(&caller, "ec2:DeleteVpc", &vpc("vpc-0123456789abcdef0")).unwrap_err();
    assert!(why.ends_with("because no VPC endpoint policy allows the ec2:DeleteVpc action"), "{why}");
    assert!(why.contains("vpc/vpc-0123456789abcdef0"), "{why}");
    assert!(passage.permit(&caller, "ec2:CreateVpc", &anything).is_err());
    let why = passage.permit(&caller, "ec2:DescribeImages", &anything).unwrap_err();
    assert!(why.ends_with("with an explicit deny in a VPC endpoint policy"), "{why}");
    assert_eq!(found("172.31.1.9").unwrap().permit(&caller, "ec2:DescribeImages", &anything), Ok(()));
    cloud.ok("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    assert!(found("172.31.0.9").is_none());
}

#[tokio::test]
async fn an_endpoint_has_addresses_of_both_versions_or_of_either() {
    let place = Place::new().await;
    let cloud = &place.cloud;
    let asked = [("CidrBlock", "10.0.0.0/16"), ("AmazonProvidedIpv6CidrBlock", "true")];
    let vpc = cloud.ok("CreateVpc", &asked).await;
    let block = vpc.one("vpc/ipv6CidrBlockAssociationSet/item/ipv6CidrBlock");
    let vpc = vpc.one("vpc/vpcId");
    let net = |number: u8| block.replace("00::/56", &format!("{number:02x}::/64"));
    let (first, second) = (net(1), net(2));
    let subnet = async |zone: &str, more: &[(&str, &str)]| {
        let mut asked = vec![("VpcId", vpc.as_str()), ("AvailabilityZone", zone)];
        asked.extend(more);
        cloud.ok("CreateSubnet", &asked).await.one("subnet/subnetId")
    };
    let both = subnet("us-east-1a", &[("CidrBlock", "10.0.1.0/24"), ("Ipv6CidrBlock", &first)]).await;
    let native = subnet("us-east-1b", &[("Ipv6Native", "true"), ("Ipv6CidrBlock", &second)]).await;
    let plain = subnet("us-east-1c", &[("CidrBlock", "10.0.3.0/24")]).await;
    let made = async |more: &[(&str, &str)]| {
        let mut asked = vec![("VpcId", vpc.as_str()), ("PrivateDnsEnabled", "false")];
        asked.extend(more);
        let answer = cloud.kit.call("CreateVpcEndpoint", &place.asked(EC2, &asked)).await;
        answer.map_or_else(|e| e.code().to_owned(), |made| made.one("vpcEndpoint/vpcEndpointId"))
    };
    let (dual, six) = (("IpAddressType", "dualstack"), ("IpAddressType", "ipv6"));
    for asked in [
        vec![dual, ("SubnetId.1", plain.as_str())],
        vec![dual, ("SubnetId.1", native.as_str())],
        vec![six, ("SubnetId.1", both.as_str())],
        vec![("SubnetId.1", native.as_str())],
        vec![six, ("DnsOptions.DnsRecordIpType", "ipv4"), ("SubnetId.1", native.as_str())],
    ] {
        assert_eq!(made(&asked).await, "InvalidParameter", "{asked:?}");
    }

    let address = first.replace("::/64", "::77");
    let configured = [
        dual,
        ("SubnetId.1", both.as_str()),
        ("SubnetConfiguration.1.SubnetId", both.as_str()),
        ("SubnetConfiguration.1.Ipv4", "10.0.1.77"),
        ("SubnetConfiguration.1.Ipv6", address.as_str()),
    ];
    let id = made(&configured).await;
    assert_eq!(place.shown(&id, "ipAddressType").await, ["dualstack"]);
    assert_eq!(place.shown(&id, "dnsOptions/dnsRecordIpType").await, ["dualstack"]);
    let told = async || place.wish(&vpc).await.map(|wish| wish.endpoints.clone()).unwrap_or_default();
    let leads = async || {
        let name = told().await.remove(0).names.remove(0);
        name.addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(leads().await, ["10.0.1.77", address.as_str()]);
    let modify = async |more: &[(&str, &str)]| {
        let mut asked = vec![("VpcEndpointId", id.as_str())];
        asked.extend(more);
        cloud.ok("ModifyVpcEndpoint", &asked).await;
    };
    modify(&[("DnsOptions.DnsRecordIpType", "ipv6")]).await;
    assert_eq!(leads().await, [address.as_str()]);
    modify(&[("IpAddressType", "ipv4")]).await;
    assert_eq!(leads().await, ["10.0.1.77"]);
    assert!(told().await[0].interfaces[0].ipv6.is_empty());
    // What it had is free again.
    let again = [("SubnetId", both.as_str()), ("Ipv6Addresses.1.Ipv6Address", address.as_str())];
    cloud.ok("CreateNetworkInterface", &again).await;
    modify(&[dual]).await;
    assert_eq!(told().await[0].interfaces[0].ipv6.len(), 1);
    let filter = [("Filter.1.Name", "ip-address-type"), ("Filter.1.Value.1", "dualstack")];
    let found = cloud.ok("DescribeVpcEndpoints", &filter).await;
    assert_eq!(found.all("vpcEndpointSet/item/vpcEndpointId"), [id.as_str()]);
    cloud.ok("DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;

    let id = made(&[six, ("SubnetId.1", &native)]).await;
    let wish = told().await.remove(0);
    assert_eq!(wish.endpoint.to_string(), id);
    let [interface] = &wish.interfaces[..] else { panic!("{wish:?}") };
    assert!(interface.addresses.is_empty() && interface.ipv6.len() == 1);
    assert_eq!(wish.names[0].addresses, [std::net::IpAddr::V6(interface.ipv6[0])]);
}
