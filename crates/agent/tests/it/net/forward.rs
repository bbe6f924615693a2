//! Several addresses on a port, and guests that forward: what they may pass on, and what they still may not claim.

use super::world::*;
use model::host::{AddressDesired, RouteDesired, RouteTarget, SecurityGroupDesired};
use model::net::{Allow, Peer, Traffic};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

const N: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 9);
const A: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const A2: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 20);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 12);
const PUBLIC_N: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 10);
const PUBLIC_C: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 12);
const GATEWAY: [u8; 6] = plan::net::GATEWAY_MAC;

/// A guest whose machine forwards.
pub async fn forwarder(world: &World, vpc: &Vpc, groups: &[&SecurityGroupDesired]) -> Guest {
    let mut interface = vpc.interface(N, groups);
    interface.source_dest_check = false;
    interface.addresses[0].public = Some(PUBLIC_N);
    let guest = world.guest_with(interface).await;
    guest.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0");
    guest
}

/// The private subnet's table leads there by the interface.
async fn lead(world: &World, vpc: &mut Vpc, destination: &str, to: &Guest) {
    let target = RouteTarget::Interface(to.interface.interface);
    vpc.desired.route_tables[1].routes =
        vec![RouteDesired { destination: destination.parse().unwrap(), target }];
    world.ensure_vpc(vpc).await;
}

fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(A_MOMENT)).unwrap();
    let mut buffer = [0; 64];
    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
        panic!("{:?} came from {from}", String::from_utf8_lossy(&buffer[..length]));
    }
}

fn hears(socket: &UdpSocket, what: &[u8]) {
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], what);
}

#[test]
fn every_address_of_a_port_is_routed_and_judged_and_translated() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let members = Allow { traffic: Traffic::All, peer: Peer::Group(open.group) };
        let closed = world.group(&vpc, vec![members]).await;
        let mut interface = vpc.interface(B, &[&closed]);
        let second = Ipv4Addr::new(172, 31, 0, 111);
        interface.addresses.push(AddressDesired { private: second, public: Some(PUBLIC_C), withheld: None });
        let mut b = world.guest_with(interface).await;
        let c = world.guest(&vpc, C, &[&open]).await;
        let server = b.serve(7);
        let mut session = c.connect(second, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert!(c.connect(B, 7).is_ok());
        // The group's members are named by every address of theirs.
        let of_c = c.udp(9);
        let from_second = b.namespace.run(|| UdpSocket::bind((second, 0))).unwrap();
        from_second.send_to(b"second", (C, 9)).unwrap();
        hears(&of_c, b"second");
        // The elastic address of the second leads there.
        let host = agent::host::linux::netns::Namespace::current().unwrap();
        assert!(connect_briefly(&host, PUBLIC_C, 7).is_err(), "its group knows members only");
        let mut widened = closed.clone();
        widened.ingress.push(all_from("0.0.0.0/0"));
        world.net_group(&widened).await;
        let mut outside = connect(&host, PUBLIC_C, 7).unwrap();
        assert_eq!(talk(&mut outside, "hi").unwrap(), "hi");
        drop(server);

        b.interface.addresses.truncate(1);
        world.update(&b).await;
        assert!(c.connect_briefly(second, 7).is_err(), "an address that was given back is nobody's");
        from_second.send_to(b"stale", (C, 9)).unwrap();
        hears_nothing(&of_c);
    });
}

#[test]
fn a_nat_instance_carries_a_private_subnet_to_the_outside_until_it_ends() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let inner = world.group(&vpc, vec![]).await;
        let open = world.group(&vpc, vec![all_from("172.31.0.0/16")]).await;
        let a = world.guest(&vpc, A, &[&inner]).await;
        let server = Echo::start(&world.outside, 7);
        assert!(a.connect_briefly(OUTSIDE, 7).is_err(), "no route");
        let n = forwarder(&world, &vpc, &[&open]).await;
        n.run(
            "nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; \
             add rule ip nat post ip saddr 172.31.128.0/17 masquerade'",
        );
        lead(&world, &mut vpc, "0.0.0.0/0", &n).await;
        let mut session = a.connect(OUTSIDE, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), HOST);
        assert!(a.pings(OUTSIDE));

        // With the check on it takes what is its own, and no more.
        let mut n = n;
        n.interface.source_dest_check = true;
        world.update(&n).await;
        assert!(a.connect_briefly(OUTSIDE, 7).is_err());
        n.interface.source_dest_check = false;
        world.update(&n).await;
        assert!(a.connect(OUTSIDE, 7).is_ok());
        let gone = n.interface.interface;
        n.end();
        world.net_remove_port(gone).await;
        assert!(a.connect_briefly(OUTSIDE, 7).is_err(), "a black hole");
    });
}

#[test]
fn an_appliance_between_subnets_passes_on_what_both_gates_allow() {
    on_a_host(|mut world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let inner = world.group(&vpc, vec![]).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let seven = Allow {
            traffic: Traffic::Udp { from: 7, to: 7 },
            peer: Peer::Net("172.31.128.0/17".parse().unwrap()),
        };
        let guarded = world.group(&vpc, vec![seven, tcp_from(7, "172.31.128.0/17")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&inner]).await, world.guest(&vpc, B, &[&guarded]).await);
        let n = forwarder(&world, &vpc, &[&open]).await;
        lead(&world, &mut vpc, "172.31.0.0/17", &n).await;
        let server = b.serve(7);
        let mut session = a.connect(B, 7).unwrap();
        assert_eq!(talk(&mut session, "through").unwrap(), "through");
        assert_eq!(server.next_peer(), A);
        let passed = |guest: &Guest, end: &[u8]| guest.heard.lock().unwrap().iter().any(|f| f.ends_with(end));
        assert!(passed(&n, b"through"), "it went by the appliance");

        // What the receiver's gate denies stays denied, also when the appliance answers in the receiver's name.
        let (eight, nine) = (b.udp(8), a.udp(9));
        nine.send_to(b"first", (B, 8)).unwrap();
        eventually("the packet at the appliance", || passed(&n, b"first"));
        let lie = ipv4_udp(SocketAddrV4::new(B, 8), SocketAddrV4::new(A, 9), b"lie");
        n.inject(&ethernet(GATEWAY, n.interface.mac.0, 0x0800, &lie));
        hears(&nine, b"lie");
        nine.send_to(b"again", (B, 8)).unwrap();
        eventually("the packet at the appliance", || passed(&n, b"again"));
        hears_nothing(&eight);

        // A new agent finds it all.
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(passed(&n, b"still"));
        assert!(a.connect(B, 7).is_ok());

        // Without the appliance nothing takes the short way.
        drop(session);
        n.end();
        assert!(a.connect_briefly(B, 7).is_err(), "even before anybody knows");
    });
}

#[test]
fn an_unchecked_guest_is_no_member_of_a_group_and_no_service_and_nobody_outside() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let trusted = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let members = Allow { traffic: Traffic::All, peer: Peer::Group(trusted.group) };
        let guarded = world.group(&vpc, vec![members]).await;
        let n = forwarder(&world, &vpc, &[&open]).await;
        let mut interface = vpc.interface(C, &[&trusted]);
        interface.addresses[0].public = Some(PUBLIC_C);
        let c = world.guest_with(interface).await;
        let b = world.guest(&vpc, B, &[&guarded]).await;
        let a = world.guest(&vpc, A2, &[&open]).await;
        let (of_b, of_a) = (b.udp(9), a.udp(9));
        let outside = udp(&world.outside, 9);
        let mine = n.interface.mac.0;
        let forge = |from: SocketAddrV4, to: SocketAddrV4, what: &[u8]| {
            n.inject(&ethernet(GATEWAY, mine, 0x0800, &ipv4_udp(from, to, what)));
        };
        let at = SocketAddrV4::new;
        forge(at(C, 1), at(B, 9), b"as a member");
        forge(at(C, 1), at(OUTSIDE, 9), b"in its name");
        let router = plan::net::gateway(vpc.desired.subnets[0].cidr.unwrap());
        let resolver = plan::net::resolver(vpc.desired.cidrs[0]);
        for service in [router, resolver, plan::net::METADATA, plan::net::RESOLVER, Ipv4Addr::LOCALHOST] {
            forge(at(service, 53), at(A2, 9), b"as a service");
        }
        forge(at(Ipv4Addr::new(224, 0, 0, 1), 1), at(A2, 9), b"as a crowd");
        // Another one's hardware address is refused as ever.
        n.inject(&ethernet(
            GATEWAY,
            c.interface.mac.0,
            0x0800,
            &ipv4_udp(at(C, 1), at(A2, 9), b"as another"),
        ));
        forge(at(Ipv4Addr::new(8, 8, 8, 8), 53), at(A2, 9), b"forwarded");
        hears(&of_a, b"forwarded");
        hears_nothing(&of_a);
        hears_nothing(&of_b);
        hears_nothing(&outside);
        let honest = c.udp(1);
        honest.send_to(b"member", (B, 9)).unwrap();
        hears(&of_b, b"member");

        // No ARP of its moves an address.
        let mut claim = vec![0, 1, 8, 0, 6, 4, 0, 2];
        claim.extend_from_slice(&mine);
        claim.extend_from_slice(&B.octets());
        claim.extend_from_slice(&[0; 6]);
        claim.extend_from_slice(&B.octets());
        n.inject(&ethernet([0xff; 6], mine, 0x0806, &claim));
        n.inject(&ethernet(GATEWAY, mine, 0x0806, &claim));
        honest.send_to(b"to b", (B, 9)).unwrap();
        hears(&of_b, b"to b");
        assert!(!n.heard.lock().unwrap().iter().any(|frame| frame.ends_with(b"to b")));
    });
}
