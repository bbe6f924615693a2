//! `DeleteTransitGatewayRouteTable`: refused while something is associated or it is a default; propagations end with it.

use super::{defaults, render};
use crate::transit_gateway::{attached, incorrect_state, live};
use api_ec2::{
    DeleteTransitGatewayRouteTableRequest, DeleteTransitGatewayRouteTableResult,
    TransitGatewayRouteTableState,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayRouteTableResult> {
    let held = live::<TransitGatewayRouteTable>(ctx, txn, &request.transit_gateway_route_table_id)?;
    let table = held.table;
    if defaults(&held, txn.tables()) != [false, false] {
        return Err(incorrect_state(format!("{table} is the default route table of {}.", held.gateway)));
    }
    let there: Vec<TransitGatewayAttachment> =
        attached(txn.tables(), &ctx.region, held.gateway).into_iter().map(|a| (**a).clone()).collect();
    let associated: Vec<String> = there
        .iter()
        .filter(|attachment| attachment.association == Some(table))
        .take(10)
        .map(|attachment| attachment.attachment.to_string())
        .collect();
    if !associated.is_empty() {
        return Err(incorrect_state(format!(
            "Route table {table} is associated with attachments: {}.",
            associated.join(", ")
        )));
    }
    for mut attachment in there {
        if attachment.propagations_mut().is_some_and(|propagations| propagations.remove(&table)) {
            txn.put(&ctx.region, attachment);
        }
    }
    let ended = TransitGatewayRouteTable { deleted_at: Some(ctx.now), ..(*held).clone() };
    let mut shown = render::table(txn.tables(), &ended);
    shown.state = Some(TransitGatewayRouteTableState::Deleting);
    txn.put(&ctx.region, ended);
    Ok(DeleteTransitGatewayRouteTableResult { transit_gateway_route_table: Some(shown) })
}
