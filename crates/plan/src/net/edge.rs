//! The rule set of the edge: the namespace between the host and all VPCs of a cloud.
//!
//! A VPC may send with its own public addresses as source and no other. Traffic between VPCs by public addresses turns
//! around here and never reaches the host.

/// Makes the rules, or replaces them and leaves the set of owners.
pub fn edge_skeleton() -> &'static str {
    include_str!("edge.nft")
}
