//! The chains in which refused packets end: they are dropped, and counted first where a flow log asks for it.
//!
//! The kernel counts by itself: an element of a set per flow, which fades when the flow is silent. A set that is full counts
//! no more and drops all the same.

use super::Version;
use model::record::security_group::Direction;
use std::fmt::Write as _;

/// What a packet that the sender's gate or border refuses goes to, and what a receiver's.
pub const REJECTED_OUT: &str = "rejected_out";
pub const REJECTED_IN: &str = "rejected_in";

/// How long an element outlives its last packet; longer than anybody waits before looking again.
const FADES: &str = "15m";
/// Flows that a set counts at most.
const MOST: u32 = 65_536;

/// A set of refused flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedSet {
    pub name: &'static str,
    pub gate: Direction,
    pub version: Version,
    /// Whether its elements have ports.
    pub ports: bool,
}

impl RejectedSet {
    /// Every set. A key is source, destination, protocol, and the two ports if there are any, each padded to four bytes.
    pub const ALL: [Self; 8] = [
        Self::of("rejected_out4", Direction::Egress, Version::V4, true),
        Self::of("rejected_out6", Direction::Egress, Version::V6, true),
        Self::of("rejected_outp4", Direction::Egress, Version::V4, false),
        Self::of("rejected_outp6", Direction::Egress, Version::V6, false),
        Self::of("rejected_in4", Direction::Ingress, Version::V4, true),
        Self::of("rejected_in6", Direction::Ingress, Version::V6, true),
        Self::of("rejected_inp4", Direction::Ingress, Version::V4, false),
        Self::of("rejected_inp6", Direction::Ingress, Version::V6, false),
    ];

    const fn of(name: &'static str, gate: Direction, version: Version, ports: bool) -> Self {
        Self { name, gate, version, ports }
    }
}

/// The declarations of the sets, if they are wanted.
pub(super) fn sets(counts: bool) -> String {
    let mut out = String::new();
    for set in RejectedSet::ALL.iter().filter(|_| counts) {
        let (_, address) = set.version.words();
        let ports = if set.ports { " . inet_service . inet_service" } else { "" };
        let _ = write!(
            out,
            "\tset {} {{\n\t\ttype {address} . {address} . inet_proto{ports}\n\t\tsize {MOST}\n\t\tflags dynamic,timeout\n\
             \t\tcounter\n\t\ttimeout {FADES}\n\t}}\n",
            set.name
        );
    }
    out
}

/// The two chains.
pub(super) fn chains(counts: bool) -> [(String, Vec<String>); 2] {
    [(REJECTED_OUT, Direction::Egress), (REJECTED_IN, Direction::Ingress)].map(|(chain, gate)| {
        let of_gate = RejectedSet::ALL.iter().filter(|set| counts && set.gate == gate);
        let mut rules: Vec<String> = of_gate
            .map(|set| {
                let ip = set.version.header();
                let (which, ports) =
                    if set.ports { ("", " . th sport . th dport") } else { ("!= ", "") };
                format!(
                    "meta l4proto {which}{{ tcp, udp }} update @{} {{ {ip} saddr . {ip} daddr . meta l4proto{ports} }}",
                    set.name
                )
            })
            .collect();
        rules.push("drop".into());
        (chain.to_owned(), rules)
    })
}
