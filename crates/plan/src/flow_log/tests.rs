//! A book of one VPC with two interfaces.

use super::*;
use model::flow_log::{Destination, Field, FlowLogDesired, Kept, Scope};
use model::host::{SubnetDesired, VpcDesired};
use model::record::security_group::Direction;
use model::{AccountId, FlowLogId, NetworkAclId, NetworkInterfaceId, Region, RouteTableId, SubnetId, VpcId};
use std::net::IpAddr;

/// A whole number of ten minutes.
const START: i64 = 1_767_225_600;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn log(number: u128, kept: Kept, fields: &str) -> FlowLogDesired {
    FlowLogDesired {
        log: FlowLogId::from_entropy(number),
        scope: Scope::Vpc,
        kept,
        interval: 60,
        fields: fields.split_whitespace().map(|name| Field::parse(name).unwrap()).collect(),
        destination: Destination {
            bucket: "logs".into(),
            prefix: "a/b".into(),
            hive: false,
            per_hour: false,
        },
        zones: Vec::new(),
    }
}

fn vpc(logs: Vec<FlowLogDesired>) -> VpcDesired {
    VpcDesired {
        vpc: VpcId::from_entropy(1),
        account: AccountId::parse("123456789012").unwrap(),
        region: Region::parse("us-east-1").unwrap(),
        cidrs: vec!["10.0.0.0/16".parse().unwrap()],
        ipv6_cidrs: Vec::new(),
        dns_support: true,
        subnets: vec![SubnetDesired {
            subnet: SubnetId::from_entropy(2),
            cidr: Some("10.0.0.0/24".parse().unwrap()),
            ipv6_cidr: None,
            route_table: RouteTableId::from_entropy(3),
            network_acl: NetworkAclId::from_entropy(4),
        }],
        gateway_table: None,
        vpn_table: None,
        route_tables: Vec::new(),
        network_acls: Vec::new(),
        peerings: Vec::new(),
        transits: Vec::new(),
        endpoints: Vec::new(),
        vpns: Vec::new(),
        nat_gateways: Vec::new(),
        flow_logs: logs,
        mirrors: Vec::new(),
        service_nodes: Vec::new(),
    }
}

fn port(number: u128, addresses: &[&str]) -> Port {
    Port {
        interface: NetworkInterfaceId::from_entropy(number),
        subnet: SubnetId::from_entropy(2),
        instance: None,
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        prefixes: Vec::new(),
        public: true,
    }
}

fn tuple(src: &str, dst: &str, src_port: u16, dst_port: u16) -> Tuple {
    Tuple { src: ip(src), dst: ip(dst), protocol: 6, src_port, dst_port }
}

fn count(packets: u64, bytes: u64) -> Count {
    Count { packets, bytes }
}

fn flow(original: Tuple, forth: Count, back: Count) -> Tracked {
    let reply = Tuple {
        src: original.dst,
        dst: original.src,
        src_port: original.dst_port,
        dst_port: original.src_port,
        ..original
    };
    Tracked { id: 7, original, reply, forth, back, state: Some(3) }
}

const A: &str = "10.0.0.10";
const B: &str = "10.0.0.11";

fn observe(book: &mut Book, now: i64, vpc: &VpcDesired, tracked: Vec<Tracked>, rejected: Vec<Rejected>) {
    let ports = vec![port(10, &[A]), port(11, &[B])];
    book.observe(now, &Observation { vpc, ports, tracked, rejected });
    book.observed(now);
}

/// The records of the only file.
fn records(files: &[Written]) -> Vec<&str> {
    let [file] = files else { panic!("{files:?}") };
    file.text.lines().skip(1).collect()
}

const SHORT: &str = "interface-id srcaddr dstaddr srcport dstport packets bytes action flow-direction";

#[test]
fn a_flow_within_the_vpc_is_four_records_and_counts_only_what_is_new() {
    let vpc = vpc(vec![log(1, Kept::All, SHORT)]);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, Vec::new(), Vec::new());
    let between = tuple(A, B, 40000, 80);
    observe(&mut book, START + 5, &vpc, vec![flow(between, count(3, 300), count(2, 2000))], Vec::new());
    observe(&mut book, START + 10, &vpc, vec![flow(between, count(5, 500), count(4, 4000))], Vec::new());
    assert!(book.close(START + 59).is_empty());
    let files = book.close(START + 60);
    assert_eq!(
        records(&files),
        [
            "eni-0000000000000000a 10.0.0.10 10.0.0.11 40000 80 5 500 ACCEPT egress",
            "eni-0000000000000000a 10.0.0.11 10.0.0.10 80 40000 4 4000 ACCEPT ingress",
            "eni-0000000000000000b 10.0.0.10 10.0.0.11 40000 80 5 500 ACCEPT ingress",
            "eni-0000000000000000b 10.0.0.11 10.0.0.10 80 40000 4 4000 ACCEPT egress",
        ]
    );
    observe(&mut book, START + 65, &vpc, vec![flow(between, count(6, 600), count(4, 4000))], Vec::new());
    let files = book.close(START + 121);
    assert_eq!(
        records(&files),
        [
            "eni-0000000000000000a 10.0.0.10 10.0.0.11 40000 80 1 100 ACCEPT egress",
            "eni-0000000000000000b 10.0.0.10 10.0.0.11 40000 80 1 100 ACCEPT ingress",
        ]
    );
}

#[test]
fn what_a_receiver_refuses_its_sender_has_let_pass() {
    let vpc = vpc(vec![log(1, Kept::All, SHORT)]);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, Vec::new(), Vec::new());
    let at_receiver =
        Rejected { tuple: tuple(A, B, 40000, 22), gate: Direction::Ingress, count: count(2, 120) };
    let at_sender = Rejected { tuple: tuple(B, A, 40001, 25), gate: Direction::Egress, count: count(1, 60) };
    observe(&mut book, START + 5, &vpc, Vec::new(), vec![at_receiver, at_sender]);
    assert_eq!(
        records(&book.close(START + 60)),
        [
            "eni-0000000000000000a 10.0.0.10 10.0.0.11 40000 22 2 120 ACCEPT egress",
            "eni-0000000000000000b 10.0.0.10 10.0.0.11 40000 22 2 120 REJECT ingress",
            "eni-0000000000000000b 10.0.0.11 10.0.0.10 40001 25 1 60 REJECT egress",
        ]
    );
}

#[test]
fn each_log_keeps_what_it_is_for_and_says_when_there_was_nothing() {
    let vpc = vpc(vec![log(1, Kept::Reject, "version interface-id srcaddr action log-status")]);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, Vec::new(), Vec::new());
    let outward = tuple(A, "203.0.113.9", 40000, 443);
    observe(&mut book, START + 5, &vpc, vec![flow(outward, count(1, 60), count(0, 0))], Vec::new());
    let files = book.close(START + 60);
    assert_eq!(records(&files), ["2 eni-0000000000000000b - - NODATA"]);
    assert_eq!(
        files[0].path,
        "logs/a/b/AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/01/01/123456789012_vpcflowlogs_us-east-1_\
         fl-00000000000000001_20260101T0000Z_"
            .to_owned()
            + files[0].path.rsplit_once('_').unwrap().1
    );
}

#[test]
fn a_book_that_was_stored_counts_on_and_what_was_there_before_its_first_log_does_not_count() {
    let vpc = vpc(vec![log(1, Kept::All, SHORT)]);
    let between = tuple(A, B, 40000, 80);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, vec![flow(between, count(100, 1000), count(0, 0))], Vec::new());
    observe(&mut book, START + 5, &vpc, vec![flow(between, count(101, 1010), count(0, 0))], Vec::new());
    let stored = serde_json::to_string(&book).unwrap();
    let mut book: Book = serde_json::from_str(&stored).unwrap();
    observe(&mut book, START + 30, &vpc, vec![flow(between, count(103, 1030), count(0, 0))], Vec::new());
    let files = book.close(START + 60);
    let accepted: Vec<&str> = records(&files);
    assert_eq!(accepted[0], "eni-0000000000000000a 10.0.0.10 10.0.0.11 40000 80 3 30 ACCEPT egress");
}

#[test]
fn a_flow_by_public_addresses_is_known_by_private_ones_at_each_end() {
    let vpc = vpc(vec![log(1, Kept::All, SHORT)]);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, Vec::new(), Vec::new());
    // From outside to the public address that stands for B.
    let inward = Tracked {
        id: 1,
        original: tuple("203.0.113.9", "198.18.0.11", 5000, 80),
        reply: tuple(B, "203.0.113.9", 80, 5000),
        forth: count(2, 100),
        back: count(1, 900),
        state: Some(3),
    };
    // From A, seen outside as its public address.
    let outward = Tracked {
        id: 2,
        original: tuple(A, "203.0.113.9", 40000, 443),
        reply: tuple("203.0.113.9", "198.18.0.10", 443, 40000),
        forth: count(4, 400),
        back: count(3, 3000),
        state: Some(3),
    };
    observe(&mut book, START + 5, &vpc, vec![inward, outward], Vec::new());
    assert_eq!(
        records(&book.close(START + 60)),
        [
            "eni-0000000000000000a 10.0.0.10 203.0.113.9 40000 443 4 400 ACCEPT egress",
            "eni-0000000000000000a 203.0.113.9 10.0.0.10 443 40000 3 3000 ACCEPT ingress",
            "eni-0000000000000000b 10.0.0.11 203.0.113.9 80 5000 1 900 ACCEPT egress",
            "eni-0000000000000000b 203.0.113.9 10.0.0.11 5000 80 2 100 ACCEPT ingress",
        ]
    );
}

#[test]
fn a_log_that_ends_writes_what_it_has_gathered() {
    let with = vpc(vec![log(1, Kept::All, SHORT)]);
    let mut book = Book::default();
    observe(&mut book, START, &with, Vec::new(), Vec::new());
    let between = tuple(A, B, 40000, 80);
    observe(&mut book, START + 5, &with, vec![flow(between, count(1, 60), count(0, 0))], Vec::new());
    assert!(book.close(START + 5).is_empty());
    book.observed(START + 10);
    assert!(
        book.close(START + 10).is_empty() && book.knows(with.vpc),
        "one that is not looked at has not ended"
    );
    book.end(with.vpc);
    assert_eq!(records(&book.close(START + 10)).len(), 2);
    assert!(book.is_empty() && book.close(START + 60).is_empty());
}

#[test]
fn nothing_is_said_of_the_routers_own_services() {
    let vpc = vpc(vec![log(1, Kept::All, SHORT)]);
    let mut book = Book::default();
    observe(&mut book, START, &vpc, Vec::new(), Vec::new());
    let asked = ["169.254.169.254", "10.0.0.2", "10.0.0.1"]
        .map(|service| flow(tuple(A, service, 40000, 80), count(1, 60), count(1, 60)));
    observe(&mut book, START + 5, &vpc, asked.to_vec(), Vec::new());
    assert!(records(&book.close(START + 60)).iter().all(|record| record.contains(" - - ")));
}
