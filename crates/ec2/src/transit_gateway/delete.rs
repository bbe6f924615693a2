//! `DeleteTransitGateway`: with its route tables, once nothing is attached.

use super::{at_work, attached, incorrect_state, live, render};
use api_ec2::{DeleteTransitGatewayRequest, DeleteTransitGatewayResult};
use control::{Context, Result, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayRouteTable};

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayResult> {
    let held = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?;
    let holders: Vec<String> = attached(txn.tables(), &ctx.region, held.gateway)
        .iter()
        .take(10)
        .map(|attachment| attachment.attachment.to_string())
        .collect();
    if !holders.is_empty() {
        return Err(incorrect_state(format!(
            "{} has non-deleted VPC Attachments: {}.",
            held.gateway,
            holders.join(", ")
        )));
    }
    let tables = txn.tables().find::<TransitGatewayRouteTable>(&ctx.region, "gateway", held.gateway);
    for table in tables.filter(|table| table.deleted_at.is_none()) {
        let ended = TransitGatewayRouteTable { deleted_at: Some(ctx.now), ..(**table).clone() };
        txn.put(&ctx.region, ended);
    }
    let ended = TransitGateway { deleted_at: Some(ctx.now), ..(*held).clone() };
    let mut shown = render::gateway(ctx, &ended);
    shown.state = Some(at_work(true));
    txn.put(&ctx.region, ended);
    Ok(DeleteTransitGatewayResult { transit_gateway: Some(shown) })
}
