//! The cloud's table in the host's own namespace: guests reach the outside, not the host.

use super::names::{host_link, root_table_name};
use ipnet::{Ipv4Net, Ipv6Net};
use model::CloudTag;

/// Whether traffic of instances that leaves the host takes the host's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uplink {
    Masquerade,
    /// The pool is routed to this host by the network around it.
    Routed,
}

/// Makes or replaces the table in one transaction. `brought` are the ranges that accounts may bring, beside the pool; no
/// two of all these overlap. `services` are where gateway endpoints lead, which may be on the host itself.
pub fn root_table(
    cloud: &CloudTag,
    public_pool: Ipv4Net,
    brought: &[Ipv4Net],
    ipv6: Ipv6Net,
    uplink: Uplink,
    services: &[Ipv4Net],
) -> String {
    let (table, link, ipv6) = (root_table_name(cloud), host_link(cloud), ipv6.trunc());
    let ranges: Vec<String> =
        [public_pool].iter().chain(brought).map(|net| net.trunc().to_string()).collect();
    let pool = match ranges.as_slice() {
        [only] => only.clone(),
        several => format!("{{ {} }}", several.join(", ")),
    };
    let masquerade = match uplink {
        Uplink::Masquerade => [format!("ip saddr {pool}"), format!("ip6 saddr {ipv6}")]
            .map(|from| format!("\t\t{from} oifname != {{ \"lo\", \"{link}\" }} masquerade\n"))
            .concat(),
        Uplink::Routed => String::new(),
    };
    let own = super::pool::edge_address(public_pool);
    let services: Vec<String> = services.iter().map(|net| net.trunc().to_string()).collect();
    let services = match services.as_slice() {
        [] => String::new(),
        some => format!("\t\tiifname \"{link}\" ip saddr {own} ip daddr {{ {} }} accept\n", some.join(", ")),
    };
    format!(
        "table inet {table} {{
}}
delete table inet {table}
table inet {table} {{
	chain guests {{
		ct state established,related accept
		icmp type echo-request limit rate 100/second accept
		icmpv6 type echo-request limit rate 100/second accept
		drop
	}}
	chain input {{
		type filter hook input priority filter - 5; policy accept;
{services}		iifname \"{link}\" goto guests
	}}
	chain forward {{
		type filter hook forward priority mangle; policy accept;
		iifname \"{link}\" ip saddr != {pool} drop
		iifname \"{link}\" ip6 saddr != {ipv6} drop
		iifname \"{link}\" tcp flags syn tcp option maxseg size set rt mtu
		oifname \"{link}\" tcp flags syn tcp option maxseg size set rt mtu
	}}
	chain postrouting {{
		type nat hook postrouting priority srcnat; policy accept;
{masquerade}	}}
}}
"
    )
}
