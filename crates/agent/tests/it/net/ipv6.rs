//! IPv6 from end to end: between guests, to their services, out and in at the edge, and what liars get.

use super::world::*;
use agent::host::linux::netns::Namespace;
use model::VpcPeeringConnectionId;
use model::host::{PeeringDesired, RouteDesired, RouteTarget};
use model::net::{Allow, Peer, Traffic};
use plan::net::ipv6::{self, link_local};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 12);
const BLOCK: &str = "fd12:3456:7801:100::/56";
const OTHER: &str = "fd12:3456:7801:200::/56";
const OUTSIDE6: &str = "2001:db8:ffff::1";

/// Says everything back, for as long as the test goes.
pub fn serve(namespace: &Namespace, port: u16) {
    let listener = namespace.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

pub fn connect6(
    namespace: &Namespace,
    to: Ipv6Addr,
    port: u16,
    limit: Duration,
) -> std::io::Result<TcpStream> {
    namespace.run(|| {
        let stream = TcpStream::connect_timeout(&(to, port).into(), limit)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    })
}

pub fn reaches(namespace: &Namespace, to: Ipv6Addr, port: u16) -> bool {
    connect6(namespace, to, port, SOON).is_ok()
}

pub fn fails(namespace: &Namespace, to: Ipv6Addr, port: u16) -> bool {
    connect6(namespace, to, port, A_MOMENT).is_err()
}

pub fn tcp6(port: u16, net: &str) -> Allow {
    Allow { traffic: Traffic::Tcp { from: port, to: port }, peer: Peer::Net(net.parse().unwrap()) }
}

pub fn six(guest: &Guest) -> Ipv6Addr {
    guest.interface.ipv6[0]
}

pub fn udp6(guest: &Guest, port: u16) -> UdpSocket {
    let bind = || {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    };
    guest.namespace.run(bind).unwrap()
}

#[test]
fn guests_talk_where_both_gates_let_them_and_answers_return() {
    on_a_host(|world| async move {
        let vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        world.ensure_vpc(&vpc).await;
        let open = world.group(&vpc, vec![tcp6(7, "::/0")]).await;
        let closed = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&open]).await, world.guest(&vpc, B, &[&closed]).await);
        let c = world.guest(&vpc, C, &[&open]).await;
        for guest in [&a, &b, &c] {
            serve(&guest.namespace, 7);
            serve(&guest.namespace, 8);
        }
        assert!(reaches(&b.namespace, six(&a), 7), "within the subnet");
        assert!(reaches(&a.namespace, six(&c), 7), "between subnets");
        assert!(fails(&b.namespace, six(&a), 8));
        assert!(fails(&a.namespace, six(&b), 7), "rules of IPv4 let no IPv6 in");
        assert!(a.pings(B) && reaches(&c.namespace, six(&a), 7));
        // Members of groups are known by these addresses too.
        let mut friends = closed.clone();
        friends.ingress.push(Allow { traffic: Traffic::All, peer: Peer::Group(open.group) });
        world.net_group(&friends).await;
        assert!(reaches(&a.namespace, six(&b), 7));
    });
}

#[test]
fn a_guest_learns_of_its_router_and_address_and_addresses_come_and_go() {
    on_a_host(|world| async move {
        let vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![tcp6(7, "::/0")]).await;
        let mut bare = vpc.interface(A, &[&group]);
        let given = std::mem::take(&mut bare.ipv6);
        let mut a = world.guest_with(bare).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        a.run("echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra");
        // It gets an address while it runs: the router speaks up by itself.
        a.interface.ipv6 = given;
        world.update(&a).await;
        eventually("a default route", || a.run("ip -6 route show default").contains("via fe80::1 dev eth0"));
        let socket = udp6(&a, 546);
        let index = a.run("ip -o link show dev eth0 | cut -d: -f1").trim().parse().unwrap();
        let solicit = [
            &[1, 1, 2, 3][..],
            &[0, 1, 0, 4, 1, 2, 3, 4],
            &[0, 14, 0, 0],
            &[0, 3, 0, 12, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        socket.send_to(&solicit, SocketAddrV6::new("ff02::1:2".parse().unwrap(), 547, 0, index)).unwrap();
        let mut buffer = [0; 1024];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!((buffer[0], from.ip()), (7, ipv6::ROUTER.into()));
        let reply = &buffer[..length];
        assert!(reply.windows(16).any(|part| part == six(&a).octets()), "{reply:?}");
        assert!(reply.windows(16).any(|part| part == ipv6::RESOLVER.octets()), "{reply:?}");
        a.run(&format!("ip -6 addr add {}/128 dev eth0 nodad", six(&a)));
        serve(&b.namespace, 7);
        let mut stream = connect6(&a.namespace, six(&b), 7, SOON).unwrap();
        assert_eq!(talk(&mut stream, "hello").unwrap(), "hello");
        // The address goes: its flow ends, and nobody has it any more.
        a.interface.ipv6.clear();
        world.update(&a).await;
        stream.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(talk(&mut stream, "hello").is_err());
    });
}

#[test]
fn the_services_answer_by_ipv6_and_know_who_asks() {
    on_a_host(|mut world| async move {
        let vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        for restarted in [false, true] {
            if restarted {
                world.restart().await;
            }
            let mut said = String::new();
            let mut stream = connect6(&guest.namespace, ipv6::METADATA, 80, SOON).unwrap();
            stream.read_to_string(&mut said).unwrap();
            assert_eq!(said.trim(), six(&guest).to_string());
            let socket = udp6(&guest, 0);
            let question = b"\x07\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0eip-172-31-0-77\x03ec2\x08internal\x00\x00\x01\x00\x01";
            socket.send_to(question, (ipv6::RESOLVER, 53)).unwrap();
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            assert_eq!(from.ip(), ipv6::RESOLVER);
            assert!(buffer[..length].ends_with(&[172, 31, 0, 77]));
            let mut request = [0; 48];
            request[0] = 0x23;
            socket.send_to(&request, (ipv6::TIME, 123)).unwrap();
            assert_eq!(socket.recv_from(&mut buffer).unwrap().0, 48);
            assert!(
                fails(&guest.namespace, ipv6::METADATA, 53) && fails(&guest.namespace, ipv6::RESOLVER, 80)
            );
        }
    });
}

/// An outside with IPv6, beyond the host.
pub fn outside(world: &World) {
    sh("ip -6 addr add 2001:db8:ffff::2/64 dev uplink nodad");
    world
        .outside
        .run(|| {
            sh(&format!(
                "ip -6 addr add {OUTSIDE6}/64 dev eth0 nodad; ip -6 route add default via 2001:db8:ffff::2"
            ));
            Ok(())
        })
        .unwrap();
    serve(&world.outside, 7);
}

#[test]
fn an_egress_only_gateway_lets_flows_out_and_none_in() {
    on_a_host(|world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        let everywhere = "::/0".parse().unwrap();
        let private = &mut vpc.desired.route_tables[1];
        private.routes.push(RouteDesired { destination: everywhere, target: RouteTarget::EgressOnly });
        world.ensure_vpc(&vpc).await;
        outside(&world);
        let group = world.group(&vpc, vec![tcp6(7, "::/0")]).await;
        // The first in the public subnet, the second in the private one.
        let (open, private) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, C, &[&group]).await);
        for guest in [&open, &private] {
            serve(&guest.namespace, 7);
            serve(&guest.namespace, 8);
            let mut stream = connect6(&guest.namespace, OUTSIDE6.parse().unwrap(), 7, SOON).unwrap();
            assert_eq!(talk(&mut stream, "out").unwrap(), "out");
        }
        assert!(reaches(&world.outside, six(&open), 7), "the pool is routed, and the group lets it in");
        assert!(fails(&world.outside, six(&open), 8), "the group does not");
        assert!(fails(&world.outside, six(&private), 7), "nobody begins with who only goes out");
        // The host is somebody outside, and instances are not let into it.
        let host = Namespace::current().unwrap();
        assert!(reaches(&host, six(&open), 7) && fails(&host, six(&private), 7));
        serve(&host, 9);
        let own = ipv6::host_address(world.config.ipv6_pool);
        assert!(fails(&open.namespace, own, 9));
        // The way out goes with the block, and nothing is left.
        drop((open, private));
        world.net_remove_vpc(&vpc).await;
        let edge = plan::net::names::edge_namespace(&world.config.cloud);
        let left = sh(&format!("ip -n {edge} -6 route; ip netns exec {edge} nft list ruleset"));
        assert!(!left.contains("7801:1"), "{left}");
    });
}

#[test]
fn another_vpc_is_reached_by_a_peering_alone_and_only_by_who_it_knows() {
    on_a_host(|world| async move {
        let (mut one, mut two) =
            (Vpc::new("172.31.0.0/16").with_ipv6(BLOCK), Vpc::new("10.9.0.0/16").with_ipv6(OTHER));
        for vpc in [&mut one, &mut two] {
            // No way over the internet.
            vpc.desired.route_tables[0].routes.retain(|route| route.target != RouteTarget::InternetGateway);
            world.ensure_vpc(vpc).await;
        }
        let group = world.group(&one, vec![tcp6(7, "::/0")]).await;
        let far =
            world.group(&two, vec![Allow { traffic: Traffic::All, peer: Peer::Group(group.group) }]).await;
        let (mut a, b) = (
            world.guest(&one, A, &[&group]).await,
            world.guest(&two, Ipv4Addr::new(10, 9, 0, 5), &[&far]).await,
        );
        for guest in [&a, &b] {
            serve(&guest.namespace, 7);
        }
        assert!(fails(&a.namespace, six(&b), 7));
        let peering = VpcPeeringConnectionId::from_entropy(unique());
        let side = |of: &Vpc| PeeringDesired {
            ipv6_cidrs: of.desired.ipv6_cidrs.clone(),
            peering,
            peer: of.desired.vpc,
            cidrs: of.desired.cidrs.clone(),
        };
        let (of_one, of_two) = (side(&one), side(&two));
        for (vpc, end) in [(&mut one, of_two), (&mut two, of_one)] {
            let to = end.ipv6_cidrs[0].into();
            vpc.desired.peerings.push(end);
            for table in &mut vpc.desired.route_tables {
                let target = RouteTarget::Peering(peering);
                table.routes.push(RouteDesired { destination: to, target });
            }
            world.ensure_vpc(vpc).await;
        }
        assert!(reaches(&a.namespace, six(&b), 7), "its group names ours");
        assert!(reaches(&b.namespace, six(&a), 7));
        // What it has by a prefix is a member's there too, and what is beside is nobody's.
        let number = six(&a).to_bits() + (5 << 48);
        let (own, beside) = (Ipv6Addr::from_bits(number), Ipv6Addr::from_bits(number + (1 << 48)));
        a.interface.ipv6_prefixes.push(ipv6::around(own));
        world.update(&a).await;
        let (sink, mut buffer) = (udp6(&b, 9), [0; 64]);
        for (from, text) in [(beside, b"forged"), (own, b"prefix")] {
            a.run(&format!("ip -6 addr add {from}/128 dev eth0 nodad"));
            let socket = a.namespace.run(|| UdpSocket::bind((from, 0))).unwrap();
            socket.send_to(text, (six(&b), 9)).unwrap();
        }
        let (length, from) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"prefix"[..], own.into()));
        assert!(reaches(&b.namespace, own, 7));
        a.interface.ipv6_prefixes.clear();
        world.update(&a).await;
        assert!(fails(&b.namespace, own, 7));
        let router = plan::net::names::vpc_namespace(&world.config.cloud, two.desired.vpc);
        let sets = sh(&format!("ip netns exec {router} nft list ruleset"));
        assert!(!sets.contains("/80"), "{sets}");
    });
}

#[test]
fn every_address_of_a_prefix_is_its_interfaces_and_nobody_elses() {
    on_a_host(|mut world| async move {
        let vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        world.ensure_vpc(&vpc).await;
        outside(&world);
        let open = world.group(&vpc, vec![tcp6(7, "::/0"), all_from("0.0.0.0/0")]).await;
        let mut friends = open.clone();
        friends.group = model::SecurityGroupId::from_entropy(unique());
        friends.ingress = vec![Allow { traffic: Traffic::All, peer: Peer::Group(open.group) }];
        world.net_group(&friends).await;
        // One that has nothing but prefixes, a liar beside it, and one that lets the group's members in.
        let mut bare = vpc.interface(A, &[&open]);
        let block = vpc.desired.subnets.iter().find(|s| s.subnet == bare.subnet).unwrap().ipv6_cidr.unwrap();
        let at = |prefix: u128, number: u128| {
            Ipv6Addr::from_bits(block.network().to_bits() | (prefix << 48) | number)
        };
        let of = |prefix| ipnet::Ipv6Net::new(at(prefix, 0), 80).unwrap();
        bare.ipv6.clear();
        let mut a = world.guest_with(bare).await;
        let (b, c) = (world.guest(&vpc, B, &[&friends]).await, world.guest(&vpc, C, &[&open]).await);
        let last = u128::MAX >> 80;
        let (ends, beside) = ([at(5, 0), at(5, last)], [at(4, last), at(6, 0)]);
        for address in ends.into_iter().chain(beside) {
            a.run(&format!("ip -6 addr add {address}/128 dev eth0 nodad"));
        }
        a.run("ip -6 route replace default via fe80::1 dev eth0 metric 5");
        for namespace in [&a.namespace, &b.namespace, &c.namespace] {
            serve(namespace, 7);
        }
        let sends = |own: Ipv6Addr, text: &[u8]| {
            let socket = a.namespace.run(|| UdpSocket::bind((own, 0))).unwrap();
            socket.send_to(text, (six(&b), 9)).unwrap();
        };
        let sink = udp6(&b, 9);
        for own in ends {
            assert!(fails(&c.namespace, own, 7));
        }

        a.interface.ipv6_prefixes.push(of(5));
        world.update(&a).await;
        for restarted in [false, true] {
            if restarted {
                world.restart().await;
                world.ensure_vpc(&vpc).await;
                world.update(&a).await;
            }
            for own in ends {
                for near in [&b, &c] {
                    assert!(reaches(&near.namespace, own, 7), "{own}");
                }
                assert!(reaches(&world.outside, own, 7), "its subnet is open: {own}");
            }
            for other in beside {
                assert!(fails(&c.namespace, other, 7), "{other}");
                sends(other, b"forged");
            }
            // What it sends from there is a member's; what is beside is nobody's.
            let mut buffer = [0; 64];
            for own in ends {
                sends(own, b"prefix");
                let (length, from) = sink.recv_from(&mut buffer).unwrap();
                assert_eq!((&buffer[..length], from.ip()), (&b"prefix"[..], own.into()));
            }
        }
        // Nobody else may send from there, nor by a link or a hardware address of its own.
        let lie = udp((ends[1], 1), (six(&b), 9), b"forged");
        c.inject(&ethernet(plan::net::GATEWAY_MAC, c.interface.mac.0, 0x86dd, &lie));
        c.inject(&ethernet(plan::net::GATEWAY_MAC, a.interface.mac.0, 0x86dd, &lie));
        a.inject(&ethernet(plan::net::GATEWAY_MAC, c.interface.mac.0, 0x86dd, &lie));
        c.inject(&ethernet(
            plan::net::GATEWAY_MAC,
            c.interface.mac.0,
            0x86dd,
            &udp((six(&c), 1), (six(&b), 9), b"honest"),
        ));
        let mut buffer = [0; 64];
        let (length, from) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"honest"[..], six(&c).into()));
        // The services know who asks.
        let asked = a.namespace.run(|| {
            let bound = UdpSocket::bind((ends[1], 0))?;
            bound.set_read_timeout(Some(SOON))?;
            let mut request = [0; 48];
            request[0] = 0x23;
            bound.send_to(&request, (ipv6::TIME, 123))?;
            bound.recv_from(&mut [0; 512])
        });
        assert_eq!(asked.unwrap().0, 48);

        // It goes: its flows end, nobody has it, and another may.
        let mut stream = connect6(&c.namespace, ends[0], 7, SOON).unwrap();
        assert_eq!(talk(&mut stream, "hello").unwrap(), "hello");
        a.interface.ipv6_prefixes.clear();
        world.update(&a).await;
        stream.set_read_timeout(Some(A_MOMENT)).unwrap();
        assert!(talk(&mut stream, "hello").is_err());
        assert!(fails(&c.namespace, ends[0], 7) && fails(&b.namespace, ends[1], 7));
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        let sets = sh(&format!("ip netns exec {router} nft list ruleset; ip -n {router} -6 route"));
        assert!(!sets.contains("/80") && !sets.contains(&of(5).network().to_string()), "{sets}");
        assert!(a.pings(B));
    });
}

/// An IPv6 packet of a protocol, with its checksum at this place of the payload.
fn packet(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, hops: u8, mut body: Vec<u8>, sum_at: usize) -> Vec<u8> {
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend((body.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    pseudo.extend(&body);
    body[sum_at..sum_at + 2].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((body.len() as u16).to_be_bytes());
    out.extend([protocol, hops]);
    out.extend(from.octets());
    out.extend(to.octets());
    out.extend(body);
    out
}

fn udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    body.extend(payload);
    packet(from.0, to.0, 17, 64, body, 6)
}

#[test]
fn forged_sources_advertisements_and_dhcp_answers_reach_nobody() {
    on_a_host(|world| async move {
        let vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0"), all_from("::/0")]).await;
        let mut liar = vpc.interface(A, &[&group]);
        // Even one that may forward for others.
        liar.source_dest_check = false;
        let a = world.guest_with(liar).await;
        let (b, c) = (world.guest(&vpc, B, &[&group]).await, world.guest(&vpc, C, &[&group]).await);
        let (gateway, mine) = (plan::net::GATEWAY_MAC, a.interface.mac.0);
        let its = b.interface.mac.0;
        let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
        let own = link_local(a.interface.mac);
        let with_lladdr = |head: &[u8], target: Option<Ipv6Addr>, kind: u8| {
            let mut body = head.to_vec();
            body.extend(target.into_iter().flat_map(|target| target.octets()));
            body.extend([kind, 1]);
            body.extend(mine);
            body
        };
        let advertisement =
            || with_lladdr(&[134, 0, 0, 0, 64, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], None, 1);
        let neighbour = |target| with_lladdr(&[136, 0, 0, 0, 0x60, 0, 0, 0], Some(target), 2);
        let solicitation = |target| with_lladdr(&[135, 0, 0, 0, 0, 0, 0, 0], Some(target), 1);
        let mut lies = Vec::new();
        for (from, to) in [
            (own, all_nodes),
            (ipv6::ROUTER, all_nodes),
            (six(&a), six(&b)),
            (own, link_local(b.interface.mac)),
        ] {
            lies.push(packet(from, to, 58, 255, advertisement(), 2));
            lies.push(packet(from, to, 58, 255, neighbour(six(&b)), 2));
            lies.push(packet(from, to, 58, 255, neighbour(ipv6::ROUTER), 2));
            lies.push(packet(from, to, 58, 255, solicitation(six(&b)), 2));
            lies.push(udp((from, 547), (to, 546), b"forged"));
        }
        // In the name of a peer, of the router, of the services, of nobody.
        for from in [
            ipv6::ROUTER,
            ipv6::METADATA,
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::UNSPECIFIED,
            link_local(b.interface.mac),
        ] {
            lies.push(udp((from, 1), (six(&b), 9), b"forged"));
        }
        lies.push(udp((six(&b), 1), (ipv6::RESOLVER, 53), b"forged"));
        lies.push(packet(six(&b), ipv6::ROUTER, 58, 255, neighbour(six(&b)), 2));
        for lie in &lies {
            a.inject(&ethernet(gateway, mine, 0x86dd, lie));
            a.inject(&ethernet([0x33, 0x33, 0, 0, 0, 1], mine, 0x86dd, lie));
            a.inject(&ethernet(gateway, its, 0x86dd, lie));
        }
        let sink = udp6(&b, 9);
        a.inject(&ethernet(gateway, mine, 0x86dd, &udp((six(&a), 1), (six(&b), 9), b"honest")));
        let mut buffer = [0; 64];
        let (length, from) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from.ip()), (&b"honest"[..], six(&a).into()));
        for guest in [&b, &c] {
            let heard = guest.heard.lock().unwrap();
            for frame in heard.iter().filter(|frame| frame.len() > 54 && frame[12..14] == [0x86, 0xdd]) {
                assert!(!frame.ends_with(b"forged"), "{frame:?}");
                // What routers and neighbours say comes from the router's own address.
                let from = Ipv6Addr::from(<[u8; 16]>::try_from(&frame[22..38]).unwrap());
                assert!(
                    frame[20] != 58 || !(133..=137).contains(&frame[54]) || from == ipv6::ROUTER,
                    "{frame:?}"
                );
            }
        }
        // Nobody's traffic has moved, and the router remembers nothing that it was told.
        serve(&b.namespace, 7);
        assert!(reaches(&c.namespace, six(&b), 7));
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        let neighbours = sh(&format!("ip -n {router} -6 neigh"));
        assert!(
            neighbours.lines().all(|line| line.contains("PERMANENT") || line.contains("NOARP")),
            "{neighbours}"
        );
        let start = Instant::now();
        while start.elapsed() < A_MOMENT {
            assert!(!a.heard.lock().unwrap().iter().any(|frame| frame.ends_with(b"forged")));
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}
