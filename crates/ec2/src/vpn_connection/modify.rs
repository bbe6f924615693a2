//! `ModifyVpnConnection`: another customer gateway, or another gateway at the cloud's end. Addresses and keys stay.
//!
//! Static routes are a virtual private gateway's: they end when a connection moves to a transit gateway, whose own tables say
//! then what leads there.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpnConnection.html>

use super::end::{Named, detach, named};
use super::render;
use crate::errors::invalid_parameter_combination;
use crate::noun::touched;
use crate::transit_gateway::live;
use api_ec2::{ModifyVpnConnectionRequest, ModifyVpnConnectionResult, VpnState};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transit_gateway::TransitGateway;
use model::record::vpn::{CustomerGateway, VpnConnection, VpnEnd, VpnGateway};

pub fn touches(ctx: &Context, request: &ModifyVpnConnectionRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<VpnConnection>(ctx, tables, [&request.vpn_connection_id]);
    all.extend(touched::<CustomerGateway>(ctx, tables, &request.customer_gateway_id));
    all.extend(touched::<VpnGateway>(ctx, tables, &request.vpn_gateway_id));
    all.extend(touched::<TransitGateway>(ctx, tables, &request.transit_gateway_id));
    all
}

/// Whether a connection ends there already.
fn is_at(end: VpnEnd, gateway: &Named) -> bool {
    match gateway {
        Named::Vpc(gateway) => end.gateway() == Some(gateway.gateway),
        Named::Transit(gateway) => end.transit().is_some_and(|(id, _)| id == gateway.gateway),
    }
}

pub fn modify(
    ctx: &Context,
    request: &ModifyVpnConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpnConnectionResult> {
    let held = live::<VpnConnection>(ctx, txn, &request.vpn_connection_id)?;
    let (vpn, transit) = (request.vpn_gateway_id.as_deref(), request.transit_gateway_id.as_deref());
    let (gateway, customer) =
        (named(ctx, txn, vpn, transit)?, request.customer_gateway_id.as_deref().filter(|id| !id.is_empty()));
    if gateway.is_none() && customer.is_none() {
        return Err(invalid_parameter_combination("No attributes specified to modify."));
    }
    let mut changed = VpnConnection::clone(&held);
    if let Some(id) = customer {
        changed.customer_gateway = live::<CustomerGateway>(ctx, txn, id)?.gateway;
    }
    let at = match (&gateway, held.end) {
        (Some(gateway), _) => gateway.clone(),
        (None, VpnEnd::Vpc { gateway }) => Named::Vpc(live(ctx, txn, &gateway.to_string())?),
        (None, VpnEnd::Transit { transit_gateway, .. }) => {
            Named::Transit(live(ctx, txn, &transit_gateway.to_string())?)
        }
    };
    let inside = held.tunnels.iter().map(|tunnel| tunnel.inside);
    at.room(ctx, txn, Some(held.connection), changed.customer_gateway, inside)?;
    if !is_at(held.end, &at) {
        detach(ctx, txn, held.end);
        changed.end = at.end(ctx, txn, held.connection);
        changed.left = held.end.gateway();
        if changed.end.transit().is_some() {
            changed.routes.clear();
        }
    }
    let customer = txn.get::<CustomerGateway>(&ctx.region, &changed.customer_gateway);
    let mut shown = render::connection(&ctx.cloud.root, customer.as_deref(), &changed);
    // While EC2 is at work; a describe says `available`.
    shown.state = Some(VpnState::Pending);
    txn.put(&ctx.region, changed);
    Ok(ModifyVpnConnectionResult { vpn_connection: Some(shown) })
}
