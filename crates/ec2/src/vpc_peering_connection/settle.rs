//! What becomes of a request: `AcceptVpcPeeringConnection`, `RejectVpcPeeringConnection`, `DeleteVpcPeeringConnection`.

use super::render;
use crate::errors::{client, operation_not_permitted};
use crate::noun::hold;
use api_ec2::{
    AcceptVpcPeeringConnectionRequest, AcceptVpcPeeringConnectionResult, DeleteVpcPeeringConnectionRequest,
    DeleteVpcPeeringConnectionResult, RejectVpcPeeringConnectionRequest, RejectVpcPeeringConnectionResult,
};
use control::{Context, Result, Txn};
use ipnet::Ipv4Net;
use model::record::vpc::Vpc;
use model::record::vpc_peering_connection::{PeeringState, VpcPeeringConnection};
use plan::net::overlap;
use std::sync::Arc;
use wire::ApiError;

/// Whether two VPCs' ranges have an address in common.
pub fn collide(one: &[Ipv4Net], other: &[Ipv4Net]) -> bool {
    one.iter().any(|a| other.iter().any(|b| overlap(*a, *b)))
}

fn illegal(peering: &VpcPeeringConnection, verb: &str) -> ApiError {
    client(
        "InvalidStateTransition",
        format!(
            "Invalid state transition for {}, attempted to transition from {} to {verb}",
            peering.peering,
            peering.state.code()
        ),
    )
}

/// A request that waits for its accepter's word, which the caller is.
fn pending(ctx: &Context, txn: &mut Txn<'_>, id: &str, verb: &str) -> Result<Arc<VpcPeeringConnection>> {
    let peering = hold::<VpcPeeringConnection>(ctx, txn, id)?;
    match peering.state {
        PeeringState::PendingAcceptance { expires_at } if ctx.now < expires_at => {}
        PeeringState::PendingAcceptance { .. }
        | PeeringState::Active
        | PeeringState::Rejected { .. }
        | PeeringState::Expired { .. }
        | PeeringState::Deleted { .. }
        | PeeringState::Failed { .. } => return Err(illegal(&peering, verb)),
    }
    if peering.accepter.account != ctx.account() {
        return Err(operation_not_permitted(format!("User {} cannot {verb} peering {id}", ctx.account())));
    }
    Ok(peering)
}

pub fn accept(
    ctx: &Context,
    request: &AcceptVpcPeeringConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<AcceptVpcPeeringConnectionResult> {
    let peering = pending(ctx, txn, &request.vpc_peering_connection_id, "accept")?;
    let mut accepted = VpcPeeringConnection { state: PeeringState::Active, ..(*peering).clone() };
    // As they are now.
    for end in [&mut accepted.requester, &mut accepted.accepter] {
        let vpc = txn.get::<Vpc>(&ctx.region, &end.vpc);
        end.cidrs = vpc.iter().flat_map(|vpc| vpc.cidrs()).collect();
        end.ipv6_cidrs = vpc.iter().flat_map(|vpc| vpc.ipv6_cidrs()).collect();
    }
    if collide(&accepted.requester.cidrs, &accepted.accepter.cidrs) {
        accepted.state = PeeringState::Failed { at: ctx.now };
    }
    let shown = render::peering(&ctx.region, &accepted);
    txn.put(&ctx.region, accepted);
    Ok(AcceptVpcPeeringConnectionResult { vpc_peering_connection: Some(shown) })
}

pub fn reject(
    ctx: &Context,
    request: &RejectVpcPeeringConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<RejectVpcPeeringConnectionResult> {
    let peering = pending(ctx, txn, &request.vpc_peering_connection_id, "reject")?;
    let state = PeeringState::Rejected { at: ctx.now };
    txn.put(&ctx.region, VpcPeeringConnection { state, ..(*peering).clone() });
    Ok(RejectVpcPeeringConnectionResult { r#return: Some(true) })
}

/// Either side ends what is active; the requester takes back what waits.
pub fn delete(
    ctx: &Context,
    request: &DeleteVpcPeeringConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpcPeeringConnectionResult> {
    let peering = hold::<VpcPeeringConnection>(ctx, txn, &request.vpc_peering_connection_id)?;
    match peering.state {
        PeeringState::Active => {}
        PeeringState::PendingAcceptance { .. } | PeeringState::Failed { .. }
            if peering.requester.account == ctx.account() => {}
        // Doing it again is harmless.
        PeeringState::Deleted { .. } => return Ok(DeleteVpcPeeringConnectionResult { r#return: Some(true) }),
        PeeringState::PendingAcceptance { .. }
        | PeeringState::Failed { .. }
        | PeeringState::Rejected { .. }
        | PeeringState::Expired { .. } => return Err(illegal(&peering, "delete")),
    }
    let state = PeeringState::Deleted { at: ctx.now, by: ctx.account() };
    txn.put(&ctx.region, VpcPeeringConnection { state, ..(*peering).clone() });
    Ok(DeleteVpcPeeringConnectionResult { r#return: Some(true) })
}
