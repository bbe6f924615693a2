//! `AllocateAddress` and `ReleaseAddress`.

use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::network_interface::allocate::{allocate_from, claim_public, release_public};
use crate::noun::{Noun as _, created, given_tags, hold, touched};
use api_ec2::{
    AllocateAddressRequest, AllocateAddressResult, DomainType, ReleaseAddressRequest, ReleaseAddressResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::address::Address;
use model::record::byoip::ByoipCidr;
use model::{AllocationId, PublicIpv4PoolId};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The pool that addresses of the cloud's own come from.
const POOL: &str = "amazon";

pub(super) fn touches(ctx: &Context, request: &AllocateAddressRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "elastic-ip")];
    all.extend(touched::<ByoipCidr>(ctx, tables, &request.public_ipv4_pool));
    all
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
    if let Some(pool) =
        [&request.customer_owned_ipv4_pool, &request.ipam_pool_id].into_iter().flatten().next()
    {
        return Err(no_pool(pool));
    }
    let wanted = request.address.as_deref().map(parse).transpose()?;
    let pool = pool(ctx, txn, request.public_ipv4_pool.as_deref(), wanted)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["elastic-ip"])?;
    let allocation = AllocationId::from_entropy(ctx.bits());
    let address = match wanted {
        Some(wanted) => claim_public(ctx, txn, pool.as_deref(), wanted, allocation)?,
        None => allocate_from(ctx, txn, pool.as_deref(), allocation)?,
    };
    let pool = pool.map(|pool| pool.pool);
    txn.put(
        &ctx.region,
        Address {
            allocation,
            account: ctx.account(),
            region: ctx.region.clone(),
            address,
            pool,
            association: None,
            transfer: None,
            tags: tags.into_values().next().unwrap_or_default(),
        },
    );
    Ok(AllocateAddressResult {
        allocation_id: Some(allocation.to_string()),
        public_ip: Some(address.to_string()),
        public_ipv4_pool: Some(pool_name(pool)),
        network_border_group: Some(ctx.region.to_string()),
        domain: Some(DomainType::Vpc),
        ..Default::default()
    })
}

fn parse(text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!("Invalid IPv4 address: {shown}"))
    })
}

fn no_pool(id: &str) -> wire::ApiError {
    let shown: String = id.chars().take(64).collect();
    client("InvalidPublicIpv4PoolID.NotFound", format!("The pool ID '{shown}' does not exist."))
}

/// The pool of the caller's own that is named, or that has the address that is wanted; none: the cloud's.
fn pool(
    ctx: &Context,
    txn: &mut Txn<'_>,
    named: Option<&str>,
    wanted: Option<Ipv4Addr>,
) -> Result<Option<Arc<ByoipCidr>>> {
    match (named, wanted) {
        (None, Some(wanted)) => {
            let own = ByoipCidr::listed(ctx, txn.tables());
            let id = own.into_iter().find(|own| own.cidr.contains(&wanted)).map(|own| own.pool.to_string());
            id.map(|id| hold::<ByoipCidr>(ctx, txn, &id)).transpose()
        }
        (None | Some(POOL), _) => Ok(None),
        (Some(id), _) => hold::<ByoipCidr>(ctx, txn, id).map(Some).map_err(|_| no_pool(id)),
    }
}

/// What the API calls the pool of an address.
pub(super) fn pool_name(pool: Option<PublicIpv4PoolId>) -> String {
    pool.map_or_else(|| POOL.to_owned(), |pool| pool.to_string())
}

pub fn check_border_group(ctx: &Context, group: Option<&str>) -> Result<()> {
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
