//! A port in a subnet of IPv6 alone: its guest has addresses, services and peers by it, and nothing of IPv4 passes.

use super::hostile::arp;
use super::ipv6::{connect6, fails, outside, reaches, serve, six, tcp6, udp6};
use super::world::*;
use model::host::{RouteDesired, RouteTarget, SecurityGroupDesired};
use model::net::{Allow, Peer, Traffic};
use plan::net::ipv6::{self, link_local};
use std::io::Read as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 12);
const BLOCK: &str = "fd12:3456:7801:100::/56";
const GATEWAY: [u8; 6] = plan::net::GATEWAY_MAC;
const OUTSIDE6: &str = "2001:db8:ffff::1";

/// A VPC whose second subnet has IPv6 alone, and leads out by the internet gateway.
fn place() -> Vpc {
    let mut vpc = Vpc::new("172.31.0.0/16").with_ipv6(BLOCK);
    let route = RouteDesired { destination: "::/0".parse().unwrap(), target: RouteTarget::InternetGateway };
    vpc.desired.route_tables[1].routes.push(route);
    vpc.desired.subnets[1].cidr = None;
    vpc
}

/// A guest in it.
async fn native(world: &World, vpc: &Vpc, groups: &[&SecurityGroupDesired]) -> Guest {
    let subnet = &vpc.desired.subnets[1];
    let address = subnet.ipv6_cidr.unwrap().network().to_bits() | (unique() % 60_000 + 16);
    let mut interface = vpc.interface(A, groups);
    (interface.subnet, interface.subnet_cidr, interface.addresses) = (subnet.subnet, None, Vec::new());
    interface.ipv6 = vec![Ipv6Addr::from_bits(address)];
    world.guest_with(interface).await
}

/// What the resolver says of a name: the answers' bytes.
fn asks(guest: &Guest, name: &str, kind: u8) -> (u8, Vec<u8>) {
    let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let socket = udp6(guest, 0);
    socket.send_to(&question, (ipv6::RESOLVER, 53)).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv_from(&mut buffer).unwrap().0;
    (buffer[3] & 15, buffer[..length].to_vec())
}

#[test]
fn its_guest_learns_all_by_ipv6_and_so_after_a_restart() {
    on_a_host(|mut world| async move {
        let vpc = place();
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![tcp6(7, "::/0")]).await;
        let (a, b) = (native(&world, &vpc, &[&group]).await, native(&world, &vpc, &[&group]).await);
        let index = a.run("ip -o link show dev eth0 | cut -d: -f1").trim().parse().unwrap();
        let name = format!("{}.ec2.internal", model::InstanceId::from_entropy(b.interface.interface.bits()));
        for restarted in [false, true] {
            if restarted {
                world.restart().await;
            }
            a.run("ip -6 route del default dev eth0; echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra");
            let socket = udp6(&a, 546);
            // The router answers who asks for it, and who asks for an address.
            let solicitation = icmp6(link_local(a.interface.mac), "ff02::2".parse().unwrap(), 133);
            a.inject(&ethernet([0x33, 0x33, 0, 0, 0, 2], a.interface.mac.0, 0x86dd, &solicitation));
            eventually("a default route", || {
                a.run("ip -6 route show default").contains("via fe80::1 dev eth0")
            });
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
            for told in [six(&a), ipv6::RESOLVER] {
                assert!(buffer[..length].windows(16).any(|part| part == told.octets()), "{told}");
            }
            let mut said = String::new();
            let mut stream = connect6(&a.namespace, ipv6::METADATA, 80, SOON).unwrap();
            stream.read_to_string(&mut said).unwrap();
            assert_eq!(said.trim(), six(&a).to_string());
            // Names of such instances are by their ids, and lead to an address of IPv6 and none of IPv4.
            let (code, answer) = asks(&a, &name, 28);
            assert!(code == 0 && answer.ends_with(&six(&b).octets()), "{answer:?}");
            let (code, answer) = asks(&a, &name, 1);
            assert_eq!((code, answer[7]), (0, 0));
            assert_eq!(asks(&a, "i-00000000000000bad.ec2.internal", 28).0, 3);
        }
    });
}

#[test]
fn it_talks_by_ipv6_under_the_rules_of_all_and_a_new_agent_knows_its_port() {
    on_a_host(|mut world| async move {
        let mut vpc = place();
        world.ensure_vpc(&vpc).await;
        outside(&world);
        let open = world.group(&vpc, vec![tcp6(7, "::/0")]).await;
        let mut friends = open.clone();
        friends.group = model::SecurityGroupId::from_entropy(unique());
        friends.ingress = vec![Allow { traffic: Traffic::All, peer: Peer::Group(open.group) }];
        world.net_group(&friends).await;
        let (a, b) = (native(&world, &vpc, &[&open]).await, native(&world, &vpc, &[&friends]).await);
        let both = world.guest(&vpc, A, &[&open]).await;
        for guest in [&a, &b, &both] {
            serve(&guest.namespace, 7);
            serve(&guest.namespace, 8);
        }
        for restarted in [false, true] {
            if restarted {
                world.restart().await;
                world.ensure_vpc(&vpc).await;
            }
            assert!(reaches(&a.namespace, six(&b), 7), "a member's, within the subnet");
            assert!(reaches(&both.namespace, six(&b), 8) && reaches(&both.namespace, six(&a), 7));
            assert!(fails(&b.namespace, six(&a), 8) && reaches(&b.namespace, six(&both), 7));
            assert!(reaches(&a.namespace, OUTSIDE6.parse().unwrap(), 7));
            assert!(reaches(&world.outside, six(&a), 7) && fails(&world.outside, six(&b), 7));
        }
        // Nobody but a new agent has been told of the port, which follows its VPC all the same.
        vpc.desired.route_tables[1].routes[0].target = RouteTarget::EgressOnly;
        world.ensure_vpc(&vpc).await;
        assert!(fails(&world.outside, six(&a), 7), "its subnet has been closed");
        assert!(reaches(&a.namespace, OUTSIDE6.parse().unwrap(), 7) && reaches(&b.namespace, six(&a), 7));
        // It goes without a trace.
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        let gone = six(&a);
        world.net_remove_port(a.interface.interface).await;
        let left = sh(&format!("ip netns exec {router} nft list ruleset; ip -n {router} -6 route"));
        assert!(!left.contains(&gone.to_string()), "{left}");
        assert!(left.contains(&six(&b).to_string()));
    });
}

#[test]
fn nothing_of_ipv4_passes_its_port() {
    on_a_host(|world| async move {
        let mut vpc = place();
        world.ensure_vpc(&vpc).await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0"), all_from("::/0")]).await;
        let both = world.guest(&vpc, A, &[&open]).await;
        let mut a = native(&world, &vpc, &[&open]).await;
        // Even of one that may forward for others, and that routes lead to.
        a.interface.source_dest_check = false;
        world.update(&a).await;
        let target = RouteTarget::Interface(a.interface.interface);
        for destination in ["192.0.2.0/24", "2001:db8:aa::/48"] {
            let destination = destination.parse().unwrap();
            vpc.desired.route_tables[0].routes.push(RouteDesired { destination, target: target.clone() });
        }
        world.ensure_vpc(&vpc).await;
        let (mine, at) = (a.interface.mac.0, SocketAddrV4::new);
        let sink = both.udp(9);
        for from in [C, Ipv4Addr::new(8, 8, 8, 8), A] {
            a.inject(&ethernet(GATEWAY, mine, 0x0800, &ipv4_udp(at(from, 1), at(A, 9), b"forged")));
        }
        for target in [Ipv4Addr::new(172, 31, 128, 1), plan::net::METADATA, A] {
            a.inject(&ethernet([0xff; 6], mine, 0x0806, &arp(1, mine, Ipv4Addr::UNSPECIFIED, target)));
            a.inject(&ethernet([0xff; 6], mine, 0x0806, &arp(1, mine, C, target)));
        }
        let discover = ipv4_udp(at(Ipv4Addr::UNSPECIFIED, 68), at(Ipv4Addr::BROADCAST, 67), &discover(mine));
        a.inject(&ethernet([0xff; 6], mine, 0x0800, &discover));
        // What it forwards by IPv6 arrives, and what is led to it comes.
        let stranger: Ipv6Addr = "2001:db8:aa::7".parse().unwrap();
        a.run(&format!("ip -6 addr add {stranger}/128 dev eth0 nodad"));
        let heard = udp6(&a, 9);
        udp6(&both, 0).send_to(b"honest", (stranger, 9)).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(heard.recv_from(&mut buffer).unwrap().0, 6);
        both.udp(0).send_to(b"astray", (Ipv4Addr::new(192, 0, 2, 1), 9)).unwrap();
        let last = world.guest(&vpc, Ipv4Addr::new(172, 31, 0, 77), &[&open]).await;
        last.udp(0).send_to(b"done", (A, 9)).unwrap();
        let (length, _) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"done", "nothing came before");
        let frames = a.heard.lock().unwrap();
        let kinds: Vec<&[u8]> = frames.iter().map(|frame| &frame[12..14]).collect();
        assert!(kinds.contains(&&[0x86, 0xdd][..]));
        assert!(kinds.iter().all(|kind| *kind == [0x86, 0xdd]), "{kinds:?}");
    });
}

/// A client's first message of DHCP.
fn discover(mac: [u8; 6]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..3].copy_from_slice(&[1, 1, 6]);
    bytes[28..34].copy_from_slice(&mac);
    bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
    bytes.extend([53, 1, 1, 255]);
    bytes
}

/// What a host asks of routers.
fn icmp6(from: Ipv6Addr, to: Ipv6Addr, kind: u8) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, 0, 0, body.len() as u8, 0, 0, 0, 58]);
    pseudo.extend(&body);
    body[2..4].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    let mut out = vec![0x60, 0, 0, 0, 0, body.len() as u8, 58, 255];
    out.extend(from.octets());
    out.extend(to.octets());
    out.extend(body);
    out
}
