//! Gateway endpoints: ways to services beside the cloud.

use super::world::*;
use agent::host::linux::netns::Namespace;
use model::host::{
    AddressDesired, NatGatewayDesired, PeeringDesired, RouteDesired, RouteTarget, SecurityGroupDesired,
};
use model::{NatGatewayId, VpcEndpointId, VpcPeeringConnectionId};
use plan::net::{gateway_service, names};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// Outside of the host, in a range that was named, and another one that was not.
const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 70);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 130);
/// On the host itself.
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const RANGES: [&str; 2] = ["192.0.2.64/26", "192.0.2.9/32"];
/// The edge's, which the host sees.
const EDGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// In the private subnet, and in the public one.
const A: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 11);

/// A host with such services, one of them its own.
async fn serving(world: &mut World) -> Namespace {
    world.config.gateway_services = RANGES.iter().map(|net| net.parse().unwrap()).collect();
    world.restart().await;
    sh(&format!("ip addr add {OWN}/32 dev lo"));
    let outside = format!("ip addr add {SERVICE}/32 dev lo; ip addr add {OTHER}/32 dev lo");
    world.outside.run(|| Ok(sh(&outside))).unwrap();
    Namespace::current().unwrap()
}

/// The table of the public subnet (0) or of the private one (1) leads to the services.
fn lead(vpc: &mut Vpc, table: usize) {
    let target = RouteTarget::GatewayEndpoint(VpcEndpointId::from_entropy(unique()));
    let routes = RANGES.map(|net| RouteDesired { destination: net.parse().unwrap(), target: target.clone() });
    vpc.desired.route_tables[table].routes.extend(routes);
}

/// The VPC's end of its way, where there is one.
fn inside(world: &World, vpc: &Vpc) -> Option<Ipv4Addr> {
    let edge = Namespace::open(&names::edge_namespace(&world.config.cloud)).unwrap();
    let links = edge.run(|| Ok(sh("ip -o link"))).unwrap();
    let name = names::service_link(vpc.desired.vpc);
    let line = links.lines().find(|line| line.contains(&format!(": {name}@")))?;
    let index: u32 = line.split(':').next()?.parse().ok()?;
    Some(gateway_service::inside(index))
}

/// The service's side: at its own address, so that answers come from there.
fn sink(namespace: &Namespace, at: Ipv4Addr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((at, 9))).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// Whether what is sent from here comes there, and the answer back.
fn asks(guest: &Guest, port: u16, sink: &UdpSocket, to: Ipv4Addr) -> Ipv4Addr {
    let own = guest.address();
    let socket = guest.namespace.run(|| UdpSocket::bind((own, port))).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut buffer = [0; 64];
    let said = format!("{own} {:?}", guest.interface.vpc);
    socket.send_to(said.as_bytes(), (to, 9)).unwrap();
    let (length, from) = sink.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], said.as_bytes());
    sink.send_to(said.as_bytes(), from).unwrap();
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], said.as_bytes());
    match from.ip() {
        std::net::IpAddr::V4(from) => from,
        std::net::IpAddr::V6(_) => unreachable!(),
    }
}

#[test]
fn a_subnet_reaches_a_service_by_its_endpoint_and_nothing_else_and_nobody_reaches_the_subnet() {
    on_a_host(|mut world| async move {
        let host = serving(&mut world).await;
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let mut group: SecurityGroupDesired = world.group(&vpc, vec![]).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&open]).await);
        let there = Echo::start(&world.outside, 7);
        let here = Echo::start(&host, 7);
        assert!(a.connect_briefly(SERVICE, 7).is_err(), "no route");
        assert_eq!(inside(&world, &vpc), None);

        lead(&mut vpc, 1);
        world.ensure_vpc(&vpc).await;
        let mut session = a.connect(SERVICE, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(there.next_peer(), HOST, "the host stands for the VPC");
        assert!(a.pings(SERVICE));
        let mut own = a.connect(OWN, 7).unwrap();
        assert_eq!(talk(&mut own, "hello").unwrap(), "hello");
        assert_eq!(here.next_peer(), EDGE);
        // Only what was named, and only from where the route is.
        assert!(a.connect_briefly(OTHER, 7).is_err());
        assert!(a.connect_briefly(OUTSIDE, 7).is_err());
        assert!(a.connect_briefly(HOST, 7).is_err());
        assert!(b.connect_briefly(SERVICE, 7).is_err(), "another subnet");
        assert!(b.connect_briefly(OWN, 7).is_err());

        // Whoever finds the way in finds it shut.
        let door = inside(&world, &vpc).expect("the way stands");
        let link = names::host_link(&world.config.cloud);
        sh(&format!("ip route add {door}/32 via {EDGE} dev {link} onlink"));
        let _listens = a.serve(8);
        assert!(!pings_briefly(&host, door));
        assert!(connect_briefly(&host, door, 8).is_err());
        sh(&format!("ip route del {door}/32 via {EDGE} dev {link}"));

        // The sender's group judges, as everywhere.
        let egress = std::mem::replace(&mut group.egress, vec![tcp_from(7, "192.0.2.64/26")]);
        world.net_group(&group).await;
        assert!(a.connect_briefly(OWN, 7).is_err());
        assert!(a.connect(SERVICE, 7).is_ok());
        group.egress = egress;
        world.net_group(&group).await;

        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert_eq!(inside(&world, &vpc), Some(door), "a new agent finds it");
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(a.connect(SERVICE, 7).is_ok());

        let routes = std::mem::take(&mut vpc.desired.route_tables[1].routes);
        world.ensure_vpc(&vpc).await;
        assert!(a.connect_briefly(SERVICE, 7).is_err());
        assert_eq!(inside(&world, &vpc), None, "the way is gone with the route");
        vpc.desired.route_tables[1].routes = routes;
        world.ensure_vpc(&vpc).await;
        assert!(a.connect(SERVICE, 7).is_ok());
        a.end();
        b.end();
        world.net_remove_vpc(&vpc).await;
        assert_eq!(inside(&world, &vpc), None);
    });
}

#[test]
fn vpcs_of_the_same_range_reach_a_service_each_by_a_way_of_its_own() {
    on_a_host(|mut world| async move {
        serving(&mut world).await;
        let (mut one, mut two) = (Vpc::new("172.31.0.0/16"), Vpc::new("172.31.0.0/16"));
        let mut guests = Vec::new();
        for vpc in [&mut one, &mut two] {
            lead(vpc, 1);
            world.ensure_vpc(vpc).await;
            let group = world.group(vpc, vec![]).await;
            guests.push(world.guest(vpc, A, &[&group]).await);
        }
        let sink = sink(&world.outside, SERVICE);
        let at_host = self::sink(&Namespace::current().unwrap(), OWN);
        for guest in &guests {
            // The same port of the same address, twice.
            assert_eq!(asks(guest, 4242, &sink, SERVICE), HOST);
            assert_eq!(asks(guest, 4243, &at_host, OWN), EDGE);
        }
        assert_ne!(inside(&world, &one), inside(&world, &two));
    });
}

#[test]
fn only_a_vpcs_own_leave_by_its_endpoint() {
    on_a_host(|mut world| async move {
        serving(&mut world).await;
        let (mut vpc, mut peer) = (Vpc::new("172.31.0.0/16"), Vpc::new("10.9.0.0/16"));
        lead(&mut vpc, 0);
        lead(&mut vpc, 1);
        // A peer that is led there has no way through.
        let peering = VpcPeeringConnectionId::from_entropy(unique());
        let side = |of: &Vpc| PeeringDesired {
            ipv6_cidrs: Vec::new(),
            peering,
            peer: of.desired.vpc,
            cidrs: of.desired.cidrs.clone(),
        };
        let (to_vpc, to_peer) = (side(&vpc), side(&peer));
        vpc.desired.peerings.push(to_peer);
        peer.desired.peerings.push(to_vpc);
        for net in [RANGES[0], "172.31.0.0/16"] {
            let (destination, target) = (net.parse().unwrap(), RouteTarget::Peering(peering));
            peer.desired.route_tables[1].routes.push(RouteDesired { destination, target });
        }
        let (destination, target) = ("10.9.0.0/16".parse().unwrap(), RouteTarget::Peering(peering));
        vpc.desired.route_tables[1].routes.push(RouteDesired { destination, target });
        world.ensure_vpc(&vpc).await;
        world.ensure_vpc(&peer).await;
        let inner = world.group(&vpc, vec![]).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let theirs = world.group(&peer, vec![]).await;
        let a = world.guest(&vpc, A, &[&open]).await;
        let c = world.guest(&peer, Ipv4Addr::new(10, 9, 128, 10), &[&theirs]).await;
        let _listens = a.serve(8);
        assert!(c.connect(A, 8).is_ok());
        let there = Echo::start(&world.outside, 7);
        assert!(c.connect_briefly(SERVICE, 7).is_err());

        // One with a public address goes there by the endpoint, and elsewhere by the gateway.
        let mut public = vpc.interface(B, &[&inner]);
        public.addresses[0].public = Some(PUBLIC);
        public.source_dest_check = false;
        let b = world.guest_with(public).await;
        let sink = sink(&world.outside, SERVICE);
        assert_eq!(asks(&b, 4242, &sink, SERVICE), HOST);
        assert!(b.connect(OUTSIDE, 7).is_ok());
        there.next_peer();

        // A machine that forwards may not send there in another's name.
        let forged = SocketAddrV4::new(Ipv4Addr::new(172, 31, 0, 99), 4242);
        let frame = ipv4_udp(forged, SocketAddrV4::new(SERVICE, 9), b"forged");
        b.inject(&ethernet(plan::net::GATEWAY_MAC, b.interface.mac.0, 0x0800, &frame));
        assert_eq!(asks(&b, 4244, &sink, SERVICE), HOST, "it is the first to come");
        assert!(there.nobody_else());
    });
}

#[test]
fn what_leaves_by_a_nat_gateway_goes_on_by_the_endpoint_of_the_gateways_subnet() {
    on_a_host(|mut world| async move {
        serving(&mut world).await;
        let mut vpc = Vpc::new("172.31.0.0/16");
        vpc.desired.route_tables[0].routes.clear();
        lead(&mut vpc, 0);
        let gateway = NatGatewayId::from_entropy(unique());
        let private = Ipv4Addr::new(172, 31, 0, 77);
        vpc.desired.nat_gateways.push(NatGatewayDesired {
            gateway,
            subnet: vpc.desired.subnets[0].subnet,
            address: AddressDesired { private, public: None, withheld: None },
        });
        let (destination, target) = ("0.0.0.0/0".parse().unwrap(), RouteTarget::NatGateway(gateway));
        vpc.desired.route_tables[1].routes.push(RouteDesired { destination, target });
        world.ensure_vpc(&vpc).await;
        let inner = world.group(&vpc, vec![]).await;
        let a = world.guest(&vpc, A, &[&inner]).await;
        let there = Echo::start(&world.outside, 7);
        let mut session = a.connect(SERVICE, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(there.next_peer(), HOST);
        assert!(a.connect_briefly(OTHER, 7).is_err());
    });
}
