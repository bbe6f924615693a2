//! One VPC with a public and a private subnet, and what each thing in the way says.

use super::reach::{Header, Place, Protocol, Question};
use super::*;
use model::host::{
    AddressDesired, NatGatewayDesired, NetworkAclDesired, RouteDesired, RouteTableDesired, RouteTarget,
    SubnetDesired, VpnDesired,
};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::packet::{Component, End, Obstacle, Packet, Transport};
use model::record::security_group::Direction;
use model::{
    AccountId, Mac, NatGatewayId, NetworkAclId, Region, SubnetId, VpcEndpointId, VpnConnectionId,
    VpnGatewayId,
};

fn anyone(traffic: Traffic) -> Allow {
    Allow { traffic, peer: Peer::Net("0.0.0.0/0".parse().unwrap()) }
}

fn entry(number: u16, traffic: Traffic, action: AclAction) -> AclEntry {
    AclEntry { number, traffic, net: "0.0.0.0/0".parse().unwrap(), action }
}

const WEB: Traffic = Traffic::Tcp { from: 80, to: 80 };

struct Scene {
    vpc: VpcDesired,
    group: SecurityGroupDesired,
    front: InterfaceDesired,
    back: InterfaceDesired,
}

impl Scene {
    fn new() -> Self {
        let vpc = VpcId::from_entropy(1);
        let group = SecurityGroupId::from_entropy(2);
        let (public, private) = (RouteTableId::from_entropy(3), RouteTableId::from_entropy(4));
        let acl = |n| NetworkAclId::from_entropy(n);
        let subnet = |n: u128, cidr: &str, route_table| SubnetDesired {
            subnet: SubnetId::from_entropy(n),
            cidr: Some(cidr.parse().unwrap()),
            ipv6_cidr: None,
            route_table,
            network_acl: acl(n),
        };
        let interface =
            |n: u128, subnet: &SubnetDesired, private: &str, public: Option<&str>| InterfaceDesired {
                interface: NetworkInterfaceId::from_entropy(n),
                device_index: 0,
                mac: Mac::from_entropy(n),
                vpc,
                subnet: subnet.subnet,
                subnet_cidr: subnet.cidr,
                addresses: vec![AddressDesired {
                    private: private.parse().unwrap(),
                    public: public.map(|public| public.parse().unwrap()),
                    withheld: None,
                }],
                ipv6: Vec::new(),
                security_groups: vec![group],
                source_dest_check: true,
                ipv4_prefixes: Vec::new(),
                ipv6_prefixes: Vec::new(),
                hostname: String::new(),
                domain: String::new(),
                bandwidth: None,
            };
        let everywhere = "0.0.0.0/0".parse().unwrap();
        let subnets = vec![subnet(10, "10.0.0.0/24", public), subnet(11, "10.0.1.0/24", private)];
        let open = |n| NetworkAclDesired {
            network_acl: acl(n),
            ingress: vec![entry(100, Traffic::All, AclAction::Allow)],
            egress: vec![entry(100, Traffic::All, AclAction::Allow)],
        };
        let gateway = NatGatewayId::from_entropy(5);
        let route = |target| vec![RouteDesired { destination: everywhere, target }];
        Self {
            front: interface(20, &subnets[0], "10.0.0.10", Some("198.18.0.10")),
            back: interface(21, &subnets[1], "10.0.1.10", None),
            group: SecurityGroupDesired {
                group,
                vpc,
                ingress: vec![anyone(WEB)],
                egress: vec![anyone(Traffic::All)],
            },
            vpc: VpcDesired {
                vpc,
                account: AccountId::parse("123456789012").unwrap(),
                region: Region::parse("us-east-1").unwrap(),
                cidrs: vec!["10.0.0.0/16".parse().unwrap()],
                ipv6_cidrs: Vec::new(),
                dns_support: true,
                flow_logs: Vec::new(),
                mirrors: Vec::new(),
                service_nodes: Vec::new(),
                endpoints: Vec::new(),
                vpns: Vec::new(),
                nat_gateways: vec![NatGatewayDesired {
                    gateway,
                    subnet: subnets[0].subnet,
                    address: AddressDesired {
                        private: "10.0.0.60".parse().unwrap(),
                        public: Some("198.18.0.60".parse().unwrap()),
                        withheld: None,
                    },
                }],
                subnets,
                gateway_table: None,
                vpn_table: None,
                route_tables: vec![
                    RouteTableDesired { route_table: public, routes: route(RouteTarget::InternetGateway) },
                    RouteTableDesired {
                        route_table: private,
                        routes: route(RouteTarget::NatGateway(gateway)),
                    },
                ],
                network_acls: vec![open(10), open(11)],
                peerings: Vec::new(),
                transits: Vec::new(),
            },
        }
    }

    fn network(&self) -> Network {
        Network::new([self.vpc.clone()], [self.group.clone()], [self.front.clone(), self.back.clone()])
    }

    fn ask(&self, from: Place, to: Place, port: u16) -> reach::Found {
        self.network().reach(&Question {
            from,
            to: Some(to),
            protocol: Protocol::Tcp,
            leaving: Header { to_ports: Some(port..=port), ..Header::default() },
            arriving: Header::default(),
        })
    }

    fn front(&self) -> Place {
        Place::Interface(self.front.interface)
    }

    fn back(&self) -> Place {
        Place::Interface(self.back.interface)
    }

    fn world(&self) -> Place {
        Place::Gateway(self.vpc.vpc)
    }
}

/// The kinds of what was passed, in order.
fn passed(walk: &model::packet::Walk) -> Vec<&'static str> {
    let kind = |component: &Component| match component {
        Component::Interface(_) => "interface",
        Component::SecurityGroup { .. } => "group",
        Component::NetworkAcl { .. } => "acl",
        Component::Route { .. } => "route",
        Component::NatGateway(_) => "nat",
        Component::InternetGateway => "igw",
        Component::EgressOnlyInternetGateway => "eigw",
        Component::Peering(_) => "peering",
        Component::TransitGateway { .. } => "transit",
        Component::VpnGateway { .. } => "vgw",
        Component::GatewayEndpoint(_) => "vpce",
    };
    walk.steps.iter().map(|step| kind(&step.component)).collect()
}

#[test]
fn a_packet_within_the_vpc_passes_both_gates_and_both_borders() {
    let scene = Scene::new();
    let found = scene.ask(scene.back(), scene.front(), 80);
    assert!(found.reaches, "{found:?}");
    assert_eq!(passed(&found.there), ["interface", "group", "acl", "route", "acl", "group", "interface"]);
    assert_eq!(passed(&found.back.unwrap()), ["interface", "acl", "route", "acl", "interface"]);
}

#[test]
fn groups_that_let_nothing_in_are_named() {
    let scene = Scene::new();
    let found = scene.ask(scene.back(), scene.front(), 22);
    assert!(!found.reaches);
    let [obstacle] = found.there.obstacles.as_slice() else { panic!("{found:?}") };
    let Obstacle::SecurityGroups { interface, direction, .. } = obstacle else { panic!("{obstacle:?}") };
    assert_eq!((*interface, *direction), (scene.front.interface, Direction::Ingress));
}

#[test]
fn the_entry_of_an_acl_that_denies_is_named_and_what_else_stands_in_the_way_too() {
    let mut scene = Scene::new();
    scene.vpc.network_acls[1].egress.push(entry(50, Traffic::All, AclAction::Deny));
    let found = scene.ask(scene.back(), scene.front(), 22);
    let [first, second] = found.there.obstacles.as_slice() else { panic!("{found:?}") };
    let Obstacle::NetworkAcl { rule, direction, .. } = first else { panic!("{first:?}") };
    assert_eq!((rule.unwrap().number, *direction), (50, Direction::Egress));
    assert!(matches!(second, Obstacle::SecurityGroups { .. }));
}

#[test]
fn an_acl_that_stops_the_answer_stops_the_path() {
    let mut scene = Scene::new();
    scene.vpc.network_acls[0].egress = vec![entry(100, WEB, AclAction::Allow)];
    let found = scene.ask(scene.back(), scene.front(), 80);
    assert!(!found.reaches && found.there.obstacles.is_empty());
    let back = found.back.unwrap();
    assert!(
        matches!(
            back.obstacles.as_slice(),
            [Obstacle::NetworkAcl { rule: None, direction: Direction::Egress, .. }]
        ),
        "{back:?}"
    );
}

#[test]
fn the_world_reaches_who_has_a_public_address() {
    let scene = Scene::new();
    let found = scene.ask(scene.world(), scene.front(), 80);
    assert!(found.reaches, "{found:?}");
    assert_eq!(passed(&found.there), ["igw", "acl", "group", "interface"]);
    assert_eq!(found.there.arrives.unwrap().dst, "10.0.0.10".parse::<IpAddr>().unwrap());
    let found = scene.ask(scene.world(), scene.back(), 80);
    assert!(matches!(found.there.obstacles.as_slice(), [Obstacle::NotPublic { .. }]), "{found:?}");
}

#[test]
fn a_private_subnet_reaches_the_world_by_the_nat_gateway_and_back() {
    let scene = Scene::new();
    let found = scene.ask(scene.back(), scene.world(), 443);
    assert!(found.reaches, "{found:?}");
    assert_eq!(
        passed(&found.there),
        ["interface", "group", "acl", "route", "acl", "nat", "acl", "route", "igw"]
    );
    assert_eq!(found.there.arrives.unwrap().src, "198.18.0.60".parse::<IpAddr>().unwrap());
    assert_eq!(passed(&found.back.unwrap()), ["igw", "nat", "route", "acl", "interface"]);
}

#[test]
fn a_table_without_a_way_is_told_from_one_whose_target_is_gone() {
    let mut scene = Scene::new();
    scene.vpc.route_tables[1].routes[0].target = RouteTarget::Blackhole;
    let found = scene.ask(scene.back(), scene.world(), 443);
    assert!(matches!(found.there.obstacles.as_slice(), [Obstacle::Blackhole { .. }]), "{found:?}");
    scene.vpc.route_tables[1].routes.clear();
    let found = scene.ask(scene.back(), scene.world(), 443);
    assert!(matches!(found.there.obstacles.as_slice(), [Obstacle::NoRoute { .. }]), "{found:?}");
}

#[test]
fn who_has_no_public_address_does_not_leave_by_the_gateway() {
    let mut scene = Scene::new();
    scene.front.addresses[0].public = None;
    let found = scene.ask(scene.front(), scene.world(), 443);
    assert!(matches!(found.there.obstacles.as_slice(), [Obstacle::NoPublicAddress { .. }]), "{found:?}");
}

#[test]
fn a_port_that_is_not_named_is_one_that_some_rule_lets_in() {
    let scene = Scene::new();
    let question = Question {
        from: scene.back(),
        to: Some(scene.front()),
        protocol: Protocol::Tcp,
        leaving: Header::default(),
        arriving: Header::default(),
    };
    let found = scene.network().reach(&question);
    assert!(matches!(found.there.arrives.unwrap().transport, Transport::Tcp { to: 80, .. }), "{found:?}");
    assert!(!scene.network().reach(&Question { protocol: Protocol::Udp, ..question }).reaches);
}

#[test]
fn what_the_router_itself_serves_is_reached() {
    let scene = Scene::new();
    let packet = Packet {
        src: "10.0.1.10".parse().unwrap(),
        dst: "10.0.0.2".parse().unwrap(),
        transport: Transport::Udp { from: 40000, to: 53 },
    };
    let walk = scene.network().opens(scene.back.interface, packet);
    assert_eq!(walk.arrives_at(), Some(End::Router(scene.vpc.vpc)));
}

#[test]
fn every_address_of_a_prefix_is_its_interfaces_own() {
    let mut scene = Scene::new();
    scene.back.ipv4_prefixes.push("10.0.1.32/28".parse().unwrap());
    scene.back.ipv6_prefixes.push("2001:db8:0:1:5::/80".parse().unwrap());
    let network = scene.network();
    let holder = |address: &str| {
        let address: IpAddr = address.parse().unwrap();
        (network.holder(scene.vpc.vpc, address).map(|own| own.interface), holds(&scene.back, address))
    };
    let v6 = ["2001:db8:0:1:5::", "2001:db8:0:1:5:ffff:ffff:ffff"];
    for own in ["10.0.1.10", "10.0.1.32", "10.0.1.47"].into_iter().chain(v6) {
        assert_eq!(holder(own), (Some(scene.back.interface), true), "{own}");
    }
    for other in ["10.0.1.31", "10.0.1.48", "2001:db8:0:1:4:ffff:ffff:ffff", "2001:db8:0:1:6::"] {
        assert_eq!(holder(other), (None, false), "{other}");
    }
}

#[test]
fn who_has_ipv6_alone_neither_sends_nor_takes_anything_else() {
    let mut scene = Scene::new();
    let everywhere: ipnet::IpNet = "::/0".parse().unwrap();
    scene.vpc.ipv6_cidrs = vec!["2001:db8::/56".parse().unwrap()];
    for (n, subnet) in scene.vpc.subnets.iter_mut().enumerate() {
        subnet.ipv6_cidr = Some(format!("2001:db8:0:{n}::/64").parse().unwrap());
    }
    for acl in &mut scene.vpc.network_acls {
        let open = AclEntry { net: everywhere, ..entry(101, Traffic::All, AclAction::Allow) };
        acl.ingress.push(open);
        acl.egress.push(open);
    }
    let all = Allow { traffic: Traffic::All, peer: Peer::Net(everywhere) };
    scene.group.ingress.push(all);
    scene.group.egress.push(all);
    scene.front.ipv6.push("2001:db8::10".parse().unwrap());
    let (back, private) = (&mut scene.back, &mut scene.vpc.subnets[1]);
    (private.cidr, back.subnet_cidr, back.addresses) = (None, None, Vec::new());
    back.ipv6.push("2001:db8:0:1::10".parse().unwrap());
    let web = |src: &str, dst: &str| Packet {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to: 80 },
    };
    let (front, back) = (scene.front.interface, scene.back.interface);
    let ends = |scene: &Scene, from, packet| scene.network().opens(from, packet).arrives_at();
    let v6 = [web("2001:db8::10", "2001:db8:0:1::10"), web("2001:db8:0:1::10", "2001:db8::10")];
    assert_eq!(ends(&scene, front, v6[0]), Some(End::Interface(back)));
    assert_eq!(ends(&scene, back, v6[1]), Some(End::Interface(front)));
    // Whatever it may forward by IPv6, and wherever routes lead.
    scene.back.source_dest_check = false;
    let forged = scene.network().opens(back, web("10.0.1.10", "10.0.0.10"));
    assert!(matches!(forged.obstacles.as_slice(), [Obstacle::Kept { .. }]), "{forged:?}");
    let target = RouteTarget::Interface(back);
    for destination in ["192.0.2.0/24", "2001:db8:ffff::/48"] {
        let destination = destination.parse().unwrap();
        scene.vpc.route_tables[0].routes.push(RouteDesired { destination, target: target.clone() });
    }
    let through = scene.network().opens(front, web("10.0.0.10", "192.0.2.1"));
    assert!(matches!(through.obstacles.as_slice(), [Obstacle::Blackhole { .. }]), "{through:?}");
    let through = web("2001:db8::10", "2001:db8:ffff::1");
    assert_eq!(ends(&scene, front, through), Some(End::Interface(back)));
    assert_eq!(routes::of_subnet(&scene.vpc.subnets[1]).count(), 1);
    let own = "2001:db8:0:1::99".parse().unwrap();
    let found = routes::subnet_holding(&scene.vpc, own).map(|subnet| subnet.subnet);
    assert_eq!(found, Some(scene.vpc.subnets[1].subnet));
}

#[test]
fn what_comes_by_the_gateway_meets_the_machine_that_the_gateways_table_names() {
    let mut scene = Scene::new();
    scene.back.addresses[0].public = Some("198.18.0.11".parse().unwrap());
    let private = scene.vpc.subnets[1].clone();
    let web = |src: &str, dst: &str| Packet {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to: 80 },
    };
    let enters = |scene: &Scene| scene.network().enters(scene.vpc.vpc, web("203.0.113.9", "198.18.0.11"));
    let blocked = enters(&scene);
    assert!(matches!(blocked.obstacles.as_slice(), [Obstacle::NotPublic { .. }]), "{blocked:?}");

    let table = RouteTableId::from_entropy(30);
    let target = RouteTarget::Interface(scene.front.interface);
    let destination = private.cidr.unwrap().into();
    scene
        .vpc
        .route_tables
        .push(RouteTableDesired { route_table: table, routes: vec![RouteDesired { destination, target }] });
    scene.vpc.gateway_table = Some(table);
    let check = enters(&scene);
    assert!(matches!(check.obstacles.as_slice(), [Obstacle::SourceDestinationCheck { .. }]), "{check:?}");
    scene.front.source_dest_check = false;
    let walk = enters(&scene);
    assert_eq!(walk.arrives_at(), Some(End::Interface(scene.front.interface)));
    assert_eq!(walk.arrives.unwrap().dst, "10.0.1.10".parse::<IpAddr>().unwrap());
    let to_itself = scene.network().enters(scene.vpc.vpc, web("203.0.113.9", "198.18.0.10"));
    assert_eq!(to_itself.arrives.unwrap().dst, "10.0.0.10".parse::<IpAddr>().unwrap());

    // Forwarded, it reaches whom it is for; and the answer leaves in that one's name, nobody else's.
    let (front, network) = (scene.front.interface, scene.network());
    let on = network.opens(front, web("203.0.113.9", "10.0.1.10"));
    assert_eq!(on.arrives_at(), Some(End::Interface(scene.back.interface)));
    let back = network.opens(front, web("10.0.1.10", "203.0.113.9"));
    assert_eq!(back.arrives_at(), Some(End::Outside(scene.vpc.vpc)));
    assert_eq!(back.arrives.unwrap().src, "198.18.0.11".parse::<IpAddr>().unwrap());
    let forged = network.opens(front, web("10.0.0.99", "203.0.113.9"));
    assert!(matches!(forged.obstacles.as_slice(), [Obstacle::Forged { .. }]), "{forged:?}");
}

#[test]
fn what_comes_by_a_vpn_connection_meets_the_machine_that_the_gateways_table_names() {
    let mut scene = Scene::new();
    let (connection, gateway) = (VpnConnectionId::from_entropy(31), VpnGatewayId::from_entropy(32));
    scene.vpc.vpns.push(VpnDesired {
        gateway,
        connection,
        customer: "203.0.113.77".parse().unwrap(),
        arrival: None,
        tunnels: Vec::new(),
        routes: vec!["192.168.0.0/16".parse().unwrap()],
    });
    let web = |src: &str, dst: &str| Packet {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to: 80 },
    };
    let (front, back) = (scene.front.interface, scene.back.interface);
    let comes = |scene: &Scene, to| scene.network().comes(scene.vpc.vpc, connection, web("192.168.7.10", to));
    assert_eq!(comes(&scene, "10.0.1.10").arrives_at(), Some(End::Interface(back)));

    let table = RouteTableId::from_entropy(30);
    let destination = scene.vpc.subnets[1].cidr.unwrap().into();
    let routes = vec![RouteDesired { destination, target: RouteTarget::Interface(front) }];
    scene.vpc.route_tables.push(RouteTableDesired { route_table: table, routes });
    scene.vpc.vpn_table = Some(table);
    let check = comes(&scene, "10.0.1.10");
    assert!(matches!(check.obstacles.as_slice(), [Obstacle::SourceDestinationCheck { .. }]), "{check:?}");
    scene.front.source_dest_check = false;
    assert_eq!(comes(&scene, "10.0.1.10").arrives_at(), Some(End::Interface(front)));
    assert_eq!(comes(&scene, "10.0.0.10").arrives_at(), Some(End::Interface(front)), "what is its own");

    // Passed on, it comes to whom it is for, and the answer to the customer; in nobody else's name.
    let on = scene.network().opens(front, web("192.168.7.10", "10.0.1.10"));
    assert_eq!(on.arrives_at(), Some(End::Interface(back)));
    let to_customer = RouteDesired {
        destination: "192.168.0.0/16".parse().unwrap(),
        target: RouteTarget::VpnGateway(gateway),
    };
    scene.vpc.route_tables[0].routes.push(to_customer);
    let answer = scene.network().opens(front, web("10.0.1.10", "192.168.7.10"));
    assert_eq!(answer.arrives_at(), Some(End::Customer(scene.vpc.vpc, connection)));
    let forged = scene.network().opens(front, web("10.0.0.99", "192.168.7.10"));
    assert!(matches!(forged.obstacles.as_slice(), [Obstacle::VpnRange { .. }]), "{forged:?}");
}

#[test]
fn a_gateway_endpoint_leads_its_subnets_to_the_services_ranges_and_back() {
    let mut scene = Scene::new();
    let endpoint = VpcEndpointId::from_entropy(40);
    let destination = "192.0.2.0/24".parse().unwrap();
    let target = RouteTarget::GatewayEndpoint(endpoint);
    scene.vpc.route_tables[1].routes = vec![RouteDesired { destination, target }];
    let web = |src: &str, dst: &str| Packet {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to: 443 },
    };
    let there = scene.network().opens(scene.back.interface, web("10.0.1.10", "192.0.2.7"));
    assert_eq!(there.arrives_at(), Some(End::Service(scene.vpc.vpc, endpoint)));
    let passed: Vec<&Component> = there.steps.iter().map(|step| &step.component).collect();
    assert!(matches!(passed.last(), Some(Component::GatewayEndpoint(id)) if *id == endpoint), "{passed:?}");
    let back = scene.network().answers(&there).unwrap();
    assert_eq!(back.arrives_at(), Some(End::Interface(scene.back.interface)));

    // Nothing else of the outside, and not from another subnet.
    let beside = scene.network().opens(scene.back.interface, web("10.0.1.10", "192.0.3.7"));
    assert!(matches!(beside.obstacles.as_slice(), [Obstacle::NoRoute { .. }]), "{beside:?}");
    let public = scene.network().opens(scene.front.interface, web("10.0.0.10", "192.0.2.7"));
    assert_eq!(public.arrives_at(), Some(End::Outside(scene.vpc.vpc)));

    // A group and an ACL stop it as they stop all else.
    scene.group.egress = vec![anyone(WEB)];
    let shut = scene.network().opens(scene.back.interface, web("10.0.1.10", "192.0.2.7"));
    assert!(matches!(shut.obstacles.as_slice(), [Obstacle::SecurityGroups { .. }]), "{shut:?}");
    scene.group.egress = vec![anyone(Traffic::All)];
    scene.vpc.network_acls[1].ingress = vec![entry(100, WEB, AclAction::Allow)];
    let there = scene.network().opens(scene.back.interface, web("10.0.1.10", "192.0.2.7"));
    let back = scene.network().answers(&there).unwrap();
    assert!(matches!(back.obstacles.as_slice(), [Obstacle::NetworkAcl { .. }]), "{back:?}");

    // Only what somebody vouches for.
    scene.back.source_dest_check = false;
    let forged = scene.network().opens(scene.back.interface, web("10.0.1.99", "192.0.2.7"));
    assert!(matches!(forged.obstacles.as_slice(), [Obstacle::GatewayEndpoint { .. }]), "{forged:?}");
}

#[test]
fn what_a_nat_gateway_sends_goes_by_the_endpoint_of_its_subnet_and_finds_back() {
    let mut scene = Scene::new();
    let endpoint = VpcEndpointId::from_entropy(40);
    let destination = "192.0.2.0/24".parse().unwrap();
    let target = RouteTarget::GatewayEndpoint(endpoint);
    scene.vpc.route_tables[0].routes.push(RouteDesired { destination, target });
    let question = Question {
        from: scene.back(),
        to: None,
        protocol: Protocol::Tcp,
        leaving: Header { dst: "192.0.2.7".parse().ok(), to_ports: Some(443..=443), ..Header::default() },
        arriving: Header::default(),
    };
    let found = scene.network().reach(&question);
    assert!(found.reaches, "{found:?}");
    assert_eq!(found.there.arrives_at(), Some(End::Service(scene.vpc.vpc, endpoint)));
    assert_eq!(found.back.unwrap().arrives_at(), Some(End::Interface(scene.back.interface)));
}
