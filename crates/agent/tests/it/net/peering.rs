//! Two VPCs that meet.

use super::world::*;
use model::host::{PeeringDesired, RouteDesired, RouteTarget};
use model::net::{Allow, Peer, Traffic};
use model::{NetworkInterfaceId, VpcPeeringConnectionId};
use std::net::{Ipv4Addr, SocketAddrV4};

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
const B2: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 11);
const C: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 10);

/// Both sides ask for the way.
fn peer(one: &mut Vpc, other: &mut Vpc) -> VpcPeeringConnectionId {
    let peering = VpcPeeringConnectionId::from_entropy(unique());
    let side = |of: &Vpc| PeeringDesired {
        ipv6_cidrs: Vec::new(),
        peering,
        peer: of.desired.vpc,
        cidrs: of.desired.cidrs.clone(),
    };
    let (to_one, to_other) = (side(one), side(other));
    one.desired.peerings.push(to_other);
    other.desired.peerings.push(to_one);
    peering
}

fn route(vpc: &mut Vpc, to: &str, peering: VpcPeeringConnectionId) {
    for table in &mut vpc.desired.route_tables {
        let target = RouteTarget::Peering(peering);
        table.routes.push(RouteDesired { destination: to.parse().unwrap(), target });
    }
}

#[test]
fn packets_pass_between_peers_only_along_routes_of_both() {
    on_a_host(|mut world| async move {
        let (mut one, mut two) = (Vpc::new("10.1.0.0/16"), Vpc::new("10.2.0.0/16"));
        let peering = peer(&mut one, &mut two);
        world.ensure_vpc(&one).await;
        world.ensure_vpc(&two).await;
        let open_one = world.group(&one, vec![all_from("0.0.0.0/0")]).await;
        let open_two = world.group(&two, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&one, A, &[&open_one]).await, world.guest(&two, B, &[&open_two]).await);
        let server = b.serve(7);
        assert!(a.connect_briefly(B, 7).is_err(), "no route");
        route(&mut one, "10.2.0.0/16", peering);
        world.ensure_vpc(&one).await;
        assert!(a.connect_briefly(B, 7).is_err(), "no way back");
        route(&mut two, "10.1.0.0/16", peering);
        world.ensure_vpc(&two).await;
        let mut session = a.connect(B, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), A);
        let _back = a.serve(8);
        assert!(b.connect(A, 8).is_ok());

        world.restart().await;
        world.ensure_vpc(&one).await;
        world.ensure_vpc(&two).await;
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(a.connect(B, 7).is_ok());

        // One side's word ends it.
        two.desired.peerings.clear();
        world.ensure_vpc(&two).await;
        assert!(a.connect_briefly(B, 7).is_err());
        two.desired.peerings.push(PeeringDesired {
            ipv6_cidrs: Vec::new(),
            peering,
            peer: one.desired.vpc,
            cidrs: one.desired.cidrs.clone(),
        });
        world.ensure_vpc(&two).await;
        assert!(a.connect(B, 7).is_ok(), "and its word brings it back");
        world.net_remove_vpc(&two).await;
        assert!(a.connect_briefly(B, 7).is_err());
        world.ensure_vpc(&one).await;
    });
}

#[test]
fn nothing_passes_through_a_peer_and_no_peer_lies_about_where_it_comes_from() {
    on_a_host(|world| async move {
        let mut vpcs = [Vpc::new("10.1.0.0/16"), Vpc::new("10.2.0.0/16"), Vpc::new("10.3.0.0/16")];
        let [one, two, three] = &mut vpcs;
        let (first, second) = (peer(one, two), peer(two, three));
        // Everybody's routes say what they wish.
        route(one, "10.2.0.0/16", first);
        route(one, "10.3.0.0/16", first);
        route(two, "10.1.0.0/16", first);
        route(two, "10.3.0.0/16", second);
        route(three, "10.2.0.0/16", second);
        route(three, "10.1.0.0/16", second);
        for vpc in &vpcs {
            world.ensure_vpc(vpc).await;
        }
        let [one, two, three] = &vpcs;
        let open_one = world.group(one, vec![all_from("0.0.0.0/0")]).await;
        let open_two = world.group(two, vec![all_from("0.0.0.0/0")]).await;
        let open_three = world.group(three, vec![all_from("0.0.0.0/0")]).await;
        let mut unchecked = one.interface(A, &[&open_one]);
        unchecked.source_dest_check = false;
        let a = world.guest_with(unchecked).await;
        let b = world.guest(two, B, &[&open_two]).await;
        let c = world.guest(three, C, &[&open_three]).await;
        let (of_b, of_c) = (b.udp(9), c.udp(9));
        let forge = |from: Ipv4Addr, to: Ipv4Addr, what: &[u8]| {
            let packet = ipv4_udp(SocketAddrV4::new(from, 1), SocketAddrV4::new(to, 9), what);
            a.inject(&ethernet(plan::net::GATEWAY_MAC, a.interface.mac.0, 0x0800, &packet));
        };
        forge(A, C, b"through");
        forge(C, B, b"as a third");
        forge(B2, B, b"as its own");
        forge(Ipv4Addr::new(10, 1, 0, 99), B, b"as a neighbour");
        forge(A, B, b"honest");
        let mut buffer = [0; 64];
        let (length, _) = of_b.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"honest");
        for socket in [of_b, of_c] {
            socket.set_read_timeout(Some(A_MOMENT)).unwrap();
            assert!(socket.recv_from(&mut buffer).is_err());
        }
        let host = Ipv4Addr::new(198, 18, 0, 1);
        assert!(!a.pings_briefly(host));
    });
}

#[test]
fn a_group_across_a_peering_is_known_by_its_members() {
    on_a_host(|world| async move {
        let (mut one, mut two) = (Vpc::new("10.1.0.0/16"), Vpc::new("10.2.0.0/16"));
        let peering = peer(&mut one, &mut two);
        route(&mut one, "10.2.0.0/16", peering);
        route(&mut two, "10.1.0.0/16", peering);
        world.ensure_vpc(&one).await;
        world.ensure_vpc(&two).await;
        let trusted = world.group(&one, vec![]).await;
        let other = world.group(&one, vec![]).await;
        let members = Allow { traffic: Traffic::Tcp { from: 7, to: 7 }, peer: Peer::Group(trusted.group) };
        let guarded = world.group(&two, vec![members]).await;
        let a = world.guest(&one, A, &[&trusted]).await;
        let mut stranger = world.guest(&one, Ipv4Addr::new(10, 1, 0, 11), &[&other]).await;
        let b = world.guest(&two, B, &[&guarded]).await;
        let _server = b.serve(7);
        assert!(a.connect(B, 7).is_ok());
        assert!(stranger.connect_briefly(B, 7).is_err());
        stranger.interface.security_groups.push(trusted.group);
        world.update(&stranger).await;
        assert!(stranger.connect(B, 7).is_ok(), "it has become a member");
        let gone: NetworkInterfaceId = a.interface.interface;
        stranger.interface.security_groups.pop();
        world.update(&stranger).await;
        assert!(stranger.connect_briefly(B, 7).is_err());
        a.end();
        world.net_remove_port(gone).await;
        let heir = world.guest(&one, A, &[&other]).await;
        assert!(heir.connect_briefly(B, 7).is_err(), "the address alone is no member");
    });
}
