//! `DeleteNatGateway`: its interface goes, its elastic address stays its owner's, routes to it stay and drop.

use crate::network_interface as interfaces;
use crate::noun::{Noun as _, hold};
use api_ec2::{DeleteNatGatewayRequest, DeleteNatGatewayResult};
use control::{Context, Result, Txn};
use model::record::nat_gateway::NatGateway;
use model::record::network_interface::NetworkInterface;

pub fn delete(
    ctx: &Context,
    request: &DeleteNatGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNatGatewayResult> {
    let gateway = hold::<NatGateway>(ctx, txn, &request.nat_gateway_id)?;
    if gateway.deleted_at.is_some() {
        return Err(NatGateway::ERRORS.not_found(gateway.gateway));
    }
    if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &gateway.interface) {
        interfaces::remove(ctx, txn, &interface);
    }
    txn.put(&ctx.region, NatGateway { deleted_at: Some(ctx.now), ..(*gateway).clone() });
    Ok(DeleteNatGatewayResult { nat_gateway_id: Some(gateway.gateway.to_string()) })
}
