//! `DeleteTransitGatewayVpcAttachment`: routes that lead by it stay, in the VPC's tables and the gateway's, and drop.

use super::{of_vpc, render};
use api_ec2::{
    DeleteTransitGatewayVpcAttachmentRequest, DeleteTransitGatewayVpcAttachmentResult,
    TransitGatewayAttachmentState,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::{AttachedResource, AttachedVpc, TransitGatewayAttachment};
use std::collections::BTreeSet;

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayVpcAttachmentResult> {
    let (held, vpc) = of_vpc(ctx, txn, &request.transit_gateway_attachment_id)?;
    let ended = TransitGatewayAttachment {
        deleted_at: Some(ctx.now),
        association: None,
        resource: AttachedResource::Vpc(AttachedVpc { propagations: BTreeSet::new(), ..vpc }),
        ..(*held).clone()
    };
    let shown = render::vpc_attachment(&ended, Some(TransitGatewayAttachmentState::Deleting));
    txn.put(&ctx.region, ended);
    Ok(DeleteTransitGatewayVpcAttachmentResult { transit_gateway_vpc_attachment: shown })
}
