//! Flow logs: what the kernel has counted, as files.

use super::world::*;
use model::clock::SystemClock;
use model::flow_log::{Destination, Field, FlowLogDesired, Kept, Scope};
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::{Clock, FlowLogId};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};

const A: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(172, 31, 128, 10);
/// A whole number of minutes.
const START: i64 = 1_767_225_600;
const FORMAT: &str =
    "interface-id srcaddr dstaddr srcport dstport protocol packets bytes action flow-direction log-status";

pub fn log(scope: Scope, kept: Kept) -> FlowLogDesired {
    FlowLogDesired {
        log: FlowLogId::from_entropy(unique()),
        scope,
        kept,
        interval: 60,
        fields: FORMAT.split(' ').map(|name| Field::parse(name).unwrap()).collect(),
        destination: Destination {
            bucket: "bucket".into(),
            prefix: String::new(),
            hive: false,
            per_hour: false,
        },
        zones: Vec::new(),
    }
}

fn says(guest: &Guest, to: Ipv4Addr, port: u16, what: &[u8]) {
    let packet = ipv4_udp(SocketAddrV4::new(guest.address(), 5000), SocketAddrV4::new(to, port), what);
    guest.inject(&ethernet(plan::net::GATEWAY_MAC, guest.interface.mac.0, 0x0800, &packet));
}

fn hears(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The records that a log has written, without the header of each file.
fn written(world: &World, log: &FlowLogDesired) -> Vec<String> {
    let mut files = Vec::new();
    files_below(&world.config.flow_logs, &mut files);
    let mut records = Vec::new();
    for file in files.iter().filter(|file| file.to_str().unwrap().contains(&log.log.to_string())) {
        let text = sh(&format!("gzip -dc '{}'", file.display()));
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(FORMAT));
        records.extend(lines.map(str::to_owned));
    }
    records.sort_unstable();
    records
}

#[test]
fn a_log_begins_when_the_host_hears_of_it() {
    on_a_host(|mut world| async move {
        // Nobody looks again during the test.
        world.config.flow_poll = Some(std::time::Duration::from_hours(100));
        world.restart().await;
        let mut vpc = Vpc::new("172.31.0.0/16");
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let socket = b.udp(9);
        says(&a, B, 9, b"earlier");
        assert_eq!(hears(&socket), b"earlier");
        let all = log(Scope::Vpc, Kept::All);
        vpc.desired.flow_logs = vec![all.clone()];
        world.ensure_vpc(&vpc).await;
        let begun = Clock::now(&SystemClock).as_secs();
        says(&a, B, 10, b"first");
        says(&a, B, 11, b"second");
        says(&a, B, 9, b"last");
        assert_eq!(hears(&socket), b"last");
        for later in [60, 600] {
            world.net().look_at_flows(begun + later).await.unwrap();
        }
        let near = a.interface.interface;
        let records = written(&world, &all);
        for (port, bytes) in [(10, 33), (11, 34)] {
            let record = format!("{near} {A} {B} 5000 {port} 17 1 {bytes} ACCEPT egress OK");
            assert!(records.contains(&record), "{record} is not in {records:#?}");
        }
        assert!(!records.iter().any(|record| record.contains(" 5000 9 17 2 ")), "{records:#?}");
    });
}

#[test]
fn what_one_vpc_has_counted_is_not_lost_when_others_are_heard_of_and_read_first() {
    on_a_host(|mut world| async move {
        // Nobody looks again during the test.
        world.config.flow_poll = Some(std::time::Duration::from_hours(100));
        world.restart().await;
        let (mut other, mut vpc) = (Vpc::new("10.0.0.0/16"), Vpc::new("172.31.0.0/16"));
        let all = log(Scope::Vpc, Kept::All);
        other.desired.flow_logs = vec![log(Scope::Vpc, Kept::All)];
        vpc.desired.flow_logs = vec![all.clone()];
        world.ensure_vpc(&other).await;
        world.ensure_vpc(&vpc).await;
        let begun = Clock::now(&SystemClock).as_secs();
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let socket = b.udp(9);
        says(&a, B, 9, b"four");
        assert_eq!(hears(&socket), b"four");
        world.restart().await;
        world.ensure_vpc(&other).await;
        world.net().look_at_flows(begun + 5).await.unwrap();
        world.ensure_vpc(&vpc).await;
        for guest in [&a, &b] {
            world.update(guest).await;
        }
        for later in [60, 600] {
            world.net().look_at_flows(begun + later).await.unwrap();
        }
        let record = format!("{} {A} {B} 5000 9 17 1 32 ACCEPT egress OK", a.interface.interface);
        let records = written(&world, &all);
        assert!(records.contains(&record), "{record} is not in {records:#?}");
    });
}

#[test]
fn flows_are_counted_at_both_ends_and_an_agent_that_starts_again_counts_nothing_twice() {
    on_a_host(|mut world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        let all = log(Scope::Vpc, Kept::All);
        let refused = log(Scope::Subnet(vpc.desired.subnets[1].subnet), Kept::Reject);
        vpc.desired.flow_logs = vec![all.clone(), refused.clone()];
        world.ensure_vpc(&vpc).await;
        let nine =
            Allow { traffic: Traffic::Udp { from: 9, to: 9 }, peer: Peer::Net("0.0.0.0/0".parse().unwrap()) };
        let group = world.group(&vpc, vec![nine]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let socket = b.udp(9);
        world.net().look_at_flows(START).await.unwrap();

        for _ in 0..2 {
            says(&a, B, 9, b"four");
            says(&a, B, 10, b"refused");
        }
        says(&a, B, 9, b"last");
        for expected in [b"four", b"four", b"last"] {
            assert_eq!(hears(&socket), expected);
        }
        world.net().look_at_flows(START + 10).await.unwrap();

        world.restart().await;
        world.ensure_vpc(&vpc).await;
        for guest in [&a, &b] {
            world.update(guest).await;
        }
        says(&a, B, 10, b"refused");
        says(&a, B, 9, b"more");
        assert_eq!(hears(&socket), b"more");
        world.net().look_at_flows(START + 20).await.unwrap();
        world.net().look_at_flows(START + 61).await.unwrap();

        let (near, far) = (a.interface.interface, b.interface.interface);
        // A packet has 28 octets of headers.
        let mut expected = vec![
            format!("{near} {A} {B} 5000 10 17 3 105 ACCEPT egress OK"),
            format!("{near} {A} {B} 5000 9 17 4 128 ACCEPT egress OK"),
            format!("{far} {A} {B} 5000 10 17 3 105 REJECT ingress OK"),
            format!("{far} {A} {B} 5000 9 17 4 128 ACCEPT ingress OK"),
        ];
        expected.sort_unstable();
        let between = |records: Vec<String>| {
            let ours = format!(" {A} {B} 5000 ");
            records.into_iter().filter(|record| record.contains(&ours)).collect::<Vec<_>>()
        };
        assert_eq!(between(written(&world, &all)), expected);
        assert_eq!(between(written(&world, &refused)), [expected[2].clone()]);

        // A window in which nothing happens.
        world.net().look_at_flows(START + 125).await.unwrap();
        let silent = format!("{near} - - - - - - - - - NODATA");
        assert!(written(&world, &all).contains(&silent), "{:?}", written(&world, &all));
    });
}

#[test]
fn what_an_acl_denies_is_refused_at_the_end_that_denies_it() {
    on_a_host(|world| async move {
        let mut vpc = Vpc::new("172.31.0.0/16");
        let deny = |number, port| AclEntry {
            number,
            traffic: Traffic::Udp { from: port, to: port },
            net: "0.0.0.0/0".parse().unwrap(),
            action: AclAction::Deny,
        };
        vpc.desired.network_acls[0].egress.push(deny(10, 20));
        vpc.desired.network_acls[0].ingress.push(deny(11, 21));
        let all = log(Scope::Vpc, Kept::All);
        vpc.desired.flow_logs = vec![all.clone()];
        world.ensure_vpc(&vpc).await;
        let group = world.group(&vpc, vec![all_from("0.0.0.0/0")]).await;
        let (a, b) = (world.guest(&vpc, A, &[&group]).await, world.guest(&vpc, B, &[&group]).await);
        let socket = b.udp(9);
        world.net().look_at_flows(START).await.unwrap();
        says(&a, B, 20, b"out");
        says(&a, B, 21, b"in");
        says(&a, B, 9, b"heard");
        assert_eq!(hears(&socket), b"heard");
        world.net().look_at_flows(START + 5).await.unwrap();
        world.net().look_at_flows(START + 60).await.unwrap();
        let records = written(&world, &all);
        let (near, far) = (a.interface.interface, b.interface.interface);
        for record in [
            format!("{near} {A} {B} 5000 20 17 1 31 REJECT egress OK"),
            format!("{near} {A} {B} 5000 21 17 1 30 ACCEPT egress OK"),
            format!("{far} {A} {B} 5000 21 17 1 30 REJECT ingress OK"),
        ] {
            assert!(records.contains(&record), "{record} in {records:#?}");
        }
        assert!(
            !records.iter().any(|record| record.starts_with(&far.to_string()) && record.contains(" 20 17 "))
        );

        // Without a log nothing is counted, and packets are refused as before.
        vpc.desired.flow_logs.clear();
        world.ensure_vpc(&vpc).await;
        says(&a, B, 20, b"out");
        says(&a, B, 9, b"again");
        assert_eq!(hears(&socket), b"again");
        world.net().look_at_flows(START + 200).await.unwrap();
        assert_eq!(written(&world, &all), records);
    });
}
