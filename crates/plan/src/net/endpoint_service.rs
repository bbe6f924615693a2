//! The two namespaces between an endpoint and the service that it leads to.
//!
//! ```text
//! consumer's VPC ─ e… ═ eth0 [ door ] svc ═ c… [ node ] eth0 ═ e… ─ owner's VPC ─ target
//! ```
//! What comes to the door's own address takes an address that only this pair of namespaces knows
//! ([`super::gateway_service::inside`], which follows from the link) and goes to [`FAR`]; the node sends it to the target with its own address. So neither VPC sees an address
//! of the other, and their ranges may be the same. Connections begin at the door alone, and end at the target alone.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-share-your-services.html>

use super::gateway_service::INSIDE;
use std::net::Ipv4Addr;

/// The links of both namespaces to their VPC's router.
pub const PORT: &str = "eth0";
/// A door's link to its node.
pub const NODE_LINK: &str = "svc";
/// Where doors send what nodes translate: the address that the loopback's number would give, which no link has.
pub const FAR: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 1);

/// How many connections a door may hold: a node's port holds 20,000, as any, and no one client of several takes them all.
pub const MOST_CONNECTIONS: u32 = 5_000;

/// The table of either namespace.
const TABLE: &str = "service";

/// What both rule sets share, with what happens at its translations; `first` and `second` are conditions on the ways that
/// connections take and that answers come back, and `bound` is what those meet that are not there yet.
fn rule_set(arrive: &str, leave: &str, bound: &str, [first, second]: [&str; 2]) -> String {
    format!(
        "table ip {TABLE} {{
}}
delete table ip {TABLE}
table ip {TABLE} {{
	chain arrive {{
		type nat hook prerouting priority dstnat; policy accept;
{arrive}	}}
	chain leave {{
		type nat hook postrouting priority srcnat; policy accept;
		{leave}
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		{first} ct status confirmed ct status dnat ct state new,established,related accept
{bound}		{first} ct status dnat ct state new,related accept
		{second} ct state established,related accept
	}}
	chain input {{
		type filter hook input priority filter; policy drop;
	}}
}}
"
    )
}

/// The rule set of a door, in one transaction: TCP and UDP to its `own` address go on, with the address of the link. What was
/// open over a link ends with it.
pub fn door(own: Ipv4Addr) -> String {
    rule_set(
        &format!("\t\tiifname \"{PORT}\" ip daddr {own} meta l4proto {{ tcp, udp }} dnat to {FAR}\n"),
        &format!("oifname \"{NODE_LINK}\" masquerade"),
        &format!("\t\tct state new ct count over {MOST_CONNECTIONS} drop\n"),
        [
            &format!("iifname \"{PORT}\" oifname \"{NODE_LINK}\""),
            &format!("iifname \"{NODE_LINK}\" oifname \"{PORT}\""),
        ],
    )
}

/// The rule set of a node likewise: what comes by links of doors goes to the target with the node's `own` address. What is open
/// to an earlier target stays with it.
pub fn node(own: Ipv4Addr, target: Option<Ipv4Addr>) -> String {
    let arrive = target.map(|target| {
        format!("\t\tiifname \"c*\" ip daddr {FAR} meta l4proto {{ tcp, udp }} dnat to {target}\n")
    });
    rule_set(
        &arrive.unwrap_or_default(),
        &format!("oifname \"{PORT}\" ip saddr {INSIDE} snat to {own}"),
        "",
        [&format!("iifname \"c*\" oifname \"{PORT}\""), &format!("iifname \"{PORT}\" oifname \"c*\"")],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_sends_what_is_for_it_to_its_node_alone() {
        let text = door(Ipv4Addr::new(172, 31, 0, 50));
        assert!(
            text.contains(
                "iifname \"eth0\" ip daddr 172.31.0.50 meta l4proto { tcp, udp } dnat to 240.0.0.1"
            )
        );
        assert!(text.contains("oifname \"svc\" masquerade"), "{text}");
        assert!(text.contains("iifname \"svc\" oifname \"eth0\" ct state established,related accept"));
        assert!(text.contains("ct state new ct count over 5000 drop"));
        assert_eq!(text.matches("policy drop").count(), 2);
        assert_eq!(FAR, super::super::gateway_service::inside(1));
    }

    #[test]
    fn a_node_without_a_target_translates_nothing() {
        let own = Ipv4Addr::new(10, 0, 0, 9);
        let led = node(own, Some(Ipv4Addr::new(10, 0, 0, 4)));
        assert!(led.contains("dnat to 10.0.0.4") && led.contains("snat to 10.0.0.9"), "{led}");
        let not = node(own, None);
        assert!(!not.contains("dnat to"), "{not}");
        // What is open goes on.
        assert!(not.contains("snat to 10.0.0.9") && not.contains("iifname \"eth0\" oifname \"c*\""));
    }
}
