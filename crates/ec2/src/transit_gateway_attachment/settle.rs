//! `AcceptTransitGatewayVpcAttachment` and `RejectTransitGatewayVpcAttachment`: of what another account asks for, which none
//! can here, as gateways are not shared.

use super::of_vpc;
use crate::transit_gateway::incorrect_state;
use api_ec2::{
    AcceptTransitGatewayVpcAttachmentRequest, AcceptTransitGatewayVpcAttachmentResult,
    RejectTransitGatewayVpcAttachmentRequest, RejectTransitGatewayVpcAttachmentResult,
};
use control::{Context, Result, Txn};
use wire::ApiError;

/// None waits for anybody's word.
fn settled(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<ApiError> {
    let (held, _) = of_vpc(ctx, txn, id)?;
    Ok(incorrect_state(format!("{} is in invalid state", held.attachment)))
}

pub fn accept(
    ctx: &Context,
    request: &AcceptTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<AcceptTransitGatewayVpcAttachmentResult> {
    Err(settled(ctx, txn, &request.transit_gateway_attachment_id)?)
}

pub fn reject(
    ctx: &Context,
    request: &RejectTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<RejectTransitGatewayVpcAttachmentResult> {
    Err(settled(ctx, txn, &request.transit_gateway_attachment_id)?)
}
