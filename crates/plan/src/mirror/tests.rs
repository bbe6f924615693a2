//! Frames, filters and copies.

use super::finish::sum;
use super::headers::{Headers, ICMPV6, NETWORK, TCP, UDP};
use super::{LONGEST, Mirror, Offload, PORT};
use model::traffic_mirror::{Action, Direction, MirrorDesired, MirrorFilter, MirrorRule, Ports};
use model::{NetworkInterfaceId, TrafficMirrorSessionId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xa);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb);
const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 30);

fn frame(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + payload.len() as u16).to_be_bytes());
            frame.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((payload.len() as u16).to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => panic!("two versions"),
    }
    frame.extend(payload);
    frame
}

fn udp(ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let parts = [ports.0, ports.1, 8 + data.len() as u16, 0].map(u16::to_be_bytes).concat();
    [parts.as_slice(), data].concat()
}

fn rule(number: u16, action: Action) -> MirrorRule {
    MirrorRule {
        number,
        action,
        protocol: None,
        source: "0.0.0.0/0".parse().unwrap(),
        destination: "0.0.0.0/0".parse().unwrap(),
        source_ports: None,
        destination_ports: None,
    }
}

fn session(number: u16, ingress: Vec<MirrorRule>, egress: Vec<MirrorRule>) -> MirrorDesired {
    MirrorDesired {
        session: TrafficMirrorSessionId::from_entropy(number.into()),
        number,
        source: NetworkInterfaceId::from_entropy(1),
        from: A,
        to: TARGET,
        within_subnet: true,
        network: 0x0001_0000 + u32::from(number),
        length: None,
        filter: MirrorFilter { ingress, egress, dns: false },
    }
}

fn mirror(sessions: Vec<MirrorDesired>) -> Mirror {
    Mirror { sessions, resolvers: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))] }
}

fn copies(mirror: &Mirror, direction: Direction, frame: &[u8], offload: Offload) -> Vec<(u16, Vec<u8>)> {
    let mut copies = Vec::new();
    let give = |session: &MirrorDesired, datagram: &[u8]| copies.push((session.number, datagram.to_vec()));
    mirror.copy(direction, &mut frame.to_vec(), offload, give);
    copies
}

/// The number of the session that gets it.
fn getter(mirror: &Mirror, direction: Direction, frame: &[u8]) -> Option<u16> {
    copies(mirror, direction, frame, Offload::default()).first().map(|(number, _)| *number)
}

#[test]
fn a_copy_is_the_frame_behind_a_vxlan_header_from_the_source_to_the_target() {
    let open = mirror(vec![session(1, vec![], vec![rule(1, Action::Accept)])]);
    let frame = frame(A.into(), B.into(), UDP, &udp((5000, 9), b"data"));
    let all = copies(&open, Direction::Egress, &frame, Offload::default());
    let [(1, datagram)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(datagram[2..4], (36 + frame.len() as u16).to_be_bytes());
    assert_eq!(datagram[9], UDP);
    assert_eq!(datagram[12..20], [A.octets(), TARGET.octets()].concat());
    assert!(u16::from_be_bytes([datagram[20], datagram[21]]) >= 0xc000);
    assert_eq!(datagram[22..24], PORT.to_be_bytes());
    assert_eq!(datagram[24..26], (16 + frame.len() as u16).to_be_bytes());
    assert_eq!(datagram[28..36], [0x08, 0, 0, 0, 0x01, 0x00, 0x01, 0]);
    assert_eq!(datagram[36..], frame);
    assert!(copies(&open, Direction::Ingress, &frame, Offload::default()).is_empty());
}

#[test]
fn copies_of_a_flow_come_from_one_port_whichever_way_it_goes() {
    let there = frame(A.into(), B.into(), UDP, &udp((5000, 9), b""));
    let back = frame(B.into(), A.into(), UDP, &udp((9, 5000), b""));
    let [there, back] = [there, back].map(|frame| Headers::parse(&frame).unwrap().flow());
    assert_eq!(there, back);
}

#[test]
fn a_copy_is_cut_to_what_its_session_asks_and_to_what_a_packet_holds() {
    let mut short = session(1, vec![rule(1, Action::Accept)], vec![]);
    let long = frame(A.into(), B.into(), UDP, &udp((5000, 9), &[7; 1472]));
    let length = |session: &MirrorDesired| {
        let all = copies(&mirror(vec![session.clone()]), Direction::Ingress, &long, Offload::default());
        all[0].1.len() - 36
    };
    assert_eq!(length(&short), LONGEST);
    short.length = Some(50);
    assert_eq!(length(&short), 50);
    short.length = Some(9000);
    assert_eq!(length(&short), LONGEST);
}

#[test]
fn the_first_rule_that_matches_decides_and_the_first_session_that_accepts_gets_it() {
    let nine = |number, action| MirrorRule {
        protocol: Some(UDP),
        destination_ports: Some(Ports { from: 9, to: 10 }),
        ..rule(number, action)
    };
    let sessions = vec![
        session(1, vec![], vec![nine(5, Action::Reject), rule(6, Action::Accept)]),
        session(2, vec![], vec![nine(1, Action::Accept), rule(2, Action::Reject)]),
    ];
    let both = mirror(sessions);
    let to = |port| frame(A.into(), B.into(), UDP, &udp((5000, port), b"x"));
    assert_eq!(getter(&both, Direction::Egress, &to(8)), Some(1));
    assert_eq!(getter(&both, Direction::Egress, &to(9)), Some(2));
    assert_eq!(getter(&both, Direction::Egress, &to(10)), Some(2));
    assert_eq!(getter(&both, Direction::Egress, &to(11)), Some(1));
    assert_eq!(getter(&both, Direction::Ingress, &to(8)), None);
}

#[test]
fn ranges_protocols_and_ports_are_all_asked_for() {
    let mut only = rule(1, Action::Accept);
    only.protocol = Some(TCP);
    only.source = "10.0.0.10/32".parse().unwrap();
    only.destination = "10.0.0.16/28".parse().unwrap();
    only.source_ports = Some(Ports { from: 5000, to: 5000 });
    let picky = mirror(vec![session(1, vec![], vec![only])]);
    let says = |from: Ipv4Addr, to: Ipv4Addr, protocol, port| {
        getter(&picky, Direction::Egress, &frame(from.into(), to.into(), protocol, &udp((port, 9), &[0; 20])))
    };
    assert_eq!(says(A, B, TCP, 5000), Some(1));
    assert_eq!(says(A, B, UDP, 5000), None);
    assert_eq!(says(A, B, TCP, 5001), None);
    assert_eq!(says(B, B, TCP, 5000), None);
    assert_eq!(says(A, TARGET, TCP, 5000), Some(1));
    assert_eq!(says(A, A, TCP, 5000), None);
    // A fragment that is not the first has no ports.
    let mut later = frame(A.into(), B.into(), TCP, &udp((5000, 9), &[0; 20]));
    later[NETWORK + 7] = 1;
    assert_eq!(getter(&picky, Direction::Egress, &later), None);
}

#[test]
fn ipv6_has_rules_of_its_own_and_its_extensions_are_read() {
    let mut six = rule(1, Action::Accept);
    six.source = "::/0".parse().unwrap();
    six.destination = "2001:db8::/32".parse().unwrap();
    six.destination_ports = Some(Ports { from: 9, to: 9 });
    let open = mirror(vec![session(1, vec![], vec![six])]);
    let plain = frame(A6.into(), B6.into(), UDP, &udp((5000, 9), b"x"));
    assert_eq!(getter(&open, Direction::Egress, &plain), Some(1));
    let options = [&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &udp((5000, 9), b"x")].concat();
    assert_eq!(getter(&open, Direction::Egress, &frame(A6.into(), B6.into(), 60, &options)), Some(1));
    let four = frame(A.into(), B.into(), UDP, &udp((5000, 9), b"x"));
    assert_eq!(getter(&open, Direction::Egress, &four), None);
}

#[test]
fn what_router_and_machine_say_to_each_other_is_not_copied_and_the_resolvers_only_where_asked() {
    let mut six = rule(2, Action::Accept);
    six.source = "::/0".parse().unwrap();
    six.destination = "::/0".parse().unwrap();
    let rules = vec![rule(1, Action::Accept), six];
    let mut open = session(1, rules.clone(), rules);
    let all = mirror(vec![open.clone()]);
    let link_local = |last| IpAddr::V4(Ipv4Addr::new(169, 254, 169, last));
    let copy = frame(A.into(), TARGET.into(), UDP, &udp((50000, PORT), b""));
    let complaint = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &copy[NETWORK..]].concat();
    let discovery = frame(A6.into(), B6.into(), ICMPV6, &[135, 0, 0, 0]);
    let mut arp = frame(A.into(), B.into(), UDP, &udp((1, 1), b""));
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    for unseen in [
        frame(A.into(), link_local(254), TCP, &udp((5000, 80), &[0; 20])),
        frame(link_local(123), A.into(), UDP, &udp((123, 123), b"")),
        frame(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into(), UDP, &udp((68, 67), b"")),
        frame(A.into(), Ipv4Addr::new(10, 0, 0, 2).into(), UDP, &udp((5000, 53), b"?")),
        frame(TARGET.into(), A.into(), 1, &complaint),
        discovery,
        arp,
        vec![0; 10],
        frame(A.into(), B.into(), UDP, b"")[..20].to_vec(),
    ] {
        assert_eq!(getter(&all, Direction::Egress, &unseen), None, "{unseen:?}");
    }
    let echo = frame(A6.into(), B6.into(), ICMPV6, &[128, 0, 0, 0]);
    assert_eq!(getter(&all, Direction::Egress, &echo), Some(1));
    open.filter = MirrorFilter { dns: true, ..MirrorFilter::default() };
    let dns = mirror(vec![open]);
    let asked = frame(A.into(), Ipv4Addr::new(10, 0, 0, 2).into(), UDP, &udp((5000, 53), b"?"));
    assert_eq!(getter(&dns, Direction::Egress, &asked), Some(1));
    // Somebody else's resolver is nothing special.
    let other = frame(A.into(), B.into(), UDP, &udp((5000, 53), b"?"));
    assert_eq!(getter(&dns, Direction::Egress, &other), None);
}

/// Whether the sum of the protocol's header and data fits, by the pseudo header.
fn is_whole(piece: &[u8]) -> bool {
    let headers = Headers::parse(piece).unwrap();
    let at = headers.transport.unwrap();
    let mut bytes = match headers.source {
        IpAddr::V4(_) => piece[NETWORK + 12..NETWORK + 20].to_vec(),
        IpAddr::V6(_) => piece[NETWORK + 8..NETWORK + 40].to_vec(),
    };
    bytes.extend([0, headers.protocol]);
    bytes.extend(((piece.len() - at) as u16).to_be_bytes());
    bytes.extend(&piece[at..]);
    let network = headers.source.is_ipv6() || sum(0, &piece[NETWORK..at]) == 0xffff;
    network && sum(0, &bytes) == 0xffff
}

#[test]
fn a_large_segment_is_cut_into_whole_packets() {
    let mut open = rule(1, Action::Accept);
    open.source = "::/0".parse().unwrap();
    open.destination = "::/0".parse().unwrap();
    let open = mirror(vec![session(1, vec![], vec![rule(2, Action::Accept), open])]);
    let data: Vec<u8> = (0..2500_u32).map(|n| n as u8).collect();
    let mut tcp = [0x13, 0x88, 0, 9, 0, 0, 0x10, 0, 0, 0, 0, 1, 0x50, 0x99, 1, 0, 0, 0, 0, 0].to_vec();
    tcp.extend(&data);
    for (from, to) in [(IpAddr::V4(A), IpAddr::V4(B)), (IpAddr::V6(A6), IpAddr::V6(B6))] {
        let large = frame(from, to, TCP, &tcp);
        let offload = Offload { checksum: Some((0, 0)), segment: Some(1000) };
        let all = copies(&open, Direction::Egress, &large, offload);
        assert_eq!(all.len(), 3);
        let mut said: Vec<u8> = Vec::new();
        for (place, (_, datagram)) in all.iter().enumerate() {
            let piece = &datagram[36..];
            assert!(is_whole(piece), "{place} {piece:?}");
            let at = Headers::parse(piece).unwrap().transport.unwrap();
            let sequence = u32::from_be_bytes(piece[at + 4..at + 8].try_into().unwrap());
            assert_eq!(sequence, 0x1000 + 1000 * place as u32);
            // CWR in the first alone, FIN and PSH in the last.
            assert_eq!(piece[at + 13], [0x90, 0x10, 0x19][place]);
            said.extend(&piece[at + 20..]);
        }
        assert_eq!(said, data);
    }
    let datagrams = frame(A.into(), B.into(), UDP, &udp((5000, 9), &data));
    let offload = Offload { checksum: None, segment: Some(1400) };
    let all = copies(&open, Direction::Egress, &datagrams, offload);
    let lengths: Vec<usize> = all.iter().map(|(_, datagram)| datagram.len() - 36 - 42).collect();
    assert_eq!(lengths, [1400, 1100]);
    assert!(all.iter().all(|(_, datagram)| is_whole(&datagram[36..])));
}

#[test]
fn a_checksum_that_was_left_to_the_hardware_is_done() {
    let mut header = [0; 10];
    header[0] = 1;
    header[6..8].copy_from_slice(&34_u16.to_ne_bytes());
    header[8..10].copy_from_slice(&6_u16.to_ne_bytes());
    let offload = Offload::parse(&header);
    assert_eq!(offload, Offload { checksum: Some((34, 6)), segment: None });
    let mut unfinished = frame(A.into(), B.into(), UDP, &udp((5000, 9), b"odd"));
    let pseudo = [A.octets().as_slice(), &B.octets(), &[0, UDP, 0, 11]].concat();
    unfinished[40..42].copy_from_slice(&sum(0, &pseudo).to_be_bytes());
    let open = mirror(vec![session(1, vec![], vec![rule(1, Action::Accept)])]);
    let all = copies(&open, Direction::Egress, &unfinished, offload);
    let mut bytes = pseudo;
    bytes.extend(&all[0].1[36 + 34..]);
    assert_eq!(sum(0, &bytes), 0xffff);
    // What says nonsense is copied as it is.
    for offload in [
        Offload { checksum: Some((9000, 6)), segment: None },
        Offload { checksum: Some((40, 400)), segment: Some(10) },
    ] {
        assert!(!copies(&open, Direction::Egress, &unfinished, offload).is_empty());
    }
}
