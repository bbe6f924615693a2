//! The rule set of the edge: the namespace between the host and all VPCs of a cloud.
//!
//! A VPC may send with its own public addresses as source and no other, and by IPv6 out of its own blocks. Traffic between
//! VPCs by public addresses turns around here and never reaches the host.

use super::names::{EDGE_TABLE, edge_ipv6, edge_link};
use ipnet::Ipv6Net;
use model::VpcId;
use std::fmt::Write as _;

/// Makes the rules, or replaces them and leaves the set of owners.
pub fn edge_skeleton() -> &'static str {
    include_str!("edge.nft")
}

/// Makes or replaces what a VPC may send by IPv6, in one transaction.
pub fn edge_blocks(vpc: VpcId, blocks: &[Ipv6Net]) -> String {
    let (chain, link) = (edge_ipv6(vpc), edge_link(vpc));
    let mut out = format!("table inet {EDGE_TABLE} {{\n\tchain {chain} {{\n\t}}\n}}\n");
    let _ = writeln!(out, "flush chain inet {EDGE_TABLE} {chain}");
    for block in blocks {
        let _ = writeln!(out, "add rule inet {EDGE_TABLE} {chain} ip6 saddr {} accept", block.trunc());
    }
    let _ = writeln!(out, "add rule inet {EDGE_TABLE} {chain} drop");
    let _ = writeln!(out, "add element inet {EDGE_TABLE} owners6 {{ \"{link}\" : goto {chain} }}");
    out
}
