//! The part of a rule that matches protocol and ports.

use super::Version;
use ipnet::IpNet;
use model::net::Traffic;

/// The match for packets of a version, with a space behind each condition; `None`: no such packet can match.
pub(super) fn matching(traffic: Traffic, version: Version) -> Option<String> {
    Some(match (traffic, version) {
        (Traffic::All, _) => String::new(),
        (Traffic::Tcp { from, to }, _) => ports("tcp", from, to, version),
        (Traffic::Udp { from, to }, _) => ports("udp", from, to, version),
        (Traffic::Icmp { kind, code }, Version::V4) => icmp("icmp", kind, code, version),
        (Traffic::Icmpv6 { kind, code }, Version::V6) => icmp("icmpv6", kind, code, version),
        (Traffic::Icmp { .. }, Version::V6) | (Traffic::Icmpv6 { .. }, Version::V4) => return None,
        (Traffic::Protocol(number), _) => protocol(&number.to_string(), version),
    })
}

/// The match for packets whose `end` lies in a net, with a space behind it.
pub(super) fn within(net: IpNet, end: &str) -> String {
    let version = Version::of_net(net);
    if net.prefix_len() == 0 {
        format!("meta nfproto {} ", version.words().0)
    } else {
        format!("{} {end} {} ", version.header(), net.trunc())
    }
}

/// In IPv6 other headers may stand before the protocol's own.
fn protocol(name: &str, version: Version) -> String {
    match version {
        Version::V4 => format!("ip protocol {name} "),
        Version::V6 => format!("meta l4proto {name} "),
    }
}

fn icmp(name: &str, kind: Option<u8>, code: Option<u8>, version: Version) -> String {
    match (kind, code) {
        (None, _) => protocol(name, version),
        (Some(kind), None) => format!("{name} type {kind} "),
        (Some(kind), Some(code)) => format!("{name} type {kind} {name} code {code} "),
    }
}

fn ports(name: &str, from: u16, to: u16, version: Version) -> String {
    match (from, to) {
        (0, u16::MAX) => protocol(name, version),
        (from, to) if from == to => format!("{name} dport {from} "),
        (from, to) => format!("{name} dport {from}-{to} "),
    }
}
