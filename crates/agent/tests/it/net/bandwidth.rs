//! What an instance may carry: bytes through the kernel, held against its own clock. A slow machine sends less, never too much.

use super::world::*;
use agent::host::linux::net::Limits;
use model::InstanceId;
use model::host::{Bandwidth, Burst, InterfaceDesired, Rate};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const A2: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 20);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const PORT: u16 = 9;
/// The length of the packets that count, and of those that tell when all before them have come.
const PACKET: usize = 1400;
const MARKER: usize = 100;
/// 1 Mbit/s.
const SLOW: Rate = Rate { base: 125_000, burst: None };
/// The same, with a million bytes saved for bursts at 8 Mbit/s.
const SAVING: Rate = Rate { base: 125_000, burst: Some(Burst { rate: 1_125_000, seconds: 1 }) };

fn limited(mut interface: InterfaceDesired, instance: u128, rate: Rate) -> InterfaceDesired {
    let instance = InstanceId::from_entropy(instance);
    interface.bandwidth = Some(Bandwidth { instance, rate });
    interface
}

/// What a full bucket holds, in bytes.
fn full(rate: Rate) -> u64 {
    plan::net::bandwidth::buckets(rate).1.capacity
}

fn send(from: &Guest, to: Ipv4Addr, length: usize) {
    let packet =
        ipv4_udp(SocketAddrV4::new(from.address(), PORT), SocketAddrV4::new(to, PORT), &vec![0; length - 28]);
    from.inject(&ethernet(plan::net::GATEWAY_MAC, from.interface.mac.0, 0x0800, &packet));
}

fn heard(guest: &Guest, length: usize) -> u64 {
    guest.heard.lock().unwrap().iter().filter(|frame| frame.len() == 14 + length).count() as u64
}

/// The packets that have come, once all that were sent have had their time.
fn come(from: &Guest, to: &Guest) -> u64 {
    let before = heard(to, MARKER);
    eventually("a packet after a full bucket", || {
        send(from, to.address(), MARKER);
        heard(to, MARKER) > before
    });
    heard(to, PACKET)
}

/// Sends, by each of them in turn, until twice of what may pass since `start` has been sent. What may pass is a full bucket and
/// what comes into it meanwhile.
fn flood(from: &[&Guest], to: Ipv4Addr, rate: Rate, start: Instant) {
    let mut sent = 0;
    while sent * (PACKET as u64) < 2 * may_pass(rate, start) {
        for guest in from {
            send(guest, to, PACKET);
            sent += 1;
        }
    }
}

fn may_pass(rate: Rate, since: Instant) -> u64 {
    full(rate) + (rate.base as f64 * since.elapsed().as_secs_f64()).ceil() as u64
}

/// What instances are held to, by the kernel's own word.
async fn held(world: &World) -> Vec<Rate> {
    world.net().bandwidths().await.unwrap().into_iter().map(|bandwidth| bandwidth.rate).collect()
}

#[test]
fn what_an_instance_sends_is_held_to_its_rate() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        let start = Instant::now();
        let a = world.guest_with(limited(vpc.interface(A, &[&group]), 1, SLOW)).await;
        // What the bucket holds passes at once and whole.
        for _ in 0..64 {
            send(&a, B, PACKET);
        }
        eventually("what fits", || heard(&b, PACKET) == 64);
        flood(&[&a], B, SLOW, start);
        let passed = come(&a, &b) * PACKET as u64;
        assert!(passed <= may_pass(SLOW, start), "{passed} bytes passed");
        // Who is not limited is not.
        assert!(b.pings(Ipv4Addr::new(172, 31, 0, 1)));
        // What instance and router say to each other is not counted, however little is left.
        flood(&[&a], B, SLOW, Instant::now());
        assert!(a.connect(Ipv4Addr::new(169, 254, 169, 254), 80).is_ok());
        // It passes again in time.
        assert!(a.pings(B));
    });
}

#[test]
fn what_an_instance_is_sent_is_held_to_its_rate_and_credit_lets_it_burst() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let a = world.guest(&vpc, A, &[&group]).await;
        let start = Instant::now();
        let b = world.guest_with(limited(vpc.interface(B, &[&group]), 1, SAVING)).await;
        // More than a rate without credit would let pass.
        let burst = 300;
        assert!(burst * PACKET as u64 > full(SLOW));
        for _ in 0..burst {
            send(&a, B, PACKET);
        }
        eventually("the burst", || heard(&b, PACKET) == burst);
        flood(&[&a], B, SAVING, start);
        let passed = come(&a, &b) * PACKET as u64;
        assert!(passed <= may_pass(SAVING, start), "{passed} bytes passed");
    });
}

#[test]
fn the_interfaces_of_an_instance_share_what_it_may_carry() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        let start = Instant::now();
        let first = world.guest_with(limited(vpc.interface(A, &[&group]), 1, SLOW)).await;
        flood(&[&first], B, SLOW, start);
        // One that is plugged in later brings no credit of its own.
        let second = world.guest_with(limited(vpc.interface(A2, &[&group]), 1, SLOW)).await;
        assert_eq!(held(&world).await, [SLOW]);
        flood(&[&first, &second], B, SLOW, start);
        let passed = come(&first, &b) * PACKET as u64;
        assert!(passed <= may_pass(SLOW, start), "{passed} bytes passed");
        // The limits go with the last of them.
        world.net_remove_port(first.interface.interface).await;
        assert_eq!(held(&world).await, [SLOW]);
        assert!(second.pings(B));
        world.net_remove_port(second.interface.interface).await;
        assert_eq!(held(&world).await, []);
    });
}

#[test]
fn a_new_driver_finds_the_limits_with_what_is_left_of_them() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        let start = Instant::now();
        let a = world.guest_with(limited(vpc.interface(A, &[&group]), 1, SLOW)).await;
        // One whose machine ends while nobody looks: its limits go as well.
        let gone = world.guest_with(limited(vpc.interface(A2, &[&group]), 2, SAVING)).await;
        assert_eq!(held(&world).await, [SLOW, SAVING]);
        flood(&[&a], B, SLOW, start);
        drop(gone);
        world.restart().await;
        assert_eq!(held(&world).await, [SLOW]);
        world.ensure_vpc(&vpc).await;
        world.update(&a).await;
        assert_eq!(held(&world).await, [SLOW]);
        flood(&[&a], B, SLOW, start);
        let passed = come(&a, &b) * PACKET as u64;
        assert!(passed <= may_pass(SLOW, start), "{passed} bytes passed");

        // A host that does not limit lets go of what it finds.
        world.config.bandwidth = Limits::Ignored;
        world.restart().await;
        world.ensure_vpc(&vpc).await;
        world.update(&a).await;
        assert_eq!(held(&world).await, []);
        assert!(a.pings(B));
    });
}

#[test]
fn no_flow_notices_a_change_of_limits() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let b = world.guest(&vpc, B, &[&group]).await;
        let mut a = world.guest_with(vpc.interface(A, &[&group])).await;
        let _server = b.serve(7);
        let mut session = a.connect(B, 7).unwrap();
        assert_eq!(talk(&mut session, "unlimited").unwrap(), "unlimited");
        let fast = Rate { base: 25_000_000_000, burst: None };
        for rate in [SLOW, SAVING, fast] {
            a.interface = limited(a.interface.clone(), 1, rate);
            world.update(&a).await;
            assert_eq!(held(&world).await, [rate]);
            assert_eq!(talk(&mut session, "limited").unwrap(), "limited");
        }
        a.interface.bandwidth = None;
        world.update(&a).await;
        assert_eq!(held(&world).await, []);
        assert_eq!(talk(&mut session, "unlimited again").unwrap(), "unlimited again");
    });
}

#[test]
fn a_large_packet_that_is_segmented_later_passes_the_slowest_limit() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let crawl = Rate { base: 4_000, burst: None };
        let a = world.guest_with(limited(vpc.interface(A, &[&group]), 1, crawl)).await;
        let b = world.guest_with(limited(vpc.interface(B, &[&group]), 2, crawl)).await;
        let (segments, each) = (44, 1448);
        let packet = ipv4_tcp(A, B, &vec![0; segments * each]);
        let frame = ethernet(plan::net::GATEWAY_MAC, a.interface.mac.0, 0x0800, &packet);
        a.inject_whole(&frame, each as u16);
        eventually("every segment", || heard(&b, 40 + each) == segments as u64);
    });
}
