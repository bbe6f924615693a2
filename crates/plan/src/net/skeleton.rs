//! The rule set of a VPC's router that never changes: anti-spoofing, link-local services, the two gates, 1:1 NAT.
//!
//! ```text
//! port ─► pre_raw ──► forward: express: tracked? accept, where no packet is judged by itself
//!                             borders: subnet's egress ACL, receiver's ingress ACL (stateless; none where all is allowed)
//!         (src4:              tracked? accept
//!          who may            gate_out ─► cgo_CLASS ─► sgo_GROUP… ─► fwd_in ─► gate_in ─► cgi_CLASS ─► sgi_GROUP… ─► accept
//!          send what,         igw ─────────────────────────────────► fwd_in          └► igw: accept
//!          and the mark  ──► input ─► services (only a sender that src4 knows)
//!          of its routes)
//! ```
//! Ports of one subnet with the same groups are a class: a number that their links bear (the group of a device, 0 is none).
//! Gates and borders are found by it, so a port that comes or changes its groups brings neither chain nor verdict unless it
//! is the first of its class. That matters: with each new one the kernel goes through all chains and verdicts of the table.
//!
//! An interface's open connections are counted when one begins, not with each packet that nobody has answered yet: the kernel
//! would go through its list of them each time.
//!
//! A connection is tracked for good ("confirmed") once all hooks have let its first packet pass, so those that follow need no
//! answer to be known: what goes one way alone (UDP to a collector) is not judged packet by packet.
//!
//! What passes as tracked on its way to a port is marked ([`super::TRACKED`]): the next packets of its flow need not be asked again.
//!
//! Where an interface's source check is off, anysrc lets pass what src4 does not know, with a mark that says so. Such
//! packets never leave by the gateway, are nobody's as members of groups, and only as answers do they profit from what is
//! tracked: a forwarded packet passes both gates each time, as its flow was begun by another port.
//! What the router itself sends passes freely, but for copies of packets ([`crate::mirror`]): the receiver's ACL and groups
//! judge those too. No connection of theirs is tracked.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/security-group-connection-tracking.html>
//! Differs: an interface may hold 20,000 open connections; beyond that new ones are dropped.

/// The chain in which a packet that its sender may send comes to the receiver's gate.
pub const FORWARD_IN: &str = "fwd_in";

/// Makes the skeleton, or replaces its chains and leaves the contents of every set: running it again is harmless.
pub fn vpc_skeleton() -> &'static str {
    include_str!("vpc.nft")
}
