//! Private addresses beside the primary one: `AssignPrivateIpAddresses`, `UnassignPrivateIpAddresses`.
//!
//! An elastic address goes where its private address goes, and is free when that is given back.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssignPrivateIpAddresses.html>

use super::allocate::{allocate_private, private_claim, release_private};
use super::attach::{own, too_many};
use super::create::{MAX_ADDRESSES, parse_address};
use super::prefix;
use crate::address;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{hold, touched};
use api_ec2::{
    AssignPrivateIpAddressesRequest, AssignPrivateIpAddressesResult, AssignedPrivateIpAddress,
    UnassignPrivateIpAddressesRequest, UnassignPrivateIpAddressesResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::NetworkInterfaceId;
use model::record::address::Address;
use model::record::instance::Instance;
use model::record::network_interface::{NetworkInterface, PrivateAddress, PublicAddress};
use model::record::vpc::Subnet;
use std::net::Ipv4Addr;

pub fn assign_touches(
    ctx: &Context,
    request: &AssignPrivateIpAddressesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn assign(
    ctx: &Context,
    request: &AssignPrivateIpAddressesRequest,
    txn: &mut Txn<'_>,
) -> Result<AssignPrivateIpAddressesResult> {
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    own(&held)?;
    let mut interface = NetworkInterface::clone(&held);
    let listed = request.private_ip_addresses.as_deref().unwrap_or_default();
    let prefixes = prefix::wanted(request.ipv4_prefixes.as_deref(), request.ipv4_prefix_count)?.each();
    let wanted: Vec<Option<Ipv4Addr>> = match (listed, request.secondary_private_ip_address_count) {
        ([], None) if !prefixes.is_empty() => Vec::new(),
        _ if !prefixes.is_empty() => return Err(prefix::not_both()),
        ([], None) => {
            return Err(missing_parameter("privateIpAddress or secondaryPrivateIpAddressCount"));
        }
        ([], Some(count)) => {
            let count = usize::try_from(count).ok().filter(|count| (1..MAX_ADDRESSES).contains(count));
            let count = count.ok_or_else(|| {
                invalid_parameter_value("secondaryPrivateIpAddressCount must be at least 1.".to_owned())
            })?;
            vec![None; count]
        }
        (listed, None) => listed.iter().map(|text| parse_address(text).map(Some)).collect::<Result<_>>()?,
        (_, Some(_)) => {
            return Err(invalid_parameter_combination(
                "privateIpAddresses and secondaryPrivateIpAddressCount cannot be specified at the same time",
            ));
        }
    };
    let subnet = txn
        .get::<Subnet>(&ctx.region, &interface.subnet)
        .ok_or_else(|| crate::errors::SUBNET.not_found(interface.subnet))?;
    let is_own = |interface: &NetworkInterface, address: Ipv4Addr| {
        interface.addresses.iter().any(|a| a.address == address)
    };
    let mut assigned = Vec::new();
    for wanted in wanted {
        let address = match wanted {
            // Asked for what is so already.
            Some(address) if is_own(&interface, address) => address,
            Some(address) => {
                match holder(ctx, txn.tables(), &subnet, address) {
                    Some(other) if request.allow_reassignment == Some(true) => {
                        interface.addresses.push(take_over(ctx, txn, &subnet, address, other, &interface)?);
                    }
                    Some(_) => {
                        return Err(invalid_parameter_value(format!(
                            "Some of [{address}] addresses are assigned, but move is not specified."
                        )));
                    }
                    None => {
                        allocate_private(ctx, txn, &subnet, Some(address), interface.interface)?;
                        interface.addresses.push(PrivateAddress { address, public: None });
                    }
                }
                address
            }
            None => {
                let address = allocate_private(ctx, txn, &subnet, None, interface.interface)?;
                interface.addresses.push(PrivateAddress { address, public: None });
                address
            }
        };
        assigned.push(AssignedPrivateIpAddress { private_ip_address: Some(address.to_string()) });
    }
    let assigned_prefixes = prefix::assign(ctx, txn, &subnet, &mut interface, prefixes)?;
    within_limits(ctx, txn.tables(), &interface)?;
    txn.put(&ctx.region, interface);
    Ok(AssignPrivateIpAddressesResult {
        network_interface_id: Some(request.network_interface_id.clone()),
        assigned_private_ip_addresses: (!assigned.is_empty()).then_some(assigned),
        assigned_ipv4_prefixes: (!assigned_prefixes.is_empty()).then_some(assigned_prefixes),
    })
}

/// The type of the instance that has it says how many; without an instance the most that any type has.
fn within_limits(ctx: &Context, tables: &Tables, interface: &NetworkInterface) -> Result<()> {
    let count = interface.ipv4_places();
    let instance =
        interface.attachment.as_ref().and_then(|a| tables.get::<Instance>(&ctx.region, &a.instance));
    match instance {
        Some(instance) => too_many(&instance.instance_type, count),
        None if count > MAX_ADDRESSES => Err(client(
            "PrivateIpAddressLimitExceeded",
            format!("An interface may have up to {MAX_ADDRESSES} private addresses."),
        )),
        None => Ok(()),
    }
}

/// The interface that has an address of the subnet.
fn holder(ctx: &Context, tables: &Tables, subnet: &Subnet, address: Ipv4Addr) -> Option<NetworkInterfaceId> {
    let owner = tables.claimed(&ctx.region, &private_claim(subnet.subnet, address))?;
    NetworkInterfaceId::parse(owner).ok()
}

/// Takes a secondary address from another interface of the caller's, with the elastic address that it stands for.
fn take_over(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    address: Ipv4Addr,
    from: NetworkInterfaceId,
    to: &NetworkInterface,
) -> Result<PrivateAddress> {
    let refused =
        |why: &str| invalid_parameter_value(format!("The address {address} cannot be moved: {why}"));
    let other = txn
        .get::<NetworkInterface>(&ctx.region, &from)
        .filter(|other| other.account == ctx.account())
        .ok_or_else(|| refused("it is in use by a service"))?;
    let mut other = NetworkInterface::clone(&other);
    let place = other.addresses.iter().position(|a| a.address == address);
    let place = place.ok_or_else(|| refused("it is not assigned to an interface"))?;
    if place == 0 {
        return Err(refused("it is the primary address of its interface"));
    }
    let moved = other.addresses.remove(place);
    if let Some(PublicAddress::Elastic { allocation, .. }) = &moved.public
        && let Some(elastic) = txn.get::<Address>(&ctx.region, allocation)
    {
        let mut elastic = Address::clone(&elastic);
        if let Some(association) = &mut elastic.association {
            association.interface = to.interface;
        }
        txn.put(&ctx.region, elastic);
    }
    txn.put(&ctx.region, other);
    release_private(ctx, txn, subnet.subnet, address);
    allocate_private(ctx, txn, subnet, Some(address), to.interface)?;
    Ok(moved)
}

pub fn unassign_touches(
    ctx: &Context,
    request: &UnassignPrivateIpAddressesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn unassign(
    ctx: &Context,
    request: &UnassignPrivateIpAddressesRequest,
    txn: &mut Txn<'_>,
) -> Result<UnassignPrivateIpAddressesResult> {
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    own(&held)?;
    let mut interface = NetworkInterface::clone(&held);
    let listed = request.private_ip_addresses.as_deref().unwrap_or_default();
    let prefixes = request.ipv4_prefixes.as_deref().unwrap_or_default();
    match (listed.is_empty(), prefixes.is_empty()) {
        (true, true) => return Err(missing_parameter("privateIpAddress")),
        (false, false) => return Err(prefix::not_both()),
        _ => {}
    }
    prefix::unassign(ctx, txn, &mut interface, prefixes)?;
    for text in listed {
        let address = parse_address(text)?;
        let place = interface.addresses.iter().position(|a| a.address == address);
        let Some(place) = place else {
            return Err(invalid_parameter_value(format!(
                "Some of the specified addresses are not assigned to interface {}",
                interface.interface
            )));
        };
        if place == 0 {
            return Err(invalid_parameter_value(format!(
                "The address {address} is the primary one of {} and cannot be unassigned.",
                interface.interface
            )));
        }
        let gone = interface.addresses.remove(place);
        release_private(ctx, txn, interface.subnet, address);
        if let Some(PublicAddress::Elastic { allocation, .. }) = gone.public {
            address::part(txn, &ctx.region, allocation);
        }
    }
    txn.put(&ctx.region, interface);
    Ok(UnassignPrivateIpAddressesResult {})
}
