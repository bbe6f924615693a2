//! What generated topologies have found, each as the least that shows it.

use crate::net::world::*;
use agent::host::Net as _;
use model::VpcPeeringConnectionId;
use model::host::{PeeringDesired, RouteDesired, RouteTarget};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// In the first subnet, and in the second.
const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const A2: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const B2: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 11);

fn says(guest: &Guest, from: Ipv4Addr, to: Ipv4Addr, what: &[u8]) {
    let packet = ipv4_udp(SocketAddrV4::new(from, 1), SocketAddrV4::new(to, 9), what);
    guest.inject(&ethernet(plan::net::GATEWAY_MAC, guest.interface.mac.0, 0x0800, &packet));
}

fn hears(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn to_interface(destination: &str, guest: &Guest) -> RouteDesired {
    let target = RouteTarget::Interface(guest.interface.interface);
    RouteDesired { destination: destination.parse().unwrap(), target }
}

async fn unchecked(world: &World, vpc: &Vpc, address: Ipv4Addr) -> Guest {
    let open = world.group(vpc, vec![all_from("0.0.0.0/0")]).await;
    let mut interface = vpc.interface(address, &[&open]);
    interface.source_dest_check = false;
    world.guest_with(interface).await
}

#[test]
fn a_forged_source_does_not_pass_for_traffic_within_a_subnet() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let deny = AclEntry {
            number: 10,
            traffic: Traffic::All,
            net: "172.31.128.0/17".parse().unwrap(),
            action: AclAction::Deny,
        };
        vpc.desired.network_acls[0].ingress.push(deny);
        world.ensure_vpc(&vpc).await;
        let (a, b) = (unchecked(&world, &vpc, A).await, unchecked(&world, &vpc, B).await);
        let near = unchecked(&world, &vpc, B2).await;
        let socket = b.udp(9);
        says(&a, B2, B, b"as one of the subnet");
        says(&near, B2, B, b"one of the subnet");
        assert_eq!(hears(&socket), b"one of the subnet");
    });
}

#[test]
fn what_a_machine_passes_on_into_its_own_subnet_is_not_led_to_it_again() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let (n, b) = (unchecked(&world, &vpc, B2).await, unchecked(&world, &vpc, B).await);
        // One table for both subnets: packets for the second go by the machine in it.
        let table = vpc.desired.subnets[0].route_table;
        vpc.desired.subnets[1].route_table = table;
        vpc.desired.route_tables[0].routes.push(to_interface("172.31.128.0/17", &n));
        world.ensure_vpc(&vpc).await;
        let a = unchecked(&world, &vpc, A).await;
        n.run("sysctl -qw net.ipv4.ip_forward=0");
        let of_b = b.udp(9);
        says(&a, A, B, b"on its way");
        eventually("the packet at the machine", || {
            n.heard.lock().unwrap().iter().any(|frame| frame.ends_with(b"on its way"))
        });
        says(&n, A, B, b"passed on");
        assert_eq!(hears(&of_b), b"passed on");
    });
}

#[test]
fn a_route_to_an_interface_does_not_keep_its_own_packets_from_it() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (b, b2) = (world.guest(&vpc, B, &[&open]).await, world.guest(&vpc, B2, &[&open]).await);
        let a = world.guest(&vpc, A, &[&open]).await;
        vpc.desired.route_tables[0].routes.push(to_interface("172.31.128.0/17", &b));
        world.ensure_vpc(&vpc).await;
        let (of_b, of_b2) = (b.udp(9), b2.udp(9));
        // It checks, so it takes nothing for others.
        says(&a, A, B2, b"for another");
        says(&a, A, B, b"for itself");
        assert_eq!(hears(&of_b), b"for itself");
        of_b2.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(of_b2.recv_from(&mut [0; 64]).is_err());
    });
}

#[test]
fn the_same_address_in_two_peers_is_a_member_in_one_of_them_only() {
    on_a_host(|world| async move {
        let mut hub = Vpc::new("172.31.0.0/16");
        let mut spokes = [Vpc::new("10.1.0.0/16"), Vpc::new("10.1.0.0/16")];
        for spoke in &mut spokes {
            let peering = VpcPeeringConnectionId::from_entropy(unique());
            let end = |of: &Vpc| PeeringDesired {
                ipv6_cidrs: Vec::new(),
                peering,
                peer: of.desired.vpc,
                cidrs: of.desired.cidrs.clone(),
            };
            let (to_hub, to_spoke) = (end(&hub), end(spoke));
            hub.desired.peerings.push(to_spoke);
            spoke.desired.peerings.push(to_hub);
            let target = RouteTarget::Peering(peering);
            let destination = "172.31.0.0/16".parse().unwrap();
            spoke.desired.route_tables[0].routes.push(RouteDesired { destination, target });
        }
        world.ensure_vpc(&hub).await;
        for spoke in &spokes {
            world.ensure_vpc(spoke).await;
        }
        let member = Ipv4Addr::new(10, 1, 0, 10);
        let trusted = world.group(&spokes[0], vec![]).await;
        let other = world.group(&spokes[1], vec![]).await;
        let named = Allow { traffic: Traffic::All, peer: Peer::Group(trusted.group) };
        let guarded = world.group(&hub, vec![named]).await;
        let honest = world.guest(&spokes[0], member, &[&trusted]).await;
        let namesake = world.guest(&spokes[1], member, &[&other]).await;
        let server = world.guest(&hub, A, &[&guarded]).await;
        let socket = server.udp(9);
        says(&namesake, member, A, b"the same address");
        says(&honest, member, A, b"the member");
        assert_eq!(hears(&socket), b"the member");
    });
}

#[test]
fn two_machines_with_routes_to_them_that_end_together_are_both_cleared_away() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let (n, m) = (unchecked(&world, &vpc, A).await, unchecked(&world, &vpc, A2).await);
        vpc.desired.route_tables[1].routes =
            vec![to_interface("192.0.2.0/24", &n), to_interface("203.0.113.0/24", &m)];
        world.ensure_vpc(&vpc).await;
        let ended = [n.interface.interface, m.interface.interface];
        n.end();
        m.end();
        for interface in ended {
            world.net().remove_port(interface).await.unwrap();
        }
        assert!(world.net().standing().await.unwrap().ports.is_empty());
    });
}
