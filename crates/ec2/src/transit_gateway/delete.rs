//! `DeleteTransitGateway`: with its route tables, once nothing is attached.

use super::{at_work, attached, incorrect_state, live, render};
use crate::transit_gateway_attachment::render::resource_type;
use api_ec2::{
    DeleteTransitGatewayRequest, DeleteTransitGatewayResult,
    TransitGatewayAttachmentResourceType as AttachmentKind,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayRouteTable};

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayResult> {
    let held = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?;
    let there = attached(txn.tables(), &ctx.region, held.gateway);
    for (kind, what) in
        [(AttachmentKind::Vpc, "VPC"), (AttachmentKind::Vpn, "VPN"), (AttachmentKind::Peering, "Peering")]
    {
        let holders = there.iter().filter(|attachment| resource_type(attachment) == kind);
        let holders: Vec<String> = holders.take(10).map(|a| a.attachment.to_string()).collect();
        if !holders.is_empty() {
            return Err(incorrect_state(format!(
                "{} has non-deleted {what} Attachments: {}.",
                held.gateway,
                holders.join(", ")
            )));
        }
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
