//! The body of one security group: two chains of allowances and the set of its members.
//!
//! Ingress ends in `accept`; egress in `goto fwd_in`, the receiver's gate. What matches nothing returns to the port's
//! chain, which goes on with the next group and drops at its end.
//! Who is a member is told by the address alone where the group is of the VPC itself. In another VPC the same address may
//! be somebody else's, if that one is peered too: there the link counts as well.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html>

use super::Version;
use super::names::{VPC_TABLE, group_egress, group_ingress, group_members, group_members_beyond};
use super::routes::UNVERIFIED;
use super::traffic::{matching, within};
use model::SecurityGroupId;
use model::host::SecurityGroupDesired;
use model::net::{Allow, Peer};
use std::collections::BTreeSet;
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
    for version in Version::ALL {
        let (_, address) = version.words();
        for set in &sets {
            let _ = writeln!(out, "\tset {} {{\n\t\ttype {address}\n\t}}", group_members(*set, version));
        }
        for set in &beyond {
            let set = group_members_beyond(*set, version);
            let _ = writeln!(out, "\tset {set} {{\n\t\ttype ifname . {address}\n\t}}");
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

#[derive(Clone, Copy)]
enum Gate {
    Ingress,
    Egress,
}

fn rules(own: SecurityGroupId, allows: &[Allow], gate: Gate) -> Vec<String> {
    // A member is who has the address, not who claims it.
    let (end, link, verdict, member) = match gate {
        Gate::Ingress => ("saddr", "iifname", "accept", format!("meta mark & {UNVERIFIED:#x} == 0 ")),
        Gate::Egress => ("daddr", "oifname", "goto fwd_in", String::new()),
    };
    let of_version = |allow: &Allow, version: Version| {
        let ip = version.header();
        let peers = match allow.peer {
            Peer::Net(net) if Version::of_net(net) == version => vec![within(net, end)],
            // Lists come as their ranges.
            Peer::Net(_) | Peer::PrefixList(_) => Vec::new(),
            Peer::Group(group) => {
                let mut peers = vec![format!("{member}{ip} {end} @{} ", group_members(group, version))];
                if group != own {
                    peers.push(format!("{link} . {ip} {end} @{} ", group_members_beyond(group, version)));
                }
                peers
            }
        };
        let matching = matching(allow.traffic, version);
        peers.into_iter().filter_map(move |peer| Some(format!("{peer}{}{verdict}", matching.as_deref()?)))
    };
    allows
        .iter()
        .flat_map(|allow| Version::ALL.into_iter().flat_map(|version| of_version(allow, version)))
        .collect()
}
