//! `DeleteCustomerGateway`: refused while a connection names it.

use crate::transit_gateway::{incorrect_state, live};
use api_ec2::{DeleteCustomerGatewayRequest, DeleteCustomerGatewayResult};
use control::{Context, Result, Txn};
use model::record::vpn::{CustomerGateway, VpnConnection};

pub fn delete(
    ctx: &Context,
    request: &DeleteCustomerGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteCustomerGatewayResult> {
    let held = live::<CustomerGateway>(ctx, txn, &request.customer_gateway_id)?;
    let mut users = txn.tables().find::<VpnConnection>(&ctx.region, "customer-gateway", held.gateway);
    if let Some(user) = users.find(|connection| connection.is_there()) {
        return Err(incorrect_state(format!(
            "The customer gateway {} is in use by {}.",
            held.gateway, user.connection
        )));
    }
    txn.put(&ctx.region, CustomerGateway { deleted_at: Some(ctx.now), ..(*held).clone() });
    Ok(DeleteCustomerGatewayResult {})
}
