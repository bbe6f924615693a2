//! Network interfaces: an instance's presence in a subnet, with its addresses and security groups.
//!
//! Launches make them with the instance; `CreateNetworkInterface` makes one by itself, to be attached at a launch or later. Both
//! claim addresses by [`allocate`]. An attachment is written in two records: the interface's says to what and how far it has
//! come, the instance's that it has it; both always change together ([`attach`], [`detach`], [`set_free`]). What hosts say of
//! interfaces comes in by [`crate::instance::absorb`].
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-eni.html>

pub mod allocate;
mod assign;
mod attach;
mod attribute;
mod create;
mod delete;
mod describe;
mod detach;
pub mod ipv6;
pub mod ipv6_prefix;
pub mod prefix;
pub mod render;

pub use allocate::{allocate_private, allocate_public, release_private, release_public};
pub use attach::{in_use, limits, own, too_many};
pub use create::{claim_addresses, managed, member_groups, parse_address, wanted_addresses};
pub use delete::remove;
pub use detach::set_free;

use crate::errors::{self, IdErrors};
use crate::instance::names;
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, Values, maybe, one, shown};
use control::{Service, Tables};
use model::record::network_interface::{
    Attachment, Manager, NetworkInterface, PrivateAddress, PublicAddress,
};
use model::record::security_group::SecurityGroup;
use model::{AddressAssociationId, AllocationId};
use std::borrow::Cow;

/// How many security groups an interface may be a member of.
pub const MAX_GROUPS: usize = 5;
/// How many interfaces an account may have in a region.
pub const MAX_INTERFACES: usize = 5000;

impl Noun for NetworkInterface {
    const RESOURCE_TYPE: &'static str = "network-interface";
    const ERRORS: IdErrors = errors::NETWORK_INTERFACE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "addresses.association.owner-id",
                values: |i, _| publics(i).map(|p| Cow::Owned(render::ip_owner(i, p))).collect(),
            },
            FilterField {
                name: "addresses.association.public-ip",
                values: |i, _| publics(i).map(|p| Cow::Owned(p.address().to_string())).collect(),
            },
            FilterField {
                name: "addresses.primary",
                values: |i, _| {
                    let places = i.addresses.iter().enumerate();
                    places
                        .map(|(place, _)| Cow::Borrowed(if place == 0 { "true" } else { "false" }))
                        .collect()
                },
            },
            FilterField {
                name: "addresses.private-ip-address",
                values: |i, _| i.addresses.iter().map(|a| Cow::Owned(a.address.to_string())).collect(),
            },
            FilterField {
                name: "association.allocation-id",
                values: |i, _| maybe(elastic(i).map(|(allocation, _)| allocation.to_string())),
            },
            FilterField {
                name: "association.association-id",
                values: |i, _| maybe(elastic(i).map(|(_, association)| association.to_string())),
            },
            FilterField {
                name: "association.ip-owner-id",
                values: |i, _| maybe(primary_public(i).map(|public| render::ip_owner(i, public))),
            },
            FilterField {
                name: "association.public-dns-name",
                values: |i, t| {
                    maybe(
                        primary_public(i)
                            .filter(|_| render::has_names(t, i))
                            .map(|public| names::public(&i.zone.region, public.address())),
                    )
                },
            },
            FilterField {
                name: "association.public-ip",
                values: |i, _| maybe(primary_public(i).map(|p| p.address().to_string())),
            },
            FilterField {
                name: "attachment.attach-time",
                values: |i, _| attached(i, |a| crate::noun::wire_time(a.at).to_string()),
            },
            FilterField {
                name: "attachment.attachment-id",
                values: |i, _| attached(i, |a| a.attachment.to_string()),
            },
            FilterField {
                name: "attachment.delete-on-termination",
                values: |i, _| attached(i, |a| a.delete_on_termination.to_string()),
            },
            FilterField {
                name: "attachment.device-index",
                values: |i, _| attached(i, |a| a.device_index.to_string()),
            },
            FilterField {
                name: "attachment.instance-id",
                values: |i, _| attached(i, |a| a.instance.to_string()),
            },
            FilterField {
                name: "attachment.instance-owner-id",
                values: |i, _| maybe(i.attachment.as_ref().map(|_| i.account.to_string())),
            },
            FilterField {
                name: "attachment.nat-gateway-id",
                values: |i, _| maybe(i.nat_gateway.map(|n| n.to_string())),
            },
            FilterField {
                name: "attachment.status",
                values: |i, _| attached(i, |a| render::attachment_status(a.state).as_str().to_owned()),
            },
            FilterField { name: "availability-zone", values: |i, _| shown(&i.zone) },
            FilterField { name: "availability-zone-id", values: |i, _| one(i.zone.id()) },
            FilterField { name: "description", values: |i, _| one(i.description.as_str()) },
            FilterField {
                name: "group-id",
                values: |i, _| i.groups.iter().map(|g| Cow::Owned(g.to_string())).collect(),
            },
            FilterField {
                name: "group-name",
                values: |i, t| {
                    let groups = i.groups.iter().filter_map(|g| t.get::<SecurityGroup>(&i.zone.region, g));
                    groups.map(|group| Cow::Borrowed(group.name.as_str())).collect()
                },
            },
            FilterField { name: "interface-type", values: |i, _| one(kind(i)) },
            FilterField {
                name: "ipv6-addresses.ipv6-address",
                values: |i, _| i.ipv6.iter().map(|a| Cow::Owned(a.to_string())).collect(),
            },
            FilterField { name: "mac-address", values: |i, _| shown(i.mac) },
            FilterField { name: "network-interface-id", values: |i, _| shown(i.interface) },
            FilterField { name: "operator.managed", values: |_, _| one("false") },
            FilterField { name: "operator.principal", values: |_, _| Vec::new() },
            FilterField { name: "owner-id", values: |i, _| shown(i.account) },
            FilterField {
                name: "private-dns-name",
                values: |i, t| maybe(names::private_of(i).filter(|_| render::has_names(t, i))),
            },
            FilterField {
                name: "private-ip-address",
                values: |i, _| i.addresses.iter().map(|a| Cow::Owned(a.address.to_string())).collect(),
            },
            FilterField { name: "requester-id", values: |_, _| Vec::new() },
            FilterField { name: "requester-managed", values: |i, _| shown(i.is_managed()) },
            FilterField { name: "source-dest-check", values: |i, _| shown(i.source_dest_check) },
            FilterField {
                name: "status",
                values: |i, _| one(if i.is_in_use() { "in-use" } else { "available" }),
            },
            FilterField { name: "subnet-id", values: |i, _| shown(i.subnet) },
            FilterField { name: "vpc-id", values: |i, _| shown(i.vpc) },
        ]
    }
}

/// As the filter spells it.
const fn kind(interface: &NetworkInterface) -> &'static str {
    match interface.manager() {
        Some(Manager::NatGateway(_)) => "nat_gateway",
        Some(Manager::VpcEndpoint(_)) => "vpc_endpoint",
        Some(Manager::EndpointService(_)) => "network_load_balancer",
        None => "interface",
    }
}

fn publics(interface: &NetworkInterface) -> impl Iterator<Item = &PublicAddress> {
    interface.addresses.iter().filter_map(|address| address.public.as_ref())
}

fn primary_public(interface: &NetworkInterface) -> Option<&PublicAddress> {
    interface.addresses.first().and_then(|address: &PrivateAddress| address.public.as_ref())
}

fn elastic(interface: &NetworkInterface) -> Option<(AllocationId, AddressAssociationId)> {
    primary_public(interface).and_then(PublicAddress::elastic)
}

fn attached(interface: &NetworkInterface, fact: impl Fn(&Attachment) -> String) -> Values<'_> {
    maybe(interface.attachment.as_ref().map(fact))
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateNetworkInterface, create::touches, create::create)
        .exclusive(ops::DeleteNetworkInterface, delete::touches, delete::delete)
        .read(ops::DescribeNetworkInterfaces, describe::touches, describe::describe)
        .read(ops::DescribeNetworkInterfaceAttribute, attribute::describe_touches, attribute::describe)
        .write(ops::AssignPrivateIpAddresses, assign::assign_touches, assign::assign)
        .write(ops::UnassignPrivateIpAddresses, assign::unassign_touches, assign::unassign)
        .exclusive(ops::AssignIpv6Addresses, ipv6::assign_touches, ipv6::assign)
        .write(ops::UnassignIpv6Addresses, ipv6::unassign_touches, ipv6::unassign)
        .write(ops::AttachNetworkInterface, attach::touches, attach::attach)
        .write(ops::DetachNetworkInterface, detach::touches, detach::detach)
        .write(ops::ModifyNetworkInterfaceAttribute, attribute::modify_touches, attribute::modify)
        .write(ops::ResetNetworkInterfaceAttribute, attribute::reset_touches, attribute::reset);
}
