//! What a host is told of a VPC's VPN connections.

use super::key;
use crate::vpn_gateway::of_vpc;
use control::Tables;
use control::keys::RootKey;
use model::host::{VpcDesired, VpnDesired, VpnTunnelDesired};
use model::record::vpn::{CustomerGateway, VpnConnection};
use model::{Region, TransitGatewayAttachmentId, TransitGatewayId, VpcId, VpnConnectionId, VpnGatewayId};
use std::sync::Arc;

/// The connections of a gateway, the oldest first.
pub fn of_gateway<'a>(
    tables: &'a Tables,
    region: &'a Region,
    gateway: VpnGatewayId,
) -> Vec<&'a Arc<VpnConnection>> {
    let all = tables.find::<VpnConnection>(region, "gateway", gateway);
    let mut live: Vec<_> = all.filter(|connection| connection.is_there()).collect();
    live.sort_by_key(|connection| (connection.created_at, connection.connection));
    live
}

/// What a host is told of a connection, without its keys; none: its customer gateway is gone.
fn told(
    tables: &Tables,
    region: &Region,
    connection: &VpnConnection,
    gateway: VpnGatewayId,
) -> Option<VpnDesired> {
    let customer = tables.get::<CustomerGateway>(region, &connection.customer_gateway)?;
    let tunnels = connection.tunnels.iter().map(|tunnel| VpnTunnelDesired {
        outside: tunnel.outside,
        inside: tunnel.inside,
        versions: tunnel.versions,
        initiates: tunnel.initiates,
        key: None,
    });
    Some(VpnDesired {
        connection: connection.connection,
        gateway,
        arrival: None,
        customer: customer.address,
        routes: connection.routes.clone(),
        tunnels: tunnels.collect(),
    })
}

/// Those of the gateway that is attached to a VPC, without their keys.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<VpnDesired> {
    let Some(gateway) = of_vpc(tables, region, vpc) else { return Vec::new() };
    let all = of_gateway(tables, region, gateway.gateway);
    all.into_iter().filter_map(|own| told(tables, region, own, gateway.gateway)).collect()
}

/// The connection of a transit gateway that a network stands for, and its attachment.
fn of_hub<'a>(
    tables: &'a Tables,
    region: &Region,
    vpc: VpcId,
) -> Option<(&'a Arc<VpnConnection>, TransitGatewayId, TransitGatewayAttachmentId)> {
    let connection = tables.get::<VpnConnection>(region, &VpnConnectionId::from_entropy(vpc.bits()))?;
    let (gateway, attachment) = connection.end.transit().filter(|_| connection.is_there())?;
    Some((connection, gateway, attachment))
}

/// The network that stands for a connection of a transit gateway.
pub fn hub(tables: &Tables, region: &Region, vpc: VpcId) -> Option<VpcDesired> {
    let (connection, gateway, attachment) = of_hub(tables, region, vpc)?;
    let vpn = told(tables, region, connection, VpnGatewayId::from_entropy(connection.connection.bits()))?;
    let end = crate::transit_gateway::desired::of_attachment(tables, region, attachment);
    Some(plan::net::vpn::hub((connection.account, region.clone()), vpn, (gateway, end)))
}

/// Puts in the keys of the tunnels.
pub fn unseal(root: &RootKey, tables: &Tables, region: &Region, vpc: &mut VpcDesired) {
    for vpn in &mut vpc.vpns {
        let Some(connection) = tables.get::<VpnConnection>(region, &vpn.connection) else { continue };
        for (told, tunnel) in vpn.tunnels.iter_mut().zip(&connection.tunnels) {
            told.key = key(root, connection.connection, tunnel);
        }
    }
}

/// Whether a VPC has any, or is one's own network.
pub fn any_in(tables: &Tables, region: &Region, vpc: VpcId) -> bool {
    of_vpc(tables, region, vpc).is_some_and(|gw| !of_gateway(tables, region, gw.gateway).is_empty())
        || of_hub(tables, region, vpc).is_some()
}
