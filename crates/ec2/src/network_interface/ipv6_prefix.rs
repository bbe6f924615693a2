//! IPv6 prefixes of interfaces: blocks of /80 that are wholly an interface's own.
//!
//! A prefix is one claim (`ip6-prefix/SUBNET/PREFIX`): its addresses are too many to claim each. An address is free where no
//! prefix covers it; a prefix is, where no interface of the subnet has an address in it. That absence is read off an index,
//! so whatever gives prefixes runs exclusively. One that nobody names comes out of the subnet's reservations for prefixes
//! first, then out of what is not reserved at all.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html>

use super::create::MAX_ADDRESSES;
use super::ipv6;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::subnet::reservation;
use api_ec2::Ipv6PrefixSpecificationRequest;
use control::{Context, Result, Txn};
use ipnet::Ipv6Net;
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{ReservationKind, Subnet};
use model::{NetworkInterfaceId, SubnetId};
use plan::instance::{Ipv6Addresses, Ipv6Prefixes};
use plan::net::ipv6::around;
use plan::net::overlap;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use wire::ApiError;

/// Its length.
const LENGTH: u8 = plan::net::ipv6::PREFIX;

/// What a request wants: prefixes by name or by number, not both.
pub fn wanted(listed: Option<&[String]>, count: Option<i32>) -> Result<Ipv6Prefixes> {
    match (listed.unwrap_or_default(), count) {
        ([], None) => Ok(Ipv6Prefixes::NONE),
        ([], Some(count)) => {
            let fits = u32::try_from(count).ok().filter(|count| *count <= MAX_ADDRESSES as u32);
            fits.map(Ipv6Prefixes::Any).ok_or_else(|| {
                invalid_parameter_value(format!("Value ({count}) for parameter ipv6PrefixCount is invalid."))
            })
        }
        (listed, None | Some(0)) => {
            listed.iter().map(|text| parse(text)).collect::<Result<_>>().map(Ipv6Prefixes::These)
        }
        (_, Some(_)) => Err(invalid_parameter_combination(
            "ipv6Prefixes and ipv6PrefixCount cannot be specified at the same time",
        )),
    }
}

/// Likewise of a new interface, for which either addresses or prefixes are asked at first.
pub fn wanted_of_new(
    listed: Option<&[Ipv6PrefixSpecificationRequest]>,
    count: Option<i32>,
    addresses: &Ipv6Addresses,
) -> Result<Ipv6Prefixes> {
    let listed = listed.unwrap_or_default().iter();
    let listed: Vec<String> = listed.map(|one| one.ipv6_prefix.clone().unwrap_or_default()).collect();
    let wanted = wanted(Some(&listed), count)?;
    if !wanted.each().is_empty() && addresses.count() > 0 {
        return Err(not_both());
    }
    Ok(wanted)
}

/// Addresses and prefixes are asked for by calls of their own; `InvalidParameterCombination`.
pub fn not_both() -> ApiError {
    invalid_parameter_combination("IPv6 addresses and IPv6 prefixes cannot be specified at the same time")
}

/// A prefix as a caller writes it.
fn parse(text: &str) -> Result<Ipv6Net> {
    let parsed = text.parse::<Ipv6Net>().ok();
    parsed.filter(|net| net.prefix_len() == LENGTH && *net == net.trunc()).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter ipv6Prefix is invalid: no /80 prefix."
        ))
    })
}

/// The claim on a prefix.
pub fn claim(subnet: SubnetId, prefix: Ipv6Net) -> String {
    format!("ip6-prefix/{subnet}/{}", prefix.network())
}

/// Gives a prefix back.
pub fn release(ctx: &Context, txn: &mut Txn<'_>, subnet: SubnetId, prefix: Ipv6Net) {
    txn.release(&ctx.region, &claim(subnet, prefix));
}

/// Whether an address lies in a prefix that an interface has.
pub fn covers(ctx: &Context, txn: &Txn<'_>, subnet: SubnetId, address: Ipv6Addr) -> bool {
    txn.is_claimed(&ctx.region, &claim(subnet, around(address)))
}

/// Claims what a new interface in the subnet is to have; before its addresses, which keep clear of them.
pub fn claim_wanted(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    interface: NetworkInterfaceId,
    wanted: &Ipv6Prefixes,
) -> Result<Vec<Ipv6Net>> {
    let each = wanted.each();
    if each.len() > MAX_ADDRESSES {
        return Err(ipv6::too_many_at_all());
    }
    each.into_iter().map(|wanted| allocate(ctx, txn, subnet, wanted, interface)).collect()
}

/// Gives an interface further prefixes; one that it has already is no error.
pub fn assign(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    interface: &mut NetworkInterface,
    wanted: Vec<Option<Ipv6Net>>,
) -> Result<Vec<String>> {
    let mut assigned = Vec::new();
    for wanted in wanted {
        let known = wanted.filter(|prefix| interface.ipv6_prefixes.contains(prefix));
        let prefix = if let Some(prefix) = known {
            prefix
        } else {
            let prefix = allocate(ctx, txn, subnet, wanted, interface.interface)?;
            interface.ipv6_prefixes.push(prefix);
            prefix
        };
        assigned.push(prefix.to_string());
    }
    Ok(assigned)
}

/// Takes prefixes from an interface; `InvalidParameterValue` when one is not its own.
pub fn unassign(
    ctx: &Context,
    txn: &mut Txn<'_>,
    interface: &mut NetworkInterface,
    listed: &[String],
) -> Result<()> {
    for text in listed {
        let prefix = parse(text)?;
        let place = interface.ipv6_prefixes.iter().position(|own| *own == prefix).ok_or_else(|| {
            invalid_parameter_value(format!(
                "Some of the specified prefixes are not assigned to interface {}",
                interface.interface
            ))
        })?;
        interface.ipv6_prefixes.remove(place);
        release(ctx, txn, interface.subnet, prefix);
    }
    Ok(())
}

/// Claims the wanted prefix of the subnet's block, or any.
///
/// `InvalidParameterValue` when the subnet has no block or the wanted one is not its to give, `InvalidIPAddress.InUse` when
/// somebody has it or an address in it, `InsufficientCidrBlocks` when no whole prefix is free.
fn allocate(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    wanted: Option<Ipv6Net>,
    owner: NetworkInterfaceId,
) -> Result<Ipv6Net> {
    let block = ipv6::block(subnet)?;
    let taken = with_addresses(ctx, txn, subnet.subnet);
    let is_free = |prefix: &Ipv6Net| {
        !taken.contains(prefix) && !txn.is_claimed(&ctx.region, &claim(subnet.subnet, *prefix))
    };
    let in_use = |prefix: Ipv6Net| {
        client(
            "InvalidIPAddress.InUse",
            format!("Addresses of {prefix} are already in use in {}.", subnet.subnet),
        )
    };
    let prefix = match wanted {
        Some(prefix) => {
            if !block.contains(&prefix) {
                return Err(invalid_parameter_value(format!(
                    "The prefix {prefix} does not fall within the subnet's address range"
                )));
            }
            if is_reserved(block, prefix) {
                return Err(invalid_parameter_value(format!(
                    "The prefix {prefix} is in subnet's reserved address range"
                )));
            }
            if !is_free(&prefix) {
                return Err(in_use(prefix));
            }
            prefix
        }
        None => any(ctx, txn, subnet.subnet, block).find(is_free).ok_or_else(|| {
            client(
                "InsufficientCidrBlocks",
                format!(
                    "The specified subnet {} does not have enough free cidr blocks to satisfy the request.",
                    subnet.subnet
                ),
            )
        })?,
    };
    let claim = claim(subnet.subnet, prefix);
    txn.claim(&ctx.region, &claim, &owner.to_string()).map_err(|_| in_use(prefix))?;
    Ok(prefix)
}

/// The blocks in which interfaces of the subnet have addresses, those of this transaction too.
fn with_addresses(ctx: &Context, txn: &Txn<'_>, subnet: SubnetId) -> BTreeSet<Ipv6Net> {
    let standing = txn.tables().find::<NetworkInterface>(&ctx.region, "subnet", subnet);
    let standing = standing.flat_map(|interface| interface.ipv6.iter().copied());
    let folder = ipv6::folder(subnet);
    let made = txn.claims_made(&ctx.region, &folder).filter_map(|name| name.parse().ok());
    standing.chain(made).map(around).collect()
}

/// The prefixes of a subnet's block that may be given, those of reservations for prefixes before others.
fn any(ctx: &Context, txn: &Txn<'_>, subnet: SubnetId, block: Ipv6Net) -> impl Iterator<Item = Ipv6Net> {
    let reservations = reservation::ipv6(txn.tables(), &ctx.region, subnet);
    let meant = reservations.iter().filter(|(_, kind)| *kind == ReservationKind::Prefix);
    let meant: Vec<_> = meant.map(|(cidr, _)| rotated(ctx, *cidr)).collect();
    let others = rotated(ctx, block)
        .filter(move |prefix| !reservations.iter().any(|(cidr, _)| overlap(*prefix, *cidr)));
    meant.into_iter().flatten().chain(others).filter(move |prefix| !is_reserved(block, *prefix))
}

/// The prefixes of a block, from a random one on: one that was given back is not handed out again at once.
fn rotated(ctx: &Context, block: Ipv6Net) -> impl Iterator<Item = Ipv6Net> + use<> {
    let places = 1_u128 << (LENGTH - block.prefix_len().min(LENGTH));
    let start = ctx.bits() % places;
    let at = move |place: u128| {
        let bits = block.network().to_bits() | (place << (128 - u32::from(LENGTH)));
        Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), LENGTH)
    };
    (0..places).map(move |step| at((start + step) % places))
}

/// Whether one of the subnet's own addresses is in it: the first four and the last.
fn is_reserved(block: Ipv6Net, prefix: Ipv6Net) -> bool {
    prefix.network() == block.network() || prefix.broadcast() == block.broadcast()
}
