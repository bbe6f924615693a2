//! VPCs at a transit gateway: two spokes that must not meet, and a hub that both do.

use super::ipv6::{fails, reaches, serve, six};
use super::world::*;
use model::host::{
    AddressDesired, NatGatewayDesired, RouteDesired, RouteTarget, TransitDesired, TransitPeerDesired,
    TransitRouteDesired,
};
use model::{NatGatewayId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId};
use std::net::{Ipv4Addr, SocketAddrV4};

const ONE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
/// In the second subnet.
const ONE_FAR: Ipv4Addr = Ipv4Addr::new(10, 1, 128, 10);
const TWO: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
const HUB: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 10);

/// Attaches the VPCs, whose tables lead all of 10.0.0.0/8 to the gateway; its own tables are empty.
fn attach(vpcs: [&mut Vpc; 3]) -> TransitGatewayId {
    let gateway = TransitGatewayId::from_entropy(unique());
    let ends: Vec<TransitPeerDesired> = vpcs
        .iter()
        .map(|vpc| TransitPeerDesired {
            attachment: TransitGatewayAttachmentId::from_entropy(unique()),
            vpc: vpc.desired.vpc,
        })
        .collect();
    for (at, vpc) in vpcs.into_iter().enumerate() {
        vpc.desired.transits.push(TransitDesired {
            gateway,
            attachment: ends[at].attachment,
            ipv6: !vpc.desired.ipv6_cidrs.is_empty(),
            arrival: vpc.desired.subnets[0].subnet,
            served: vpc.desired.subnets.iter().map(|subnet| subnet.subnet).collect(),
            table: Some(TransitGatewayRouteTableId::from_entropy(unique())),
            routes: Vec::new(),
            peers: ends.iter().copied().filter(|end| end.vpc != vpc.desired.vpc).collect(),
        });
        for table in &mut vpc.desired.route_tables {
            let target = RouteTarget::TransitGateway(gateway);
            table.routes.push(RouteDesired { destination: "10.0.0.0/8".parse().unwrap(), target });
        }
    }
    gateway
}

/// The gateway's table leads what comes from `from` and is for a range to another VPC; to none: a blackhole.
fn lead(from: &mut Vpc, range: &str, to: Option<&Vpc>) {
    let to = to.map(|to| to.desired.transits[0].attachment);
    let destination = range.parse().unwrap();
    from.desired.transits[0].routes.push(TransitRouteDesired { destination, to });
}

/// Two spokes and a hub, led as far as spokes and hub shall meet.
fn spokes() -> [Vpc; 3] {
    let (mut one, mut two) = (Vpc::new("10.1.0.0/16"), Vpc::new("10.2.0.0/16"));
    let mut hub = Vpc::new("10.3.0.0/16");
    attach([&mut one, &mut two, &mut hub]);
    lead(&mut one, "10.3.0.0/16", Some(&hub));
    lead(&mut two, "10.3.0.0/16", Some(&hub));
    lead(&mut hub, "10.1.0.0/16", Some(&one));
    lead(&mut hub, "10.2.0.0/16", Some(&two));
    [one, two, hub]
}

#[test]
fn spokes_reach_their_hub_and_never_each_other() {
    on_a_host(|mut world| async move {
        let [mut one, mut two, mut hub] = spokes();
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        let open_one = world.group(&one, vec![all_from("0.0.0.0/0")]).await;
        let open_two = world.group(&two, vec![all_from("0.0.0.0/0")]).await;
        let open_hub = world.group(&hub, vec![all_from("0.0.0.0/0")]).await;
        let a = world.guest(&one, ONE, &[&open_one]).await;
        let far = world.guest(&one, ONE_FAR, &[&open_one]).await;
        let b = world.guest(&two, TWO, &[&open_two]).await;
        let h = world.guest(&hub, HUB, &[&open_hub]).await;
        let servers = (b.serve(7), h.serve(7), a.serve(8));
        let mut session = a.connect(HUB, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(servers.1.next_peer(), ONE);
        assert!(b.connect(HUB, 7).is_ok());
        assert!(h.connect(ONE, 8).is_ok(), "either may begin");
        assert!(a.connect_briefly(TWO, 7).is_err(), "no table of theirs says so");

        // One table that says so is no conversation; both are.
        lead(&mut one, "10.2.0.0/16", Some(&two));
        world.ensure_vpc(&one).await;
        assert!(a.connect_briefly(TWO, 7).is_err());
        lead(&mut two, "10.1.0.0/16", Some(&one));
        world.ensure_vpc(&two).await;
        assert!(a.connect(TWO, 7).is_ok());
        // The most specific way of the gateway counts.
        lead(&mut one, "10.2.0.10/32", None);
        world.ensure_vpc(&one).await;
        assert!(a.connect_briefly(TWO, 7).is_err());
        one.desired.transits[0].routes.truncate(1);
        two.desired.transits[0].routes.truncate(1);

        world.restart().await;
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(a.connect_briefly(TWO, 7).is_err());
        assert!(b.connect(HUB, 7).is_ok());

        // A zone without a subnet of the attachment: neither questions nor answers.
        assert!(far.connect(HUB, 7).is_ok());
        let first = one.desired.subnets[0].subnet;
        one.desired.transits[0].served.retain(|subnet| *subnet == first);
        world.ensure_vpc(&one).await;
        assert!(far.connect_briefly(HUB, 7).is_err());
        let _inner = far.serve(8);
        assert!(h.connect_briefly(ONE_FAR, 8).is_err());
        assert!(a.connect(HUB, 7).is_ok());

        // The hub's side ends it, and brings it back.
        let end = hub.desired.transits.pop().unwrap();
        world.ensure_vpc(&hub).await;
        assert!(a.connect_briefly(HUB, 7).is_err());
        hub.desired.transits.push(end);
        world.ensure_vpc(&hub).await;
        assert!(a.connect(HUB, 7).is_ok());
        world.net_remove_vpc(&hub).await;
        assert!(a.connect_briefly(HUB, 7).is_err());
        world.ensure_vpc(&one).await;
    });
}

#[test]
fn nobody_lies_about_where_it_comes_from_to_a_gateway() {
    on_a_host(|world| async move {
        let [mut one, mut two, hub] = spokes();
        lead(&mut one, "10.2.0.0/16", Some(&two));
        lead(&mut two, "10.1.0.0/16", Some(&one));
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        let open_one = world.group(&one, vec![all_from("0.0.0.0/0")]).await;
        let open_two = world.group(&two, vec![all_from("0.0.0.0/0")]).await;
        let mut unchecked = one.interface(ONE, &[&open_one]);
        unchecked.source_dest_check = false;
        let a = world.guest_with(unchecked).await;
        let b = world.guest(&two, TWO, &[&open_two]).await;
        let heard = b.udp(9);
        let forge = |from: Ipv4Addr, what: &[u8]| {
            let packet = ipv4_udp(SocketAddrV4::new(from, 1), SocketAddrV4::new(TWO, 9), what);
            a.inject(&ethernet(plan::net::GATEWAY_MAC, a.interface.mac.0, 0x0800, &packet));
        };
        forge(HUB, b"as a third");
        forge(Ipv4Addr::new(10, 2, 0, 11), b"as its own");
        forge(ONE_FAR, b"as a neighbour");
        forge(ONE, b"honest");
        let mut buffer = [0; 64];
        let (length, _) = heard.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"honest");
        heard.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(heard.recv_from(&mut buffer).is_err());
    });
}

#[test]
fn a_spoke_leaves_by_the_hubs_nat_gateway() {
    on_a_host(|world| async move {
        let [mut one, two, mut hub] = spokes();
        lead(&mut one, "0.0.0.0/0", Some(&hub));
        let target = one.desired.route_tables[1].routes[0].target.clone();
        one.desired.route_tables[1]
            .routes
            .push(RouteDesired { destination: "0.0.0.0/0".parse().unwrap(), target });
        // The attachment is in the hub's private subnet, the gateway in its public one.
        let nat = NatGatewayId::from_entropy(unique());
        let (private, public) = (Ipv4Addr::new(10, 3, 0, 77), Some(Ipv4Addr::new(198, 18, 0, 77)));
        hub.desired.nat_gateways.push(NatGatewayDesired {
            gateway: nat,
            subnet: hub.desired.subnets[0].subnet,
            address: AddressDesired { private, public, withheld: None },
        });
        hub.desired.transits[0].arrival = hub.desired.subnets[1].subnet;
        let destination = "0.0.0.0/0".parse().unwrap();
        hub.desired.route_tables[1]
            .routes
            .push(RouteDesired { destination, target: RouteTarget::NatGateway(nat) });
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        let group = world.group(&one, vec![]).await;
        let a = world.guest(&one, ONE_FAR, &[&group]).await;
        let server = Echo::start(&world.outside, 7);
        let mut session = a.connect(OUTSIDE, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), HOST, "the host hides the pool");
        // The hub's tables say what becomes of answers.
        let back = hub.desired.route_tables[0].routes.pop().unwrap();
        world.ensure_vpc(&hub).await;
        assert!(a.connect_briefly(OUTSIDE, 7).is_err());
        hub.desired.route_tables[0].routes.push(back);
        world.ensure_vpc(&hub).await;
        assert!(a.connect(OUTSIDE, 7).is_ok());
    });
}

#[test]
fn ipv6_passes_where_the_attachments_carry_it() {
    on_a_host(|world| async move {
        let mut one = Vpc::new("10.1.0.0/16").with_ipv6("fd12:3456:7801:100::/56");
        let mut two = Vpc::new("10.2.0.0/16").with_ipv6("fd12:3456:7801:200::/56");
        let mut hub = Vpc::new("10.3.0.0/16").with_ipv6("fd12:3456:7801:300::/56");
        let gateway = attach([&mut one, &mut two, &mut hub]);
        lead(&mut one, "fd12:3456:7801:200::/56", Some(&two));
        lead(&mut two, "fd12:3456:7801:100::/56", Some(&one));
        for vpc in [&mut one, &mut two] {
            let target = RouteTarget::TransitGateway(gateway);
            let destination = "fd12:3456:7801::/48".parse().unwrap();
            vpc.desired.route_tables[0].routes.push(RouteDesired { destination, target });
        }
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        let open_one = world.group(&one, vec![all_from("::/0")]).await;
        let open_two = world.group(&two, vec![all_from("::/0")]).await;
        let a = world.guest(&one, ONE, &[&open_one]).await;
        let b = world.guest(&two, TWO, &[&open_two]).await;
        serve(&b.namespace, 7);
        assert!(reaches(&a.namespace, six(&b), 7));
        two.desired.transits[0].ipv6 = false;
        world.ensure_vpc(&two).await;
        assert!(fails(&a.namespace, six(&b), 7));
    });
}

/// A guest with a public address.
async fn known(world: &World, vpc: &Vpc, address: Ipv4Addr, public: Ipv4Addr) -> Guest {
    let open = world.group(vpc, vec![all_from("0.0.0.0/0")]).await;
    let mut interface = vpc.interface(address, &[&open]);
    interface.addresses[0].public = Some(public);
    world.guest_with(interface).await
}

#[test]
fn what_an_internet_gateway_translates_leaves_by_no_other() {
    on_a_host(|world| async move {
        let [mut one, mut two, hub] = spokes();
        for vpc in [&one, &two, &hub] {
            world.ensure_vpc(vpc).await;
        }
        let publics = [Ipv4Addr::new(198, 18, 1, 10), Ipv4Addr::new(198, 18, 1, 11)];
        let a = known(&world, &one, ONE, publics[0]).await;
        let b = known(&world, &two, TWO, publics[1]).await;
        let _servers = (a.serve(7), b.serve(7));
        let mut begun_there = a.connect(publics[1], 7).unwrap();
        let mut begun_here = b.connect(publics[0], 7).unwrap();
        for session in [&mut begun_there, &mut begun_here] {
            assert_eq!(talk(session, "by the internet").unwrap(), "by the internet");
            session.set_read_timeout(Some(A_MOMENT)).unwrap();
        }
        // The second is public still, but its way out is the first, whose own way is the internet.
        let everywhere = "0.0.0.0/0".parse().unwrap();
        let table = &mut two.desired.route_tables[0];
        let target = RouteTarget::TransitGateway(two.desired.transits[0].gateway);
        for route in table.routes.iter_mut().filter(|route| route.destination == everywhere) {
            route.destination = "203.0.113.0/24".parse().unwrap();
        }
        table.routes.push(RouteDesired { destination: everywhere, target });
        lead(&mut two, "0.0.0.0/0", Some(&one));
        lead(&mut one, "10.2.0.0/16", Some(&two));
        world.ensure_vpc(&one).await;
        world.ensure_vpc(&two).await;
        assert!(b.connect(ONE, 7).is_ok(), "the way is there");
        assert!(a.connect_briefly(publics[1], 7).is_err(), "the answer is nobody's there");
        assert!(talk(&mut begun_there, "an answer").is_err());
        assert!(talk(&mut begun_here, "a question").is_err());
    });
}
