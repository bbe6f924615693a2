//! Rule sets as golden files: a change of rendering shows as a change of text. `NUBE_BLESS=1` writes them anew.

#![allow(clippy::disallowed_methods, reason = "a test's own switch, not configuration of the program")]

use super::{Uplink, gateway_service, group_body, root_table, routes, vpc_body};
use model::host::{
    AddressDesired, NatGatewayDesired, NetworkAclDesired, PeeringDesired, RouteDesired, RouteTableDesired,
    RouteTarget, SecurityGroupDesired, SubnetDesired, TransitDesired, TransitPeerDesired,
    TransitRouteDesired, VpcDesired,
};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::{
    AccountId, CloudTag, NatGatewayId, NetworkAclId, NetworkInterfaceId, Region, RouteTableId,
    SecurityGroupId, SubnetId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId,
    VpcEndpointId, VpcId, VpcPeeringConnectionId,
};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/net/golden").join(name);
    if std::env::var_os("NUBE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name} differs; NUBE_BLESS=1 writes it anew");
}

fn attachment(n: u128) -> TransitGatewayAttachmentId {
    TransitGatewayAttachmentId::from_entropy(n)
}

pub(super) fn vpc() -> VpcDesired {
    let acl = NetworkAclId::from_entropy(0xa1);
    let (public, private) = (RouteTableId::from_entropy(0xb1), RouteTableId::from_entropy(0xb2));
    let subnet = |n: u128, cidr: &str, route_table| SubnetDesired {
        ipv6_cidr: format!("2001:db8:1:{:x}::/64", n - 0xc1).parse().ok(),
        subnet: SubnetId::from_entropy(n),
        cidr: Some(cidr.parse().unwrap()),
        route_table,
        network_acl: acl,
    };
    let route = |net: &str, target| RouteDesired { destination: net.parse().unwrap(), target };
    let entry =
        |number, traffic, net: &str, action| AclEntry { number, traffic, net: net.parse().unwrap(), action };
    VpcDesired {
        ipv6_cidrs: vec!["2001:db8:1::/56".parse().unwrap()],
        vpc: VpcId::from_entropy(1),
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec!["172.31.0.0/16".parse().unwrap(), "10.9.0.0/24".parse().unwrap()],
        dns_support: true,
        subnets: vec![subnet(0xc1, "172.31.0.0/20", public), subnet(0xc2, "172.31.16.0/20", private)],
        gateway_table: None,
        vpn_table: None,
        route_tables: vec![
            RouteTableDesired {
                route_table: public,
                routes: vec![
                    route("0.0.0.0/0", RouteTarget::InternetGateway),
                    route("203.0.113.0/24", RouteTarget::Blackhole),
                    route("::/0", RouteTarget::InternetGateway),
                ],
            },
            RouteTableDesired {
                route_table: private,
                routes: vec![
                    route("0.0.0.0/0", RouteTarget::NatGateway(NatGatewayId::from_entropy(0xf1))),
                    route("10.20.0.0/16", RouteTarget::Peering(VpcPeeringConnectionId::from_entropy(0xe1))),
                    route("::/0", RouteTarget::EgressOnly),
                    route(
                        "2001:db8:2::/56",
                        RouteTarget::Peering(VpcPeeringConnectionId::from_entropy(0xe1)),
                    ),
                    route("10.0.0.0/8", RouteTarget::TransitGateway(TransitGatewayId::from_entropy(0x71))),
                    route("192.0.2.64/26", RouteTarget::GatewayEndpoint(VpcEndpointId::from_entropy(0xe5))),
                    route("192.0.2.0/24", RouteTarget::Interface(NetworkInterfaceId::from_entropy(0x99))),
                ],
            },
        ],
        peerings: vec![PeeringDesired {
            ipv6_cidrs: vec!["2001:db8:2::/56".parse().unwrap()],
            peering: VpcPeeringConnectionId::from_entropy(0xe1),
            peer: VpcId::from_entropy(2),
            cidrs: vec!["10.20.0.0/16".parse().unwrap()],
        }],
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
        transits: vec![TransitDesired {
            gateway: TransitGatewayId::from_entropy(0x71),
            attachment: attachment(0x72),
            ipv6: true,
            arrival: SubnetId::from_entropy(0xc2),
            served: vec![SubnetId::from_entropy(0xc2)],
            table: Some(TransitGatewayRouteTableId::from_entropy(0x73)),
            routes: [("10.9.0.0/24", 0x74), ("10.30.0.0/16", 0x74), ("10.20.7.0/24", 0x74)]
                .map(|(to, by)| TransitRouteDesired {
                    destination: to.parse().unwrap(),
                    to: Some(attachment(by)),
                })
                .to_vec(),
            peers: vec![TransitPeerDesired { attachment: attachment(0x74), vpc: VpcId::from_entropy(3) }],
        }],
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: vec![NatGatewayDesired {
            gateway: NatGatewayId::from_entropy(0xf1),
            subnet: SubnetId::from_entropy(0xc1),
            address: AddressDesired {
                private: "172.31.0.77".parse().unwrap(),
                public: Some("198.18.0.77".parse().unwrap()),
                withheld: None,
            },
        }],
        network_acls: vec![NetworkAclDesired {
            network_acl: acl,
            ingress: vec![
                entry(200, Traffic::All, "0.0.0.0/0", AclAction::Allow),
                entry(100, Traffic::Tcp { from: 25, to: 25 }, "0.0.0.0/0", AclAction::Deny),
                entry(101, Traffic::All, "::/0", AclAction::Allow),
                entry(90, Traffic::Protocol(47), "2001:db8::/32", AclAction::Deny),
            ],
            egress: vec![entry(100, Traffic::All, "0.0.0.0/0", AclAction::Allow)],
        }],
    }
}

fn group() -> SecurityGroupDesired {
    let other = SecurityGroupId::from_entropy(0xd2);
    let net = |net: &str| Peer::Net(net.parse().unwrap());
    SecurityGroupDesired {
        group: SecurityGroupId::from_entropy(0xd1),
        vpc: VpcId::from_entropy(1),
        ingress: vec![
            Allow { traffic: Traffic::Tcp { from: 22, to: 22 }, peer: net("0.0.0.0/0") },
            Allow { traffic: Traffic::Tcp { from: 0, to: 65535 }, peer: Peer::Group(other) },
            Allow { traffic: Traffic::Udp { from: 5000, to: 5010 }, peer: net("10.1.2.3/8") },
            Allow { traffic: Traffic::Icmp { kind: Some(8), code: None }, peer: net("10.0.0.0/8") },
            Allow { traffic: Traffic::Icmp { kind: Some(3), code: Some(4) }, peer: net("0.0.0.0/0") },
            Allow { traffic: Traffic::Icmp { kind: None, code: None }, peer: Peer::Group(other) },
            Allow { traffic: Traffic::Icmpv6 { kind: None, code: None }, peer: net("0.0.0.0/0") },
            Allow { traffic: Traffic::Icmpv6 { kind: Some(128), code: None }, peer: net("::/0") },
            Allow { traffic: Traffic::Udp { from: 0, to: 65535 }, peer: net("2001:db8::/32") },
            Allow { traffic: Traffic::Protocol(47), peer: net("192.0.2.0/24") },
            Allow { traffic: Traffic::All, peer: net("::/0") },
        ],
        egress: vec![Allow { traffic: Traffic::All, peer: net("0.0.0.0/0") }],
    }
}

#[test]
fn a_group_renders_as_ever() {
    check("group.nft", &group_body(&group()));
}

#[test]
fn a_vpcs_acls_and_subnets_render_as_ever() {
    check("vpc_body.nft", &vpc_body(&vpc()));
}

#[test]
fn the_hosts_table_renders_as_ever() {
    let cloud = CloudTag::parse("abc234").unwrap();
    let pool = "198.18.0.0/22".parse().unwrap();
    let ipv6 = "fd12:3456:7800::/40".parse().unwrap();
    check("root.nft", &root_table(&cloud, pool, &[], ipv6, Uplink::Masquerade, &[]));
    assert!(!root_table(&cloud, pool, &[], ipv6, Uplink::Routed, &[]).contains("masquerade"));
    let brought = ["203.0.113.0/24", "198.51.100.0/24"].map(|range| range.parse().unwrap());
    let table = root_table(&cloud, pool, &brought, ipv6, Uplink::Masquerade, &[]);
    let pools = "{ 198.18.0.0/22, 203.0.113.0/24, 198.51.100.0/24 }";
    assert!(table.contains(&format!("ip saddr != {pools} drop")), "{table}");
    assert!(table.contains(&format!("ip saddr {pools} oifname")), "{table}");
    let services = ["192.0.2.0/24".parse().unwrap(), "192.168.7.20/32".parse().unwrap()];
    check("root_services.nft", &root_table(&cloud, pool, &[], ipv6, Uplink::Masquerade, &services));
}

#[test]
fn the_edges_table_for_services_renders_as_ever() {
    let services = ["192.0.2.0/24".parse().unwrap(), "192.168.7.20/32".parse().unwrap()];
    let own = Ipv4Addr::new(198, 18, 0, 2);
    check("edge_services.nft", &gateway_service::edge_table(own, &services));
    assert_eq!(
        gateway_service::edge_table(own, &[]),
        "table inet services {\n}\ndelete table inet services\n"
    );
}

#[test]
fn routes_and_rules_render_as_ever() {
    let mut text = String::new();
    for rule in routes::rules(&vpc()) {
        writeln!(text, "{rule:?}").unwrap();
    }
    for route in routes::routes(&vpc()) {
        writeln!(text, "{route:?}").unwrap();
    }
    check("routes.txt", &text);
}

#[test]
fn a_subnet_is_public_only_by_its_route_table() {
    let vpc = vpc();
    let public: Vec<bool> = vpc.subnets.iter().map(|subnet| routes::is_public(&vpc, subnet)).collect();
    assert_eq!(public, [true, false]);
    let open: Vec<bool> = vpc.subnets.iter().map(|subnet| routes::is_open(&vpc, subnet)).collect();
    assert_eq!(open, [true, false]);
}

#[test]
fn route_tables_never_share_a_number_and_subnets_never_a_mark() {
    let mut vpc = vpc();
    let low = 0xb1u128;
    for high in 1..5u128 {
        let route_table = RouteTableId::from_entropy(low | (high << 40));
        vpc.route_tables.push(RouteTableDesired { route_table, routes: vec![] });
    }
    let numbers = routes::numbers(&vpc);
    for (at, subnet) in [0xc1, 0xc1 | (1 << 40), 0xc1 | (1 << 50)].into_iter().enumerate() {
        let mut twin = vpc.subnets[0].clone();
        twin.subnet = SubnetId::from_entropy(subnet);
        vpc.subnets.resize(vpc.subnets.len().max(at + 1), twin.clone());
        vpc.subnets[at] = twin;
    }
    assert_eq!(routes::marks(&vpc).into_values().collect::<std::collections::BTreeSet<_>>().len(), 3);
    let distinct: std::collections::BTreeSet<u32> = numbers.values().copied().collect();
    assert_eq!(distinct.len(), vpc.route_tables.len());
    assert!(distinct.iter().all(|number| *number > 255));
}
