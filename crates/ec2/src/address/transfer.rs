//! Elastic IP addresses that go to another account: offered, taken back or accepted within a week.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/WorkWithEIPs.html#transfer-EIPs-intro>
//! Differs: an offer is shown while it is open, to the one who made it; what was accepted is the other account's alone.

use crate::errors::{client, invalid_parameter_value};
use crate::network_interface::allocate::{claim_public, release_public};
use crate::noun::{Noun as _, created, find_all, given_tags, hold, touched, wire_time};
use crate::parameter::unsupported;
use api_ec2 as api;
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::address::{Address, Transfer};
use model::{AccountId, AllocationId, Timestamp};
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long an offer stands.
const OPEN: Duration = Duration::from_hours(7 * 24);

fn is_open(transfer: &Transfer, now: Timestamp) -> bool {
    transfer.expires_at > now
}

fn render(
    address: &Address,
    transfer: &Transfer,
    status: api::AddressTransferStatus,
) -> api::AddressTransfer {
    api::AddressTransfer {
        public_ip: Some(address.address.to_string()),
        allocation_id: Some(address.allocation.to_string()),
        transfer_account_id: Some(transfer.to.to_string()),
        transfer_offer_expiration_timestamp: Some(wire_time(transfer.expires_at)),
        transfer_offer_accepted_timestamp: None,
        address_transfer_status: Some(status),
    }
}

pub fn enable_touches(
    ctx: &Context,
    request: &api::EnableAddressTransferRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Address>(ctx, tables, [&request.allocation_id])
}

/// Offering again, to another account too, replaces the offer.
pub fn enable(
    ctx: &Context,
    request: &api::EnableAddressTransferRequest,
    txn: &mut Txn<'_>,
) -> Result<api::EnableAddressTransferResult> {
    let address = hold::<Address>(ctx, txn, &request.allocation_id)?;
    if address.pool.is_some() {
        return Err(unsupported("The transfer of addresses that were brought along"));
    }
    let text = &request.transfer_account_id;
    let to = AccountId::parse(text).filter(|to| *to != ctx.account()).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!("Invalid value '{shown}' for parameter TransferAccountId."))
    })?;
    let transfer = Transfer { to, expires_at: ctx.now + OPEN };
    let shown = render(&address, &transfer, api::AddressTransferStatus::Pending);
    txn.put(&ctx.region, Address { transfer: Some(transfer), ..(*address).clone() });
    Ok(api::EnableAddressTransferResult { address_transfer: Some(shown) })
}

pub fn disable_touches(
    ctx: &Context,
    request: &api::DisableAddressTransferRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Address>(ctx, tables, [&request.allocation_id])
}

pub fn disable(
    ctx: &Context,
    request: &api::DisableAddressTransferRequest,
    txn: &mut Txn<'_>,
) -> Result<api::DisableAddressTransferResult> {
    let address = hold::<Address>(ctx, txn, &request.allocation_id)?;
    let transfer = address.transfer.clone().filter(|transfer| is_open(transfer, ctx.now));
    let transfer = transfer.ok_or_else(|| not_offered(address.address))?;
    let shown = render(&address, &transfer, api::AddressTransferStatus::Disabled);
    txn.put(&ctx.region, Address { transfer: None, ..(*address).clone() });
    Ok(api::DisableAddressTransferResult { address_transfer: Some(shown) })
}

fn not_offered(address: Ipv4Addr) -> wire::ApiError {
    client("InvalidTransfer.AddressNotFound", format!("The address '{address}' is not offered for transfer."))
}

pub fn accept_touches(ctx: &Context, _: &api::AcceptAddressTransferRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "elastic-ip")]
}

/// The address becomes an allocation of the caller's, with a new id and tags of its own.
pub fn accept(
    ctx: &Context,
    request: &api::AcceptAddressTransferRequest,
    txn: &mut Txn<'_>,
) -> Result<api::AcceptAddressTransferResult> {
    let invalid = || invalid_parameter_value(format!("Invalid IPv4 address: {}", request.address));
    let number: Ipv4Addr = request.address.parse().map_err(|_| invalid())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["elastic-ip"])?;
    let offer = |address: &Address| {
        let transfer = address.transfer.clone()?;
        (transfer.to == ctx.account() && is_open(&transfer, ctx.now)).then_some(transfer)
    };
    let mut found = txn.tables().find::<Address>(&ctx.region, "address", number);
    let old = found.find(|address| offer(address).is_some()).map(|address| address.allocation);
    let old = old.and_then(|id| txn.get::<Address>(&ctx.region, &id)).ok_or_else(|| not_offered(number))?;
    let transfer = offer(&old).ok_or_else(|| not_offered(number))?;
    if old.association.is_some() {
        return Err(client("InvalidTransfer.AddressAssociated", format!("Address {number} is in use.")));
    }
    let allocation = AllocationId::from_entropy(ctx.bits());
    release_public(txn, number);
    claim_public(ctx, txn, None, number, allocation)?;
    txn.delete::<Address>(&ctx.region, &old.allocation);
    let new = Address {
        allocation,
        account: ctx.account(),
        transfer: None,
        tags: tags.into_values().next().unwrap_or_default(),
        ..(*old).clone()
    };
    let mut shown = render(&new, &transfer, api::AddressTransferStatus::Accepted);
    shown.transfer_offer_accepted_timestamp = Some(wire_time(ctx.now));
    txn.put(&ctx.region, new);
    Ok(api::AcceptAddressTransferResult { address_transfer: Some(shown) })
}

pub fn describe(
    ctx: &Context,
    request: &api::DescribeAddressTransfersRequest,
    tables: &Tables,
) -> Result<api::DescribeAddressTransfersResult> {
    let by_ids = ByIds::from(&request.allocation_ids);
    let next_token = request.next_token.as_deref();
    let paging = Paging::<AllocationId>::parse(request.max_results, next_token, 5..=1000, by_ids)?;
    let ids = request.allocation_ids.as_deref().unwrap_or_default();
    let addresses =
        if ids.is_empty() { Address::listed(ctx, tables) } else { find_all::<Address>(ctx, tables, ids)? };
    let offered = addresses.into_iter().filter_map(|address| {
        let transfer = address.transfer.as_ref().filter(|transfer| is_open(transfer, ctx.now))?;
        Some((address, transfer))
    });
    let (page, next_token) = page::cut(offered, &paging, |(address, _)| address.allocation);
    let pending = api::AddressTransferStatus::Pending;
    let shown = page.into_iter().map(|(address, transfer)| render(address, transfer, pending.clone()));
    Ok(api::DescribeAddressTransfersResult { address_transfers: Some(shown.collect()), next_token })
}
