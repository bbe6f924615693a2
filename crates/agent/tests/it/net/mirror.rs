//! Copies of packets, as the machines hear them that they are sent to.
//!
//! An interface's packets are copied in their order, and a port's frames come in theirs: where a later one has come, an
//! earlier one that is not there was not sent.

use super::world::*;
use model::TrafficMirrorSessionId;
use model::host::SecurityGroupDesired;
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::traffic_mirror::{Action, MirrorDesired, MirrorFilter, MirrorRule, Ports};
use std::net::{Ipv4Addr, SocketAddrV4};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const T: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 12);
const U: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 13);
/// In the other subnet.
const FAR: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 12);
const NETWORK: u32 = 0x00ab_cdef;
const VXLAN: u16 = 4789;

/// Of UDP to these ports.
fn rule(number: u16, action: Action, from: u16, to: u16) -> MirrorRule {
    MirrorRule {
        number,
        action,
        protocol: Some(17),
        source: "0.0.0.0/0".parse().unwrap(),
        destination: "0.0.0.0/0".parse().unwrap(),
        source_ports: None,
        destination_ports: Some(Ports { from, to }),
    }
}

fn all() -> MirrorRule {
    MirrorRule { protocol: None, destination_ports: None, ..rule(100, Action::Accept, 0, 0) }
}

/// Copies what these rules accept, whichever way it goes.
fn session(number: u16, from: &Guest, to: &Guest, rules: Vec<MirrorRule>) -> MirrorDesired {
    MirrorDesired {
        session: TrafficMirrorSessionId::from_entropy(unique()),
        number,
        source: from.interface.interface,
        from: from.address(),
        to: to.address(),
        within_subnet: from.interface.subnet == to.interface.subnet,
        network: NETWORK,
        length: None,
        filter: MirrorFilter { ingress: rules.clone(), egress: rules, dns: false },
    }
}

fn says(from: &Guest, to: Ipv4Addr, port: u16, what: &[u8]) {
    let packet = ipv4_udp(SocketAddrV4::new(from.address(), 5000), SocketAddrV4::new(to, port), what);
    from.inject(&ethernet(plan::net::GATEWAY_MAC, from.interface.mac.0, 0x0800, &packet));
}

/// A copy as its target hears it.
#[derive(Debug)]
struct Copied {
    from: [u8; 4],
    network: [u8; 3],
    frame: Vec<u8>,
}

fn is_udp_to(frame: &[u8], port: u16) -> bool {
    frame.len() >= 42 && frame[12..14] == [0x08, 0] && frame[23] == 17 && frame[36..38] == port.to_be_bytes()
}

fn copies(target: &Guest) -> Vec<Copied> {
    let heard = target.heard.lock().unwrap();
    let copies = heard.iter().filter(|frame| is_udp_to(frame, VXLAN) && frame.len() > 50);
    let copies = copies.map(|frame| Copied {
        from: frame[26..30].try_into().unwrap(),
        network: frame[46..49].try_into().unwrap(),
        frame: frame[50..].to_vec(),
    });
    copies.collect()
}

/// What was said to a port in the copies that a target has heard, in their order.
fn said(target: &Guest, port: u16) -> Vec<Vec<u8>> {
    let of_port = copies(target).into_iter().filter(|copy| is_udp_to(&copy.frame, port));
    of_port.map(|copy| copy.frame[42..].to_vec()).collect()
}

fn copied(target: &Guest, port: u16, what: &[u8]) {
    eventually("a copy", || said(target, port).iter().any(|said| said == what));
}

/// Everything that was sent to a guest before has come.
fn caught_up(from: &Guest, to: &Guest) {
    let what = unique().to_be_bytes();
    says(from, to.address(), 7, &what);
    eventually("a packet", || {
        to.heard.lock().unwrap().iter().any(|frame| is_udp_to(frame, 7) && frame[42..] == what)
    });
}

struct Scene {
    world: World,
    vpc: Vpc,
    open: SecurityGroupDesired,
    a: Guest,
    b: Guest,
    t: Guest,
}

impl Scene {
    async fn new(world: World) -> Self {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&open]).await, world.guest(&vpc, B, &[&open]).await);
        let t = world.guest(&vpc, T, &[&open]).await;
        Self { world, vpc, open, a, b, t }
    }

    async fn mirror(&mut self, sessions: Vec<MirrorDesired>) {
        self.vpc.desired.mirrors = sessions;
        self.world.ensure_vpc(&self.vpc).await;
    }
}

#[test]
fn what_an_interface_says_and_hears_is_copied_to_the_target_of_the_first_session_that_takes_it() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let u = scene.world.guest(&scene.vpc, U, &[&scene.open]).await;
        let (a, t) = (&scene.a, &scene.t);
        let first = session(1, a, t, vec![rule(1, Action::Reject, 30, 39), rule(2, Action::Accept, 20, 49)]);
        let mut second = session(2, a, &u, vec![rule(1, Action::Accept, 35, 59)]);
        (second.network, second.length) = (7, Some(45));
        scene.mirror(vec![second, first]).await;
        let Scene { a, b, t, .. } = &scene;
        says(a, B, 30, b"nobody's");
        says(a, B, 35, b"the second's");
        says(a, B, 50, b"the second's too");
        says(a, B, 20, b"out");
        says(b, A, 21, b"in");
        // Nobody takes it, and nobody lets it through: it is copied as it was said.
        says(a, Ipv4Addr::new(172, 31, 0, 99), 22, b"lost");
        // Another's packets are none of its.
        says(b, T, 20, b"elsewhere");
        says(a, B, 49, b"last");
        copied(t, 49, b"last");
        assert_eq!(said(t, 20), [b"out"]);
        copied(t, 21, b"in");
        assert_eq!(said(t, 22), [b"lost"]);
        assert!(said(t, 30).is_empty() && said(t, 35).is_empty());
        for copy in copies(t) {
            assert_eq!((copy.from, copy.network), (A.octets(), [0xab, 0xcd, 0xef]));
        }
        // Cut behind the first three octets of what was said.
        copied(&u, 50, b"the");
        assert_eq!(said(&u, 35), [b"the"]);
        assert!(copies(&u).iter().all(|copy| copy.network == [0, 0, 7] && copy.frame.len() == 45));
        // The frame is whole, hardware addresses and all.
        let out = copies(t).into_iter().find(|copy| is_udp_to(&copy.frame, 20)).unwrap().frame;
        assert_eq!(out[..12], [plan::net::GATEWAY_MAC, a.interface.mac.0].concat());
    });
}

#[test]
fn what_the_rules_of_the_source_keep_out_is_not_copied() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let nine = Traffic::Udp { from: 9, to: 9 };
        let nine = Allow { traffic: nine, peer: Peer::Net("0.0.0.0/0".parse().unwrap()) };
        let group = scene.world.group(&scene.vpc, vec![nine]).await;
        scene.a.interface.security_groups = vec![group.group];
        scene.world.update(&scene.a).await;
        let of_a = session(1, &scene.a, &scene.t, vec![all()]);
        scene.mirror(vec![of_a]).await;
        says(&scene.b, A, 8, b"refused");
        says(&scene.b, A, 9, b"heard");
        copied(&scene.t, 9, b"heard");
        assert!(said(&scene.t, 8).is_empty());
    });
}

#[test]
fn a_target_hears_copies_only_if_its_groups_and_its_subnets_acl_let_them_in() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let seven = |address| {
            let peer = Peer::Net(format!("{address}/32").parse().unwrap());
            Allow { traffic: Traffic::Udp { from: 7, to: 7 }, peer }
        };
        let closed = scene.world.group(&scene.vpc, vec![seven(A)]).await;
        let by_name =
            Allow { traffic: Traffic::Udp { from: VXLAN, to: VXLAN }, peer: Peer::Group(scene.open.group) };
        let named = scene.world.group(&scene.vpc, vec![by_name]).await;
        let shut = scene.world.guest(&scene.vpc, U, &[&closed]).await;
        let member = scene.world.guest(&scene.vpc, Ipv4Addr::new(172, 31, 0, 14), &[&named]).await;
        let far = scene.world.guest(&scene.vpc, FAR, &[&scene.open]).await;
        let a = &scene.a;
        let sessions = vec![
            session(1, a, &shut, vec![rule(1, Action::Accept, 20, 20)]),
            session(2, a, &far, vec![rule(1, Action::Accept, 21, 21)]),
            session(3, a, &member, vec![rule(1, Action::Accept, 22, 22)]),
        ];
        scene.mirror(sessions).await;
        for port in [20, 21, 22] {
            says(&scene.a, B, port, b"open");
        }
        copied(&member, 22, b"open");
        copied(&far, 21, b"open");
        caught_up(&scene.a, &shut);
        assert!(copies(&shut).is_empty());

        // Within a subnet no ACL judges; into another one it does.
        let deny = AclEntry {
            number: 1,
            traffic: Traffic::Udp { from: VXLAN, to: VXLAN },
            net: "0.0.0.0/0".parse().unwrap(),
            action: AclAction::Deny,
        };
        scene.vpc.desired.network_acls[0].ingress.insert(0, deny);
        scene.world.ensure_vpc(&scene.vpc).await;
        says(&scene.a, B, 21, b"denied");
        says(&scene.a, B, 22, b"judged by nobody");
        copied(&member, 22, b"judged by nobody");
        caught_up(&scene.a, &far);
        assert_eq!(said(&far, 21), [b"open"]);
    });
}

#[test]
fn two_interfaces_that_copy_to_each_other_copy_each_packet_once() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let there = session(1, &scene.a, &scene.t, vec![all()]);
        let back = session(1, &scene.t, &scene.a, vec![all()]);
        scene.mirror(vec![there, back]).await;
        for port in [20, 21] {
            says(&scene.a, B, port, b"once");
            copied(&scene.t, port, b"once");
        }
        // Its own packets are copied the other way.
        says(&scene.t, B, 22, b"too");
        copied(&scene.a, 22, b"too");
        caught_up(&scene.b, &scene.a);
        caught_up(&scene.b, &scene.t);
        for (target, port) in [(&scene.t, 20), (&scene.t, 21), (&scene.a, 22)] {
            assert_eq!(said(target, port).len(), 1);
        }
        for target in [&scene.a, &scene.t] {
            let all = copies(target);
            assert!(all.iter().all(|copy| !is_udp_to(&copy.frame, VXLAN)), "{all:?}");
        }
    });
}

#[test]
fn a_new_agent_copies_on_and_a_session_that_ends_copies_no_more() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let of_a = session(1, &scene.a, &scene.t, vec![all()]);
        scene.mirror(vec![of_a.clone()]).await;
        says(&scene.a, B, 20, b"before");
        copied(&scene.t, 20, b"before");
        scene.world.restart().await;
        scene.world.ensure_vpc(&scene.vpc).await;
        says(&scene.a, B, 20, b"after");
        copied(&scene.t, 20, b"after");

        // A machine that starts again has a new port.
        let interface = scene.a.interface.clone();
        scene.a.end();
        scene.a = scene.world.guest_with(interface).await;
        says(&scene.a, B, 20, b"anew");
        copied(&scene.t, 20, b"anew");

        let changed = MirrorDesired { network: 5, filter: MirrorFilter::default(), ..of_a };
        scene.vpc.desired.mirrors = vec![changed];
        scene.world.ensure_vpc(&scene.vpc).await;
        scene.vpc.desired.mirrors.clear();
        scene.world.ensure_vpc(&scene.vpc).await;
        says(&scene.a, B, 20, b"unseen");
        caught_up(&scene.a, &scene.t);
        assert_eq!(said(&scene.t, 20), [b"before".as_slice(), b"after", b"anew"]);
    });
}

#[test]
fn a_segment_that_the_hardware_would_cut_is_copied_as_packets() {
    on_a_host(|world| async move {
        let mut scene = Scene::new(world).await;
        let of_a = session(1, &scene.a, &scene.t, vec![all()]);
        scene.mirror(vec![of_a]).await;
        let data: Vec<u8> = (0..5000_u32).map(|n| n as u8).collect();
        let packet = ipv4_tcp(A, B, &data);
        let frame = ethernet(plan::net::GATEWAY_MAC, scene.a.interface.mac.0, 0x0800, &packet);
        scene.a.inject_whole(&frame, 1400);
        let cut = || -> Vec<Vec<u8>> {
            let of_flow = |frame: &Vec<u8>| frame[23] == 6 && frame[34..38] == [0x0f, 0xa0, 0x0f, 0xa1];
            copies(&scene.t).into_iter().map(|copy| copy.frame).filter(of_flow).collect()
        };
        eventually("the last piece", || cut().len() >= 4);
        let pieces = cut();
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len() - 54).collect();
        assert_eq!(lengths, [1400, 1400, 1400, 800]);
        assert_eq!(pieces.iter().flat_map(|piece| piece[54..].to_vec()).collect::<Vec<u8>>(), data);
        for piece in pieces {
            let length = (piece.len() - 34) as u16;
            let sum = [&piece[26..34], &[0, 6], &length.to_be_bytes(), &piece[34..]].concat();
            assert_eq!(checksum(&sum), 0);
        }
    });
}
