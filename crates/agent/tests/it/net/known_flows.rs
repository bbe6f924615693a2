//! Flows that the programs at ports know: they go past the rule set for a while, and never past what the driver was told since.
//!
//! Whether a packet has met the rule set is told by a rule of somebody else's, of which the driver knows nothing: it stops all
//! that does.

use super::flow_logs::log;
use super::world::*;
use model::Mac;
use model::flow_log::{Kept, Scope};
use model::net::{AclAction, AclEntry, Traffic};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 11);
const C: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 12);
/// In the other subnet.
const FAR: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
const PORT: u16 = 4000;
/// After a change nothing becomes known for a moment.
const SETTLED: Duration = Duration::from_millis(10);
/// How long a flow is known at most.
const KNOWN: Duration = Duration::from_secs(1);
const STOP: &str = "{ type filter hook forward priority -1; policy drop; }";

/// An honest packet, of the flow that the tests are about.
fn packet(from: &Guest, to: Ipv4Addr, payload: &str) -> Vec<u8> {
    let ends = [from.address(), to].map(|end| SocketAddrV4::new(end, PORT));
    ipv4_udp(ends[0], ends[1], payload.as_bytes())
}

fn send(from: &Guest, packet: &[u8]) {
    from.inject(&ethernet(plan::net::GATEWAY_MAC, from.interface.mac.0, 0x0800, packet));
}

fn say(from: &Guest, to: Ipv4Addr, payload: &str) {
    send(from, &packet(from, to, payload));
}

fn heard(guest: &Guest, payload: &str) -> Option<Vec<u8>> {
    guest.heard.lock().unwrap().iter().find(|frame| frame.ends_with(payload.as_bytes())).cloned()
}

/// What comes to a guest comes in the order in which it was sent: a ping's answer says that all before it had its time.
fn comes(from: &Guest, to: &Guest, payload: &str) -> bool {
    assert!(to.pings(Ipv4Addr::new(169, 254, 169, 254)) && from.pings(Ipv4Addr::new(169, 254, 169, 254)));
    heard(to, payload).is_some()
}

/// Two packets of the flow, by which it becomes known, where it may.
fn make_known(from: &Guest, to: &Guest) {
    std::thread::sleep(SETTLED);
    say(from, to.address(), "the first begins it");
    say(from, to.address(), "the second is tracked");
    assert!(comes(from, to, "the second is tracked"));
}

/// Makes the flow known and stops what meets the rule set. Then the work must come to its end well before the flow has to be
/// judged again: on a machine that was too busy for that it is done once more, all with another tag.
fn while_known(world: &World, vpc: &Vpc, from: &Guest, to: &Guest, work: impl Fn(&str) -> bool) {
    let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
    for attempt in 0..10 {
        let start = Instant::now();
        make_known(from, to);
        sh(&format!("ip netns exec {router} nft add chain inet vpc stop '{STOP}'"));
        if work(&format!(", attempt {attempt}")) {
            return;
        }
        assert!(start.elapsed() > KNOWN / 2, "it was not known");
        sh(&format!("ip netns exec {router} nft delete chain inet vpc stop"));
    }
    panic!("this machine is too busy");
}

#[test]
fn a_flow_is_known_for_a_while_and_its_packets_are_routed_all_the_same() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let _sink = b.udp(PORT);
        while_known(&world, &vpc, &a, &b, |tag| {
            say(&a, B, tag);
            if !comes(&a, &b, tag) {
                return false;
            }
            // From its router, with a hop less and a right checksum, and else as it was.
            let (frame, sent) = (heard(&b, tag).unwrap(), packet(&a, B, tag));
            assert_eq!(frame[..6], b.interface.mac.0);
            assert_eq!(frame[6..12], plan::net::GATEWAY_MAC);
            assert_eq!((&frame[12..14], frame[22]), (&[8, 0][..], sent[8] - 1));
            assert_eq!(checksum(&frame[14..34]), 0);
            assert_eq!(frame[26..], sent[12..]);
            true
        });
        std::thread::sleep(KNOWN + SETTLED);
        say(&a, B, "judged again");
        assert!(!comes(&a, &b, "judged again"));
    });
}

#[test]
fn only_that_flows_own_whole_packets_are_known() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let c = world.guest(&vpc, C, &[&group]).await;
        let _sink = b.udp(PORT);
        while_known(&world, &vpc, &a, &b, |tag| {
            let honest = packet(&a, B, &format!("other{tag}"));
            let altered = |at: usize, value: &[u8]| {
                let mut packet = honest.clone();
                packet[at..at + value.len()].copy_from_slice(value);
                packet[10..12].fill(0);
                let sum = checksum(&packet[..20]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                packet
            };
            for packet in [
                // No hop left; the first and a later fragment; other protocols; more than there is; less than its headers.
                altered(8, &[1]),
                altered(6, &[0x20, 0]),
                altered(6, &[0, 1]),
                altered(9, &[6]),
                altered(9, &[1]),
                altered(2, &[1, 0]),
                altered(2, &[0, 24]),
                // Another source, destination, port; options.
                altered(15, &[99]),
                altered(19, &[12]),
                altered(21, &[0]),
                altered(23, &[0]),
                [&altered(0, &[0x46])[..20], &[1, 1, 1, 0], &honest[20..]].concat(),
                // Longer than what a link carries.
                packet(&a, B, &format!("{}other{tag}", "x".repeat(1500))),
            ] {
                send(&a, &packet);
            }
            // The same packet: of another machine, to somebody else's hardware address, from another's and nobody's, in a VLAN.
            let router = plan::net::GATEWAY_MAC;
            let (mine, its) = (a.interface.mac.0, c.interface.mac.0);
            c.inject(&ethernet(router, its, 0x0800, &honest));
            a.inject(&ethernet(b.interface.mac.0, mine, 0x0800, &honest));
            a.inject(&ethernet(router, its, 0x0800, &honest));
            a.inject(&ethernet(router, Mac::from_entropy(77).0, 0x0800, &honest));
            a.inject(&ethernet(router, mine, 0x8100, &[&[0, 7, 8, 0], &honest[..]].concat()));
            assert!(!comes(&a, &b, &format!("other{tag}")) && !comes(&c, &b, &format!("other{tag}")));
            // All that time it was known.
            say(&a, B, tag);
            comes(&a, &b, tag)
        });
    });
}

#[test]
fn nothing_is_known_that_an_acl_refuses_from_now_on() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, far) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, FAR, &[&group]).await);
        let _sink = far.udp(PORT);
        for round in 0..20 {
            make_known(&a, &far);
            let deny = AclEntry {
                number: 1,
                traffic: Traffic::Udp { from: PORT, to: PORT },
                net: "0.0.0.0/0".parse().unwrap(),
                action: AclAction::Deny,
            };
            vpc.desired.network_acls[0].ingress.push(deny);
            world.ensure_vpc(&vpc).await;
            let refused = format!("refused {round}");
            say(&a, FAR, &refused);
            assert!(!comes(&a, &far, &refused));
            vpc.desired.network_acls[0].ingress.pop();
            world.ensure_vpc(&vpc).await;
        }
    });
}

#[test]
fn a_flow_to_an_address_that_moves_goes_to_its_new_holder() {
    on_a_host(|world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        make_known(&a, &b);
        world.net_remove_port(b.interface.interface).await;
        say(&a, B, "to nobody");
        let next = world.guest(&vpc, B, &[&group]).await;
        say(&a, B, "to the next");
        assert!(comes(&a, &next, "to the next") && heard(&next, "to nobody").is_none());
        assert!(heard(&b, "to the next").is_none());
    });
}

#[test]
fn a_new_driver_lets_known_flows_pass_and_knows_what_it_changes() {
    on_a_host(|mut world| async move {
        let vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        for _ in 0..3 {
            make_known(&a, &b);
            world.restart().await;
            world.ensure_vpc(&vpc).await;
            for guest in [&a, &b] {
                world.update(guest).await;
            }
            make_known(&a, &b);
        }
        while_known(&world, &vpc, &a, &b, |tag| {
            say(&a, B, tag);
            comes(&a, &b, tag)
        });
        world.net_remove_port(b.interface.interface).await;
        say(&a, B, "gone");
        assert!(heard(&b, "gone").is_none());
    });
}

#[test]
fn no_flow_is_known_in_a_vpc_whose_flows_are_logged() {
    on_a_host(|world| async move {
        let mut vpc = world.vpc("172.31.0.0/16").await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        vpc.desired.flow_logs = vec![log(Scope::Interface(a.interface.interface), Kept::All)];
        world.ensure_vpc(&vpc).await;
        make_known(&a, &b);
        let router = plan::net::names::vpc_namespace(&world.config.cloud, vpc.desired.vpc);
        sh(&format!("ip netns exec {router} nft add chain inet vpc stop '{STOP}'"));
        say(&a, B, "every packet counts");
        assert!(!comes(&a, &b, "every packet counts"));
    });
}
