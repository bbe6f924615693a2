//! `DescribeAddresses`.

use crate::errors::{client, invalid_parameter_value};
use api_ec2::{DescribeAddressesRequest, DescribeAddressesResult};
use control::filter::{FilterField, Filters};
use control::{Context, Result, Tables, Touched};
use std::convert::Infallible;
use std::net::Ipv4Addr;

static FILTERS: &[FilterField<Infallible, ()>] = &[
    FilterField { name: "allocation-id", values: |none, ()| match *none {} },
    FilterField { name: "association-id", values: |none, ()| match *none {} },
    FilterField { name: "domain", values: |none, ()| match *none {} },
    FilterField { name: "instance-id", values: |none, ()| match *none {} },
    FilterField { name: "network-border-group", values: |none, ()| match *none {} },
    FilterField { name: "network-interface-id", values: |none, ()| match *none {} },
    FilterField { name: "network-interface-owner-id", values: |none, ()| match *none {} },
    FilterField { name: "private-ip-address", values: |none, ()| match *none {} },
    FilterField { name: "public-ip", values: |none, ()| match *none {} },
];

pub fn touches(_: &Context, _: &DescribeAddressesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    _: &Context,
    request: &DescribeAddressesRequest,
    _: &Tables,
) -> Result<DescribeAddressesResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    if let Some(address) = request.public_ips.iter().flatten().next() {
        let address: Ipv4Addr = address.parse().map_err(|_| {
            let shown: String = address.chars().take(64).collect();
            invalid_parameter_value(format!("Value ({shown}) for parameter publicIp is invalid."))
        })?;
        return Err(client("InvalidAddress.NotFound", format!("Address '{address}' not found.")));
    }
    if let Some(id) = request.allocation_ids.iter().flatten().next() {
        let shown: String = id.chars().take(64).collect();
        return Err(client(
            "InvalidAllocationID.NotFound",
            format!("The allocation ID '{shown}' does not exist"),
        ));
    }
    Ok(DescribeAddressesResult { addresses: Some(Vec::new()) })
}
