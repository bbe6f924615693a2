//! Elastic IP addresses: allocated to an account, associated with a private address of an interface, kept over stops.
//!
//! The claim on the address ([`public_claim`](crate::network_interface::allocate::public_claim)) is the allocation's. What an
//! address stands for is written in two records, its own and the interface's, always in one transaction: [`join`], [`part`].
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/elastic-ip-addresses-eip.html>
//! Differs: no quota of five, the pool is the bound; no reverse DNS records.

pub mod allocate;
mod associate;
mod describe;
mod disassociate;
mod transfer;

use crate::byoip;
use crate::errors::{self, IdErrors, client, invalid_parameter_value};
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::{Context, Result, Service, Tables, Txn};
use model::host::AddressDesired;
use model::record::address::{Address, Association};
use model::record::network_interface::{NetworkInterface, PrivateAddress, PublicAddress};
use model::{AllocationId, Region};
use std::net::Ipv4Addr;

impl Noun for Address {
    const RESOURCE_TYPE: &'static str = "elastic-ip";
    const ERRORS: IdErrors = errors::ALLOCATION;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "allocation-id", values: |a, _| shown(a.allocation) },
            FilterField {
                name: "association-id",
                values: |a, _| maybe(a.association.as_ref().map(|a| a.association.to_string())),
            },
            FilterField { name: "domain", values: |_, _| one("vpc") },
            FilterField {
                name: "instance-id",
                values: |a, t| {
                    let attachment = interface(t, a).and_then(|i| i.attachment.as_ref());
                    maybe(attachment.map(|attachment| attachment.instance.to_string()))
                },
            },
            FilterField { name: "network-border-group", values: |a, _| shown(&a.region) },
            FilterField {
                name: "network-interface-id",
                values: |a, _| maybe(a.association.as_ref().map(|a| a.interface.to_string())),
            },
            FilterField {
                name: "network-interface-owner-id",
                values: |a, t| maybe(interface(t, a).map(|i| i.account.to_string())),
            },
            FilterField {
                name: "private-ip-address",
                values: |a, _| maybe(a.association.as_ref().map(|a| a.private.to_string())),
            },
            FilterField { name: "public-ip", values: |a, _| shown(a.address) },
        ]
    }
}

pub fn register(service: &mut Service) {
    service
        .write(ops::AllocateAddress, allocate::touches, allocate::allocate)
        .write(ops::ReleaseAddress, allocate::release_touches, allocate::release)
        .exclusive(ops::AssociateAddress, associate::touches, associate::associate)
        .exclusive(ops::DisassociateAddress, disassociate::touches, disassociate::disassociate)
        .write(ops::EnableAddressTransfer, transfer::enable_touches, transfer::enable)
        .write(ops::DisableAddressTransfer, transfer::disable_touches, transfer::disable)
        .exclusive(ops::AcceptAddressTransfer, transfer::accept_touches, transfer::accept)
        .read(ops::DescribeAddressTransfers, |_, _, _| control::Touched::anything(), transfer::describe)
        .read(ops::DescribeAddresses, describe::touches, describe::describe)
        .read(ops::DescribeAddressesAttribute, describe::attribute_touches, describe::attribute);
}

/// The interface that the address is associated with.
pub fn interface<'a>(tables: &'a Tables, address: &Address) -> Option<&'a NetworkInterface> {
    let association = address.association.as_ref()?;
    tables.get::<NetworkInterface>(&address.region, &association.interface).map(|interface| &**interface)
}

/// The caller's address with that number.
fn by_number(ctx: &Context, tables: &Tables, text: &str) -> Result<AllocationId> {
    let number: Ipv4Addr =
        text.parse().map_err(|_| invalid_parameter_value(format!("Invalid IPv4 address: {text}")))?;
    let mut found = tables.find::<Address>(&ctx.region, "address", number);
    let own = found.find(|address| address.visible_to(ctx)).map(|address| address.allocation);
    own.ok_or_else(|| client("InvalidAddress.NotFound", format!("Address '{number}' not found.")))
}

/// What a host is told of a private address: a public one of a range that is not advertised is withheld from packets.
pub fn desired(tables: &Tables, region: &Region, private: &PrivateAddress) -> AddressDesired {
    let public = private.public.as_ref().map(PublicAddress::address);
    let silent = match &private.public {
        Some(PublicAddress::Elastic { allocation, .. }) => {
            let pool = tables.get::<Address>(region, allocation).and_then(|address| address.pool);
            pool.is_some_and(|pool| !byoip::is_advertised(tables, region, pool))
        }
        Some(PublicAddress::Automatic(_)) | None => false,
    };
    let (public, withheld) = if silent { (None, public) } else { (public, None) };
    AddressDesired { private: private.address, public, withheld }
}

/// Writes an association into both records. Whatever stood in its place has been parted before.
pub fn join(txn: &mut Txn<'_>, region: &Region, address: &Address, association: Association) {
    let Some(interface) = txn.get::<NetworkInterface>(region, &association.interface) else { return };
    let mut interface = (*interface).clone();
    for private in interface.addresses.iter_mut().filter(|p| p.address == association.private) {
        private.public = Some(PublicAddress::Elastic {
            address: address.address,
            allocation: address.allocation,
            association: association.association,
        });
    }
    txn.put(region, interface);
    txn.put(region, Address { association: Some(association), ..address.clone() });
}

/// The interface's side is gone or going: the address stands for nothing any more.
pub fn part(txn: &mut Txn<'_>, region: &Region, allocation: AllocationId) {
    if let Some(address) = txn.get::<Address>(region, &allocation)
        && address.association.is_some()
    {
        txn.put(region, Address { association: None, ..(*address).clone() });
    }
}
