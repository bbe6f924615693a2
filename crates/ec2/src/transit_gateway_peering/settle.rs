//! What becomes of a request: `AcceptTransitGatewayPeeringAttachment`, `RejectTransitGatewayPeeringAttachment`,
//! `DeleteTransitGatewayPeeringAttachment`. Routes that lead by what ends stay and drop.

use super::render;
use crate::errors::invalid_parameter_value;
use crate::noun::{Noun as _, hold};
use crate::transit_gateway::incorrect_state;
use api_ec2::{
    AcceptTransitGatewayPeeringAttachmentRequest, AcceptTransitGatewayPeeringAttachmentResult,
    DeleteTransitGatewayPeeringAttachmentRequest, DeleteTransitGatewayPeeringAttachmentResult,
    RejectTransitGatewayPeeringAttachmentRequest, RejectTransitGatewayPeeringAttachmentResult,
    TransitGatewayAttachmentState, TransitGatewayPeeringAttachment,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::{
    AttachedPeering, AttachedResource, PeeringPhase, PeeringRole, TransitGateway, TransitGatewayAttachment,
};
use std::sync::Arc;
use wire::ApiError;

fn invalid_state(id: &str) -> ApiError {
    incorrect_state(format!("{id} is in invalid state"))
}

/// A side of a peering that has not been deleted; to operations on peerings there are no VPCs.
fn held(
    ctx: &Context,
    txn: &mut Txn<'_>,
    id: &str,
) -> Result<(Arc<TransitGatewayAttachment>, AttachedPeering)> {
    let side = hold::<TransitGatewayAttachment>(ctx, txn, id)?;
    let peering = side.peering().filter(|peering| peering.phase != PeeringPhase::Deleted).cloned();
    let peering = peering.ok_or_else(|| TransitGatewayAttachment::ERRORS.not_found(id))?;
    Ok((side, peering))
}

/// A request that waits for the caller's word; `verb` is what that would be.
fn pending(
    ctx: &Context,
    txn: &mut Txn<'_>,
    (id, verb): (&str, &str),
) -> Result<(Arc<TransitGatewayAttachment>, AttachedPeering)> {
    let (side, peering) = held(ctx, txn, id)?;
    if peering.role == PeeringRole::Requester {
        return Err(invalid_parameter_value(format!(
            "Cannot {verb} {id} as the source of the peering request."
        )));
    }
    if peering.phase != PeeringPhase::PendingAcceptance {
        return Err(invalid_state(id));
    }
    Ok((side, peering))
}

/// Brings both sides to a phase; the caller's as it is shown then.
fn settle(
    ctx: &Context,
    txn: &mut Txn<'_>,
    (side, peering): (Arc<TransitGatewayAttachment>, AttachedPeering),
    (phase, at_work): (PeeringPhase, TransitGatewayAttachmentState),
) -> Option<TransitGatewayPeeringAttachment> {
    let other = peering.attachment.and_then(|id| txn.get::<TransitGatewayAttachment>(&ctx.region, &id));
    let mut shown = None;
    for side in [Some(side), other].into_iter().flatten() {
        let Some(peering) = side.peering() else { continue };
        let opens = phase == PeeringPhase::Available;
        let gateway = txn.get::<TransitGateway>(&ctx.region, &side.gateway).filter(|_| opens);
        let settled = TransitGatewayAttachment {
            resource: AttachedResource::Peering { peering: AttachedPeering { phase, ..peering.clone() } },
            association: gateway.and_then(|gateway| gateway.options.association_table),
            deleted_at: (!opens).then_some(ctx.now),
            ..(*side).clone()
        };
        shown = shown.or_else(|| render(ctx, &settled, Some(at_work.clone())));
        txn.put(&ctx.region, settled);
    }
    shown
}

pub fn accept(
    ctx: &Context,
    request: &AcceptTransitGatewayPeeringAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<AcceptTransitGatewayPeeringAttachmentResult> {
    let side = pending(ctx, txn, (&request.transit_gateway_attachment_id, "accept"))?;
    let to = (PeeringPhase::Available, TransitGatewayAttachmentState::Pending);
    let shown = settle(ctx, txn, side, to);
    Ok(AcceptTransitGatewayPeeringAttachmentResult { transit_gateway_peering_attachment: shown })
}

pub fn reject(
    ctx: &Context,
    request: &RejectTransitGatewayPeeringAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<RejectTransitGatewayPeeringAttachmentResult> {
    let side = pending(ctx, txn, (&request.transit_gateway_attachment_id, "reject"))?;
    let to = (PeeringPhase::Rejected, TransitGatewayAttachmentState::Rejecting);
    let shown = settle(ctx, txn, side, to);
    Ok(RejectTransitGatewayPeeringAttachmentResult { transit_gateway_peering_attachment: shown })
}

/// Either side ends what is available; the requester takes back what waits.
pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayPeeringAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayPeeringAttachmentResult> {
    let id = &request.transit_gateway_attachment_id;
    let (side, peering) = held(ctx, txn, id)?;
    match (peering.phase, peering.role) {
        (PeeringPhase::Available, _)
        | (PeeringPhase::PendingAcceptance | PeeringPhase::Failed, PeeringRole::Requester) => {}
        (PeeringPhase::PendingAcceptance | PeeringPhase::Failed, PeeringRole::Accepter)
        | (PeeringPhase::Rejected | PeeringPhase::Deleted, _) => return Err(invalid_state(id)),
    }
    let to = (PeeringPhase::Deleted, TransitGatewayAttachmentState::Deleting);
    let shown = settle(ctx, txn, (side, peering), to);
    Ok(DeleteTransitGatewayPeeringAttachmentResult { transit_gateway_peering_attachment: shown })
}
