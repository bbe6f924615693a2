//! What a VPC's rule set holds beside the skeleton: its own ranges, its resolver, network ACLs, subnets and side links.
//!
//! Network ACLs judge packets without state, at the border of a subnet: traffic within one subnet passes none. What is
//! within is told by the ports that a packet comes from and goes to, as its addresses may lie.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

use super::names::{
    VPC_TABLE, acl_egress, acl_ingress, nat_links, subnet_egress, subnet_ingress, subnet_ports,
};
use super::side::Side;
use super::traffic::{matching, within};
use super::{REJECTED_IN, REJECTED_OUT, RESOLVER, Version, ipv6, rejected, resolver};
use model::host::VpcDesired;
use model::net::{AclAction, AclEntry};
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
            (subnet_ingress(subnet.subnet), acl_ingress(subnet.network_acl), "iifname"),
            (subnet_egress(subnet.subnet), acl_egress(subnet.network_acl), "oifname"),
        ] {
            let mut rules = vec![format!("{end} @{} return", subnet_ports(subnet.subnet))];
            rules.extend(gateways.iter().map(|link| format!("{end} \"{link}\" return")));
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
    chains.extend(side.chains.iter().cloned());

    let mut out = format!("table inet {VPC_TABLE} {{\n");
    // Filled with each port.
    for subnet in &vpc.subnets {
        let _ = writeln!(out, "\tset {} {{\n\t\ttype ifname\n\t}}", subnet_ports(subnet.subnet));
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

/// `refused` is where what is denied goes.
fn entries(entries: &[AclEntry], end: &str, refused: &str) -> Vec<String> {
    let mut sorted: Vec<&AclEntry> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.number);
    let mut rules: Vec<String> = sorted
        .into_iter()
        .filter_map(|entry| {
            let net = within(entry.net, end);
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
