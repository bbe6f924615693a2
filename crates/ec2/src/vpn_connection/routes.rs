//! `CreateVpnConnectionRoute` and `DeleteVpnConnectionRoute`.

use super::MAX_ROUTES;
use crate::errors::client;
use crate::parameter::ipv4_block;
use crate::transit_gateway::live;
use api_ec2::{
    CreateVpnConnectionRouteRequest, CreateVpnConnectionRouteResult, DeleteVpnConnectionRouteRequest,
    DeleteVpnConnectionRouteResult,
};
use control::{Context, Result, Txn};
use model::record::vpn::{VpnConnection, VpnEnd};
use std::sync::Arc;

/// Static routes to what is behind a transit gateway's connection are its tables'.
fn by_gateway(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<VpnConnection>> {
    let held = live::<VpnConnection>(ctx, txn, id)?;
    match held.end {
        VpnEnd::Vpc { .. } => Ok(held),
        VpnEnd::Transit { transit_gateway, .. } => Err(client(
            "UnsupportedOperation",
            format!(
                "The VPN connection {id} ends at the transit gateway {transit_gateway}: add static routes to its route tables."
            ),
        )),
    }
}

/// Asking again for what is already so changes nothing.
pub fn create(
    ctx: &Context,
    request: &CreateVpnConnectionRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpnConnectionRouteResult> {
    let net = ipv4_block("destinationCidrBlock", &request.destination_cidr_block)?.trunc();
    let held = by_gateway(ctx, txn, &request.vpn_connection_id)?;
    if held.routes.contains(&net) {
        return Ok(CreateVpnConnectionRouteResult {});
    }
    if held.routes.len() >= MAX_ROUTES {
        return Err(client(
            "RouteLimitExceeded",
            format!("The maximum number of routes of {} has been reached.", held.connection),
        ));
    }
    let mut changed = VpnConnection::clone(&held);
    changed.routes.push(net);
    txn.put(&ctx.region, changed);
    Ok(CreateVpnConnectionRouteResult {})
}

pub fn delete(
    ctx: &Context,
    request: &DeleteVpnConnectionRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpnConnectionRouteResult> {
    let net = ipv4_block("destinationCidrBlock", &request.destination_cidr_block)?.trunc();
    let held = by_gateway(ctx, txn, &request.vpn_connection_id)?;
    if !held.routes.contains(&net) {
        return Err(client(
            "InvalidRoute.NotFound",
            format!("The VPN connection {} has no static route for {net}.", held.connection),
        ));
    }
    let mut changed = VpnConnection::clone(&held);
    changed.routes.retain(|route| *route != net);
    txn.put(&ctx.region, changed);
    Ok(DeleteVpnConnectionRouteResult {})
}
