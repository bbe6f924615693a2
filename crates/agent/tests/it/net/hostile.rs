//! A guest that lies about who it is.

use super::world::*;
use std::net::{Ipv4Addr, SocketAddrV4};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 12);
const GATEWAY: [u8; 6] = plan::net::GATEWAY_MAC;

#[test]
fn a_forged_source_or_hardware_address_reaches_nobody() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let c = world.guest(&vpc, C, &[&group]).await;
        let sink = b.udp(9);
        let to = SocketAddrV4::new(B, 9);
        let (mine, its) = (a.interface.mac.0, c.interface.mac.0);
        for (from, mac) in [
            (C, mine),
            (C, its),
            (A, its),
            (Ipv4Addr::new(8, 8, 8, 8), mine),
            (Ipv4Addr::new(172, 31, 0, 1), mine),
            (Ipv4Addr::LOCALHOST, mine),
            (Ipv4Addr::UNSPECIFIED, mine),
        ] {
            a.inject(&ethernet(GATEWAY, mac, 0x0800, &ipv4_udp(SocketAddrV4::new(from, 1), to, b"forged")));
        }
        // A VPC without a block has no IPv6 at all.
        a.inject(&ethernet(GATEWAY, mine, 0x86dd, &[0x60; 60]));
        a.inject(&ethernet(GATEWAY, mine, 0x0800, &ipv4_udp(SocketAddrV4::new(A, 1), to, b"honest")));
        let mut buffer = [0; 64];
        let (length, from) = sink.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], from), (&b"honest"[..], SocketAddrV4::new(A, 1).into()));
        assert!(!b.heard.lock().unwrap().iter().any(|frame| frame.ends_with(b"forged")));
    });
}

pub fn arp(operation: u8, mac: [u8; 6], address: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, operation];
    packet.extend_from_slice(&mac);
    packet.extend_from_slice(&address.octets());
    packet.extend_from_slice(&[0; 6]);
    packet.extend_from_slice(&target.octets());
    packet
}

#[test]
fn forged_arp_moves_no_address_and_makes_the_router_remember_nothing() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let c = world.guest(&vpc, C, &[&group]).await;
        let mine = a.interface.mac.0;
        for operation in [1, 2] {
            a.inject(&ethernet([0xff; 6], mine, 0x0806, &arp(operation, mine, B, B)));
            a.inject(&ethernet(
                GATEWAY,
                mine,
                0x0806,
                &arp(operation, mine, B, Ipv4Addr::new(172, 31, 0, 1)),
            ));
            for last in 200..220 {
                let other = Ipv4Addr::new(172, 31, 0, last);
                a.inject(&ethernet([0xff; 6], mine, 0x0806, &arp(operation, mine, other, C)));
            }
        }
        // Its honest question is answered after all of those were read.
        assert!(a.pings(C));
        let _server = b.serve(7);
        assert!(c.connect(B, 7).is_ok());
        assert!(!a.heard.lock().unwrap().iter().any(|f| f[12..14] == [8, 0] && f[30..34] == B.octets()));
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        let neighbours = sh(&format!("ip -n {router} neigh"));
        assert!(!neighbours.contains("172.31.0.2"), "{neighbours}");
    });
}

#[test]
fn a_dhcp_packet_in_another_ones_name_gets_no_answer() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let discover = |mac: [u8; 6], xid: &[u8; 4]| {
            let mut bytes = vec![0; 240];
            bytes[..3].copy_from_slice(&[1, 1, 6]);
            bytes[4..8].copy_from_slice(xid);
            bytes[10] = 0x80;
            bytes[28..34].copy_from_slice(&mac);
            bytes[236..240].copy_from_slice(&[99, 130, 83, 99]);
            bytes.extend_from_slice(&[53, 1, 1, 255]);
            let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
            ipv4_udp(from, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67), &bytes)
        };
        let (mine, its) = (a.interface.mac.0, b.interface.mac.0);
        a.inject(&ethernet([0xff; 6], mine, 0x0800, &discover(its, b"lie1")));
        a.inject(&ethernet([0xff; 6], its, 0x0800, &discover(its, b"lie2")));
        a.inject(&ethernet([0xff; 6], mine, 0x0800, &discover(mine, b"true")));
        let answered = |guest: &Guest, xid: &[u8; 4]| {
            guest.heard.lock().unwrap().iter().any(|frame| frame.get(46..50) == Some(&xid[..]))
        };
        eventually("the honest question's answer", || answered(&a, b"true"));
        for lie in [b"lie1", b"lie2"] {
            assert!(!answered(&a, lie) && !answered(&b, lie));
        }
        assert!(!answered(&b, b"true"));
    });
}
