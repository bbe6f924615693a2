//! Prefix lists and further blocks as hosts are told of them; the calls are driven by real clients in the system tests.

use crate::{done, group, refused, subnet, vpc};
use control::view::ChangedKey;
use model::host::{RouteTarget, VpcDesired};
use model::net::Peer;
use model::record::Record as _;
use model::record::prefix_list::PrefixList;
use model::{SecurityGroupId, VpcId};
use testkit::Kit;

async fn list(kit: &Kit, entries: &[&str]) -> String {
    let names: Vec<String> = (1..=entries.len()).map(|at| format!("Entry.{at}.Cidr")).collect();
    let mut parameters = vec![("PrefixListName", "places"), ("AddressFamily", "IPv4"), ("MaxEntries", "5")];
    parameters.extend(names.iter().map(String::as_str).zip(entries.iter().copied()));
    done(kit, "CreateManagedPrefixList", &parameters).await.one("prefixList/prefixListId")
}

fn desired(kit: &Kit, vpc: &str) -> VpcDesired {
    let tables = kit.cloud.view.read();
    ec2::vpc::desired(&tables, &kit.region(), VpcId::parse(vpc).unwrap()).unwrap()
}

fn routes(kit: &Kit, vpc: &str) -> Vec<(String, RouteTarget)> {
    let tables = desired(kit, vpc).route_tables;
    let routes = tables.into_iter().flat_map(|table| table.routes);
    routes.map(|route| (route.destination.to_string(), route.target)).collect()
}

#[tokio::test]
async fn a_host_is_told_the_ranges_of_a_list_that_a_rule_names() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let id = group(&kit, &vpc, "web").await;
    let places = list(&kit, &["192.0.2.0/24", "198.51.100.0/24"]).await;
    let rule = [
        ("GroupId", id.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.PrefixListIds.1.PrefixListId", places.as_str()),
    ];
    done(&kit, "AuthorizeSecurityGroupIngress", &rule).await;
    let told = || {
        let group = SecurityGroupId::parse(&id).unwrap();
        let desired = ec2::security_group::desired(&kit.cloud.view.read(), &kit.region(), group).unwrap();
        desired.ingress.into_iter().map(|allow| allow.peer).collect::<Vec<_>>()
    };
    let net = |text: &str| Peer::Net(text.parse().unwrap());
    assert_eq!(told(), [net("192.0.2.0/24"), net("198.51.100.0/24")]);
    let change =
        [("PrefixListId", places.as_str()), ("CurrentVersion", "1"), ("RemoveEntry.1.Cidr", "192.0.2.0/24")];
    done(&kit, "ModifyManagedPrefixList", &change).await;
    assert_eq!(told(), [net("198.51.100.0/24")]);
    let again = [rule[0], rule[1], rule[2]];
    assert_eq!(refused(&kit, "AuthorizeSecurityGroupIngress", &again).await, "InvalidPermission.Duplicate");
}

#[tokio::test]
async fn a_host_is_told_a_route_for_each_range_of_a_list_beside_those_that_are_named() {
    let kit = Kit::new().await;
    let vpc = vpc(&kit).await;
    let inside = subnet(&kit, &vpc, "10.0.1.0/24").await;
    let gateway = done(&kit, "CreateInternetGateway", &[]).await.one("internetGateway/internetGatewayId");
    done(&kit, "AttachInternetGateway", &[("InternetGatewayId", &gateway), ("VpcId", &vpc)]).await;
    let table = done(&kit, "CreateRouteTable", &[("VpcId", &vpc)]).await.one("routeTable/routeTableId");
    done(&kit, "AssociateRouteTable", &[("RouteTableId", &table), ("SubnetId", &inside)]).await;
    let places = list(&kit, &["192.0.2.0/24"]).await;
    let eni = done(&kit, "CreateNetworkInterface", &[("SubnetId", &inside)]).await;
    let eni = eni.one("networkInterface/networkInterfaceId");
    let by_list = [
        ("RouteTableId", table.as_str()),
        ("DestinationPrefixListId", places.as_str()),
        ("GatewayId", gateway.as_str()),
    ];
    done(&kit, "CreateRoute", &by_list).await;
    let own = [
        ("RouteTableId", table.as_str()),
        ("DestinationCidrBlock", "203.0.113.0/24"),
        ("NetworkInterfaceId", eni.as_str()),
    ];
    done(&kit, "CreateRoute", &own).await;
    let of = |net: &str, target: &RouteTarget| (net.to_owned(), target.clone());
    let machine = routes(&kit, &vpc)[1].1.clone();
    let out = RouteTarget::InternetGateway;
    assert_eq!(routes(&kit, &vpc), [of("192.0.2.0/24", &out), of("203.0.113.0/24", &machine)]);
    // One of the list that is named too, and one of the VPC's own: neither takes over.
    let change = [
        ("PrefixListId", places.as_str()),
        ("CurrentVersion", "1"),
        ("AddEntry.1.Cidr", "203.0.113.0/24"),
        ("AddEntry.2.Cidr", "10.0.1.0/24"),
    ];
    done(&kit, "ModifyManagedPrefixList", &change).await;
    assert_eq!(routes(&kit, &vpc), [of("192.0.2.0/24", &out), of("203.0.113.0/24", &machine)]);
    let changed = ChangedKey { region: kit.region(), noun: PrefixList::NOUN, id: places.as_str().into() };
    let concerned = ec2::vpc::concerned_by(&changed, &kit.cloud.view.read());
    assert_eq!(concerned, [VpcId::parse(&vpc).unwrap()]);
}

#[tokio::test]
async fn a_host_is_told_every_block_of_a_vpc_and_of_its_peers() {
    let kit = Kit::new().await;
    let (one, two) = (vpc(&kit).await, done(&kit, "CreateVpc", &[("CidrBlock", "10.1.0.0/16")]).await);
    let two = two.one("vpc/vpcId");
    let asked = [("VpcId", one.as_str()), ("PeerVpcId", two.as_str())];
    let peering = done(&kit, "CreateVpcPeeringConnection", &asked).await;
    let peering = peering.one("vpcPeeringConnection/vpcPeeringConnectionId");
    done(&kit, "AcceptVpcPeeringConnection", &[("VpcPeeringConnectionId", &peering)]).await;
    let mut news = kit.cloud.view.changes();
    done(&kit, "AssociateVpcCidrBlock", &[("VpcId", &one), ("CidrBlock", "10.2.0.0/16")]).await;
    let mut concerned = Vec::new();
    while let Ok(changed) = news.try_recv() {
        concerned.extend(ec2::vpc::concerned_by(&changed, &kit.cloud.view.read()));
    }
    assert!([&one, &two].iter().all(|vpc| concerned.contains(&VpcId::parse(vpc).unwrap())));
    let blocks = ["10.0.0.0/16", "10.2.0.0/16"].map(|block| block.parse().unwrap());
    assert_eq!(desired(&kit, &one).cidrs, blocks);
    assert_eq!(desired(&kit, &two).peerings[0].cidrs, blocks);
}
