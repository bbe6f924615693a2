//! `ModifyVpcPeeringConnectionOptions`: each owner sets its own side's.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/peering/modify-peering-connections.html>
//! Differs: the option is kept and shown; names of a peer's instances resolve to public addresses either way.

use crate::errors::{client, invalid_parameter_combination, operation_not_permitted};
use crate::noun::hold;
use crate::parameter::refuse;
use api_ec2::{
    ModifyVpcPeeringConnectionOptionsRequest, ModifyVpcPeeringConnectionOptionsResult,
    PeeringConnectionOptions, PeeringConnectionOptionsRequest,
};
use control::{Context, Result, Txn};
use model::record::vpc_peering_connection::{PeeringEnd, VpcPeeringConnection};

pub fn modify(
    ctx: &Context,
    request: &ModifyVpcPeeringConnectionOptionsRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcPeeringConnectionOptionsResult> {
    let held = hold::<VpcPeeringConnection>(ctx, txn, &request.vpc_peering_connection_id)?;
    if !held.is_active() {
        return Err(client(
            "InvalidStateTransition",
            format!("{} is {}, not active", held.peering, held.state.code()),
        ));
    }
    let mut peering = VpcPeeringConnection::clone(&held);
    let (requester, accepter) =
        (&request.requester_peering_connection_options, &request.accepter_peering_connection_options);
    if requester.is_none() && accepter.is_none() {
        return Err(invalid_parameter_combination("No options specified."));
    }
    let requester = requester.as_ref().map(|o| set(ctx, &mut peering.requester, o)).transpose()?;
    let accepter = accepter.as_ref().map(|o| set(ctx, &mut peering.accepter, o)).transpose()?;
    txn.put(&ctx.region, peering);
    Ok(ModifyVpcPeeringConnectionOptionsResult {
        requester_peering_connection_options: requester,
        accepter_peering_connection_options: accepter,
    })
}

fn set(
    ctx: &Context,
    end: &mut PeeringEnd,
    options: &PeeringConnectionOptionsRequest,
) -> Result<PeeringConnectionOptions> {
    refuse(&[
        (
            "AllowEgressFromLocalClassicLinkToRemoteVpc",
            options.allow_egress_from_local_classic_link_to_remote_vpc == Some(true),
        ),
        (
            "AllowEgressFromLocalVpcToRemoteClassicLink",
            options.allow_egress_from_local_vpc_to_remote_classic_link == Some(true),
        ),
    ])?;
    if end.account != ctx.account() {
        return Err(operation_not_permitted(format!(
            "User {} cannot modify the peering options of {}",
            ctx.account(),
            end.vpc
        )));
    }
    if let Some(allow) = options.allow_dns_resolution_from_remote_vpc {
        end.remote_dns = allow;
    }
    Ok(PeeringConnectionOptions {
        allow_dns_resolution_from_remote_vpc: Some(end.remote_dns),
        ..Default::default()
    })
}
