//! The part of a rule that matches protocol and ports.

use super::Version;
use ipnet::IpNet;
use model::net::Traffic;

/// The match for packets of a version, with a space behind each condition; `None`: no such packet can match.
pub(super) fn matching(traffic: Traffic, version: Version) -> Option<String> {
    Some(match (traffic, version) {
        (Traffic::All, _) => String::new(),
        (Traffic::Tcp { from, to }, _) => ports("tcp", &[(from, to)], version),
        (Traffic::Udp { from, to }, _) => ports("udp", &[(from, to)], version),
        (Traffic::Icmp { kind, code }, Version::V4) => icmp("icmp", kind, code, version),
        (Traffic::Icmpv6 { kind, code }, Version::V6) => icmp("icmpv6", kind, code, version),
        (Traffic::Icmp { .. }, Version::V6) | (Traffic::Icmpv6 { .. }, Version::V4) => return None,
        (Traffic::Protocol(number), _) => protocol(&number.to_string(), version),
    })
}

/// The match for packets whose `end` lies in one of these networks, which are of one version and do not overlap, with a space
/// behind it.
pub(super) fn within(nets: &[IpNet], end: &str) -> String {
    let Some(version) = nets.first().map(|net| Version::of_net(*net)) else { return String::new() };
    if nets.iter().any(|net| net.prefix_len() == 0) {
        return format!("meta nfproto {} ", version.words().0);
    }
    format!("{} {end} {} ", version.header(), one_of(nets.iter().map(|net| net.trunc().to_string())))
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

/// The match for packets to these ports, first and last of each range, with a space behind it.
pub(super) fn ports(name: &str, ranges: &[(u16, u16)], version: Version) -> String {
    let mut joined: Vec<(u16, u16)> = Vec::new();
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some((_, last)) if from <= last.saturating_add(1) => *last = to.max(*last),
            _ => joined.push((from, to)),
        }
    }
    if joined == [(0, u16::MAX)] {
        return protocol(name, version);
    }
    let shown = |(from, to)| if from == to { format!("{from}") } else { format!("{from}-{to}") };
    format!("{name} dport {} ", one_of(joined.into_iter().map(shown)))
}

/// The only one as it is, several as a set.
fn one_of(words: impl ExactSizeIterator<Item = String>) -> String {
    let alone = words.len() == 1;
    let words = words.collect::<Vec<_>>().join(", ");
    if alone { words } else { format!("{{ {words} }}") }
}
