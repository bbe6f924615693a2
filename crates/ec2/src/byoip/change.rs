//! `AdvertiseByoipCidr`, `WithdrawByoipCidr` and `DeprovisionByoipCidr`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AdvertiseByoipCidr.html>

use super::{allocated, by_cidr, incorrect_state, render, state};
use crate::address::allocate::check_border_group;
use crate::errors::{dependency_violation, operation_not_permitted};
use crate::parameter::refuse;
use api_ec2 as api;
use api_ec2::ByoipCidrState;
use control::{Context, Result, Txn};
use model::record::byoip::ByoipCidr;
use plan::net::byoip::{Event, may_bring, next};

pub fn advertise(
    ctx: &Context,
    request: &api::AdvertiseByoipCidrRequest,
    txn: &mut Txn<'_>,
) -> Result<api::AdvertiseByoipCidrResult> {
    refuse(&[("Asn", request.asn.as_ref().is_some_and(|asn| !asn.is_empty()))])?;
    check_border_group(ctx, request.network_border_group.as_deref())?;
    let range = changed(ctx, &request.cidr, Event::Advertise, txn)?;
    // The operator may have taken the word back.
    if !may_bring(&ctx.cloud.settings.byoip, range.account, range.cidr) {
        return Err(operation_not_permitted(format!(
            "The operator of this cloud does not let account {} bring {}.",
            range.account, range.cidr
        )));
    }
    let shown = render(ctx, &range, state(&range));
    txn.put(&ctx.region, range);
    Ok(api::AdvertiseByoipCidrResult { byoip_cidr: Some(shown) })
}

pub fn withdraw(
    ctx: &Context,
    request: &api::WithdrawByoipCidrRequest,
    txn: &mut Txn<'_>,
) -> Result<api::WithdrawByoipCidrResult> {
    let range = changed(ctx, &request.cidr, Event::Withdraw, txn)?;
    let shown = render(ctx, &range, state(&range));
    txn.put(&ctx.region, range);
    Ok(api::WithdrawByoipCidrResult { byoip_cidr: Some(shown) })
}

/// Refused while any of its addresses is allocated.
pub fn deprovision(
    ctx: &Context,
    request: &api::DeprovisionByoipCidrRequest,
    txn: &mut Txn<'_>,
) -> Result<api::DeprovisionByoipCidrResult> {
    let range = changed(ctx, &request.cidr, Event::Deprovision, txn)?;
    let held = allocated(txn.tables(), &ctx.region, range.pool);
    if held > 0 {
        return Err(dependency_violation(format!(
            "The address range '{}' has addresses that are allocated ({held}).",
            range.cidr
        )));
    }
    let shown = render(ctx, &range, ByoipCidrState::PendingDeprovision);
    txn.put(&ctx.region, range);
    Ok(api::DeprovisionByoipCidrResult { byoip_cidr: Some(shown) })
}

/// The caller's range as it becomes, held until the commit.
fn changed(ctx: &Context, cidr: &str, event: Event, txn: &mut Txn<'_>) -> Result<ByoipCidr> {
    let pool = by_cidr(ctx, txn.tables(), cidr)?.pool;
    let gone = || crate::errors::PUBLIC_IPV4_POOL.not_found(pool);
    let range = txn.get::<ByoipCidr>(&ctx.region, &pool).ok_or_else(gone)?;
    let phase = next(&range, event, ctx.now).map_err(|_| incorrect_state(&range))?;
    Ok(ByoipCidr { phase, ..(*range).clone() })
}
