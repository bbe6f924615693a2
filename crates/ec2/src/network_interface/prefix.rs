//! IPv4 prefixes of interfaces: blocks of /28 that are wholly an interface's own.
//!
//! A prefix holds the claims on its sixteen addresses, as secondary addresses do; so nothing else in the subnet can get one of
//! them, and they are gone from the count of free ones. One that nobody names comes out of the subnet's reservations for
//! prefixes first, then out of what is not reserved at all.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-prefix-eni.html>

use super::allocate::{RESERVED_AT_START, block, private_claim, release_private};
use super::create::{MAX_ADDRESSES, claim_addresses};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::subnet::reservation;
use api_ec2::{Ipv4PrefixSpecification, Ipv4PrefixSpecificationRequest};
use control::{Context, Result, Txn};
use ipnet::Ipv4Net;
use model::host::addresses_of;
use model::record::network_interface::{NetworkInterface, PrivateAddress};
use model::record::vpc::{ReservationKind, Subnet};
use model::{NetworkInterfaceId, SubnetId};
use plan::instance::{Ipv4Prefixes, SecondaryAddresses};
use plan::net::overlap;
use std::net::Ipv4Addr;
use wire::ApiError;

/// Its length.
pub const LENGTH: u8 = 28;
/// How many addresses a prefix has.
pub const SIZE: usize = 16;

/// What a request wants: prefixes by name or by number, not both.
pub fn wanted(listed: Option<&[String]>, count: Option<i32>) -> Result<Ipv4Prefixes> {
    match (listed.unwrap_or_default(), count) {
        ([], None) => Ok(Ipv4Prefixes::NONE),
        ([], Some(count)) => {
            let fits = u32::try_from(count).ok().filter(|count| *count < MAX_ADDRESSES as u32);
            fits.map(Ipv4Prefixes::Any).ok_or_else(|| {
                invalid_parameter_value(format!("Value ({count}) for parameter ipv4PrefixCount is invalid."))
            })
        }
        (listed, None | Some(0)) => {
            listed.iter().map(|text| parse(text)).collect::<Result<_>>().map(Ipv4Prefixes::These)
        }
        (_, Some(_)) => Err(invalid_parameter_combination(
            "ipv4Prefixes and ipv4PrefixCount cannot be specified at the same time",
        )),
    }
}

/// Likewise of a new interface, which has either secondary addresses or prefixes at first.
pub fn wanted_of_new(
    listed: Option<&[Ipv4PrefixSpecificationRequest]>,
    count: Option<i32>,
    secondary: &SecondaryAddresses,
) -> Result<Ipv4Prefixes> {
    let listed = listed.unwrap_or_default().iter();
    let listed: Vec<String> = listed.map(|one| one.ipv4_prefix.clone().unwrap_or_default()).collect();
    let wanted = wanted(Some(&listed), count)?;
    if !wanted.each().is_empty() && !secondary.each().is_empty() {
        return Err(not_both());
    }
    Ok(wanted)
}

/// Addresses and prefixes are asked for by calls of their own; `InvalidParameterCombination`.
pub fn not_both() -> ApiError {
    invalid_parameter_combination("Private addresses and IPv4 prefixes cannot be specified at the same time")
}

/// A prefix as a caller writes it.
fn parse(text: &str) -> Result<Ipv4Net> {
    let parsed = text.parse::<Ipv4Net>().ok();
    parsed.filter(|net| net.prefix_len() == LENGTH && *net == net.trunc()).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter ipv4Prefix is invalid: no /28 prefix."
        ))
    })
}

/// What a new interface in a subnet is to have beside prefixes.
#[derive(Debug)]
pub struct Claims<'a> {
    pub subnet: &'a Subnet,
    pub interface: NetworkInterfaceId,
    pub primary: Option<Ipv4Addr>,
    pub secondary: &'a SecondaryAddresses,
}

impl Claims<'_> {
    /// Claims its addresses and prefixes; none that is named may be taken as any before.
    pub fn make(
        &self,
        ctx: &Context,
        txn: &mut Txn<'_>,
        wanted: &Ipv4Prefixes,
    ) -> Result<(Vec<PrivateAddress>, Vec<Ipv4Net>)> {
        let prefixes = |txn: &mut Txn<'_>| {
            let each = wanted.each().into_iter();
            each.map(|wanted| allocate(ctx, txn, self.subnet, wanted, self.interface))
                .collect::<Result<Vec<_>>>()
        };
        let addresses = |txn: &mut Txn<'_>| {
            claim_addresses(ctx, txn, self.subnet, self.interface, self.primary, self.secondary)
        };
        if matches!(wanted, Ipv4Prefixes::These(_)) {
            let prefixes = prefixes(txn)?;
            Ok((addresses(txn)?, prefixes))
        } else {
            Ok((addresses(txn)?, prefixes(txn)?))
        }
    }
}

/// Gives an interface further prefixes; one that it has already is no error.
pub fn assign(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    interface: &mut NetworkInterface,
    wanted: Vec<Option<Ipv4Net>>,
) -> Result<Vec<Ipv4PrefixSpecification>> {
    let mut assigned = Vec::new();
    for wanted in wanted {
        let known = wanted.filter(|prefix| interface.ipv4_prefixes.contains(prefix));
        let prefix = if let Some(prefix) = known {
            prefix
        } else {
            let prefix = allocate(ctx, txn, subnet, wanted, interface.interface)?;
            interface.ipv4_prefixes.push(prefix);
            prefix
        };
        assigned.push(Ipv4PrefixSpecification { ipv4_prefix: Some(prefix.to_string()) });
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
        let place = interface.ipv4_prefixes.iter().position(|own| *own == prefix).ok_or_else(|| {
            invalid_parameter_value(format!(
                "Some of the specified prefixes are not assigned to interface {}",
                interface.interface
            ))
        })?;
        interface.ipv4_prefixes.remove(place);
        release(ctx, txn, interface.subnet, prefix);
    }
    Ok(())
}

/// Gives a prefix back.
pub fn release(ctx: &Context, txn: &mut Txn<'_>, subnet: SubnetId, prefix: Ipv4Net) {
    for address in addresses_of(prefix) {
        release_private(ctx, txn, subnet, address);
    }
}

/// Claims the wanted prefix, or any.
///
/// `InvalidParameterValue` when the wanted one is not the subnet's to give, `InvalidIPAddress.InUse` when one of its addresses is
/// taken, `InsufficientCidrBlocks` when no whole prefix is free.
fn allocate(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    wanted: Option<Ipv4Net>,
    owner: NetworkInterfaceId,
) -> Result<Ipv4Net> {
    let block = block(subnet)?;
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
            if !is_free(ctx, txn, subnet.subnet, prefix) {
                return Err(in_use(subnet.subnet, prefix));
            }
            prefix
        }
        None => any(ctx, txn, subnet.subnet, block).ok_or_else(|| {
            client(
                "InsufficientCidrBlocks",
                format!(
                    "The specified subnet {} does not have enough free cidr blocks to satisfy the request.",
                    subnet.subnet
                ),
            )
        })?,
    };
    for address in addresses_of(prefix) {
        let claim = private_claim(subnet.subnet, address);
        txn.claim(&ctx.region, &claim, &owner.to_string()).map_err(|_| in_use(subnet.subnet, prefix))?;
    }
    Ok(prefix)
}

fn in_use(subnet: SubnetId, prefix: Ipv4Net) -> ApiError {
    client("InvalidIPAddress.InUse", format!("Addresses of {prefix} are already in use in {subnet}."))
}

/// A free prefix, out of reservations for prefixes before others.
fn any(ctx: &Context, txn: &Txn<'_>, subnet: SubnetId, block: Ipv4Net) -> Option<Ipv4Net> {
    let reservations = reservation::ipv4(txn.tables(), &ctx.region, subnet);
    let meant = reservations.iter().filter(|(_, kind)| *kind == ReservationKind::Prefix);
    let mut tried = meant.flat_map(|(cidr, _)| rotated(ctx, *cidr));
    let open = |prefix: &Ipv4Net| !is_reserved(block, *prefix) && is_free(ctx, txn, subnet, *prefix);
    tried.find(open).or_else(|| {
        rotated(ctx, block)
            .filter(|prefix| !reservations.iter().any(|(cidr, _)| overlap(*prefix, *cidr)))
            .find(open)
    })
}

/// The prefixes of a block, from a random one on: one that was given back is not handed out again at once.
fn rotated(ctx: &Context, block: Ipv4Net) -> impl Iterator<Item = Ipv4Net> {
    let all: Vec<Ipv4Net> = block.subnets(LENGTH).into_iter().flatten().collect();
    let count = all.len();
    let start = if count == 0 { 0 } else { ctx.bits() as usize % count };
    (0..count).filter_map(move |step| all.get((start + step) % count).copied())
}

/// Whether one of the subnet's own addresses is in it: the first four and the last.
fn is_reserved(subnet: Ipv4Net, prefix: Ipv4Net) -> bool {
    let first = subnet.network().to_bits();
    prefix.network().to_bits() < first + RESERVED_AT_START || prefix.broadcast() == subnet.broadcast()
}

fn is_free(ctx: &Context, txn: &Txn<'_>, subnet: SubnetId, prefix: Ipv4Net) -> bool {
    addresses_of(prefix).all(|address| !txn.is_claimed(&ctx.region, &private_claim(subnet, address)))
}
