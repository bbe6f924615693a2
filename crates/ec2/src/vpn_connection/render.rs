//! A VPN connection as the API shows it.

use super::{configuration, key};
use crate::noun::{render_tags, wire_time};
use crate::vpn_gateway::state;
use api_ec2 as api;
use control::keys::RootKey;
use model::record::vpn::{CustomerGateway, TunnelStatus, VpnConnection, VpnTunnel};

const EVERYTHING: &str = "0.0.0.0/0";

/// With the keys of its tunnels while it is there: who may describe it may configure the device.
pub fn connection(
    root: &RootKey,
    customer: Option<&CustomerGateway>,
    connection: &VpnConnection,
) -> api::VpnConnection {
    let there = connection.is_there();
    let tunnels = connection.tunnels.iter().map(|own| tunnel(root, connection, own));
    let telemetry = connection.tunnels.iter().map(|tunnel| telemetry(connection, tunnel));
    let routes = connection.routes.iter().map(|net| api::VpnStaticRoute {
        destination_cidr_block: Some(net.to_string()),
        source: None,
        state: Some(state(connection.deleted_at)),
    });
    let options = api::VpnConnectionOptions {
        enable_acceleration: Some(false),
        static_routes_only: Some(true),
        local_ipv4_network_cidr: Some(EVERYTHING.into()),
        remote_ipv4_network_cidr: Some(EVERYTHING.into()),
        outside_ip_address_type: Some("PublicIpv4".into()),
        tunnel_inside_ip_version: Some(api::TunnelInsideIpVersion::Ipv4),
        tunnel_options: Some(tunnels.collect()),
        ..Default::default()
    };
    let customer = customer.filter(|_| there);
    api::VpnConnection {
        category: Some("VPN".into()),
        options: Some(options),
        routes: Some(routes.collect()),
        tags: render_tags(&connection.tags),
        vgw_telemetry: Some(telemetry.collect()),
        vpn_connection_id: Some(connection.connection.to_string()),
        state: Some(state(connection.deleted_at)),
        customer_gateway_configuration: customer.map(|it| configuration::document(root, it, connection)),
        r#type: Some(api::GatewayType::Ipsec1),
        customer_gateway_id: Some(connection.customer_gateway.to_string()),
        vpn_gateway_id: connection.end.gateway().map(|id| id.to_string()),
        transit_gateway_id: connection.end.transit().map(|(id, _)| id.to_string()),
        ..Default::default()
    }
}

fn tunnel(root: &RootKey, connection: &VpnConnection, tunnel: &VpnTunnel) -> api::TunnelOption {
    let versions = [(tunnel.versions.v1, "ikev1"), (tunnel.versions.v2, "ikev2")];
    let versions = versions.into_iter().filter(|(spoken, _)| *spoken);
    let versions = versions.map(|(_, name)| api::IKEVersionsListValue { value: Some(name.into()) });
    api::TunnelOption {
        outside_ip_address: Some(tunnel.outside.to_string()),
        tunnel_inside_cidr: Some(tunnel.inside.to_string()),
        pre_shared_key: key(root, connection.connection, tunnel).map(|key| key.expose().to_owned()),
        ike_versions: Some(versions.collect()),
        startup_action: Some(if tunnel.initiates { "start" } else { "add" }.into()),
        ..Default::default()
    }
}

fn telemetry(connection: &VpnConnection, tunnel: &VpnTunnel) -> api::VgwTelemetry {
    let up = connection.is_there() && tunnel.status == TunnelStatus::Up;
    let routes = if up { connection.routes.len() } else { 0 };
    let message = match tunnel.status {
        TunnelStatus::IkeUp if connection.is_there() => "IPSEC IS DOWN",
        TunnelStatus::Up | TunnelStatus::Down | TunnelStatus::IkeUp => "",
    };
    api::VgwTelemetry {
        accepted_route_count: Some(i32::try_from(routes).unwrap_or(i32::MAX)),
        last_status_change: Some(wire_time(tunnel.changed_at)),
        outside_ip_address: Some(tunnel.outside.to_string()),
        status: Some(if up { api::TelemetryStatus::Up } else { api::TelemetryStatus::Down }),
        status_message: Some(message.into()),
        certificate_arn: None,
    }
}
