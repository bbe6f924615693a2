//! `DeleteTransitGatewayVpcAttachment`: routes that lead by it stay, in the VPC's tables and the gateway's, and drop.

use super::render;
use crate::transit_gateway::live;
use api_ec2::{
    DeleteTransitGatewayVpcAttachmentRequest, DeleteTransitGatewayVpcAttachmentResult,
    TransitGatewayAttachmentState,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::TransitGatewayAttachment;
use std::collections::BTreeSet;

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayVpcAttachmentResult> {
    let held = live::<TransitGatewayAttachment>(ctx, txn, &request.transit_gateway_attachment_id)?;
    let ended = TransitGatewayAttachment {
        deleted_at: Some(ctx.now),
        association: None,
        propagations: BTreeSet::new(),
        ..(*held).clone()
    };
    let mut shown = render::vpc_attachment(&ended);
    shown.state = Some(TransitGatewayAttachmentState::Deleting);
    txn.put(&ctx.region, ended);
    Ok(DeleteTransitGatewayVpcAttachmentResult { transit_gateway_vpc_attachment: Some(shown) })
}
