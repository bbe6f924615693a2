//! Captures of a port, as tcpdump reads them.

use super::world::*;
use agent::host::linux::net::capture::{Capture, Limits};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);

#[test]
fn a_capture_tells_what_a_port_sends_and_receives_and_ends_when_it_has_enough() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let open = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&open]).await, world.guest(&vpc, B, &[&open]).await);
        let socket = b.udp(9);
        let mut capture = Capture::open(&world.config.cloud, b.interface.interface).unwrap().unwrap();
        let listening = std::thread::spawn(move || {
            let mut pcap = Vec::new();
            let limits = Limits { frames: Some(40), time: Some(Duration::from_mins(2)) };
            let frames = capture.write(limits, &mut pcap).unwrap();
            (frames, pcap)
        });
        let says = |from: &Guest, to: Ipv4Addr, what: &[u8]| {
            let ends = [from.address(), to].map(|address| SocketAddrV4::new(address, 9));
            let packet = ipv4_udp(ends[0], ends[1], what);
            from.inject(&ethernet(plan::net::GATEWAY_MAC, from.interface.mac.0, 0x0800, &packet));
        };
        // Enough of both ways, whatever else the guest's own stack says meanwhile.
        for _ in 0..40 {
            says(&a, B, b"to b");
            says(&b, A, b"from b");
        }
        assert_eq!(socket.recv_from(&mut [0; 16]).unwrap().0, 4);
        let (frames, pcap) = listening.join().unwrap();
        assert_eq!(frames, 40);
        let file = world.config.state_dir.join("port.pcap");
        std::fs::write(&file, pcap).unwrap();
        let read = sh(&format!("tcpdump -n -r '{}' 2>/dev/null", file.display()));
        assert_eq!(read.lines().count(), 40, "{read}");
        assert!(read.contains(&format!("IP {A}.9 > {B}.9: UDP, length 4")), "{read}");
        assert!(read.contains(&format!("IP {B}.9 > {A}.9: UDP, length 6")), "{read}");

        // It ends by itself, and with its port.
        let mut brief = Capture::open(&world.config.cloud, b.interface.interface).unwrap().unwrap();
        let limits = Limits { frames: None, time: Some(Duration::from_millis(50)) };
        brief.write(limits, &mut Vec::new()).unwrap();
        let mut last = Capture::open(&world.config.cloud, b.interface.interface).unwrap().unwrap();
        let interface = b.interface.interface;
        let ending = std::thread::spawn(move || last.write(Limits::default(), &mut Vec::new()).unwrap());
        b.end();
        world.net_remove_port(interface).await;
        ending.join().unwrap();
        assert!(Capture::open(&world.config.cloud, interface).unwrap().is_none());
    });
}
