//! The part of a rule that matches protocol and ports.

use model::net::Traffic;

/// The match for IPv4 packets, with a space behind each condition; `None`: no IPv4 packet can match.
pub(super) fn matching(traffic: Traffic) -> Option<String> {
    Some(match traffic {
        Traffic::All => String::new(),
        Traffic::Tcp { from, to } => ports("tcp", from, to),
        Traffic::Udp { from, to } => ports("udp", from, to),
        Traffic::Icmp { kind: None, .. } => "ip protocol icmp ".into(),
        Traffic::Icmp { kind: Some(kind), code: None } => format!("icmp type {kind} "),
        Traffic::Icmp { kind: Some(kind), code: Some(code) } => format!("icmp type {kind} icmp code {code} "),
        Traffic::Icmpv6 { .. } => return None,
        Traffic::Protocol(number) => format!("ip protocol {number} "),
    })
}

fn ports(protocol: &str, from: u16, to: u16) -> String {
    match (from, to) {
        (0, u16::MAX) => format!("ip protocol {protocol} "),
        (from, to) if from == to => format!("{protocol} dport {from} "),
        (from, to) => format!("{protocol} dport {from}-{to} "),
    }
}
