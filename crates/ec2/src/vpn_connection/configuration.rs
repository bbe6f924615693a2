//! `CustomerGatewayConfiguration`: what the owner of a device needs to know of its two tunnels.
//!
//! XML as EC2 writes it, which tools read. The algorithms that it names are the ones to use; the host takes the stronger ones
//! of `plan`'s offer as well. Ids, addresses and keys hold nothing that XML would have escaped.
//! AWS: <https://docs.aws.amazon.com/vpn/latest/s2svpn/SetUpVPNConnections.html#vpn-download-config>

use super::key;
use control::keys::RootKey;
use ipnet::Ipv4Net;
use model::record::vpn::{CustomerGateway, VpnConnection, VpnTunnel};
use std::fmt::{Display, Write as _};
use std::net::Ipv4Addr;

struct Document {
    text: String,
    depth: usize,
}

impl Document {
    fn leaf(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.text, "{:1$}<{name}>{value}</{name}>", "", self.depth * 2);
    }

    fn node(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        let _ = writeln!(self.text, "{:1$}<{name}>", "", self.depth * 2);
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        let _ = writeln!(self.text, "{:1$}</{name}>", "", self.depth * 2);
    }

    fn end(&mut self, name: &str, outside: Ipv4Addr, inside: Ipv4Addr, net: Ipv4Net) {
        self.node(name, |it| {
            it.node("tunnel_outside_address", |it| it.leaf("ip_address", outside));
            it.node("tunnel_inside_address", |it| {
                it.leaf("ip_address", inside);
                it.leaf("network_mask", net.netmask());
                it.leaf("network_cidr", net.prefix_len());
            });
        });
    }

    fn tunnel(&mut self, root: &RootKey, customer: &CustomerGateway, of: &VpnConnection, tunnel: &VpnTunnel) {
        let [ours, theirs] = plan::net::vpn::inside(tunnel.inside);
        self.end("customer_gateway", customer.address, theirs, tunnel.inside);
        self.end("vpn_gateway", tunnel.outside, ours, tunnel.inside);
        self.node("ike", |it| {
            it.leaf("authentication_protocol", "sha2-256");
            it.leaf("encryption_protocol", "aes-128-cbc");
            it.leaf("lifetime", 28_800);
            it.leaf("perfect_forward_secrecy", "group14");
            it.leaf("mode", "main");
            if let Some(key) = key(root, of.connection, tunnel) {
                it.leaf("pre_shared_key", key.expose());
            }
        });
        self.node("ipsec", |it| {
            it.leaf("protocol", "esp");
            it.leaf("authentication_protocol", "hmac-sha2-256");
            it.leaf("encryption_protocol", "aes-128-cbc");
            it.leaf("lifetime", 3_600);
            it.leaf("perfect_forward_secrecy", "group14");
            it.leaf("mode", "tunnel");
            it.leaf("clear_df_bit", true);
            it.leaf("fragmentation_before_encryption", true);
            it.leaf("tcp_mss_adjustment", plan::net::vpn::MOST_SEGMENT);
            it.node("dead_peer_detection", |it| {
                it.leaf("interval", 10);
                it.leaf("retries", 3);
            });
        });
    }
}

pub fn document(root: &RootKey, customer: &CustomerGateway, connection: &VpnConnection) -> String {
    let mut document = Document { text: String::new(), depth: 1 };
    let _ = writeln!(
        document.text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<vpn_connection id=\"{}\">",
        connection.connection
    );
    document.leaf("customer_gateway_id", customer.gateway);
    // Empty for a transit gateway's, as on EC2.
    let gateway = connection.end.gateway().map(|id| id.to_string());
    document.leaf("vpn_gateway_id", gateway.unwrap_or_default());
    document.leaf("vpn_connection_type", crate::customer_gateway::KIND);
    document.leaf("vpn_connection_attributes", "NoBGPVPNConnection");
    for tunnel in &connection.tunnels {
        document.node("ipsec_tunnel", |it| it.tunnel(root, customer, connection, tunnel));
    }
    document.text.push_str("</vpn_connection>\n");
    document.text
}
