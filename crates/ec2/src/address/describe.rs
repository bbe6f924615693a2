//! `DescribeAddresses` and `DescribeAddressesAttribute`. AWS pages neither by itself; an attribute's page holds all.

use super::{allocate, by_number, interface};
use crate::noun::{Noun as _, find_all, parse_filters, render_tags};
use api_ec2::{
    AddressAttribute, DescribeAddressesAttributeRequest, DescribeAddressesAttributeResult,
    DescribeAddressesRequest, DescribeAddressesResult, DomainType,
};
use control::{Context, Result, Tables, Touched};
use model::record::address::Address;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn touches(_: &Context, _: &DescribeAddressesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeAddressesRequest,
    tables: &Tables,
) -> Result<DescribeAddressesResult> {
    let filters = parse_filters::<Address>(request.filters.as_deref())?;
    let numbers = request.public_ips.as_deref().unwrap_or_default();
    let ids = request.allocation_ids.as_deref().unwrap_or_default();
    let candidates = if numbers.is_empty() && ids.is_empty() {
        Address::listed(ctx, tables)
    } else {
        let mut ids = ids.to_vec();
        for number in numbers {
            ids.push(by_number(ctx, tables, number)?.to_string());
        }
        once(find_all::<Address>(ctx, tables, &ids)?)
    };
    let matching = candidates.into_iter().filter(|address| filters.accept(address, &address.tags, tables));
    Ok(DescribeAddressesResult { addresses: Some(matching.map(|address| render(tables, address)).collect()) })
}

/// Each once and in order, however often it was named.
fn once(found: Vec<&Arc<Address>>) -> Vec<&Arc<Address>> {
    let by_id: BTreeMap<_, _> = found.into_iter().map(|address| (address.allocation, address)).collect();
    by_id.into_values().collect()
}

fn render(tables: &Tables, address: &Address) -> api_ec2::Address {
    let association = address.association.as_ref();
    let interface = interface(tables, address);
    let attachment = interface.and_then(|interface| interface.attachment.as_ref());
    api_ec2::Address {
        allocation_id: Some(address.allocation.to_string()),
        association_id: association.map(|a| a.association.to_string()),
        domain: Some(DomainType::Vpc),
        instance_id: attachment.map(|attachment| attachment.instance.to_string()),
        network_border_group: Some(address.region.to_string()),
        network_interface_id: association.map(|a| a.interface.to_string()),
        network_interface_owner_id: interface.map(|interface| interface.account.to_string()),
        private_ip_address: association.map(|a| a.private.to_string()),
        public_ip: Some(address.address.to_string()),
        public_ipv4_pool: Some(allocate::pool_name(address.pool)),
        tags: render_tags(&address.tags),
        ..Default::default()
    }
}

pub(super) fn attribute_touches(
    _: &Context,
    _: &DescribeAddressesAttributeRequest,
    _: &Tables,
) -> Vec<Touched> {
    Touched::anything()
}

/// The only attribute is the reverse DNS record, and no address has one.
pub(super) fn attribute(
    ctx: &Context,
    request: &DescribeAddressesAttributeRequest,
    tables: &Tables,
) -> Result<DescribeAddressesAttributeResult> {
    let addresses = match request.allocation_ids.as_deref() {
        Some(ids) if !ids.is_empty() => once(find_all::<Address>(ctx, tables, ids)?),
        _ => Address::listed(ctx, tables),
    };
    let shown = addresses.into_iter().map(|address| AddressAttribute {
        public_ip: Some(address.address.to_string()),
        allocation_id: Some(address.allocation.to_string()),
        ..Default::default()
    });
    Ok(DescribeAddressesAttributeResult { addresses: Some(shown.collect()), next_token: None })
}
