//! IPv6 addresses of interfaces: which a request wants, `AssignIpv6Addresses`, `UnassignIpv6Addresses`.
//!
//! An address belongs to who holds the claim on it (`ip6/SUBNET/ADDRESS`); none is free that a prefix covers.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssignIpv6Addresses.html>
//! Differs: no primary IPv6 address that is kept.

use super::attach::own;
use super::create::MAX_ADDRESSES;
use super::ipv6_prefix;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::instance::kind;
use crate::noun::{hold, touched};
use crate::subnet::reservation;
use api_ec2::{
    AssignIpv6AddressesRequest, AssignIpv6AddressesResult, InstanceIpv6Address, UnassignIpv6AddressesRequest,
    UnassignIpv6AddressesResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::Ipv6Net;
use model::record::instance::Instance;
use model::record::network_interface::NetworkInterface;
use model::record::vpc::Subnet;
use model::{NetworkInterfaceId, SubnetId};
use plan::instance::Ipv6Addresses;
use std::net::Ipv6Addr;
use wire::ApiError;

/// How often an address is guessed: of 2^64 one is free.
const GUESSES: usize = 64;

/// The claim on an address.
pub fn claim(subnet: SubnetId, address: Ipv6Addr) -> String {
    format!("{}{address}", folder(subnet))
}

/// What the claims on a subnet's addresses begin with.
pub fn folder(subnet: SubnetId) -> String {
    format!("ip6/{subnet}/")
}

/// Gives an address back. Giving back what is free is a no-op.
pub fn release(ctx: &Context, txn: &mut Txn<'_>, subnet: SubnetId, address: Ipv6Addr) {
    txn.release(&ctx.region, &claim(subnet, address));
}

/// An address as a caller writes it.
pub fn parse(text: &str) -> Result<Ipv6Addr> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!("invalid value for parameter Ipv6Address: {shown}"))
    })
}

/// What a request wants of a new interface.
pub fn wanted(listed: Option<&[InstanceIpv6Address]>, count: Option<i32>) -> Result<Ipv6Addresses> {
    let listed = listed.unwrap_or_default().iter();
    let listed: Vec<&str> = listed.map(|one| one.ipv6_address.as_deref().unwrap_or_default()).collect();
    these_or_some(&listed, count)
}

fn these_or_some(listed: &[&str], count: Option<i32>) -> Result<Ipv6Addresses> {
    match (listed, count) {
        ([], None) => Ok(Ipv6Addresses::AsSubnet),
        ([], Some(count)) => {
            let fits = u32::try_from(count).ok().filter(|count| *count <= MAX_ADDRESSES as u32);
            fits.map(Ipv6Addresses::Any).ok_or_else(|| {
                invalid_parameter_value(format!("Value ({count}) for parameter ipv6AddressCount is invalid."))
            })
        }
        (listed, None) => {
            listed.iter().map(|text| parse(text)).collect::<Result<_>>().map(Ipv6Addresses::These)
        }
        (_, Some(_)) => Err(invalid_parameter_combination(
            "ipv6Addresses and ipv6AddressCount cannot be specified at the same time",
        )),
    }
}

/// Claims what a new interface in the subnet is to have.
pub fn claim_wanted(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    interface: NetworkInterfaceId,
    wanted: &Ipv6Addresses,
) -> Result<Vec<Ipv6Addr>> {
    let mut each = match wanted {
        Ipv6Addresses::AsSubnet => vec![None; usize::from(subnet.assign_ipv6 && subnet.ipv6.is_some())],
        Ipv6Addresses::Any(count) => vec![None; *count as usize],
        Ipv6Addresses::These(addresses) => addresses.iter().copied().map(Some).collect(),
    };
    // Where there is no IPv4 an interface is not made without an address.
    if subnet.is_ipv6_native() && each.is_empty() {
        each.push(None);
    }
    each.into_iter().map(|wanted| allocate(ctx, txn, subnet, wanted, interface)).collect()
}

/// Claims an address of the subnet's block: the wanted one, or any.
///
/// `InvalidParameterValue` when the subnet has no block or the address is none of it, `InvalidIPAddress.InUse`.
pub fn allocate(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    wanted: Option<Ipv6Addr>,
    owner: NetworkInterfaceId,
) -> Result<Ipv6Addr> {
    let block = block(subnet)?;
    if let Some(address) = wanted {
        if !block.contains(&address) {
            return Err(invalid_parameter_value(format!(
                "Address {address} does not fall within the subnet's address range"
            )));
        }
        if is_reserved(block, address) {
            return Err(invalid_parameter_value(format!(
                "Address {address} is in subnet's reserved address range"
            )));
        }
        let claim = claim(subnet.subnet, address);
        let is_taken = ipv6_prefix::covers(ctx, txn, subnet.subnet, address)
            || txn.is_claimed(&ctx.region, &claim)
            || txn.claim(&ctx.region, &claim, &owner.to_string()).is_err();
        if is_taken {
            return Err(client(
                "InvalidIPAddress.InUse",
                format!("The address {address} is already in use in {}.", subnet.subnet),
            ));
        }
        return Ok(address);
    }
    let reserved = reservation::ipv6(txn.tables(), &ctx.region, subnet.subnet);
    let open = unreserved(block, reserved.into_iter().map(|(cidr, _)| cidr).collect());
    let guesses: Vec<Ipv6Addr> = (0..GUESSES)
        .filter_map(|_| any_of(&open, ctx.bits()))
        .filter(|address| {
            !is_reserved(block, *address) && !ipv6_prefix::covers(ctx, txn, subnet.subnet, *address)
        })
        .collect();
    txn.claim_first(&ctx.region, &folder(subnet.subnet), guesses, &owner.to_string()).ok_or_else(|| {
        client(
            "InsufficientFreeAddressesInSubnet",
            format!("Not enough addresses are free in subnet {} for this request.", subnet.subnet),
        )
    })
}

/// What is left of a block beside its reservations, none of which overlaps another: first and last address of each part.
fn unreserved(block: Ipv6Net, mut reserved: Vec<Ipv6Net>) -> Vec<(u128, u128)> {
    reserved.sort_unstable();
    let (mut next, last) = (block.network().to_bits(), block.broadcast().to_bits());
    let mut parts = Vec::new();
    for cidr in reserved {
        let (from, to) = (cidr.network().to_bits(), cidr.broadcast().to_bits());
        if from > next {
            parts.push((next, from - 1));
        }
        if to == last {
            return parts;
        }
        next = to + 1;
    }
    parts.push((next, last));
    parts
}

/// The address that random bits point at, each of the parts' alike.
fn any_of(parts: &[(u128, u128)], bits: u128) -> Option<Ipv6Addr> {
    let size = |(from, to): &(u128, u128)| to - from + 1;
    let mut place = bits.checked_rem(parts.iter().map(size).sum())?;
    for part in parts {
        if place < size(part) {
            return Some(Ipv6Addr::from_bits(part.0 + place));
        }
        place -= size(part);
    }
    None
}

/// The subnet's block; `InvalidParameterValue` when it has none.
pub fn block(subnet: &Subnet) -> Result<Ipv6Net> {
    subnet.ipv6.as_ref().map(|own| own.cidr).ok_or_else(|| {
        invalid_parameter_value(format!("The subnet {} has no IPv6 CIDR block", subnet.subnet))
    })
}

/// The first four and the last.
fn is_reserved(block: Ipv6Net, address: Ipv6Addr) -> bool {
    let host = address.to_bits() & (u128::MAX >> block.prefix_len());
    host < 4 || host == u128::MAX >> block.prefix_len()
}

/// How many addresses an interface of such an instance may have; `PrivateIpAddressLimitExceeded`.
pub fn too_many(instance_type: &str, addresses: usize) -> Result<()> {
    let most = kind::most_ipv6_addresses(instance_type);
    if addresses > most {
        return Err(client(
            "PrivateIpAddressLimitExceeded",
            format!(
                "Number of IPv6 addresses will exceed limit. An interface of an instance of the type \
                 {instance_type} has at most {most}."
            ),
        ));
    }
    Ok(())
}

/// No interface may have more, whatever has it.
pub fn too_many_at_all() -> ApiError {
    client(
        "PrivateIpAddressLimitExceeded",
        format!("An interface may have up to {MAX_ADDRESSES} IPv6 addresses."),
    )
}

pub fn assign_touches(ctx: &Context, request: &AssignIpv6AddressesRequest, tables: &Tables) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn assign(
    ctx: &Context,
    request: &AssignIpv6AddressesRequest,
    txn: &mut Txn<'_>,
) -> Result<AssignIpv6AddressesResult> {
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    own(&held)?;
    let mut interface = NetworkInterface::clone(&held);
    let listed: Vec<&str> = request.ipv6_addresses.iter().flatten().map(String::as_str).collect();
    let prefixes = ipv6_prefix::wanted(request.ipv6_prefixes.as_deref(), request.ipv6_prefix_count)?.each();
    let each = match these_or_some(&listed, request.ipv6_address_count)? {
        Ipv6Addresses::AsSubnet if !prefixes.is_empty() => Vec::new(),
        _ if !prefixes.is_empty() => return Err(ipv6_prefix::not_both()),
        Ipv6Addresses::AsSubnet | Ipv6Addresses::Any(0) => {
            return Err(missing_parameter("ipv6Addresses or ipv6AddressCount"));
        }
        Ipv6Addresses::Any(count) => vec![None; count as usize],
        Ipv6Addresses::These(addresses) => addresses.into_iter().map(Some).collect(),
    };
    let subnet = txn
        .get::<Subnet>(&ctx.region, &interface.subnet)
        .ok_or_else(|| crate::errors::SUBNET.not_found(interface.subnet))?;
    let mut assigned = Vec::new();
    for wanted in each {
        // Asked for what is so already.
        let known = wanted.filter(|address| interface.ipv6.contains(address));
        let address = if let Some(address) = known {
            address
        } else {
            let address = allocate(ctx, txn, &subnet, wanted, interface.interface)?;
            interface.ipv6.push(address);
            address
        };
        assigned.push(address.to_string());
    }
    let assigned_prefixes = ipv6_prefix::assign(ctx, txn, &subnet, &mut interface, prefixes)?;
    within_limits(ctx, txn.tables(), &interface)?;
    txn.put(&ctx.region, interface);
    Ok(AssignIpv6AddressesResult {
        assigned_ipv6_addresses: (!assigned.is_empty()).then_some(assigned),
        assigned_ipv6_prefixes: (!assigned_prefixes.is_empty()).then_some(assigned_prefixes),
        network_interface_id: Some(request.network_interface_id.clone()),
    })
}

fn within_limits(ctx: &Context, tables: &Tables, interface: &NetworkInterface) -> Result<()> {
    let count = interface.ipv6_places();
    let attachment = interface.attachment.as_ref();
    match attachment.and_then(|a| tables.get::<Instance>(&ctx.region, &a.instance)) {
        Some(instance) => too_many(&instance.instance_type, count),
        None if count > MAX_ADDRESSES => Err(too_many_at_all()),
        None => Ok(()),
    }
}

pub fn unassign_touches(
    ctx: &Context,
    request: &UnassignIpv6AddressesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn unassign(
    ctx: &Context,
    request: &UnassignIpv6AddressesRequest,
    txn: &mut Txn<'_>,
) -> Result<UnassignIpv6AddressesResult> {
    let held = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    own(&held)?;
    let mut interface = NetworkInterface::clone(&held);
    let listed = request.ipv6_addresses.as_deref().unwrap_or_default();
    let prefixes = request.ipv6_prefixes.as_deref().unwrap_or_default();
    match (listed.is_empty(), prefixes.is_empty()) {
        (true, true) => return Err(missing_parameter("ipv6Addresses")),
        (false, false) => return Err(ipv6_prefix::not_both()),
        _ => {}
    }
    ipv6_prefix::unassign(ctx, txn, &mut interface, prefixes)?;
    for text in listed {
        let address = parse(text)?;
        let place = interface.ipv6.iter().position(|own| *own == address).ok_or_else(|| {
            invalid_parameter_value(format!(
                "Some of the specified addresses are not assigned to interface {}",
                interface.interface
            ))
        })?;
        interface.ipv6.remove(place);
        release(ctx, txn, interface.subnet, address);
    }
    txn.put(&ctx.region, interface);
    Ok(UnassignIpv6AddressesResult {
        network_interface_id: Some(request.network_interface_id.clone()),
        unassigned_ipv6_addresses: (!listed.is_empty()).then(|| listed.to_vec()),
        unassigned_ipv6_prefixes: (!prefixes.is_empty()).then(|| prefixes.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_one_that_nothing_reserves() {
        let net = |text: &str| text.parse::<Ipv6Net>().unwrap();
        let block = net("2001:db8::/64");
        let parts = |reserved: &[&str]| unreserved(block, reserved.iter().copied().map(net).collect());
        let (first, last) = (block.network().to_bits(), block.broadcast().to_bits());
        assert_eq!(parts(&[]), [(first, last)]);
        assert_eq!(parts(&["2001:db8::/64"]), []);
        assert_eq!(any_of(&[], 7), None);
        // The halves around the middle, given out of order; the first and the last quarter are left.
        let open = parts(&["2001:db8:0:0:8000::/66", "2001:db8:0:0:4000::/66"]);
        let quarter = 1_u128 << 62;
        assert_eq!(open, [(first, first + quarter - 1), (last - quarter + 1, last)]);
        assert_eq!(any_of(&open, quarter - 1), Some(Ipv6Addr::from_bits(first + quarter - 1)));
        assert_eq!(any_of(&open, quarter), Some(Ipv6Addr::from_bits(last - quarter + 1)));
        assert_eq!(any_of(&open, 2 * quarter), Some(block.network()));
        // At the edges.
        assert_eq!(parts(&["2001:db8::/65"]), [(first + 2 * quarter, last)]);
        assert_eq!(parts(&["2001:db8:0:0:8000::/65"]), [(first, last - 2 * quarter)]);
    }
}
