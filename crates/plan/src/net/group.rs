//! The body of one security group: two chains of allowances and the set of its members.
//!
//! Ingress ends in `accept`; egress in `goto fwd_in`, the receiver's gate. What matches nothing returns to the port's
//! chain, which goes on with the next group and drops at its end.
//! Who is a member is told by the address alone where the group is of the VPC itself. In another VPC the same address may
//! be somebody else's, if that one is peered too: there the link counts as well.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use super::names::{VPC_TABLE, group_egress, group_ingress, group_members, group_members_beyond};
use super::routes::UNVERIFIED;
use super::traffic::{matching, ports, within};
use super::{Members, Version, ipv6};
use ipnet::IpNet;
use model::SecurityGroupId;
use model::host::SecurityGroupDesired;
use model::net::{Allow, Peer, Traffic};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Makes or replaces the group's chains in one transaction. Sets of groups that it refers to are made empty where they
/// are missing; no members are touched.
pub fn group_body(group: &SecurityGroupDesired) -> String {
    let (ingress, egress) = (group_ingress(group.group), group_egress(group.group));
    let named = group.ingress.iter().chain(&group.egress).filter_map(|allow| match allow.peer {
        Peer::Group(peer) => Some(peer),
        Peer::Net(_) | Peer::PrefixList(_) => None,
    });
    let beyond: BTreeSet<SecurityGroupId> = named.filter(|named| *named != group.group).collect();
    let sets: BTreeSet<SecurityGroupId> = beyond.iter().copied().chain([group.group]).collect();
    let mut out = format!("table inet {VPC_TABLE} {{\n");
    for members in Members::ALL {
        for set in &sets {
            set_of_members(&mut out, *set, members);
        }
        for set in &beyond {
            let flags = if members == Members::Prefixes { "\t\tflags interval\n" } else { "" };
            let (set, address) = (group_members_beyond(*set, members), address(members));
            let _ = writeln!(out, "\tset {set} {{\n\t\ttype ifname . {address}\n{flags}\t}}");
        }
    }
    let _ = writeln!(out, "\tchain {ingress} {{\n\t}}\n\tchain {egress} {{\n\t}}\n}}");
    let _ = writeln!(out, "flush chain inet {VPC_TABLE} {ingress}\nflush chain inet {VPC_TABLE} {egress}");
    let _ = writeln!(out, "table inet {VPC_TABLE} {{\n\tchain {ingress} {{");
    for line in rules(group.group, &group.ingress, Gate::Ingress) {
        let _ = writeln!(out, "\t\t{line}");
    }
    let _ = writeln!(out, "\t}}\n\tchain {egress} {{");
    for line in rules(group.group, &group.egress, Gate::Egress) {
        let _ = writeln!(out, "\t\t{line}");
    }
    out.push_str("\t}\n}\n");
    out
}

/// Makes those of the group's own sets that are missing, and touches nothing else.
pub fn group_sets(group: SecurityGroupId) -> String {
    let mut out = format!("table inet {VPC_TABLE} {{\n");
    for members in Members::ALL {
        set_of_members(&mut out, group, members);
    }
    out.push_str("}\n");
    out
}

fn set_of_members(out: &mut String, group: SecurityGroupId, members: Members) {
    let (set, address) = (group_members(group, members), address(members));
    let _ = writeln!(out, "\tset {set} {{\n\t\ttype {address}\n\t}}");
}

const fn address(members: Members) -> &'static str {
    match members {
        Members::V4 => Version::V4.words().1,
        Members::V6 | Members::Prefixes => Version::V6.words().1,
    }
}

#[derive(Clone, Copy)]
enum Gate {
    Ingress,
    Egress,
}

impl Gate {
    const fn verdict(self) -> &'static str {
        match self {
            Self::Ingress => "accept",
            Self::Egress => "goto fwd_in",
        }
    }
}

/// One line for all allowances that differ in their ports alone, or in their networks alone.
fn rules(own: SecurityGroupId, allows: &[Allow], gate: Gate) -> Vec<String> {
    let mut lines = Vec::new();
    for version in Version::ALL {
        for ((source, service), ranges) in merged(allows, version) {
            let matching = match service {
                Service::Tcp => Some(ports("tcp", &ranges, version)),
                Service::Udp => Some(ports("udp", &ranges, version)),
                Service::Other(traffic) => matching(traffic, version),
            };
            let Some(matching) = matching else { continue };
            let peers = peers(own, &source, gate, version).into_iter();
            lines.extend(peers.map(|peer| format!("{peer}{matching}{}", gate.verdict())));
        }
    }
    lines
}

/// The conditions on the other end, each with a space behind it; any of them will do.
fn peers(own: SecurityGroupId, source: &Source, gate: Gate, version: Version) -> Vec<String> {
    // A member is who has the address, not who claims it.
    let (end, link, member) = match gate {
        Gate::Ingress => ("saddr", "iifname", format!("meta mark & {UNVERIFIED:#x} == 0 ")),
        Gate::Egress => ("daddr", "oifname", String::new()),
    };
    let ip = version.header();
    match source {
        Source::Nets(nets) => vec![within(nets, end)],
        Source::Group(group) => {
            let mut peers = Vec::new();
            for members in Members::of(version) {
                let mask = match members {
                    Members::V4 | Members::V6 => String::new(),
                    Members::Prefixes => format!(" & {}", ipv6::PREFIX_MASK),
                };
                peers.push(format!("{member}{ip} {end}{mask} @{} ", group_members(*group, *members)));
                if *group != own {
                    peers.push(format!("{link} . {ip} {end} @{} ", group_members_beyond(*group, *members)));
                }
            }
            peers
        }
    }
}

/// The other end: as few networks of one version as say the same, or the members of a group.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Nets(Vec<IpNet>),
    Group(SecurityGroupId),
}

/// What passes: ports, of which there may be many, or anything else.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Service {
    Tcp,
    Udp,
    Other(Traffic),
}

/// Who may send what, with the ranges of its ports.
fn merged(allows: &[Allow], version: Version) -> BTreeMap<(Source, Service), Vec<(u16, u16)>> {
    let mut nets: BTreeMap<Traffic, Vec<IpNet>> = BTreeMap::new();
    let mut groups: BTreeSet<(SecurityGroupId, Traffic)> = BTreeSet::new();
    for allow in allows {
        match allow.peer {
            Peer::Net(net) if Version::of_net(net) == version => {
                nets.entry(allow.traffic).or_default().push(net.trunc());
            }
            Peer::Group(group) => _ = groups.insert((group, allow.traffic)),
            // Lists come as their ranges.
            Peer::Net(_) | Peer::PrefixList(_) => {}
        }
    }
    let nets = nets.into_iter().map(|(traffic, nets)| (Source::Nets(IpNet::aggregate(&nets)), traffic));
    let groups = groups.into_iter().map(|(group, traffic)| (Source::Group(group), traffic));
    let mut merged: BTreeMap<_, Vec<(u16, u16)>> = BTreeMap::new();
    for (source, traffic) in nets.chain(groups) {
        let (service, range) = match traffic {
            Traffic::Tcp { from, to } => (Service::Tcp, Some((from, to))),
            Traffic::Udp { from, to } => (Service::Udp, Some((from, to))),
            other => (Service::Other(other), None),
        };
        merged.entry((source, service)).or_default().extend(range);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(traffic: Traffic, net: &str) -> Allow {
        Allow { traffic, peer: Peer::Net(net.parse().unwrap()) }
    }

    fn tcp(from: u16, to: u16, net: &str) -> Allow {
        allow(Traffic::Tcp { from, to }, net)
    }

    #[test]
    fn rules_that_differ_in_ports_or_networks_alone_are_one() {
        let own = SecurityGroupId::from_entropy(1);
        let ingress = |allows: &[Allow]| rules(own, allows, Gate::Ingress);
        let mut fifty: Vec<Allow> = (1..=48).map(|port| tcp(port, port, "0.0.0.0/0")).collect();
        fifty.extend([tcp(6000, 6010, "0.0.0.0/0"), allow(Traffic::Udp { from: 53, to: 53 }, "0.0.0.0/0")]);
        assert_eq!(
            ingress(&fifty),
            [
                "meta nfproto ipv4 tcp dport { 1-48, 6000-6010 } accept",
                "meta nfproto ipv4 udp dport 53 accept"
            ]
        );
        // Overlapping and neighbouring networks, as many as needed; what is in no set of equals stays by itself.
        let offices = ["10.0.0.9/25", "10.0.0.128/25", "10.0.0.7/32", "192.0.2.0/24"];
        let mut allows: Vec<Allow> = offices.iter().map(|net| tcp(443, 443, net)).collect();
        allows.extend(offices.iter().map(|net| tcp(80, 80, net)));
        allows.push(tcp(22, 22, "192.0.2.0/24"));
        assert_eq!(
            ingress(&allows),
            [
                "ip saddr { 10.0.0.0/24, 192.0.2.0/24 } tcp dport { 80, 443 } accept",
                "ip saddr 192.0.2.0/24 tcp dport 22 accept"
            ]
        );
        // All ports together are the protocol.
        let whole = [tcp(0, 1023, "::/0"), tcp(1000, u16::MAX, "::/0")];
        assert_eq!(ingress(&whole), ["meta nfproto ipv6 meta l4proto tcp accept"]);
        let members = [80, 443]
            .map(|port| Allow { traffic: Traffic::Tcp { from: port, to: port }, peer: Peer::Group(own) });
        let lines = rules(own, &members, Gate::Egress);
        assert_eq!(lines.len(), 3, "one a version, and one for prefixes: {lines:?}");
        assert!(lines.iter().all(|line| line.ends_with("tcp dport { 80, 443 } goto fwd_in")), "{lines:?}");
    }
}
