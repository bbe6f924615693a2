//! A gateway's own route table: what comes in for a subnet, and what leaves it, goes by a machine that forwards.

use super::forward::forwarder;
use super::world::*;
use model::RouteTableId;
use model::host::{RouteDesired, RouteTableDesired, RouteTarget};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const B: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 12);
const PUBLIC_N: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
const PUBLIC_B: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 11);
const PUBLIC_C: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 12);
const GATEWAY: [u8; 6] = plan::net::GATEWAY_MAC;

fn passed(guest: &Guest, end: &[u8]) -> bool {
    guest.heard.lock().unwrap().iter().any(|frame| frame.ends_with(end))
}

/// Leads what comes in for the private subnet to a machine.
fn guard(vpc: &mut Vpc, by: &Guest) {
    let (table, target) =
        (RouteTableId::from_entropy(unique()), RouteTarget::Interface(by.interface.interface));
    let destination = vpc.desired.subnets[1].cidr.unwrap().into();
    let routes = vec![RouteDesired { destination, target }];
    vpc.desired.route_tables.push(RouteTableDesired { route_table: table, routes });
    vpc.desired.gateway_table = Some(table);
}

#[test]
fn a_machine_between_the_gateway_and_a_subnet_sees_both_ways() {
    on_a_host(|mut world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let n = forwarder(&world, &vpc, &[&open]).await;
        let with_public = |address, public| {
            let mut interface = vpc.interface(address, &[&open]);
            interface.addresses[0].public = Some(public);
            interface
        };
        let (b, c) = (with_public(B, PUBLIC_B), with_public(C, PUBLIC_C));
        let (b, c) = (world.guest_with(b).await, world.guest_with(c).await);
        let (at_b, _at_c, _at_n) = (b.serve(7), c.serve(7), n.serve(7));
        let everywhere = "0.0.0.0/0".parse().unwrap();
        let target = RouteTarget::Interface(n.interface.interface);
        vpc.desired.route_tables[1].routes = vec![RouteDesired { destination: everywhere, target }];
        world.ensure_vpc(&vpc).await;
        assert!(connect_briefly(&world.outside, PUBLIC_B, 7).is_err(), "no way in yet");

        guard(&mut vpc, &n);
        world.ensure_vpc(&vpc).await;
        let mut session = connect(&world.outside, PUBLIC_B, 7).unwrap();
        assert_eq!(at_b.next_peer(), OUTSIDE);
        assert_eq!(talk(&mut session, "inward").unwrap(), "inward");
        assert!(passed(&n, b"inward"), "it went by the machine");
        // What B begins goes by it too, and is known outside by its own public address.
        let web = Echo::start(&world.outside, 80);
        let mut outward = b.connect(OUTSIDE, 80).unwrap();
        assert_eq!(talk(&mut outward, "outward").unwrap(), "outward");
        assert!(passed(&n, b"outward"));
        assert_eq!(web.next_peer(), HOST);
        assert!(b.pings(OUTSIDE));
        // Others, and the machine itself, are reached straight.
        let mut straight = connect(&world.outside, PUBLIC_C, 7).unwrap();
        assert_eq!(talk(&mut straight, "straight").unwrap(), "straight");
        assert!(!passed(&n, b"straight"));
        assert!(connect(&world.outside, PUBLIC_N, 7).is_ok());
        assert!(b.connect(C, 7).is_ok());

        // It speaks for that subnet alone.
        let outside = udp(&world.outside, 9);
        let forged = ipv4_udp(SocketAddrV4::new(C, 1), SocketAddrV4::new(OUTSIDE, 9), b"in its name");
        n.inject(&ethernet(GATEWAY, n.interface.mac.0, 0x0800, &forged));
        outside.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(outside.recv_from(&mut [0; 64]).is_err());
        outside.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        c.udp(1).send_to(b"honest", (OUTSIDE, 9)).unwrap();
        let mut heard = [0; 64];
        let (length, _) = outside.recv_from(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"honest");

        // A new agent finds it all.
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert_eq!(talk(&mut outward, "yet").unwrap(), "yet");
        assert!(passed(&n, b"still") && passed(&n, b"yet"));

        // Without the table the subnet is no public one; straight again once its own table says so.
        vpc.desired.gateway_table = None;
        vpc.desired.route_tables.truncate(2);
        world.ensure_vpc(&vpc).await;
        assert!(connect_briefly(&world.outside, PUBLIC_B, 7).is_err());
        vpc.desired.route_tables[1].routes[0].target = RouteTarget::InternetGateway;
        world.ensure_vpc(&vpc).await;
        let mut again = connect(&world.outside, PUBLIC_B, 7).unwrap();
        assert_eq!(talk(&mut again, "again").unwrap(), "again");
        assert!(!passed(&n, b"again"));
    });
}

#[test]
fn without_the_machine_nothing_takes_the_short_way() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let mut n = forwarder(&world, &vpc, &[&open]).await;
        let mut interface = vpc.interface(B, &[&open]);
        interface.addresses[0].public = Some(PUBLIC_B);
        let b = world.guest_with(interface).await;
        let _at_b = b.serve(7);
        // The subnet answers straight: only the way in is led.
        let target = RouteTarget::InternetGateway;
        let everywhere = "0.0.0.0/0".parse().unwrap();
        vpc.desired.route_tables[1].routes = vec![RouteDesired { destination: everywhere, target }];
        guard(&mut vpc, &n);
        world.ensure_vpc(&vpc).await;
        let mut session = connect(&world.outside, PUBLIC_B, 7).unwrap();
        assert_eq!(talk(&mut session, "through").unwrap(), "through");
        assert!(passed(&n, b"through"));
        n.interface.source_dest_check = true;
        world.update(&n).await;
        assert!(connect_briefly(&world.outside, PUBLIC_B, 7).is_err(), "it takes what is its own");
        n.interface.source_dest_check = false;
        world.update(&n).await;
        assert!(connect(&world.outside, PUBLIC_B, 7).is_ok());
        let gone = n.interface.interface;
        n.end();
        world.net_remove_port(gone).await;
        assert!(connect_briefly(&world.outside, PUBLIC_B, 7).is_err(), "a black hole");
    });
}
