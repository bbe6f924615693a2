//! DHCP, DNS, time and the metadata listener as guests see them.

use super::world::*;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

fn query(name: &str) -> Vec<u8> {
    let mut bytes = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

pub fn ask(guest: &Guest, resolver: Ipv4Addr, name: &str) -> Vec<u8> {
    let socket = guest.udp(0);
    socket.connect((resolver, 53)).unwrap();
    socket.send(&query(name)).unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn a_guest_that_knows_nothing_gets_its_lease() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        guest.run("ip addr flush dev eth0; ip route add 255.255.255.255/32 dev eth0");
        let socket = guest.udp(68);
        socket.set_broadcast(true).unwrap();
        let mut discover = vec![0; 240];
        discover[..3].copy_from_slice(&[1, 1, 6]);
        discover[4..8].copy_from_slice(b"abcd");
        discover[10] = 0x80;
        discover[28..34].copy_from_slice(&guest.interface.mac.0);
        discover[236..240].copy_from_slice(&[99, 130, 83, 99]);
        discover.extend_from_slice(&[53, 1, 1, 255]);
        socket.send_to(&discover, (Ipv4Addr::BROADCAST, 67)).unwrap();
        let mut buffer = [0; 1024];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(172, 31, 0, 1));
        let offer = &buffer[..length];
        assert_eq!((&offer[4..8], &offer[16..20]), (&b"abcd"[..], &A.octets()[..]));

        // The same with an answer to the address itself, which the guest does not have yet.
        discover[10] = 0;
        let seen = guest.heard.lock().unwrap().len();
        socket.send_to(&discover, (Ipv4Addr::BROADCAST, 67)).unwrap();
        eventually("a reply to the offered address", || {
            let heard = guest.heard.lock().unwrap();
            // Without a UDP checksum, which a client that reads raw frames could find unfinished.
            let reply = heard[seen..].iter().find(|f| f.len() > 290 && f[..6] == guest.interface.mac.0);
            reply.is_some_and(|frame| frame[40..42] == [0, 0])
        });
    });
}

#[test]
fn private_names_resolve_and_unknown_ones_are_denied_at_once() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        for resolver in [Ipv4Addr::new(169, 254, 169, 253), Ipv4Addr::new(172, 31, 0, 2)] {
            let answer = ask(&guest, resolver, "ip-172-31-0-77.ec2.internal");
            assert!(answer.ends_with(&[172, 31, 0, 77]), "{answer:?}");
            let start = Instant::now();
            assert_eq!(ask(&guest, resolver, "nobody.ec2.internal")[3] & 15, 3);
            assert!(start.elapsed() < A_MOMENT);
        }
        let mut stream = guest.connect(Ipv4Addr::new(172, 31, 0, 2), 53).unwrap();
        let question = query("ip-172-31-0-77.ec2.internal");
        std::io::Write::write_all(&mut stream, &[&[0, question.len() as u8], question.as_slice()].concat())
            .unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(&[172, 31, 0, 77]));
    });
}

#[test]
fn a_silent_upstream_costs_a_guest_a_second_once() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        let resolver = Ipv4Addr::new(169, 254, 169, 253);
        for _ in 0..2 {
            let start = Instant::now();
            assert_eq!(ask(&guest, resolver, "debian.org")[3] & 15, 2);
            assert!(start.elapsed().as_millis() < 1500);
        }
        let start = Instant::now();
        assert_eq!(ask(&guest, resolver, "debian.org")[3] & 15, 2);
        assert!(start.elapsed().as_millis() < 200, "{:?}", start.elapsed());
    });
}

#[test]
fn the_hosts_time_is_there() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        let socket = guest.udp(0);
        let mut request = [0; 48];
        request[0] = 0x23;
        socket.send_to(&request, (Ipv4Addr::new(169, 254, 169, 123), 123)).unwrap();
        let mut reply = [0; 48];
        assert_eq!(socket.recv(&mut reply).unwrap(), 48);
        let seconds = i64::from(u32::from_be_bytes(reply[40..44].try_into().unwrap())) - 2_208_988_800;
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((now - seconds).abs() <= 2, "{seconds} is not {now}");
    });
}

#[test]
fn metadata_is_served_to_the_address_that_the_port_has() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        let mut stream = guest.connect(METADATA, 80).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "172.31.0.10\n");
        // Nothing else of the router is open.
        assert!(guest.connect_briefly(METADATA, 53).is_err());
        assert!(guest.connect_briefly(Ipv4Addr::new(172, 31, 0, 1), 80).is_err());
        assert!(connect_briefly(&world.outside, METADATA, 80).is_err());
    });
}

#[test]
fn the_api_is_there_by_name_on_both_ports_for_guests_alone_and_after_a_restart() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![]).await;
        let guest = world.guest(&vpc, A, &[&group]).await;
        let named = ask(&guest, Ipv4Addr::new(169, 254, 169, 253), "api.nube.internal");
        assert!(named.ends_with(&plan::net::API.octets()), "{named:?}");
        for restarted in [false, true] {
            if restarted {
                world.restart().await;
            }
            for port in [80, 443] {
                let mut said = String::new();
                guest.connect(plan::net::API, port).unwrap().read_to_string(&mut said).unwrap();
                assert_eq!(said, "172.31.0.10\n");
                assert!(connect_briefly(&world.outside, plan::net::API, port).is_err());
            }
            assert!(guest.connect_briefly(plan::net::API, 4566).is_err());
        }
    });
}

#[test]
fn an_interface_without_its_source_check_still_cannot_speak_for_a_peer_to_the_services() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let mut interface = vpc.interface(A, &[&group]);
        interface.source_dest_check = false;
        let router = world.guest_with(interface).await;
        let peer_address = Ipv4Addr::new(172, 31, 0, 11);
        let peer = world.guest(&vpc, peer_address, &[&group]).await;
        let forged = ipv4_udp(
            SocketAddrV4::new(peer_address, 5353),
            SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 253), 53),
            &query("forged.ec2.internal"),
        );
        let gateway = plan::net::GATEWAY_MAC;
        router.inject(&ethernet(gateway, router.interface.mac.0, 0x0800, &forged));
        // The peer's own question comes back after the forged one would have.
        ask(&peer, Ipv4Addr::new(169, 254, 169, 253), "real.ec2.internal");
        let heard = peer.heard.lock().unwrap();
        assert!(!heard.iter().any(|frame| frame.windows(6).any(|w| w == b"forged")));
        // But it may forward what others sent: that is what the check is off for.
        drop(heard);
        let sink = peer.udp(9);
        let foreign = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 1);
        let transit = ipv4_udp(foreign, SocketAddrV4::new(peer_address, 9), b"transit");
        router.inject(&ethernet(gateway, router.interface.mac.0, 0x0800, &transit));
        let mut buffer = [0; 16];
        assert_eq!(sink.recv_from(&mut buffer).unwrap(), (7, foreign.into()));
    });
}
