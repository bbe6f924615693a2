//! VPC endpoint services: what they are made of, who may connect, and what hosts are told on both sides.

use crate::instance::{Cloud, cloud};
use crate::network_insights::{ONE, analyze, codes, default_group, path};
use crate::network_interface_attach::made;
use model::host::{DesiredBody, EndpointLead, ObjectKey, ServiceNodeDesired, VpcDesired};
use model::{NetworkInterfaceId, VpcId};
use std::sync::Arc;
use testkit::{ALICE, Answer, BOB};

const CREATE: &str = "CreateVpcEndpointServiceConfiguration";
const MODIFY: &str = "ModifyVpcEndpointServiceConfiguration";

fn arn(interface: &str) -> String {
    format!("arn:aws:ec2:us-east-1:{ALICE}:network-interface/{interface}")
}

/// Alice's service at an interface in the default VPC, and Bob's VPC, which has the same ranges.
struct Place {
    cloud: Cloud,
    service: String,
    name: String,
    target: String,
    theirs: String,
    subnet: String,
}

impl Place {
    async fn new(more: &[(&str, &str)]) -> Self {
        let cloud = cloud().await;
        let target = made(&cloud, "us-east-1a", &[]).await;
        let named = arn(&target);
        let mut asked = vec![("NetworkLoadBalancerArn.1", named.as_str())];
        asked.extend(more);
        let answer = cloud.ok(CREATE, &asked).await;
        let service = answer.one("serviceConfiguration/serviceId");
        let name = answer.one("serviceConfiguration/serviceName");
        let bob = async |action: &str, parameters: &[(&str, &str)]| {
            cloud.kit.call_as(BOB, "ec2", action, parameters).await.unwrap()
        };
        let theirs = bob("CreateVpc", &[("CidrBlock", "172.31.0.0/16")]).await.one("vpc/vpcId");
        let subnet =
            [("VpcId", theirs.as_str()), ("CidrBlock", "172.31.0.0/20"), ("AvailabilityZone", "us-east-1a")];
        let subnet = bob("CreateSubnet", &subnet).await.one("subnet/subnetId");
        Self { cloud, service, name, target, theirs, subnet }
    }

    async fn bob(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Answer, String> {
        let answer = self.cloud.kit.call_as(BOB, "ec2", action, parameters).await;
        answer.map_err(|error| format!("{}: {}", error.code(), error.message()))
    }

    async fn connect(&self, more: &[(&str, &str)]) -> Result<String, String> {
        let mut asked = vec![
            ("VpcId", self.theirs.as_str()),
            ("VpcEndpointType", "Interface"),
            ("ServiceName", self.name.as_str()),
            ("SubnetId.1", self.subnet.as_str()),
        ];
        asked.extend(more);
        Ok(self.bob("CreateVpcEndpoint", &asked).await?.one("vpcEndpoint/vpcEndpointId"))
    }

    async fn allow(&self, principal: &str) -> Answer {
        let asked = [("ServiceId", self.service.as_str()), ("AddAllowedPrincipals.1", principal)];
        self.cloud.ok("ModifyVpcEndpointServicePermissions", &asked).await
    }

    /// Accepts or rejects; what came of it.
    async fn say(&self, action: &str, endpoint: &str) -> Vec<String> {
        let asked = [("ServiceId", self.service.as_str()), ("VpcEndpointId.1", endpoint)];
        self.cloud.ok(action, &asked).await.all("unsuccessful/item/error/code")
    }

    async fn state(&self, endpoint: &str) -> String {
        let shown = self.bob("DescribeVpcEndpoints", &[("VpcEndpointId.1", endpoint)]).await.unwrap();
        shown.one("vpcEndpointSet/item/state")
    }

    async fn wish(&self, vpc: VpcId) -> Option<Arc<VpcDesired>> {
        let key = ObjectKey::Vpc(vpc);
        self.cloud.settled(key).await;
        match self.cloud.host.object(key)?.body? {
            DesiredBody::Vpc(wish) => Some(wish),
            other => panic!("{other:?}"),
        }
    }

    /// What the host knows of the service's nodes.
    async fn nodes(&self) -> Vec<ServiceNodeDesired> {
        let own = crate::default_vpc(&self.cloud.kit).await;
        let wish = self.wish(VpcId::parse(&own).unwrap()).await;
        wish.map(|wish| wish.service_nodes.clone()).unwrap_or_default()
    }

    /// To which node the only interface of the only endpoint of Bob's leads.
    async fn lead(&self) -> Option<NetworkInterfaceId> {
        let wish = self.wish(VpcId::parse(&self.theirs).unwrap()).await?;
        let [endpoint] = &wish.endpoints[..] else { panic!("{:?}", wish.endpoints) };
        let EndpointLead::Service(links) = &endpoint.lead else { panic!("{endpoint:?}") };
        assert!(links.iter().all(|link| link.interface == endpoint.interfaces[0].interface));
        links.first().map(|link| link.node)
    }
}

#[tokio::test]
async fn a_service_has_a_node_beside_each_of_its_targets() {
    let place = Place::new(&[
        ("TagSpecification.1.ResourceType", "vpc-endpoint-service"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "shop"),
    ])
    .await;
    let cloud = &place.cloud;
    let shown = cloud.ok("DescribeVpcEndpointServiceConfigurations", &[]).await;
    let of = |path: &str| shown.one(&format!("serviceConfigurationSet/item/{path}"));
    assert_eq!(of("serviceId"), place.service);
    assert_eq!(place.name, format!("com.amazonaws.vpce.us-east-1.{}", place.service));
    for (path, value) in [
        ("serviceName", place.name.as_str()),
        ("serviceState", "Available"),
        ("serviceType/item/serviceType", "Interface"),
        ("acceptanceRequired", "true"),
        ("availabilityZoneSet/item", "us-east-1a"),
        ("networkLoadBalancerArnSet/item", &arn(&place.target)),
        ("baseEndpointDnsNameSet/item", &format!("{}.us-east-1.vpce.amazonaws.com", place.service)),
        ("tagSet/item/value", "shop"),
    ] {
        assert_eq!(of(path), value, "{path}");
    }
    for (name, value) in
        [("service-id", place.service.as_str()), ("service-name", &place.name), ("tag:Name", "shop")]
    {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeVpcEndpointServiceConfigurations", &filter).await;
        assert_eq!(found.all("serviceConfigurationSet/item/serviceId"), [place.service.as_str()], "{name}");
    }

    let [node] = &place.nodes().await[..] else { panic!("one node") };
    assert!(node.clients.is_empty() && node.interface.security_groups.is_empty());
    let id = node.interface.interface.to_string();
    let shown = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &id)]).await;
    let of = |path: &str| shown.one(&format!("networkInterfaceSet/item/{path}"));
    assert_eq!(of("description"), format!("VPC Endpoint Service {}", place.service));
    assert_eq!((of("requesterManaged").as_str(), of("status").as_str()), ("true", "in-use"));
    assert_eq!(of("interfaceType"), "network_load_balancer");
    let target = cloud.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &place.target)]).await;
    let address = target.one("networkInterfaceSet/item/privateIpAddress");
    assert_eq!(node.target.map(|address| address.to_string()), Some(address));
    // Nobody else's to change.
    assert_eq!(
        cloud.code("DeleteNetworkInterface", &[("NetworkInterfaceId", &id)]).await,
        "InvalidParameterValue"
    );
    let taken = arn(&id);
    let asked = [("NetworkLoadBalancerArn.1", taken.as_str())];
    assert_eq!(cloud.code(CREATE, &asked).await, "OperationNotPermitted");

    // A target that goes leads nowhere; the service stays.
    cloud.ok("DeleteNetworkInterface", &[("NetworkInterfaceId", &place.target)]).await;
    assert_eq!(place.nodes().await[0].target, None);
    let by_id = [("ServiceId.1", place.service.as_str())];
    let deleted = cloud.ok("DeleteVpcEndpointServiceConfigurations", &by_id).await;
    assert!(deleted.all("unsuccessful/item").is_empty());
    assert!(place.nodes().await.is_empty());
    assert_eq!(
        cloud.code("DescribeVpcEndpointServiceConfigurations", &by_id).await,
        "InvalidVpcEndpointServiceId.NotFound"
    );
    assert_eq!(
        cloud.code("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", &id)]).await,
        "InvalidNetworkInterfaceID.NotFound"
    );
    let again = cloud.ok("DeleteVpcEndpointServiceConfigurations", &by_id).await;
    assert_eq!(again.one("unsuccessful/item/error/code"), "InvalidVpcEndpointServiceId.NotFound");
}

#[tokio::test]
async fn what_a_service_cannot_be_made_of_is_refused() {
    let cloud = cloud().await;
    let target = made(&cloud, "us-east-1a", &[]).await;
    let beside = made(&cloud, "us-east-1a", &[]).await;
    let (target, beside) = (arn(&target), arn(&beside));
    let balancer =
        format!("arn:aws:elasticloadbalancing:us-east-1:{ALICE}:loadbalancer/net/a/50dc6c495c0c9188");
    let elsewhere = target.replace("us-east-1", "eu-west-1");
    for (asked, code) in [
        (vec![], "MissingParameter"),
        (vec![("NetworkLoadBalancerArn.1", balancer.as_str())], "LoadBalancerNotFound"),
        (vec![("NetworkLoadBalancerArn.1", "eni-0123456789abcdef0")], "InvalidParameterValue"),
        (vec![("NetworkLoadBalancerArn.1", elsewhere.as_str())], "InvalidParameterValue"),
        (
            vec![("NetworkLoadBalancerArn.1", &arn("eni-0123456789abcdef0"))],
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            vec![("NetworkLoadBalancerArn.1", &target), ("NetworkLoadBalancerArn.2", &beside)],
            "InvalidParameterValue",
        ),
        (vec![("GatewayLoadBalancerArn.1", &balancer)], "UnsupportedOperation"),
        (
            vec![("NetworkLoadBalancerArn.1", &target), ("SupportedIpAddressType.1", "ipv6")],
            "UnsupportedOperation",
        ),
        (
            vec![("NetworkLoadBalancerArn.1", &target), ("PrivateDnsName", "shop.example.com")],
            "UnsupportedOperation",
        ),
    ] {
        assert_eq!(cloud.code(CREATE, &asked).await, code, "{asked:?}");
    }
    let none = cloud.ok("DescribeVpcEndpointServiceConfigurations", &[]).await;
    assert!(none.all("serviceConfigurationSet/item").is_empty());
    let filter = [("Filter.1.Name", "interface-type"), ("Filter.1.Value.1", "network_load_balancer")];
    let nodes = cloud.ok("DescribeNetworkInterfaces", &filter).await;
    assert!(nodes.all("networkInterfaceSet/item").is_empty(), "nothing is left of what was refused");
}

#[tokio::test]
async fn whoever_is_allowed_sees_a_service_and_makes_endpoints() {
    let place = Place::new(&[("AcceptanceRequired", "false")]).await;
    let offered = async || {
        let all = place.bob("DescribeVpcEndpointServices", &[]).await.unwrap();
        all.all("serviceDetailSet/item/serviceName").contains(&place.name)
    };
    assert!(!offered().await);
    assert!(place.connect(&[]).await.unwrap_err().starts_with("InvalidServiceName"));
    let by_id = [("ServiceId", place.service.as_str())];
    assert!(place.bob("DescribeVpcEndpointServicePermissions", &by_id).await.is_err(), "the owner's to see");
    let permissions = "ModifyVpcEndpointServicePermissions";
    let nobody = [by_id[0], ("AddAllowedPrincipals.1", "bob")];
    assert_eq!(place.cloud.code(permissions, &nobody).await, "InvalidPrincipal");

    let bob = format!("arn:aws:iam::{BOB}:root");
    let added = place.allow(&bob).await;
    assert_eq!(added.one("addedPrincipalSet/item/principalType"), "Account");
    assert!(place.allow(&bob).await.all("addedPrincipalSet/item").is_empty(), "it is there already");
    let shown = place.cloud.ok("DescribeVpcEndpointServicePermissions", &by_id).await;
    assert_eq!(shown.one("allowedPrincipals/item/principal"), bob);
    assert_eq!(
        shown.one("allowedPrincipals/item/servicePermissionId"),
        added.one("addedPrincipalSet/item/servicePermissionId")
    );
    assert!(offered().await);
    let asked = [("ServiceName.1", place.name.as_str())];
    let detail = place.bob("DescribeVpcEndpointServices", &asked).await.unwrap();
    let of = |path: &str| detail.one(&format!("serviceDetailSet/item/{path}"));
    assert_eq!((of("owner"), of("serviceId")), (ALICE.to_string(), place.service.clone()));
    assert_eq!(
        (of("acceptanceRequired").as_str(), of("vpcEndpointPolicySupported").as_str()),
        ("false", "false")
    );
    assert_eq!(of("availabilityZoneSet/item"), "us-east-1a");

    for (more, why) in [
        (
            (
                "PolicyDocument",
                r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}"#,
            ),
            "InvalidParameter",
        ),
        (("PrivateDnsEnabled", "true"), "InvalidParameter: Private DNS can't be enabled"),
        (("IpAddressType", "dualstack"), "InvalidParameter: The VPC endpoint service"),
    ] {
        let refused = place.connect(&[more]).await.unwrap_err();
        assert!(refused.starts_with(why), "{refused}");
    }
    let far = [
        ("VpcId", place.theirs.as_str()),
        ("CidrBlock", "172.31.16.0/20"),
        ("AvailabilityZone", "us-east-1b"),
    ];
    let far = place.bob("CreateSubnet", &far).await.unwrap().one("subnet/subnetId");
    let refused = place.connect(&[("SubnetId.2", &far)]).await.unwrap_err();
    assert!(refused.contains("does not support the availability zone of the subnet"), "{refused}");

    let endpoint = place.connect(&[]).await.unwrap();
    assert_eq!(place.state(&endpoint).await, "available");
    let shown = place.bob("DescribeVpcEndpoints", &[("VpcEndpointId.1", &endpoint)]).await.unwrap();
    let name = shown.all("vpcEndpointSet/item/dnsEntrySet/item/dnsName").remove(0);
    assert!(name.ends_with(&format!(".{}.us-east-1.vpce.amazonaws.com", place.service)), "{name}");
    assert_eq!(shown.one("vpcEndpointSet/item/serviceName"), place.name);
    // It is there for good, whatever is allowed later.
    let removed = [by_id[0], ("RemoveAllowedPrincipals.1", bob.as_str())];
    place.cloud.ok(permissions, &removed).await;
    assert!(!offered().await);
    assert_eq!(place.nodes().await[0].clients.len(), 1);
}

#[tokio::test]
async fn an_endpoint_leads_to_the_node_while_the_owner_wants_it() {
    let place = Place::new(&[]).await;
    place.allow("*").await;
    let endpoint = place.connect(&[]).await.unwrap();
    assert_eq!((place.state(&endpoint).await.as_str(), place.lead().await), ("pendingAcceptance", None));
    assert!(place.nodes().await[0].clients.is_empty());
    let shown = place.cloud.ok("DescribeVpcEndpointConnections", &[]).await;
    let of = |path: &str| shown.one(&format!("vpcEndpointConnectionSet/item/{path}"));
    assert_eq!((of("vpcEndpointId"), of("vpcEndpointOwner")), (endpoint.clone(), BOB.to_string()));
    assert_eq!(
        (of("vpcEndpointState").as_str(), of("serviceId")),
        ("pendingAcceptance", place.service.clone())
    );
    for (name, value, found) in [
        ("service-id", place.service.as_str(), 1),
        ("vpc-endpoint-owner", &BOB.to_string(), 1),
        ("vpc-endpoint-state", "available", 0),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let shown = place.cloud.ok("DescribeVpcEndpointConnections", &filter).await;
        assert_eq!(shown.all("vpcEndpointConnectionSet/item").len(), found, "{name}");
    }
    let none = place.bob("DescribeVpcEndpointConnections", &[]).await.unwrap();
    assert!(none.all("vpcEndpointConnectionSet/item").is_empty(), "the owner's to see");
    let asked = [("ServiceId", place.service.as_str()), ("VpcEndpointId.1", endpoint.as_str())];
    assert!(place.bob("AcceptVpcEndpointConnections", &asked).await.is_err(), "the owner's to say");

    assert!(place.say("AcceptVpcEndpointConnections", &endpoint).await.is_empty());
    let node = place.nodes().await.remove(0);
    assert_eq!(
        (place.state(&endpoint).await.as_str(), place.lead().await),
        ("available", Some(node.interface.interface))
    );
    let [client] = &node.clients[..] else { panic!("{node:?}") };
    assert_eq!(client.vpc.to_string(), place.theirs);
    let by_id = [("ServiceId.1", place.service.as_str())];
    let refused = place.cloud.ok("DeleteVpcEndpointServiceConfigurations", &by_id).await;
    assert_eq!(refused.one("unsuccessful/item/error/code"), "ExistingVpcEndpointConnections");

    assert!(place.say("RejectVpcEndpointConnections", &endpoint).await.is_empty());
    assert_eq!((place.state(&endpoint).await.as_str(), place.lead().await), ("rejected", None));
    assert!(place.nodes().await[0].clients.is_empty());
    assert!(place.say("AcceptVpcEndpointConnections", &endpoint).await.is_empty());
    assert_eq!(place.lead().await, Some(node.interface.interface));
    let unknown = place.say("AcceptVpcEndpointConnections", "vpce-0123456789abcdef0").await;
    assert_eq!(unknown, ["InvalidVpcEndpointId.NotFound"]);

    // It goes, and the service may.
    place.bob("DeleteVpcEndpoints", &[("VpcEndpointId.1", &endpoint)]).await.unwrap();
    assert!(place.nodes().await[0].clients.is_empty());
    let gone = place.say("AcceptVpcEndpointConnections", &endpoint).await;
    assert_eq!(gone, ["InvalidVpcEndpointId.NotFound"]);
    let deleted = place.cloud.ok("DeleteVpcEndpointServiceConfigurations", &by_id).await;
    assert!(deleted.all("unsuccessful/item").is_empty());
}

#[tokio::test]
async fn a_target_is_exchanged_and_zones_come_and_go() {
    let place = Place::new(&[("AcceptanceRequired", "false")]).await;
    place.allow("*").await;
    place.connect(&[]).await.unwrap();
    let before = place.nodes().await.remove(0);
    let next = made(&place.cloud, "us-east-1a", &[]).await;
    let far = made(&place.cloud, "us-east-1b", &[]).await;
    let (old, new, far) = (arn(&place.target), arn(&next), arn(&far));
    let service = ("ServiceId", place.service.as_str());
    let (add, remove) = ("AddNetworkLoadBalancerArn.1", "RemoveNetworkLoadBalancerArn.1");
    assert_eq!(
        place.cloud.code(MODIFY, &[service, (add, &new)]).await,
        "InvalidParameterValue",
        "one a zone"
    );
    assert_eq!(place.cloud.code(MODIFY, &[service, (remove, &new)]).await, "InvalidParameterValue");
    assert_eq!(place.cloud.code(MODIFY, &[service, (remove, &old)]).await, "ExistingVpcEndpointConnections");

    place.cloud.ok(MODIFY, &[service, (add, &new), (remove, &old), ("AcceptanceRequired", "true")]).await;
    let after = place.nodes().await.remove(0);
    assert_eq!(after.interface.interface, before.interface.interface);
    assert!(after.target.is_some() && after.target != before.target && after.clients == before.clients);

    place.cloud.ok(MODIFY, &[service, (add, &far)]).await;
    let shown = place.cloud.ok("DescribeVpcEndpointServiceConfigurations", &[]).await;
    let zones = shown.all("serviceConfigurationSet/item/availabilityZoneSet/item");
    assert_eq!(zones, ["us-east-1a", "us-east-1b"]);
    assert_eq!(shown.one("serviceConfigurationSet/item/acceptanceRequired"), "true");
    assert_eq!(place.nodes().await.len(), 2);
    // No endpoint is there.
    place.cloud.ok(MODIFY, &[service, (remove, &far)]).await;
    assert_eq!(place.nodes().await.len(), 1);
    let payer = [service, ("PayerResponsibility", "ServiceOwner")];
    assert_eq!(
        place.cloud.code("ModifyVpcEndpointServicePayerResponsibility", &payer).await,
        "UnsupportedOperation"
    );
}

#[tokio::test]
async fn the_analyzer_says_whether_a_target_lets_its_node_in() {
    let place = Place::new(&[]).await;
    let node = place.nodes().await.remove(0).interface;
    let (id, address) = (node.interface.to_string(), node.addresses[0].private.to_string());
    let asked = [
        ("Source", id.as_str()),
        ("Destination", &place.target),
        ("Protocol", "tcp"),
        ("DestinationPort", "443"),
    ];
    let path = path(&place.cloud, &asked).await;
    let shut = analyze(&place.cloud, &path, "shut").await;
    assert_eq!(shut.one(&format!("{ONE}/networkPathFound")), "false");
    assert_eq!(codes(&shut), ["ENI_SG_RULES_MISMATCH"]);
    assert_eq!(shut.one(&format!("{ONE}/explanationSet/item/direction")), "ingress", "it may send");
    let group = default_group(&place.cloud).await;
    let cidr = format!("{address}/32");
    let rule = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.IpRanges.1.CidrIp", cidr.as_str()),
    ];
    place.cloud.ok("AuthorizeSecurityGroupIngress", &rule).await;
    let open = analyze(&place.cloud, &path, "open").await;
    assert_eq!(open.one(&format!("{ONE}/networkPathFound")), "true");
}
