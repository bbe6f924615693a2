//! What tables say, and what that makes of a VPC's routes.

use super::*;
use model::host::{RouteDesired, SubnetDesired};
use model::{AccountId, NetworkAclId, Region, RouteTableId, SubnetId, TransitGatewayId};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn attachment(n: u128) -> TransitGatewayAttachmentId {
    TransitGatewayAttachmentId::from_entropy(n)
}

const OWN: u128 = 0x11;
const B: u128 = 0x22;
const C: u128 = 0x44;

/// A VPC that leads `routes` to a gateway, and whose gateway's table says `ways`.
fn vpc(routes: &[(&str, RouteTarget)], ways: &[(&str, Option<u128>)]) -> VpcDesired {
    let table = RouteTableId::from_entropy(3);
    let route =
        |(to, target): &(&str, RouteTarget)| RouteDesired { destination: net(to), target: target.clone() };
    let way = |(to, by): &(&str, Option<u128>)| TransitRouteDesired {
        destination: net(to),
        to: by.map(attachment),
    };
    VpcDesired {
        vpc: VpcId::from_entropy(1),
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        ipv6_cidrs: vec!["2001:db8::/56".parse().unwrap()],
        dns_support: true,
        subnets: vec![SubnetDesired {
            subnet: SubnetId::from_entropy(2),
            cidr: Some("10.0.0.0/24".parse().unwrap()),
            ipv6_cidr: None,
            route_table: table,
            network_acl: NetworkAclId::from_entropy(4),
        }],
        gateway_table: None,
        vpn_table: None,
        route_tables: vec![RouteTableDesired {
            route_table: table,
            routes: routes.iter().map(route).collect(),
        }],
        network_acls: Vec::new(),
        peerings: Vec::new(),
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: Vec::new(),
        transits: vec![TransitDesired {
            gateway: TransitGatewayId::from_entropy(5),
            attachment: attachment(OWN),
            ipv6: false,
            arrival: SubnetId::from_entropy(2),
            served: vec![SubnetId::from_entropy(2)],
            table: None,
            routes: ways.iter().map(way).collect(),
            peers: Vec::new(),
        }],
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
    }
}

fn gateway() -> RouteTarget {
    RouteTarget::TransitGateway(TransitGatewayId::from_entropy(5))
}

/// What the first route becomes: ranges, and the other end of their links.
fn parts(vpc: &VpcDesired) -> Vec<(String, Option<TransitGatewayAttachmentId>)> {
    let table = &vpc.route_tables[0];
    let mut parts = through(vpc, table, table.routes[0].destination, &vpc.transits[0]);
    parts.sort();
    parts.into_iter().map(|(to, link)| (to.to_string(), link.map(|[_, far]| far))).collect()
}

fn is(text: &str, to: Option<u128>) -> (String, Option<TransitGatewayAttachmentId>) {
    (text.to_owned(), to.map(attachment))
}

#[test]
fn a_static_route_counts_before_a_propagated_one_and_the_first_that_propagates_before_others() {
    let statics = [
        TransitGatewayRoute { destination: net("10.1.0.0/16"), to: None },
        TransitGatewayRoute { destination: net("0.0.0.0/0"), to: Some(attachment(C)) },
    ];
    let propagated = [
        (attachment(B), net("10.1.0.0/16")),
        (attachment(B), net("10.2.0.0/16")),
        (attachment(C), net("10.2.0.0/16")),
        (attachment(C), net("10.3.7.0/16")),
    ];
    let ways = in_force(&statics, propagated);
    let shown: Vec<_> = ways.iter().map(|way| (way.destination.to_string(), way.to, way.origin)).collect();
    assert_eq!(
        shown,
        [
            ("0.0.0.0/0".to_owned(), Some(attachment(C)), Origin::Static),
            ("10.1.0.0/16".to_owned(), None, Origin::Static),
            ("10.2.0.0/16".to_owned(), Some(attachment(B)), Origin::Propagated),
            ("10.3.0.0/16".to_owned(), Some(attachment(C)), Origin::Propagated),
        ]
    );
}

#[test]
fn one_route_of_a_vpc_becomes_one_for_each_range_that_the_gateway_tells_apart() {
    let ways = [
        ("10.1.0.0/16", Some(B)),
        ("10.1.9.0/24", None),
        ("10.2.0.0/16", Some(C)),
        ("192.0.2.0/24", Some(C)),
    ];
    let vpc = vpc(&[("10.0.0.0/8", gateway())], &ways);
    assert_eq!(
        parts(&vpc),
        [
            is("10.0.0.0/8", None),
            is("10.1.0.0/16", Some(B)),
            is("10.1.9.0/24", None),
            is("10.2.0.0/16", Some(C)),
        ],
        "what the gateway does not know is dropped, and what the VPC does not lead there is not its"
    );
}

#[test]
fn a_wider_way_of_the_gateway_holds_for_all_that_a_vpc_leads_there() {
    let vpc = vpc(&[("10.1.2.0/24", gateway())], &[("0.0.0.0/0", Some(C)), ("10.1.0.0/16", Some(B))]);
    assert_eq!(parts(&vpc), [is("10.1.2.0/24", Some(B))]);
}

#[test]
fn what_is_local_or_led_elsewhere_never_gets_to_the_gateway() {
    let routes = [("0.0.0.0/0", gateway()), ("10.1.0.0/16", RouteTarget::Blackhole)];
    let ways = [("10.0.7.0/24", Some(B)), ("10.1.7.0/24", Some(B)), ("10.0.0.0/8", Some(C))];
    let vpc = vpc(&routes, &ways);
    assert_eq!(parts(&vpc), [is("0.0.0.0/0", None), is("10.0.0.0/8", Some(C))]);
}

#[test]
fn a_way_back_to_the_sender_and_ipv6_that_is_not_carried_are_dropped() {
    let own = vpc(&[("10.5.0.0/16", gateway())], &[("10.5.0.0/16", Some(OWN))]);
    assert_eq!(parts(&own), [is("10.5.0.0/16", None)]);
    let mut six = vpc(&[("2001:db8:1::/56", gateway())], &[("2001:db8:1::/56", Some(B))]);
    assert_eq!(parts(&six), [is("2001:db8:1::/56", None)]);
    six.transits[0].ipv6 = true;
    assert_eq!(parts(&six), [is("2001:db8:1::/56", Some(B))]);
}
