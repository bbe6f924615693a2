//! Addresses for network interfaces: private ones out of a subnet, public ones out of the cloud's pool.
//!
//! An address belongs to who holds the claim on it (`ip/SUBNET/ADDRESS` in the region, `public-ip/ADDRESS` in no region),
//! so two launches can never get the same one, whatever the order of their commits. Instances and `CreateNetworkInterface`
//! call this; whoever deletes an interface calls the release functions in the same transaction.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html>
//! Differs: an automatic address is picked at random, so that one given back is not handed out again at once.

use crate::errors::{client, invalid_parameter_value};
use crate::subnet::reservation;
use control::{Context, Result, Tables, Txn};
use ipnet::Ipv4Net;
use model::record::address::Address;
use model::record::byoip::ByoipCidr;
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::vpc::Subnet;
use model::{AllocationId, NetworkInterfaceId, Region, SubnetId};
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// How many addresses of a subnet are nobody's: the first four and the last.
pub const RESERVED: usize = 5;

/// Those of them that come first.
pub const RESERVED_AT_START: u32 = 4;

/// Where the claims on a subnet's addresses are.
fn private_folder(subnet: SubnetId) -> String {
    format!("ip/{subnet}/")
}

/// Where the claims on public addresses are, under [`Region::global`].
const PUBLIC_FOLDER: &str = "public-ip/";

/// The claim on a private address.
pub fn private_claim(subnet: SubnetId, address: Ipv4Addr) -> String {
    private_folder(subnet) + &address.to_string()
}

/// The claim on a public address; it is made under [`Region::global`].
pub fn public_claim(address: Ipv4Addr) -> String {
    PUBLIC_FOLDER.to_owned() + &address.to_string()
}

/// The addresses of a block that interfaces may have, as numbers.
fn assignable(block: Ipv4Net) -> RangeInclusive<u32> {
    u32::from(block.network()) + RESERVED_AT_START..=u32::from(block.broadcast()) - 1
}

/// The subnet's block; `InvalidParameterValue` when it has IPv6 alone.
pub fn block(subnet: &Subnet) -> Result<Ipv4Net> {
    subnet.cidr.ok_or_else(|| {
        invalid_parameter_value(format!(
            "The subnet {} is an IPv6-only subnet and has no IPv4 addresses.",
            subnet.subnet
        ))
    })
}

/// How many IPv4 addresses of a subnet are free.
pub fn available(tables: &Tables, region: &Region, subnet: &Subnet) -> usize {
    let Some(cidr) = subnet.cidr else { return 0 };
    let size = 1usize << (32 - cidr.prefix_len());
    let used = tables.count_claims(region, &private_folder(subnet.subnet));
    size.saturating_sub(RESERVED + used)
}

/// Claims a private address for an interface: the wanted one, or any that is free and not reserved.
///
/// `InvalidParameterValue` when the wanted address is not one of the subnet's, or that has IPv6 alone, `InvalidIPAddress.InUse` when it is taken,
/// `InsufficientFreeAddressesInSubnet` when none is left.
pub fn allocate_private(
    ctx: &Context,
    txn: &mut Txn<'_>,
    subnet: &Subnet,
    wanted: Option<Ipv4Addr>,
    owner: NetworkInterfaceId,
) -> Result<Ipv4Addr> {
    let block = block(subnet)?;
    let range = assignable(block);
    if let Some(address) = wanted {
        if !block.contains(&address) {
            return Err(invalid_parameter_value(format!(
                "Address {address} does not fall within the subnet's address range"
            )));
        }
        if !range.contains(&u32::from(address)) {
            return Err(invalid_parameter_value(format!(
                "Address {address} is in subnet's reserved address range"
            )));
        }
        let claim = private_claim(subnet.subnet, address);
        if txn.is_claimed(&ctx.region, &claim) || txn.claim(&ctx.region, &claim, &owner.to_string()).is_err()
        {
            return Err(client(
                "InvalidIPAddress.InUse",
                format!("The address {address} is already in use in {}.", subnet.subnet),
            ));
        }
        return Ok(address);
    }
    let reserved = reservation::ipv4(txn.tables(), &ctx.region, subnet.subnet);
    let open = |address: &Ipv4Addr| !reserved.iter().any(|(cidr, _)| cidr.contains(address));
    let folder = private_folder(subnet.subnet);
    claim_any(ctx, txn, &ctx.region, &folder, range, open, owner).ok_or_else(|| {
        client(
            "InsufficientFreeAddressesInSubnet",
            format!("Not enough addresses are free in subnet {} for this request.", subnet.subnet),
        )
    })
}

/// Gives a private address back. Giving back what is free is a no-op.
pub fn release_private(ctx: &Context, txn: &mut Txn<'_>, subnet: SubnetId, address: Ipv4Addr) {
    txn.release(&ctx.region, &private_claim(subnet, address));
}

/// The addresses of a pool that may be given away, as numbers: those of the cloud's own (`None`), or of a range that an
/// account brought, of which none is kept.
fn publics(ctx: &Context, pool: Option<&ByoipCidr>) -> RangeInclusive<u32> {
    match pool {
        Some(pool) => u32::from(pool.cidr.network())..=u32::from(pool.cidr.broadcast()),
        None => plan::net::pool::assignable_range(ctx.cloud.settings.public_pool),
    }
}

/// Claims a certain public address of a pool; `InvalidAddress.NotFound` when it has none such, or it is taken.
pub fn claim_public(
    ctx: &Context,
    txn: &mut Txn<'_>,
    pool: Option<&ByoipCidr>,
    wanted: Ipv4Addr,
    owner: impl Display,
) -> Result<Ipv4Addr> {
    let range = publics(ctx, pool);
    let (region, claim) = (Region::global(), public_claim(wanted));
    let free = range.contains(&u32::from(wanted)) && !txn.is_claimed(&region, &claim);
    if free && txn.claim(&region, &claim, &owner.to_string()).is_ok() {
        Ok(wanted)
    } else {
        Err(client("InvalidAddress.NotFound", format!("Address '{wanted}' not found.")))
    }
}

/// [`allocate_from`] the cloud's own pool, for an interface or an allocation.
pub fn allocate_public(ctx: &Context, txn: &mut Txn<'_>, owner: impl Display) -> Result<Ipv4Addr> {
    allocate_from(ctx, txn, None, owner)
}

/// Claims any free public address of a pool; `InsufficientAddressCapacity` when none is left.
pub fn allocate_from(
    ctx: &Context,
    txn: &mut Txn<'_>,
    pool: Option<&ByoipCidr>,
    owner: impl Display,
) -> Result<Ipv4Addr> {
    let range = publics(ctx, pool);
    claim_any(ctx, txn, &Region::global(), PUBLIC_FOLDER, range, |_| true, owner).ok_or_else(|| {
        client("InsufficientAddressCapacity", "Not enough public addresses are available for this request.")
    })
}

/// The interface in a region that a public address leads to at present.
pub fn public_holder<'a>(
    tables: &'a Tables,
    region: &Region,
    address: Ipv4Addr,
) -> Option<&'a NetworkInterface> {
    let owner = tables.claimed(&Region::global(), &public_claim(address))?;
    let id = if let Ok(interface) = NetworkInterfaceId::parse(owner) {
        interface
    } else {
        let elastic = tables.get::<Address>(region, &AllocationId::parse(owner).ok()?)?;
        elastic.association.as_ref()?.interface
    };
    let interface = tables.get::<NetworkInterface>(region, &id)?;
    let publics = interface.addresses.iter().filter_map(|private| private.public.as_ref());
    publics.map(PublicAddress::address).any(|public| public == address).then_some(&**interface)
}

/// Gives a public address back.
pub fn release_public(txn: &mut Txn<'_>, address: Ipv4Addr) {
    txn.release(&Region::global(), &public_claim(address));
}

/// How often an address is guessed before the range is gone through: where nine in ten are taken, most find one so.
const GUESSES: u64 = 24;

/// Takes a free address anywhere in the range that is open to all. Guesses at first, as free ones are seldom next to each other where few are
/// left: going on from a taken one would walk through all that was ever taken behind it.
fn claim_any(
    ctx: &Context,
    txn: &mut Txn<'_>,
    region: &Region,
    folder: &str,
    range: RangeInclusive<u32>,
    open: impl Fn(&Ipv4Addr) -> bool,
    owner: impl Display,
) -> Option<Ipv4Addr> {
    let (first, last) = range.into_inner();
    let size = u64::from(last.checked_sub(first)?) + 1;
    let guesses = (0..GUESSES.min(size)).map(|_| ctx.bits() as u64);
    let start = ctx.bits() as u64 % size;
    let tried = guesses.chain((0..size).map(|step| start + step));
    let addresses = tried.map(|at| Ipv4Addr::from(first + (at % size) as u32));
    txn.claim_first(region, folder, addresses.filter(open), &owner.to_string())
}
