//! Endpoint services: from an endpoint in one VPC to a target in another of the same ranges, and nowhere else.

use super::traffic::{Echo, ethernet, ipv4_udp, talk};
use super::world::*;
use agent::host::linux::netns::{self, Namespace};
use model::host::{
    EndpointDesired, EndpointLead, NodeLink, SecurityGroupDesired, ServiceClient, ServiceNodeDesired,
};
use model::{NetworkInterfaceId, VpcEndpointId, VpcEndpointServiceId};
use plan::net::names;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const RANGE: &str = "172.31.0.0/16";
/// Every customer has the very address of the target.
const SHOP: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const BESIDE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const NODE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 60);
const DOOR: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 50);
const BRIEFLY: Duration = Duration::from_millis(700);

/// A VPC with an endpoint, whose own end and gates are open to all.
struct Customer {
    vpc: Vpc,
    door: NetworkInterfaceId,
    guest: Guest,
    group: SecurityGroupDesired,
}

impl Customer {
    async fn new(world: &World) -> Self {
        let mut vpc = Vpc::new(RANGE);
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let interface = vpc.interface(DOOR, &[&group]);
        let door = interface.interface;
        vpc.desired.endpoints.push(EndpointDesired {
            endpoint: VpcEndpointId::from_entropy(unique()),
            interfaces: vec![interface],
            names: Vec::new(),
            lead: EndpointLead::Service(Vec::new()),
        });
        world.ensure_vpc(&vpc).await;
        let guest = world.guest(&vpc, SHOP, &[&group]).await;
        Self { vpc, door, guest, group }
    }

    /// Whether this side wants the way.
    fn want(&mut self, shop: &Shop, wanted: bool) {
        let link = NodeLink { interface: self.door, vpc: shop.vpc.desired.vpc, node: shop.node };
        self.vpc.desired.endpoints[0].lead =
            EndpointLead::Service(wanted.then_some(link).into_iter().collect());
    }

    fn is_shut(&self) -> bool {
        self.guest.connect_briefly(DOOR, 7).is_err()
    }
}

/// The service's VPC, where the target lets in the node alone.
struct Shop {
    vpc: Vpc,
    node: NetworkInterfaceId,
    guest: Guest,
    group: SecurityGroupDesired,
}

impl Shop {
    async fn new(world: &World) -> Self {
        let mut vpc = Vpc::new(RANGE);
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![all_from(&format!("{NODE}/32"))]).await;
        let interface = vpc.interface(NODE, &[]);
        let node = interface.interface;
        vpc.desired.service_nodes.push(ServiceNodeDesired {
            service: VpcEndpointServiceId::from_entropy(unique()),
            interface,
            target: Some(SHOP),
            clients: Vec::new(),
        });
        world.ensure_vpc(&vpc).await;
        let guest = world.guest(&vpc, SHOP, &[&group]).await;
        Self { vpc, node, guest, group }
    }

    fn want(&mut self, customer: &Customer, wanted: bool) {
        let client = ServiceClient { interface: customer.door, vpc: customer.vpc.desired.vpc };
        let clients = &mut self.vpc.desired.service_nodes[0].clients;
        clients.retain(|known| *known != client);
        clients.extend(wanted.then_some(client));
    }

    /// Both sides are told what they want.
    async fn joined(&mut self, world: &World, customer: &mut Customer, wanted: bool) {
        customer.want(self, wanted);
        self.want(customer, wanted);
        world.ensure_vpc(&customer.vpc).await;
        world.ensure_vpc(&self.vpc).await;
    }
}

/// The namespaces of doors and nodes that stand.
fn inner(world: &World) -> Vec<String> {
    let mut names = netns::names(&names::namespace_prefix(&world.config.cloud)).unwrap();
    names.retain(|name| name.contains("-eni-"));
    names
}

fn links(world: &World, interface: NetworkInterfaceId) -> Vec<String> {
    let name = names::endpoint_namespace(&world.config.cloud, interface);
    let listed = Namespace::open(&name).unwrap().run(|| Ok(sh("ip -br link | cut -d ' ' -f 1"))).unwrap();
    let mut links: Vec<String> = listed.lines().map(|l| l.split('@').next().unwrap().to_owned()).collect();
    links.sort();
    links
}

#[test]
fn a_customer_reaches_the_target_by_its_own_endpoint_whatever_ranges_both_have() {
    on_a_host(|world| async move {
        let (mut shop, mut customer) = (Shop::new(&world).await, Customer::new(&world).await);
        let server = shop.guest.serve(7);
        assert!(customer.is_shut(), "nobody has accepted it");
        assert!(!customer.guest.pings_briefly(DOOR));
        customer.want(&shop, true);
        world.ensure_vpc(&customer.vpc).await;
        assert!(customer.is_shut(), "the other side does not want it");
        shop.joined(&world, &mut customer, true).await;
        let mut session = customer.guest.connect(DOOR, 7).unwrap();
        assert_eq!(talk(&mut session, "hello").unwrap(), "hello");
        assert_eq!(server.next_peer(), NODE);

        let (asks, answers) = (customer.guest.udp(9), shop.guest.udp(9));
        asks.send_to(b"by udp", (DOOR, 9)).unwrap();
        let mut heard = [0; 16];
        let (length, from) = answers.recv_from(&mut heard).unwrap();
        assert_eq!((&heard[..length], from.ip()), (&b"by udp"[..], NODE.into()));
        answers.send_to(b"heard", from).unwrap();
        let (length, from) = asks.recv_from(&mut heard).unwrap();
        assert_eq!((&heard[..length], from), (&b"heard"[..], (DOOR, 9).into()));
        assert!(!customer.guest.pings_briefly(DOOR), "TCP and UDP, nothing else");

        // As much as fits through the whole way, both ways.
        let mut bulk = customer.guest.connect(DOOR, 7).unwrap();
        let sent: Vec<u8> = (0..400_000u32).map(|i| i as u8).collect();
        let mut writing = bulk.try_clone().unwrap();
        let whole = sent.clone();
        let writer = std::thread::spawn(move || writing.write_all(&whole).unwrap());
        let mut back = vec![0; sent.len()];
        bulk.set_read_timeout(Some(SOON)).unwrap();
        bulk.read_exact(&mut back).unwrap();
        writer.join().unwrap();
        assert_eq!(back, sent);

        // The gates on both sides.
        let shut = SecurityGroupDesired { ingress: vec![], ..customer.group.clone() };
        world.net_group(&shut).await;
        assert!(customer.is_shut());
        world.net_group(&customer.group).await;
        assert!(customer.guest.connect(DOOR, 7).is_ok());
        let shut =
            SecurityGroupDesired { ingress: vec![all_from(&format!("{BESIDE}/32"))], ..shop.group.clone() };
        world.net_group(&shut).await;
        assert!(customer.is_shut());
        world.net_group(&shop.group).await;
        assert!(customer.guest.connect(DOOR, 7).is_ok());
    });
}

#[test]
fn customers_of_the_same_address_and_port_are_told_apart() {
    on_a_host(|world| async move {
        let mut shop = Shop::new(&world).await;
        let (mut one, mut two) = (Customer::new(&world).await, Customer::new(&world).await);
        let _server = shop.guest.serve(7);
        shop.joined(&world, &mut one, true).await;
        shop.joined(&world, &mut two, true).await;
        // Both send from port 9 of the same address.
        let (first, second, target) = (one.guest.udp(9), two.guest.udp(9), shop.guest.udp(9));
        let mut heard = [0; 16];
        for round in 0..3u8 {
            let mut came = Vec::new();
            for (socket, name) in [(&first, 1), (&second, 2)] {
                socket.send_to(&[name, round], (DOOR, 9)).unwrap();
                let (length, from) = target.recv_from(&mut heard).unwrap();
                assert_eq!((&heard[..length], from.ip()), (&[name, round][..], NODE.into()));
                came.push(from);
            }
            assert_ne!(came[0], came[1]);
            for (from, name) in came.iter().zip([1, 2]) {
                target.send_to(&[name], from).unwrap();
            }
            for (socket, name) in [(&first, 1), (&second, 2)] {
                let (length, _) = socket.recv_from(&mut heard).unwrap();
                assert_eq!(heard[..length], [name]);
            }
        }
        let mut session = two.guest.connect(DOOR, 7).unwrap();
        // Nobody reaches a customer by the node, neither from beside it nor from another one.
        let _servers = [one.guest.serve(8), two.guest.serve(8)];
        for port in [7, 8] {
            assert!(shop.guest.connect_briefly(NODE, port).is_err());
            assert!(shop.guest.connect_briefly(DOOR, port).is_err());
        }
        assert!(one.guest.connect_briefly(DOOR, 8).is_err(), "the target has no such port");
        // One goes, the other stays.
        shop.joined(&world, &mut one, false).await;
        assert!(one.is_shut());
        assert_eq!(talk(&mut session, "still").unwrap(), "still");
        assert!(two.guest.connect(DOOR, 7).is_ok());
    });
}

#[test]
fn a_way_ends_with_what_is_open_over_it_and_comes_back() {
    on_a_host(|mut world| async move {
        let (mut shop, mut customer) = (Shop::new(&world).await, Customer::new(&world).await);
        let _server = shop.guest.serve(7);
        shop.joined(&world, &mut customer, true).await;
        let mut session = customer.guest.connect(DOOR, 7).unwrap();
        assert_eq!(talk(&mut session, "one").unwrap(), "one");

        // An agent that starts hears of one side after the other.
        for first in [true, false] {
            world.restart().await;
            let (one, other) = if first { (&customer.vpc, &shop.vpc) } else { (&shop.vpc, &customer.vpc) };
            world.ensure_vpc(one).await;
            assert_eq!(talk(&mut session, "between").unwrap(), "between");
            world.ensure_vpc(other).await;
            assert_eq!(talk(&mut session, "after").unwrap(), "after");
            assert!(customer.guest.connect(DOOR, 7).is_ok());
        }

        // Either side's word ends it.
        for by_customer in [true, false] {
            if by_customer {
                customer.want(&shop, false);
                world.ensure_vpc(&customer.vpc).await;
            } else {
                shop.want(&customer, false);
                world.ensure_vpc(&shop.vpc).await;
            }
            assert!(customer.is_shut());
            session.set_read_timeout(Some(BRIEFLY)).unwrap();
            assert!(talk(&mut session, "nobody hears").is_err());
            assert_eq!(links(&world, customer.door), ["eth0", "lo"]);
            assert_eq!(links(&world, shop.node), ["eth0", "lo"]);
            shop.joined(&world, &mut customer, true).await;
            session = customer.guest.connect(DOOR, 7).unwrap();
            assert_eq!(talk(&mut session, "again").unwrap(), "again");
        }

        // A half of a link, as a kill leaves it, is made whole.
        let name = names::endpoint_namespace(&world.config.cloud, customer.door);
        Namespace::open(&name)
            .unwrap()
            .run(|| Ok(sh("ip link set svc down; ip link set svc alias ''")))
            .unwrap();
        world.restart().await;
        world.ensure_vpc(&shop.vpc).await;
        world.ensure_vpc(&customer.vpc).await;
        assert!(customer.guest.connect(DOOR, 7).is_ok());
    });
}

#[test]
fn another_target_takes_what_is_new_and_none_takes_nothing() {
    on_a_host(|world| async move {
        let (mut shop, mut customer) = (Shop::new(&world).await, Customer::new(&world).await);
        let beside = world.guest(&shop.vpc, BESIDE, &[&shop.group]).await;
        let (old, new): (Echo, Echo) = (shop.guest.serve(7), beside.serve(7));
        shop.joined(&world, &mut customer, true).await;
        let mut session = customer.guest.connect(DOOR, 7).unwrap();
        assert_eq!(talk(&mut session, "one").unwrap(), "one");
        assert_eq!(old.next_peer(), NODE);
        assert!(new.nobody_else());

        shop.vpc.desired.service_nodes[0].target = Some(BESIDE);
        world.ensure_vpc(&shop.vpc).await;
        assert!(customer.guest.connect(DOOR, 7).is_ok());
        assert_eq!(new.next_peer(), NODE);
        assert_eq!(talk(&mut session, "as before").unwrap(), "as before");
        shop.vpc.desired.service_nodes[0].target = None;
        world.ensure_vpc(&shop.vpc).await;
        assert!(customer.is_shut());
        assert_eq!(talk(&mut session, "even now").unwrap(), "even now");
        assert!(old.nobody_else() && new.nobody_else());
    });
}

#[test]
fn nobody_forges_a_way_through_and_nothing_is_left() {
    on_a_host(|world| async move {
        let (mut shop, mut customer) = (Shop::new(&world).await, Customer::new(&world).await);
        let listens = shop.guest.udp(9);
        let overheard = customer.guest.udp(9);
        shop.joined(&world, &mut customer, true).await;
        listens.set_read_timeout(Some(BRIEFLY)).unwrap();
        overheard.set_read_timeout(Some(BRIEFLY)).unwrap();
        let nothing = |socket: &std::net::UdpSocket| socket.recv_from(&mut [0; 16]).is_err();
        // Addresses of doors, of nodes and of the way between them, from either side.
        let far = plan::net::endpoint_service::FAR;
        for from in [NODE, far, plan::net::gateway_service::inside(3), BESIDE] {
            for (guest, to) in [(&customer.guest, DOOR), (&customer.guest, far), (&shop.guest, NODE)] {
                let forged = ipv4_udp(SocketAddrV4::new(from, 9), SocketAddrV4::new(to, 9), b"forged");
                guest.inject(&ethernet(plan::net::GATEWAY_MAC, guest.interface.mac.0, 0x0800, &forged));
            }
        }
        assert!(nothing(&listens) && nothing(&overheard));
        // Nobody else begins anything with the node, were it let in by its neighbours.
        let beside = world.guest(&shop.vpc, BESIDE, &[&shop.group]).await;
        assert!(beside.connect_briefly(NODE, 9).is_err() && !beside.pings_briefly(NODE));

        assert_eq!(inner(&world).len(), 2);
        shop.vpc.desired.service_nodes.clear();
        world.ensure_vpc(&shop.vpc).await;
        eventually("the node goes, and its link", || links(&world, customer.door) == ["eth0", "lo"]);
        assert_eq!(inner(&world).len(), 1);
        // The customer's word alone makes nothing.
        world.ensure_vpc(&customer.vpc).await;
        customer.guest.end();
        world.net_remove_vpc(&customer.vpc).await;
        assert_eq!(inner(&world), Vec::<String>::new());
    });
}

#[test]
fn a_customer_that_hoards_connections_shuts_out_only_itself() {
    on_a_host(|world| async move {
        let mut shop = Shop::new(&world).await;
        let (mut one, mut two) = (Customer::new(&world).await, Customer::new(&world).await);
        shop.joined(&world, &mut one, true).await;
        shop.joined(&world, &mut two, true).await;
        let target = shop.guest.udp(9);
        let mut heard = [0; 16];
        let mut arrives = |guest: &Guest, port: u16, patience: Duration| {
            let asks = ipv4_udp(SocketAddrV4::new(SHOP, port), SocketAddrV4::new(DOOR, 9), b"more");
            guest.inject(&ethernet(plan::net::GATEWAY_MAC, guest.interface.mac.0, 0x0800, &asks));
            target.set_read_timeout(Some(patience)).unwrap();
            target.recv_from(&mut heard).is_ok()
        };
        let most = plan::net::endpoint_service::MOST_CONNECTIONS as u16;
        for port in 0..most {
            assert!(arrives(&one.guest, 10_000 + port, SOON), "{port}");
        }
        for port in 0..3 {
            assert!(!arrives(&one.guest, 50_000 + port, BRIEFLY), "one more");
        }
        assert!(arrives(&one.guest, 10_000, SOON), "what it holds goes on");
        assert!(arrives(&two.guest, 10_000, SOON));
    });
}
