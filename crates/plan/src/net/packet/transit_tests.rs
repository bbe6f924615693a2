//! Three VPCs at a transit gateway: two that must not meet, and one that both do and that leads out.

use super::*;
use model::host::{
    AddressDesired, NatGatewayDesired, NetworkAclDesired, RouteDesired, RouteTableDesired, RouteTarget,
    SubnetDesired, TransitDesired, TransitPeerDesired, TransitRouteDesired,
};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::packet::{Component, End, Obstacle, Packet, Transport, Walk};
use model::{
    AccountId, Mac, NatGatewayId, NetworkAclId, Region, SubnetId, TransitGatewayAttachmentId,
    TransitGatewayId, TransitGatewayRouteTableId,
};

const GATEWAY: TransitGatewayId = TransitGatewayId::from_entropy(0x99);

fn attachment(n: u128) -> TransitGatewayAttachmentId {
    TransitGatewayAttachmentId::from_entropy(1 << n)
}

fn route(to: &str, target: RouteTarget) -> RouteDesired {
    RouteDesired { destination: to.parse().unwrap(), target }
}

fn way(to: &str, by: u128) -> TransitRouteDesired {
    TransitRouteDesired { destination: to.parse().unwrap(), to: Some(attachment(by)) }
}

/// `10.N.0.0/16` with a subnet `10.N.0.0/24`, attached, and all led to the gateway.
fn vpc(n: u128, ways: Vec<TransitRouteDesired>, peers: &[u128]) -> VpcDesired {
    let (subnet, table, acl) =
        (SubnetId::from_entropy(n), RouteTableId::from_entropy(n), NetworkAclId::from_entropy(n));
    let anything = AclEntry {
        number: 100,
        traffic: Traffic::All,
        net: "0.0.0.0/0".parse().unwrap(),
        action: AclAction::Allow,
    };
    VpcDesired {
        vpc: VpcId::from_entropy(n),
        account: AccountId::from_number(1),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec![format!("10.{n}.0.0/16").parse().unwrap()],
        ipv6_cidrs: Vec::new(),
        dns_support: true,
        subnets: vec![SubnetDesired {
            subnet,
            cidr: Some(format!("10.{n}.0.0/24").parse().unwrap()),
            ipv6_cidr: None,
            route_table: table,
            network_acl: acl,
        }],
        gateway_table: None,
        vpn_table: None,
        route_tables: vec![RouteTableDesired {
            route_table: table,
            routes: vec![route("0.0.0.0/0", RouteTarget::TransitGateway(GATEWAY))],
        }],
        network_acls: vec![NetworkAclDesired {
            network_acl: acl,
            ingress: vec![anything],
            egress: vec![anything],
        }],
        peerings: Vec::new(),
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: Vec::new(),
        transits: vec![TransitDesired {
            gateway: GATEWAY,
            attachment: attachment(n),
            ipv6: false,
            arrival: subnet,
            served: vec![subnet],
            table: Some(TransitGatewayRouteTableId::from_entropy(n)),
            routes: ways,
            peers: peers
                .iter()
                .map(|peer| TransitPeerDesired {
                    attachment: attachment(*peer),
                    vpc: VpcId::from_entropy(*peer),
                })
                .collect(),
        }],
        flow_logs: Vec::new(),
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
    }
}

/// `10.N.0.10`, which everybody may ask.
fn guest(n: u128) -> (InterfaceDesired, SecurityGroupDesired) {
    let anyone = Allow { traffic: Traffic::All, peer: Peer::Net("0.0.0.0/0".parse().unwrap()) };
    let group = SecurityGroupDesired {
        group: SecurityGroupId::from_entropy(n),
        vpc: VpcId::from_entropy(n),
        ingress: vec![anyone],
        egress: vec![anyone],
    };
    let interface = InterfaceDesired {
        bandwidth: None,
        interface: NetworkInterfaceId::from_entropy(n),
        device_index: 0,
        mac: Mac::from_entropy(n),
        vpc: VpcId::from_entropy(n),
        subnet: SubnetId::from_entropy(n),
        subnet_cidr: Some(format!("10.{n}.0.0/24").parse().unwrap()),
        addresses: vec![AddressDesired {
            private: format!("10.{n}.0.10").parse().unwrap(),
            public: None,
            withheld: None,
        }],
        ipv6: Vec::new(),
        security_groups: vec![group.group],
        source_dest_check: true,
        ipv4_prefixes: Vec::new(),
        ipv6_prefixes: Vec::new(),
        hostname: String::new(),
        domain: String::new(),
    };
    (interface, group)
}

/// One and two know only three, and three knows both.
fn scene() -> Vec<VpcDesired> {
    vec![
        vpc(1, vec![way("10.3.0.0/16", 3)], &[3]),
        vpc(2, vec![way("10.3.0.0/16", 3)], &[3]),
        vpc(3, vec![way("10.1.0.0/16", 1), way("10.2.0.0/16", 2)], &[1, 2]),
    ]
}

fn network(vpcs: Vec<VpcDesired>) -> Network {
    let (interfaces, groups): (Vec<_>, Vec<_>) = (1..=3).map(guest).unzip();
    Network::new(vpcs, groups, interfaces)
}

fn opens(vpcs: Vec<VpcDesired>, from: u128, to: &str) -> (Walk, Option<Walk>) {
    let network = network(vpcs);
    let packet = Packet {
        src: format!("10.{from}.0.10").parse().unwrap(),
        dst: to.parse().unwrap(),
        transport: Transport::Tcp { from: 40000, to: 80 },
    };
    let there = network.opens(NetworkInterfaceId::from_entropy(from), packet);
    let back = network.answers(&there);
    (there, back)
}

#[test]
fn a_packet_takes_one_hop_through_the_gateway_and_so_does_its_answer() {
    let (there, back) = opens(scene(), 1, "10.3.0.10");
    assert_eq!(there.arrives_at(), Some(End::Interface(NetworkInterfaceId::from_entropy(3))), "{there:?}");
    let through = there.steps.iter().find_map(|step| match &step.component {
        Component::TransitGateway { attachment, destination, to, .. } => {
            Some((*attachment, *destination, *to))
        }
        _ => None,
    });
    assert_eq!(through, Some((attachment(1), "10.3.0.0/16".parse().unwrap(), attachment(3))));
    // The VPC's own route is shown as its owner wrote it.
    let asked = there.steps.iter().find_map(|step| match &step.component {
        Component::Route { destination, .. } => Some(*destination),
        _ => None,
    });
    assert_eq!(asked, Some("0.0.0.0/0".parse().unwrap()));
    assert_eq!(back.unwrap().arrives_at(), Some(End::Interface(NetworkInterfaceId::from_entropy(1))));
}

#[test]
fn who_is_in_no_table_of_the_other_is_not_met() {
    let (there, _) = opens(scene(), 1, "10.2.0.10");
    let [Obstacle::NoTransit { blackhole: None, table: Some(_), .. }] = there.obstacles.as_slice() else {
        panic!("{there:?}")
    };
    let mut vpcs = scene();
    vpcs[0].transits[0]
        .routes
        .push(TransitRouteDesired { destination: "10.0.0.0/8".parse().unwrap(), to: None });
    let (there, _) = opens(vpcs, 1, "10.2.0.10");
    assert!(
        matches!(there.obstacles.as_slice(), [Obstacle::NoTransit { blackhole: Some(_), .. }]),
        "{there:?}"
    );
}

#[test]
fn one_way_is_no_conversation() {
    let mut vpcs = scene();
    vpcs[2].transits[0].routes.clear();
    let (there, back) = opens(vpcs, 1, "10.3.0.10");
    assert!(there.arrives_at().is_some(), "{there:?}");
    assert!(matches!(back.unwrap().obstacles.as_slice(), [Obstacle::NoTransit { .. }]));
}

#[test]
fn a_zone_without_a_subnet_of_the_attachment_gets_nothing_through() {
    let mut vpcs = scene();
    vpcs[0].transits[0].served.clear();
    let (there, _) = opens(vpcs, 1, "10.3.0.10");
    assert!(matches!(there.obstacles.as_slice(), [Obstacle::TransitZone { .. }]), "{there:?}");
}

#[test]
fn nothing_comes_in_the_receivers_own_name() {
    let mut vpcs = scene();
    // Two VPCs of one range may be attached, and no packet may pretend to be from within.
    vpcs[2].cidrs.push("10.1.0.0/16".parse().unwrap());
    let (there, _) = opens(vpcs, 1, "10.3.0.10");
    assert!(matches!(there.obstacles.as_slice(), [Obstacle::TransitForged { .. }]), "{there:?}");
}

#[test]
fn what_comes_goes_on_as_the_attachments_subnet_says() {
    let mut vpcs = scene();
    vpcs[0].transits[0].routes.push(way("0.0.0.0/0", 3));
    let (nat, public) = (NatGatewayId::from_entropy(7), RouteTableId::from_entropy(30));
    let place = SubnetDesired {
        subnet: SubnetId::from_entropy(30),
        cidr: Some("10.3.9.0/24".parse().unwrap()),
        ipv6_cidr: None,
        route_table: public,
        network_acl: NetworkAclId::from_entropy(3),
    };
    vpcs[2].nat_gateways.push(NatGatewayDesired {
        gateway: nat,
        subnet: place.subnet,
        address: AddressDesired {
            private: "10.3.9.5".parse().unwrap(),
            public: Some("198.18.0.5".parse().unwrap()),
            withheld: None,
        },
    });
    vpcs[2].transits[0].served.push(place.subnet);
    vpcs[2].subnets.push(place);
    vpcs[2].route_tables[0].routes = vec![route("0.0.0.0/0", RouteTarget::NatGateway(nat))];
    let routes = vec![
        route("0.0.0.0/0", RouteTarget::InternetGateway),
        route("10.0.0.0/8", RouteTarget::TransitGateway(GATEWAY)),
    ];
    vpcs[2].route_tables.push(RouteTableDesired { route_table: public, routes });
    let (there, back) = opens(vpcs, 1, "203.0.113.9");
    assert_eq!(there.arrives_at(), Some(End::Outside(VpcId::from_entropy(3))), "{there:?}");
    assert_eq!(there.arrives.unwrap().src, "198.18.0.5".parse::<IpAddr>().unwrap());
    let back = back.unwrap();
    assert_eq!(back.arrives_at(), Some(End::Interface(NetworkInterfaceId::from_entropy(1))), "{back:?}");
}
