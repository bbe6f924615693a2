//! What a VPC's rule set holds beside the skeleton: its own ranges, its resolver, network ACLs, subnets and side links.
//!
//! Network ACLs judge packets without state, at the border of a subnet: traffic within one subnet passes none. What is
//! within is told by the ports that a packet comes from and goes to, as its addresses may lie. Where every subnet's ACL lets
//! everything pass, packets are not asked for their subnets at all, and those of IPv4 that belong to a tracked connection
//! take the express: a chain before all others, in force exactly as long as no border and no zone has a say in each packet.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use super::names::{
    VPC_TABLE, acl_egress, acl_ingress, nat_links, subnet_egress, subnet_ingress, subnet_ports,
};
use super::routes::UNVERIFIED;
use super::side::Side;
use super::traffic::{matching, within};
use super::{REJECTED_IN, REJECTED_OUT, RESOLVER, Version, ipv6, rejected, resolver};
use model::host::VpcDesired;
use model::net::{AclAction, AclEntry, Traffic};
use std::fmt::Write as _;

/// Makes or replaces sets, ACL chains and subnet chains in one transaction. Chains of what is gone are left: they are
/// deleted once no port refers to them.
pub fn vpc_body(vpc: &VpcDesired) -> String {
    let counts = !vpc.flow_logs.is_empty();
    let mut chains: Vec<(String, Vec<String>)> = rejected::chains(counts).to_vec();
    for acl in &vpc.network_acls {
        chains.push((acl_ingress(acl.network_acl), entries(&acl.ingress, "saddr", REJECTED_IN)));
        chains.push((acl_egress(acl.network_acl), entries(&acl.egress, "daddr", REJECTED_OUT)));
    }
    for subnet in &vpc.subnets {
        let gateways = vpc.nat_gateways.iter().filter(|gateway| gateway.subnet == subnet.subnet);
        let gateways: Vec<String> = gateways.flat_map(|gateway| nat_links(gateway.gateway)).collect();
        for (name, acl, end) in [
            (subnet_ingress(subnet.subnet), acl_ingress(subnet.network_acl), "iif"),
            (subnet_egress(subnet.subnet), acl_egress(subnet.network_acl), "oif"),
        ] {
            let mut rules = vec![format!("{end}group @{} return", subnet_ports(subnet.subnet))];
            rules.extend(gateways.iter().map(|link| format!("{end}name \"{link}\" return")));
            rules.push(format!("goto {acl}"));
            chains.push((name, rules));
        }
    }
    // A subnet may name an ACL that has not come yet: its chain is there, empty, and denies all.
    for subnet in &vpc.subnets {
        for name in [acl_ingress(subnet.network_acl), acl_egress(subnet.network_acl)] {
            if !chains.iter().any(|(known, _)| *known == name) {
                chains.push((name, vec!["drop".into()]));
            }
        }
    }

    let side = super::side::side(vpc);
    chains.push((BORDERS.into(), borders(vpc)));
    chains.push((EXPRESS.into(), express(vpc, &side)));
    chains.extend(side.chains.iter().cloned());

    let mut out = format!("table inet {VPC_TABLE} {{\n");
    // Filled with each class of ports.
    for subnet in &vpc.subnets {
        let _ = writeln!(out, "\tset {} {{\n\t\ttype devgroup\n\t}}", subnet_ports(subnet.subnet));
    }
    out.push_str(&rejected::sets(counts));
    for (name, _) in &chains {
        let _ = writeln!(out, "\tchain {name} {{\n\t}}");
    }
    out.push_str("}\n");
    for set in ["local", "local6", "resolvers", "resolvers6"] {
        let _ = writeln!(out, "flush set inet {VPC_TABLE} {set}");
    }
    Side::flush(&mut out);
    for cidr in &vpc.cidrs {
        let _ = writeln!(out, "add element inet {VPC_TABLE} local {{ {} }}", cidr.trunc());
    }
    for cidr in &vpc.ipv6_cidrs {
        let _ = writeln!(out, "add element inet {VPC_TABLE} local6 {{ {} }}", cidr.trunc());
    }
    if vpc.dns_support {
        let _ = writeln!(out, "add element inet {VPC_TABLE} resolvers6 {{ {} }}", ipv6::RESOLVER);
        let own = vpc.cidrs.first().map(|first| resolver(*first));
        for address in [RESOLVER].into_iter().chain(own) {
            let _ = writeln!(out, "add element inet {VPC_TABLE} resolvers {{ {address} }}");
        }
    }
    super::detour::body(&mut out, vpc);
    side.fill(&mut out);
    for (name, _) in &chains {
        let _ = writeln!(out, "flush chain inet {VPC_TABLE} {name}");
    }
    let _ = writeln!(out, "table inet {VPC_TABLE} {{");
    for (name, rules) in &chains {
        let _ = writeln!(out, "\tchain {name} {{");
        for rule in rules {
            let _ = writeln!(out, "\t\t{rule}");
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

/// What asks a packet for the subnets that it leaves and enters: the skeleton's chain that every packet passes.
const BORDERS: &str = "borders";

fn borders(vpc: &VpcDesired) -> Vec<String> {
    let judged: Vec<Version> = Version::ALL.into_iter().filter(|version| !is_open(vpc, *version)).collect();
    let only = match judged[..] {
        [] => return Vec::new(),
        [version] => format!("meta nfproto {} ", version.words().0),
        _ => String::new(),
    };
    vec![format!("{only}iifgroup vmap @border_out"), format!("{only}oifgroup vmap @border_in")]
}

/// What lets tracked connections pass before anything else is asked: the skeleton's chain that every packet passes first.
const EXPRESS: &str = "express";

/// The source of each packet was checked before; one that nobody vouches for has a mark and takes the long way.
fn express(vpc: &VpcDesired, side: &Side) -> Vec<String> {
    let asked = !is_open(vpc, Version::V4) || side.judges_each_packet();
    let checked = format!("meta mark & {UNVERIFIED:#x} == 0");
    let rules = ["ct status confirmed goto tracked", "ct state related accept"]
        .map(|passes| format!("meta nfproto ipv4 {checked} {passes}"));
    if asked { Vec::new() } else { rules.into() }
}

/// Whether no subnet's ACL stops any packet of this version.
fn is_open(vpc: &VpcDesired, version: Version) -> bool {
    vpc.subnets.iter().all(|subnet| {
        let acl = vpc.network_acls.iter().find(|acl| acl.network_acl == subnet.network_acl);
        acl.is_some_and(|acl| [&acl.ingress, &acl.egress].into_iter().all(|list| allows_all(list, version)))
    })
}

fn allows_all(entries: &[AclEntry], version: Version) -> bool {
    let of_version = |entry: &&AclEntry| Version::of_net(entry.net) == version;
    let whole = |entry: &AclEntry| entry.net.prefix_len() == 0 && entry.traffic == Traffic::All;
    let deciding = in_order(entries)
        .into_iter()
        .filter(of_version)
        .find(|entry| entry.action == AclAction::Deny || whole(entry));
    deciding.is_some_and(|entry| entry.action == AclAction::Allow)
}

fn in_order(entries: &[AclEntry]) -> Vec<&AclEntry> {
    let mut sorted: Vec<&AclEntry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.number);
    sorted
}

/// `refused` is where what is denied goes.
fn entries(entries: &[AclEntry], end: &str, refused: &str) -> Vec<String> {
    let mut rules: Vec<String> = in_order(entries)
        .into_iter()
        .filter_map(|entry| {
            let net = within(&[entry.net], end);
            let verdict = match entry.action {
                AclAction::Allow => "return".to_owned(),
                AclAction::Deny => format!("goto {refused}"),
            };
            Some(format!("{net}{}{verdict}", matching(entry.traffic, Version::of_net(entry.net))?))
        })
        .collect();
    rules.push(format!("goto {refused}"));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u16, traffic: Traffic, net: &str, action: AclAction) -> AclEntry {
        AclEntry { number, traffic, net: net.parse().unwrap(), action }
    }

    #[test]
    fn connections_take_the_express_only_where_no_packet_is_judged_by_itself() {
        let of = |entries: &[AclEntry], transit: bool| {
            let mut vpc = super::super::golden::vpc();
            for list in &mut vpc.network_acls {
                list.ingress = entries.to_vec();
                list.egress = entries.to_vec();
            }
            vpc.transits.retain(|_| transit);
            !express(&vpc, &super::super::side::side(&vpc)).is_empty()
        };
        let all = entry(100, Traffic::All, "0.0.0.0/0", AclAction::Allow);
        let smtp = Traffic::Tcp { from: 25, to: 25 };
        let denied = entry(50, smtp, "0.0.0.0/0", AclAction::Deny);
        assert!(of(&[all], false));
        assert!(!of(&[all, denied], false));
        assert!(!of(&[], false));
        assert!(!of(&[all], true), "a zone judges each packet");
    }

    #[test]
    fn a_list_is_open_if_nothing_is_denied_before_everything_is_allowed() {
        let all = |number, net| entry(number, Traffic::All, net, AclAction::Allow);
        let smtp = Traffic::Tcp { from: 25, to: 25 };
        let open = |entries: &[AclEntry]| Version::ALL.map(|version| allows_all(entries, version));
        assert_eq!(open(&[]), [false, false]);
        assert_eq!(open(&[all(100, "0.0.0.0/0")]), [true, false]);
        assert_eq!(open(&[all(101, "::/0"), all(100, "0.0.0.0/0")]), [true, true]);
        assert_eq!(open(&[all(100, "10.0.0.0/8"), all(101, "::/1")]), [false, false]);
        assert_eq!(open(&[entry(1, smtp, "0.0.0.0/0", AclAction::Allow)]), [false, false]);
        let denied = entry(50, smtp, "0.0.0.0/0", AclAction::Deny);
        assert_eq!(open(&[all(100, "0.0.0.0/0"), all(101, "::/0"), denied]), [false, true]);
        // What stands behind is never asked.
        let late = entry(200, smtp, "0.0.0.0/0", AclAction::Deny);
        assert_eq!(open(&[late, all(100, "0.0.0.0/0")]), [true, false]);
    }
}
