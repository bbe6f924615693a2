use super::super::packet::Network;
use super::super::routes::{self, Kind};
use super::*;
use model::host::{
    AddressDesired, IkeVersions, InterfaceDesired, NetworkAclDesired, RouteDesired, RouteTarget,
    SecurityGroupDesired, SubnetDesired, TransitPeerDesired, TransitRouteDesired, VpnTunnelDesired,
};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::packet::{Component, End, Obstacle, Packet, Transport};
use model::{
    AccountId, Mac, NetworkAclId, NetworkInterfaceId, Region, RouteTableId, SecurityGroupId, SubnetId,
    TransitGatewayAttachmentId, TransitGatewayRouteTableId, VpcId,
};

const GATEWAY: VpnGatewayId = VpnGatewayId::from_entropy(7);
const FIRST: VpnConnectionId = VpnConnectionId::from_entropy(1);
const SECOND: VpnConnectionId = VpnConnectionId::from_entropy(2);

fn connection(id: VpnConnectionId, routes: &[&str]) -> VpnDesired {
    let n = id.bits() as u8;
    VpnDesired {
        connection: id,
        gateway: GATEWAY,
        arrival: None,
        customer: "203.0.113.9".parse().unwrap(),
        routes: routes.iter().map(|net| net.parse().unwrap()).collect(),
        tunnels: vec![VpnTunnelDesired {
            outside: Ipv4Addr::new(198, 18, 0, 10 + n),
            inside: format!("169.254.{n}.0/30").parse().unwrap(),
            versions: IkeVersions::BOTH,
            initiates: false,
            key: None,
        }],
    }
}

fn vpc(routes: &[(&str, RouteTarget)], vpns: Vec<VpnDesired>) -> VpcDesired {
    let everything = AclEntry {
        number: 100,
        traffic: Traffic::All,
        net: "0.0.0.0/0".parse().unwrap(),
        action: AclAction::Allow,
    };
    let (table, acl) = (RouteTableId::from_entropy(1), NetworkAclId::from_entropy(1));
    VpcDesired {
        vpc: VpcId::from_entropy(1),
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec!["10.1.0.0/16".parse().unwrap()],
        ipv6_cidrs: Vec::new(),
        dns_support: true,
        subnets: vec![SubnetDesired {
            subnet: SubnetId::from_entropy(1),
            cidr: Some("10.1.0.0/24".parse().unwrap()),
            ipv6_cidr: None,
            route_table: table,
            network_acl: acl,
        }],
        gateway_table: None,
        vpn_table: None,
        route_tables: vec![RouteTableDesired {
            route_table: table,
            routes: routes
                .iter()
                .map(|(net, target)| RouteDesired {
                    destination: net.parse().unwrap(),
                    target: target.clone(),
                })
                .collect(),
        }],
        network_acls: vec![NetworkAclDesired {
            network_acl: acl,
            ingress: vec![everything],
            egress: vec![everything],
        }],
        peerings: Vec::new(),
        nat_gateways: Vec::new(),
        transits: Vec::new(),
        vpns,
        endpoints: Vec::new(),
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
    }
}

fn led(vpc: &VpcDesired) -> Vec<(String, Kind)> {
    let all = routes::routes(vpc).into_iter();
    let own = all.filter(|route| route.metric == 0 && route.table != routes::MAIN);
    own.map(|route| (route.destination.to_string(), route.kind)).collect()
}

#[test]
fn a_route_to_a_gateway_is_divided_as_its_connections_say() {
    let both = vec![
        connection(FIRST, &["192.168.0.0/16", "172.16.0.0/12"]),
        connection(SECOND, &["192.168.7.0/24"]),
    ];
    let vpc = vpc(&[("192.168.0.0/16", RouteTarget::VpnGateway(GATEWAY))], both);
    let led = led(&vpc);
    assert!(led.contains(&("192.168.0.0/16".into(), Kind::Vpn(FIRST))), "{led:?}");
    assert!(led.contains(&("192.168.7.0/24".into(), Kind::Vpn(SECOND))), "{led:?}");
    assert!(!led.iter().any(|(net, _)| net == "172.16.0.0/12"), "no route of the VPC's leads there");
}

#[test]
fn of_two_connections_with_a_route_the_older_has_it() {
    let both = vec![connection(SECOND, &["192.168.0.0/16"]), connection(FIRST, &["192.168.0.0/16"])];
    let vpc = vpc(&[("192.168.0.0/16", RouteTarget::VpnGateway(GATEWAY))], both);
    assert!(led(&vpc).contains(&("192.168.0.0/16".into(), Kind::Vpn(SECOND))));
}

#[test]
fn what_no_connection_knows_and_what_has_another_route_is_not_led_there() {
    let target = RouteTarget::VpnGateway(GATEWAY);
    let routes = [
        ("0.0.0.0/0", target.clone()),
        ("192.168.0.0/16", RouteTarget::InternetGateway),
        ("10.0.0.0/8", target),
    ];
    let vpc = vpc(&routes, vec![connection(FIRST, &["192.168.7.0/24", "10.1.5.0/24", "10.9.0.0/16"])]);
    let led = led(&vpc);
    for (net, kind) in [
        ("0.0.0.0/0", Kind::Blackhole),
        ("10.0.0.0/8", Kind::Blackhole),
        ("10.9.0.0/16", Kind::Vpn(FIRST)),
        ("10.1.0.0/16", Kind::Throw),
        ("192.168.0.0/16", Kind::Igw),
    ] {
        assert!(led.contains(&(net.into(), kind)), "{net} {led:?}");
    }
    assert!(!led.iter().any(|(net, _)| net == "192.168.7.0/24" || net == "10.1.5.0/24"), "{led:?}");
}

#[test]
fn a_connections_namespace_lets_in_its_customer_and_its_routes_alone() {
    let vpc = vpc(&[], vec![connection(FIRST, &["192.168.0.0/17", "192.168.128.0/17"])]);
    let text = rule_set(&vpc, &vpc.vpns[0]);
    for line in [
        "iifname \"up\" ip saddr 203.0.113.9 ip daddr { 198.18.0.11 } udp dport { 500, 4500 } accept",
        "iifname \"ipsec0\" ip saddr { 10.1.0.0/16 } drop",
        "iifname \"ipsec0\" ip saddr { 192.168.0.0/16 } ip daddr { 10.1.0.0/16 } meta mark set 257 accept",
        "iifname \"vpc\" ip saddr { 10.1.0.0/16 } ip daddr { 192.168.0.0/16 } meta mark set 256 accept",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Without routes nothing passes, and the rules still load.
    let bare = VpnDesired { routes: Vec::new(), tunnels: Vec::new(), ..vpc.vpns[0].clone() };
    assert!(!rule_set(&vpc, &bare).contains("{  }"));
}

fn network() -> (Network, NetworkInterfaceId) {
    let anyone = Allow { traffic: Traffic::All, peer: Peer::Net("0.0.0.0/0".parse().unwrap()) };
    let ssh = Allow {
        traffic: Traffic::Tcp { from: 22, to: 22 },
        peer: Peer::Net("192.168.7.0/24".parse().unwrap()),
    };
    let group = SecurityGroupDesired {
        group: SecurityGroupId::from_entropy(1),
        vpc: VpcId::from_entropy(1),
        ingress: vec![ssh],
        egress: vec![anyone],
    };
    let interface = InterfaceDesired {
        bandwidth: None,
        interface: NetworkInterfaceId::from_entropy(1),
        device_index: 0,
        mac: Mac::from_entropy(1),
        vpc: VpcId::from_entropy(1),
        subnet: SubnetId::from_entropy(1),
        subnet_cidr: Some("10.1.0.0/24".parse().unwrap()),
        addresses: vec![AddressDesired {
            private: "10.1.0.10".parse().unwrap(),
            public: None,
            withheld: None,
        }],
        ipv6: Vec::new(),
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        security_groups: vec![group.group],
        source_dest_check: true,
        hostname: String::new(),
        domain: String::new(),
    };
    let id = interface.interface;
    let vpn = connection(FIRST, &["192.168.0.0/16", "10.1.0.0/24"]);
    let vpc = vpc(&[("192.168.0.0/16", RouteTarget::VpnGateway(GATEWAY))], vec![vpn]);
    (Network::new(vec![vpc], vec![group], vec![interface]), id)
}

fn packet(src: &str, dst: &str, to: u16) -> Packet {
    Packet {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to },
    }
}

#[test]
fn a_packet_goes_to_the_customer_and_its_answer_comes_back() {
    let (network, guest) = network();
    let there = network.opens(guest, packet("10.1.0.10", "192.168.9.9", 80));
    assert_eq!(there.arrives_at(), Some(End::Customer(VpcId::from_entropy(1), FIRST)), "{there:?}");
    let through = Component::VpnGateway { gateway: GATEWAY, connection: FIRST };
    assert!(there.steps.iter().any(|step| step.component == through));
    let back = network.answers(&there).unwrap();
    assert_eq!(back.arrives_at(), Some(End::Interface(guest)), "{back:?}");
}

#[test]
fn what_the_customer_begins_is_judged_by_its_source_and_by_groups() {
    let (network, guest) = network();
    let come = |src: &str, to| network.comes(VpcId::from_entropy(1), FIRST, packet(src, "10.1.0.10", to));
    let good = come("192.168.7.1", 22);
    assert_eq!(good.arrives_at(), Some(End::Interface(guest)), "{good:?}");
    assert!(network.answers(&good).unwrap().arrives_at().is_some());
    assert!(matches!(come("192.168.8.1", 22).obstacles[..], [Obstacle::SecurityGroups { .. }]));
    for forged in ["172.16.0.1", "10.1.0.20"] {
        assert!(matches!(come(forged, 22).obstacles[..], [Obstacle::VpnRange { .. }]), "{forged}");
    }
}

#[test]
fn a_connection_of_a_transit_gateway_has_a_network_where_the_gateways_table_decides() {
    let (transit, own, other) = (
        TransitGatewayId::from_entropy(5),
        TransitGatewayAttachmentId::from_entropy(6),
        TransitGatewayAttachmentId::from_entropy(7),
    );
    let Hub { outward, inward, .. } = hub_of(FIRST);
    let end = TransitDesired {
        gateway: transit,
        attachment: own,
        ipv6: false,
        arrival: outward,
        served: vec![inward],
        table: Some(TransitGatewayRouteTableId::from_entropy(8)),
        routes: vec![
            TransitRouteDesired { destination: "10.1.0.0/16".parse().unwrap(), to: Some(other) },
            TransitRouteDesired { destination: "192.168.0.0/16".parse().unwrap(), to: Some(own) },
        ],
        peers: vec![TransitPeerDesired { attachment: other, vpc: VpcId::from_entropy(1) }],
    };
    let place = (AccountId::from_number(1), Region::parse("us-east-1").unwrap());
    let hub = hub(place, connection(FIRST, &[]), (transit, Some(end)));
    let numbers = routes::numbers(&hub);
    let of = |subnet: SubnetId| {
        let table = numbers[&RouteTableId::from_entropy(subnet.bits())];
        let all =
            routes::routes(&hub).into_iter().filter(move |route| route.table == table && route.metric == 0);
        all.map(|route| (route.destination.to_string(), route.kind)).collect::<Vec<_>>()
    };
    // Whatever a table leads there goes into the tunnels, and what comes out of them asks the gateway's table; never back.
    assert_eq!(of(outward), [("0.0.0.0/0".to_owned(), Kind::Vpn(FIRST))]);
    assert_eq!(
        of(inward),
        [
            ("0.0.0.0/0".to_owned(), Kind::Blackhole),
            ("10.1.0.0/16".to_owned(), Kind::Transit([own, other])),
            ("192.168.0.0/16".to_owned(), Kind::Blackhole),
        ]
    );
    let mark = routes::marks(&hub)[&inward];
    let body = super::super::vpc_body(&hub);
    assert!(body.contains(&format!("ip saddr 0.0.0.0/0 meta mark set {mark} accept")), "{body}");
    let rules = rule_set(&hub, &hub.vpns[0]);
    for rule in [
        "ip daddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } drop",
        "iifname \"ipsec0\" ip saddr { 0.0.0.0/0 } ip daddr { 0.0.0.0/0 } meta mark set 257 accept",
        "iifname \"vpc\" ip saddr { 0.0.0.0/0 } ip daddr { 0.0.0.0/0 } meta mark set 256 accept",
    ] {
        assert!(rules.contains(rule), "{rule}\n{rules}");
    }
}
