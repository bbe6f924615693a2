//! `ProvisionByoipCidr`: makes a range a pool. One that the operator lets nobody bring fails as AWS's checks do, afterwards;
//! asking again takes the place of what failed.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ProvisionByoipCidr.html>

use super::{MAX_RANGES, block, ranges, render};
use crate::address::allocate::check_border_group;
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{given_tags, wire_time};
use crate::parameter::refuse;
use api_ec2::{ByoipCidrState, ProvisionByoipCidrRequest, ProvisionByoipCidrResult};
use control::{Context, Result, Txn};
use ipnet::Ipv4Net;
use model::PublicIpv4PoolId;
use model::record::byoip::{ByoipCidr, ByoipPhase};
use plan::net::{byoip, overlap};

/// How long a description may be, in characters.
const MAX_DESCRIPTION: usize = 255;

pub fn provision(
    ctx: &Context,
    request: &ProvisionByoipCidrRequest,
    txn: &mut Txn<'_>,
) -> Result<ProvisionByoipCidrResult> {
    refuse(&[("MultiRegion", request.multi_region == Some(true))])?;
    check_border_group(ctx, request.network_border_group.as_deref())?;
    let cidr = block(&request.cidr)?;
    byoip::fit(cidr).map_err(|why| {
        invalid_parameter_value(format!("The address range '{cidr}' cannot be brought: {why}."))
    })?;
    authorized(ctx, request, cidr)?;
    if request.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        return Err(invalid_parameter_value(format!(
            "The description must have no more than {MAX_DESCRIPTION} characters."
        )));
    }
    let tags = given_tags(request.pool_tag_specifications.as_deref(), &["ipv4pool-ec2"])?;

    let is_failed = |range: &ByoipCidr| matches!(range.phase, ByoipPhase::Failed);
    let mut pools = txn.tables().everywhere::<ByoipCidr>().filter(|(_, range)| range.is_pool());
    if pools.any(|(_, range)| overlap(range.cidr, cidr)) {
        return Err(invalid_parameter_value(format!(
            "The address range '{cidr}' overlaps with one that has been brought already."
        )));
    }
    let own: Vec<_> = ranges(ctx, txn.tables()).filter(|range| !range.is_over()).cloned().collect();
    let (replaced, kept): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|range| is_failed(range) && range.cidr == cidr);
    if kept.len() >= MAX_RANGES {
        return Err(client(
            "ResourceLimitExceeded",
            format!("You have reached the limit of {MAX_RANGES} address ranges in {}.", ctx.region),
        ));
    }
    for range in replaced {
        txn.delete::<ByoipCidr>(&ctx.region, &range.pool);
    }
    let may = byoip::may_bring(&ctx.cloud.settings.byoip, ctx.account(), cidr);
    let range = ByoipCidr {
        pool: PublicIpv4PoolId::from_entropy(ctx.bits()),
        account: ctx.account(),
        cidr,
        description: request.description.clone(),
        advertisable: request.publicly_advertisable != Some(false),
        phase: if may { ByoipPhase::Provisioned } else { ByoipPhase::Failed },
        tags: tags.into_values().next().unwrap_or_default(),
    };
    // How it went is told by the next describe.
    let mut shown = render(ctx, &range, ByoipCidrState::PendingProvision);
    shown.status_message = None;
    txn.put(&ctx.region, range);
    Ok(ProvisionByoipCidrResult { byoip_cidr: Some(shown) })
}

fn authorized(ctx: &Context, request: &ProvisionByoipCidrRequest, cidr: Ipv4Net) -> Result<()> {
    let Some(given) = &request.cidr_authorization_context else { return Ok(()) };
    let today: String = wire_time(ctx.now).to_string().chars().take(10).filter(|c| *c != '-').collect();
    byoip::authorization(&given.message, &given.signature, ctx.account(), cidr, &today)
        .map_err(|why| invalid_parameter_value(format!("Invalid CidrAuthorizationContext: {why}.")))
}
