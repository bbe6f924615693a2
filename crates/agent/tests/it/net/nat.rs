//! NAT gateways.

use super::world::*;
use model::NatGatewayId;
use model::host::{AddressDesired, NatGatewayDesired, RouteDesired, RouteTarget};
use std::net::Ipv4Addr;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 77);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 77);
const A: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const A2: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 11);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);

/// In the public subnet; the private one's table leads there.
fn with_gateway(vpc: &mut Vpc, public: Option<Ipv4Addr>, destination: &str) {
    let gateway = NatGatewayId::from_entropy(unique());
    vpc.desired.nat_gateways.push(NatGatewayDesired {
        gateway,
        subnet: vpc.desired.subnets[0].subnet,
        address: AddressDesired { private: GATEWAY, public, withheld: None },
    });
    let target = RouteTarget::NatGateway(gateway);
    vpc.desired.route_tables[1]
        .routes
        .push(RouteDesired { destination: destination.parse().unwrap(), target });
}

#[test]
fn a_private_subnet_leaves_by_a_nat_gateway_and_nothing_comes_in_by_it() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        with_gateway(&mut vpc, Some(PUBLIC), "0.0.0.0/0");
        world.ensure_vpc(&vpc).await;
        let inner = world.group(&vpc, vec![]).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, a2) = (world.guest(&vpc, A, &[&inner]).await, world.guest(&vpc, A2, &[&open]).await);
        let b = world.guest(&vpc, B, &[&open]).await;
        let server = Echo::start(&world.outside, 7);
        let mut session = a.connect(OUTSIDE, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), HOST, "the host hides the pool");
        assert!(a.pings(OUTSIDE));
        // The host itself sees the gateway's address.
        let host = agent::host::linux::netns::Namespace::current().unwrap();
        let at_edge = Ipv4Addr::new(198, 18, 0, 1);
        assert!(a.pings(at_edge));

        // The same port of two machines at once.
        let bound = |guest: &Guest, address: Ipv4Addr| {
            guest.namespace.run(|| {
                let socket = std::net::UdpSocket::bind((address, 4242))?;
                socket.set_read_timeout(Some(SOON))?;
                Ok(socket)
            })
        };
        let sink = udp(&world.outside, 9);
        for (guest, address) in [(&a, A), (&a2, A2)] {
            let socket = bound(guest, address).unwrap();
            socket.send_to(address.to_string().as_bytes(), (OUTSIDE, 9)).unwrap();
            let mut buffer = [0; 64];
            let (length, from) = sink.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], address.to_string().as_bytes());
            sink.send_to(b"back", from).unwrap();
            let (length, _) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"back");
        }

        // Nobody reaches it, from outside or within.
        assert!(!pings_briefly(&host, PUBLIC));
        assert!(connect_briefly(&host, PUBLIC, 7).is_err());
        let _inside = a2.serve(8);
        assert!(b.connect_briefly(GATEWAY, 8).is_err());
        assert!(b.connect(A2, 8).is_ok());

        world.restart().await;
        world.ensure_vpc(&vpc).await;
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(a.connect(OUTSIDE, 7).is_ok());

        // Its subnet is public only by its route.
        let out = std::mem::take(&mut vpc.desired.route_tables[0].routes);
        world.ensure_vpc(&vpc).await;
        assert!(a.connect_briefly(OUTSIDE, 7).is_err());
        vpc.desired.route_tables[0].routes = out;
        world.ensure_vpc(&vpc).await;
        assert!(a.connect(OUTSIDE, 7).is_ok());
        vpc.desired.nat_gateways.clear();
        world.ensure_vpc(&vpc).await;
        assert!(a.connect_briefly(OUTSIDE, 7).is_err(), "a black hole");
    });
}

#[test]
fn a_private_nat_gateway_hides_its_users_within_the_vpc() {
    on_a_host(|world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        with_gateway(&mut vpc, None, "172.31.0.0/17");
        world.ensure_vpc(&vpc).await;
        let inner = world.group(&vpc, vec![]).await;
        let from_gateway = world.group(&vpc, vec![all_from("172.31.0.77/32")]).await;
        let a = world.guest(&vpc, A, &[&inner]).await;
        let b = world.guest(&vpc, B, &[&from_gateway]).await;
        let server = b.serve(7);
        let mut session = a.connect(B, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), GATEWAY);
        assert!(a.pings(B));
        assert!(a.connect_briefly(OUTSIDE, 7).is_err());
    });
}
