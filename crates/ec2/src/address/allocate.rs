//! `AllocateAddress` and `ReleaseAddress`.

use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::network_interface::allocate::{allocate_public, claim_public, release_public};
use crate::noun::{created, given_tags, hold, touched};
use api_ec2::{
    AllocateAddressRequest, AllocateAddressResult, DomainType, ReleaseAddressRequest, ReleaseAddressResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::AllocationId;
use model::record::address::Address;
use std::net::Ipv4Addr;

/// The pool that addresses of the cloud's own come from.
pub(super) const POOL: &str = "amazon";

pub(super) fn touches(ctx: &Context, _: &AllocateAddressRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "elastic-ip")]
}

pub(super) fn allocate(
    ctx: &Context,
    request: &AllocateAddressRequest,
    txn: &mut Txn<'_>,
) -> Result<AllocateAddressResult> {
    let domain = request.domain.as_ref().map_or("vpc", |domain| domain.as_str());
    if domain != "vpc" {
        return Err(invalid_parameter_value(format!("Invalid value '{domain}' for domain. Use 'vpc'.")));
    }
    check_border_group(ctx, request.network_border_group.as_deref())?;
    let pools = [&request.public_ipv4_pool, &request.customer_owned_ipv4_pool, &request.ipam_pool_id];
    if let Some(pool) = pools.into_iter().flatten().find(|pool| *pool != POOL) {
        return Err(client(
            "InvalidPublicIpv4PoolID.NotFound",
            format!("The pool ID '{pool}' does not exist."),
        ));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["elastic-ip"])?;
    let allocation = AllocationId::from_entropy(ctx.bits());
    let address = match &request.address {
        Some(wanted) => {
            let parsed: Ipv4Addr = wanted
                .parse()
                .map_err(|_| invalid_parameter_value(format!("Invalid IPv4 address: {wanted}")))?;
            claim_public(ctx, txn, parsed, allocation)?
        }
        None => allocate_public(ctx, txn, allocation)?,
    };
    txn.put(
        &ctx.region,
        Address {
            allocation,
            account: ctx.account(),
            region: ctx.region.clone(),
            address,
            association: None,
            transfer: None,
            tags: tags.into_values().next().unwrap_or_default(),
        },
    );
    Ok(AllocateAddressResult {
        allocation_id: Some(allocation.to_string()),
        public_ip: Some(address.to_string()),
        public_ipv4_pool: Some(POOL.into()),
        network_border_group: Some(ctx.region.to_string()),
        domain: Some(DomainType::Vpc),
        ..Default::default()
    })
}

fn check_border_group(ctx: &Context, group: Option<&str>) -> Result<()> {
    match group {
        Some(group) if group != ctx.region.to_string() => {
            Err(invalid_parameter_value(format!("Invalid value '{group}' for NetworkBorderGroup.")))
        }
        _ => Ok(()),
    }
}

pub(super) fn release_touches(
    ctx: &Context,
    request: &ReleaseAddressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Address>(ctx, tables, &request.allocation_id)
}

pub(super) fn release(
    ctx: &Context,
    request: &ReleaseAddressRequest,
    txn: &mut Txn<'_>,
) -> Result<ReleaseAddressResult> {
    check_border_group(ctx, request.network_border_group.as_deref())?;
    let Some(id) = &request.allocation_id else {
        return Err(if request.public_ip.is_some() {
            invalid_parameter_value(
                "You must specify an allocation id when releasing a VPC elastic IP address",
            )
        } else {
            missing_parameter("AllocationId")
        });
    };
    let address = hold::<Address>(ctx, txn, id)?;
    if address.association.is_some() {
        return Err(client("InvalidIPAddress.InUse", format!("Address {} is in use.", address.address)));
    }
    release_public(txn, address.address);
    txn.delete::<Address>(&ctx.region, &address.allocation);
    Ok(ReleaseAddressResult {})
}
