//! Gateway endpoints: routes in tables, AWS's prefix lists, and what hosts are told of both.

use crate::{done, group, refused, subnet, vpc};
use model::host::{RouteTarget, VpcDesired};
use model::net::Peer;
use model::record::prefix_list::PrefixList;
use model::{GatewayService, PrefixListId, SecurityGroupId, ServiceRanges, VpcEndpointId, VpcId};
use testkit::{BOB, Kit};

const S3: &str = "com.amazonaws.us-east-1.s3";
const FULL: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["*"],"Resource":"*"}}"#;

fn ranges() -> Vec<ServiceRanges> {
    ["s3=192.0.2.0/24,198.51.100.7/32", "dynamodb=203.0.113.0/24"].map(|text| text.parse().unwrap()).to_vec()
}

async fn settled(kit: &Kit) {
    let settle = |txn: &mut control::Txn<'_>| {
        ec2::prefix_list::aws::settle(&kit.cloud, txn);
        Ok(())
    };
    kit.cloud.transact(control::cloud::Mode::Shared, settle).await.unwrap();
}

async fn kit() -> Kit {
    let kit = Kit::with(|settings| settings.gateway_services = ranges()).await;
    settled(&kit).await;
    kit
}

fn list(kit: &Kit, service: GatewayService) -> PrefixListId {
    plan::net::gateway_service::prefix_list(&kit.region(), service)
}

async fn table(kit: &Kit, vpc: &str) -> String {
    done(kit, "CreateRouteTable", &[("VpcId", vpc)]).await.one("routeTable/routeTableId")
}

async fn endpoint(kit: &Kit, vpc: &str, tables: &[&str]) -> String {
    let names: Vec<String> = (1..=tables.len()).map(|at| format!("RouteTableId.{at}")).collect();
    let mut asked = vec![("VpcId", vpc), ("ServiceName", S3)];
    asked.extend(names.iter().map(String::as_str).zip(tables.iter().copied()));
    done(kit, "CreateVpcEndpoint", &asked).await.one("vpcEndpoint/vpcEndpointId")
}

async fn shown(kit: &Kit, id: &str, path: &str) -> Vec<String> {
    let described = done(kit, "DescribeVpcEndpoints", &[("VpcEndpointId.1", id)]).await;
    described.all(&format!("vpcEndpointSet/item/{path}"))
}

fn told(kit: &Kit, vpc: &str) -> VpcDesired {
    let tables = kit.cloud.view.read();
    ec2::vpc::desired(&tables, &kit.region(), VpcId::parse(vpc).unwrap()).unwrap()
}

#[tokio::test]
async fn an_endpoint_is_a_route_for_its_services_list_in_each_of_its_tables() {
    let kit = kit().await;
    let vpc = vpc(&kit).await;
    let inside = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let (one, two) = (table(&kit, &vpc).await, table(&kit, &vpc).await);
    done(&kit, "AssociateRouteTable", &[("RouteTableId", &one), ("SubnetId", &inside)]).await;
    let asked = [
        ("VpcId", vpc.as_str()),
        ("ServiceName", S3),
        ("RouteTableId.1", one.as_str()),
        ("RouteTableId.2", one.as_str()),
        ("TagSpecification.1.ResourceType", "vpc-endpoint"),
        ("TagSpecification.1.Tag.1.Key", "Name"),
        ("TagSpecification.1.Tag.1.Value", "objects"),
    ];
    let dry = [&asked[..], &[("DryRun", "true")]].concat();
    assert_eq!(refused(&kit, "CreateVpcEndpoint", &dry).await, "DryRunOperation");
    let made = done(&kit, "CreateVpcEndpoint", &asked).await;
    assert_eq!(made.one("vpcEndpoint/state"), "available");
    let id = made.one("vpcEndpoint/vpcEndpointId");
    for (path, value) in [
        ("vpcEndpointType", "Gateway"),
        ("serviceName", S3),
        ("routeTableIdSet/item", one.as_str()),
        ("privateDnsEnabled", "false"),
        ("tagSet/item/value", "objects"),
    ] {
        assert_eq!(shown(&kit, &id, path).await, [value], "{path}");
    }
    assert!(shown(&kit, &id, "policyDocument").await[0].contains("2008-10-17"));
    for (name, value) in [("service-name", S3), ("vpc-endpoint-type", "Gateway"), ("tag:Name", "objects")] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let found = done(&kit, "DescribeVpcEndpoints", &filter).await;
        assert_eq!(found.all("vpcEndpointSet/item/vpcEndpointId"), [id.as_str()], "{name}");
    }

    let pl = list(&kit, GatewayService::S3).to_string();
    let filter = [("Filter.1.Name", "route.gateway-id"), ("Filter.1.Value.1", id.as_str())];
    let routed = done(&kit, "DescribeRouteTables", &filter).await;
    assert_eq!(routed.all("routeTableSet/item/routeTableId"), [one.as_str()]);
    let route = |path: &str| routed.all(&format!("routeTableSet/item/routeSet/item/{path}"));
    assert_eq!(route("destinationPrefixListId"), [pl.as_str()]);
    assert_eq!(route("gatewayId"), ["local", id.as_str()]);
    assert_eq!(route("origin"), ["CreateRouteTable", "CreateRoute"]);
    assert_eq!(route("state"), ["active", "active"]);

    // The host leads each range there, and no other subnet's packets.
    let target = RouteTarget::GatewayEndpoint(VpcEndpointId::parse(&id).unwrap());
    let wish = told(&kit, &vpc);
    let routes: Vec<_> = wish.route_tables.iter().flat_map(|table| &table.routes).collect();
    assert!(routes.iter().all(|route| route.target == target));
    let nets: Vec<String> = routes.iter().map(|route| route.destination.to_string()).collect();
    assert_eq!(nets, ["192.0.2.0/24", "198.51.100.7/32"]);
    assert!(wish.endpoints.is_empty());

    // The route is the endpoint's.
    let this = [("RouteTableId", one.as_str()), ("DestinationPrefixListId", pl.as_str())];
    assert_eq!(refused(&kit, "DeleteRoute", &this).await, "InvalidParameterValue");
    let gateway = done(&kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    done(&kit, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    let other = [this[0], this[1], ("GatewayId", gateway.as_str())];
    assert_eq!(refused(&kit, "ReplaceRoute", &other).await, "InvalidParameterValue");
    assert_eq!(refused(&kit, "CreateRoute", &other).await, "RouteAlreadyExists");
    let again = [("VpcId", vpc.as_str()), ("ServiceName", S3), ("RouteTableId.1", one.as_str())];
    assert_eq!(refused(&kit, "CreateVpcEndpoint", &again).await, "RouteAlreadyExists");

    let modify = async |more: &[(&str, &str)]| {
        let asked = [&[("VpcEndpointId", id.as_str())], more].concat();
        kit.call("ModifyVpcEndpoint", &asked).await.map_or_else(|e| e.code().to_owned(), |_| String::new())
    };
    assert_eq!(modify(&[("AddRouteTableId.1", &two), ("RemoveRouteTableId.1", &one)]).await, "");
    assert_eq!(shown(&kit, &id, "routeTableIdSet/item").await, [two.as_str()]);
    assert!(told(&kit, &vpc).route_tables.iter().all(|table| table.routes.is_empty()));
    assert_eq!(modify(&[("RemoveRouteTableId.1", &one)]).await, "InvalidParameter");
    assert_eq!(modify(&[("AddRouteTableId.1", &two)]).await, "RouteAlreadyExists");
    assert_eq!(
        modify(&[("AddRouteTableId.1", &one), ("RemoveRouteTableId.1", &one)]).await,
        "InvalidParameter"
    );
    assert_eq!(shown(&kit, &id, "routeTableIdSet/item").await, [two.as_str()], "nothing was done");

    // A second one leads other tables of the VPC there; a table that goes takes its route along.
    let second = endpoint(&kit, &vpc, &[&one]).await;
    done(&kit, "DeleteRouteTable", &[("RouteTableId", &two)]).await;
    assert!(shown(&kit, &id, "routeTableIdSet/item").await.is_empty());
    let both = [("VpcEndpointId.1", id.as_str()), ("VpcEndpointId.2", second.as_str())];
    done(&kit, "DeleteVpcEndpoints", &both).await;
    assert_eq!(shown(&kit, &second, "state").await, ["deleted"]);
    assert!(done(&kit, "DescribeRouteTables", &filter).await.all("routeTableSet/item").is_empty());
    assert!(told(&kit, &vpc).route_tables.iter().all(|table| table.routes.is_empty()));
    done(&kit, "CreateRoute", &other).await;
}

#[tokio::test]
async fn what_a_gateway_endpoint_cannot_have_is_refused() {
    let kit = kit().await;
    let vpc = vpc(&kit).await;
    let own = table(&kit, &vpc).await;
    let elsewhere = done(&kit, "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await.one("vpc/vpcId");
    let foreign = table(&kit, &elsewhere).await;
    let deny = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}"#;
    let bucket =
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::b"}]}"#;
    for (more, code) in [
        (vec![("VpcEndpointType", "Interface")], "InvalidParameter"),
        (vec![("SubnetId.1", "subnet-0123456789abcdef0")], "InvalidParameter"),
        (vec![("SecurityGroupId.1", "sg-0123456789abcdef0")], "InvalidParameter"),
        (vec![("PrivateDnsEnabled", "true")], "InvalidParameter"),
        (vec![("IpAddressType", "dualstack")], "UnsupportedOperation"),
        (vec![("PolicyDocument", "{}")], "InvalidPolicyDocument"),
        (vec![("PolicyDocument", deny)], "UnsupportedOperation"),
        (vec![("PolicyDocument", bucket)], "UnsupportedOperation"),
        (vec![("RouteTableId.1", "rtb-0123456789abcdef0")], "InvalidRouteTableID.NotFound"),
        (
            vec![("RouteTableId.1", own.as_str()), ("RouteTableId.2", foreign.as_str())],
            "InvalidParameterValue",
        ),
    ] {
        let asked = [&[("VpcId", vpc.as_str()), ("ServiceName", S3)], &more[..]].concat();
        assert_eq!(refused(&kit, "CreateVpcEndpoint", &asked).await, code, "{more:?}");
    }
    assert!(done(&kit, "DescribeVpcEndpoints", &[]).await.all("vpcEndpointSet/item").is_empty());
    assert!(told(&kit, &vpc).route_tables.is_empty());
    let asked = [("VpcId", vpc.as_str()), ("ServiceName", S3), ("PolicyDocument", FULL)];
    let id = done(&kit, "CreateVpcEndpoint", &asked).await.one("vpcEndpoint/vpcEndpointId");
    assert_eq!(shown(&kit, &id, "policyDocument").await, [FULL]);
    let narrow = [("VpcEndpointId", id.as_str()), ("PolicyDocument", bucket)];
    assert_eq!(refused(&kit, "ModifyVpcEndpoint", &narrow).await, "UnsupportedOperation");
    done(&kit, "ModifyVpcEndpoint", &[("VpcEndpointId", &id), ("ResetPolicy", "true")]).await;
    assert_eq!(
        refused(&kit, "DeleteRouteTable", &[("RouteTableId", "rtb-0")]).await,
        "InvalidRouteTableId.Malformed"
    );
    done(&kit, "DeleteRouteTable", &[("RouteTableId", &own)]).await;
    assert_eq!(refused(&kit, "DeleteVpc", &[("VpcId", &vpc)]).await, "DependencyViolation");
    done(&kit, "DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    done(&kit, "DeleteVpc", &[("VpcId", &vpc)]).await;
}

#[tokio::test]
async fn services_and_their_lists_are_what_the_operator_named() {
    let kit = kit().await;
    let only = [("Filter.1.Name", "service-type"), ("Filter.1.Value.1", "Gateway")];
    let services = done(&kit, "DescribeVpcEndpointServices", &only).await;
    assert_eq!(services.all("serviceNameSet/item"), ["com.amazonaws.us-east-1.dynamodb", S3]);
    let types = services.all("serviceDetailSet/item/serviceType/item/serviceType");
    assert_eq!(types, ["Gateway", "Gateway"]);

    let own = [("PrefixListName", "mine"), ("AddressFamily", "IPv4"), ("MaxEntries", "1")];
    let own = done(&kit, "CreateManagedPrefixList", &own).await.one("prefixList/prefixListId");
    let pl = list(&kit, GatewayService::S3).to_string();
    let aws = [("Filter.1.Name", "owner-id"), ("Filter.1.Value.1", "AWS")];
    let lists = done(&kit, "DescribeManagedPrefixLists", &aws).await;
    let mut names = lists.all("prefixListSet/item/prefixListName");
    names.sort();
    assert_eq!(names, ["com.amazonaws.us-east-1.dynamodb", S3]);
    assert!(lists.all("prefixListSet/item/version").is_empty());
    let one = done(&kit, "DescribeManagedPrefixLists", &[("PrefixListId.1", &pl)]).await;
    let arn = format!("arn:aws:ec2:us-east-1:aws:prefix-list/{pl}");
    assert_eq!(one.one("prefixListSet/item/prefixListArn"), arn);
    assert_eq!(done(&kit, "DescribeManagedPrefixLists", &[]).await.all("prefixListSet/item").len(), 3);
    let entries = done(&kit, "GetManagedPrefixListEntries", &[("PrefixListId", &pl)]).await;
    assert_eq!(entries.all("entrySet/item/cidr"), ["192.0.2.0/24", "198.51.100.7/32"]);
    let named = [("Filter.1.Name", "prefix-list-name"), ("Filter.1.Value.1", S3)];
    let classic = done(&kit, "DescribePrefixLists", &named).await;
    assert_eq!(classic.one("prefixListSet/item/prefixListId"), pl);
    assert_eq!(classic.all("prefixListSet/item/cidrSet/item").len(), 2);
    let mine = [("PrefixListId.1", own.as_str())];
    assert_eq!(refused(&kit, "DescribePrefixLists", &mine).await, "InvalidPrefixListID.NotFound");

    // Nobody changes them.
    for (action, more) in [
        ("ModifyManagedPrefixList", vec![("CurrentVersion", "1"), ("AddEntry.1.Cidr", "10.0.0.0/8")]),
        ("DeleteManagedPrefixList", vec![]),
        ("RestoreManagedPrefixListVersion", vec![("PreviousVersion", "1"), ("CurrentVersion", "1")]),
    ] {
        let asked = [&[("PrefixListId", pl.as_str())], &more[..]].concat();
        assert_eq!(refused(&kit, action, &asked).await, "OperationNotPermitted", "{action}");
    }
    let tag = [("ResourceId.1", pl.as_str()), ("Tag.1.Key", "a"), ("Tag.1.Value", "b")];
    assert_eq!(refused(&kit, "CreateTags", &tag).await, "AuthFailure");

    // A rule that names one means its ranges, for any account.
    let vpc = vpc(&kit).await;
    let web = group(&kit, &vpc, "web").await;
    let rule = [
        ("GroupId", web.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "443"),
        ("IpPermissions.1.ToPort", "443"),
        ("IpPermissions.1.PrefixListIds.1.PrefixListId", pl.as_str()),
    ];
    done(&kit, "AuthorizeSecurityGroupIngress", &rule).await;
    let peers = || {
        let web = SecurityGroupId::parse(&web).unwrap();
        let desired = ec2::security_group::desired(&kit.cloud.view.read(), &kit.region(), web).unwrap();
        desired.ingress.into_iter().map(|allow| allow.peer).collect::<Vec<_>>()
    };
    let net = |text: &str| Peer::Net(text.parse().unwrap());
    assert_eq!(peers(), [net("192.0.2.0/24"), net("198.51.100.7/32")]);
    let theirs =
        kit.call_as(BOB, "ec2", "DescribeManagedPrefixLists", &[("PrefixListId.1", &pl)]).await.unwrap();
    assert_eq!(theirs.one("prefixListSet/item/ownerId"), "AWS");
}

#[tokio::test]
async fn a_list_follows_what_the_operator_says_and_goes_when_nothing_names_it() {
    let mut kit = kit().await;
    let vpc = vpc(&kit).await;
    subnet(&kit, &vpc, "10.0.1.0/24").await;
    let main =
        done(&kit, "DescribeRouteTables", &[("Filter.1.Name", "vpc-id"), ("Filter.1.Value.1", &vpc)]).await;
    let id = endpoint(&kit, &vpc, &[&main.one("routeTableSet/item/routeTableId")]).await;
    let nets = |kit: &Kit| {
        let tables = told(kit, &vpc).route_tables;
        let routes = tables.into_iter().flat_map(|table| table.routes);
        routes.map(|route| route.destination.to_string()).collect::<Vec<_>>()
    };
    let change = |kit: &mut Kit, said: &[&str]| {
        let cloud = std::sync::Arc::get_mut(&mut kit.cloud).expect("nobody else has it");
        cloud.settings.gateway_services = said.iter().map(|text| text.parse().unwrap()).collect();
    };
    change(&mut kit, &["s3=192.0.2.128/25"]);
    settled(&kit).await;
    assert_eq!(nets(&kit), ["192.0.2.128/25"]);
    let is_there = |kit: &Kit, service| {
        let id = list(kit, service);
        kit.cloud.view.read().get::<PrefixList>(&kit.region(), &id).is_some()
    };
    assert!(is_there(&kit, GatewayService::S3) && !is_there(&kit, GatewayService::Dynamodb));
    change(&mut kit, &[]);
    settled(&kit).await;
    assert!(nets(&kit).is_empty() && is_there(&kit, GatewayService::S3));
    let asked = [("VpcId", vpc.as_str()), ("ServiceName", S3)];
    assert_eq!(refused(&kit, "CreateVpcEndpoint", &asked).await, "InvalidServiceName");
    done(&kit, "DeleteVpcEndpoints", &[("VpcEndpointId.1", &id)]).await;
    settled(&kit).await;
    assert!(!is_there(&kit, GatewayService::S3));
}
