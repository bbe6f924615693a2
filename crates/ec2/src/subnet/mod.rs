//! Subnets: a part of a VPC's block in one availability zone.
//!
//! A subnet uses one route table (its own or the main one) and one network ACL; both keep the association. Its used
//! addresses are the claims of [`crate::network_interface::allocate`].
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/configure-subnets.html>
//! Differs: no outposts, no customer-owned addresses; names by address, or by instance where there is IPv6 alone.

mod attribute;
mod create;
mod delete;
mod describe;
mod ipv6;
pub mod render;
pub mod reservation;

use crate::errors::{self, IdErrors};
use crate::network_interface::allocate;
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::{Arn, Service, Tables};
use model::record::vpc::Subnet;

/// How many subnets a VPC may have.
pub const MAX_SUBNETS: usize = 200;

impl Noun for Subnet {
    const RESOURCE_TYPE: &'static str = "subnet";
    const ERRORS: IdErrors = errors::SUBNET;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "availability-zone", values: |s, _| shown(&s.zone) },
            FilterField { name: "availabilityZone", values: |s, _| shown(&s.zone) },
            FilterField { name: "availability-zone-id", values: |s, _| one(s.zone.id()) },
            FilterField { name: "availabilityZoneId", values: |s, _| one(s.zone.id()) },
            FilterField {
                name: "available-ip-address-count",
                values: |s, tables| shown(allocate::available(tables, &s.zone.region, s)),
            },
            FilterField { name: "cidr", values: |s, _| maybe(s.cidr.map(|c| c.to_string())) },
            FilterField { name: "cidr-block", values: |s, _| maybe(s.cidr.map(|c| c.to_string())) },
            FilterField { name: "cidrBlock", values: |s, _| maybe(s.cidr.map(|c| c.to_string())) },
            FilterField { name: "customer-owned-ipv4-pool", values: |_, _| Vec::new() },
            FilterField { name: "default-for-az", values: |s, _| shown(s.default_for_zone) },
            FilterField { name: "defaultForAz", values: |s, _| shown(s.default_for_zone) },
            FilterField { name: "enable-dns64", values: |_, _| one("false") },
            FilterField { name: "enable-lni-at-device-index", values: |_, _| Vec::new() },
            FilterField {
                name: "ipv6-cidr-block-association.association-id",
                values: |s, _| maybe(s.ipv6.as_ref().map(|own| own.association.to_string())),
            },
            FilterField {
                name: "ipv6-cidr-block-association.ipv6-cidr-block",
                values: |s, _| maybe(s.ipv6.as_ref().map(|own| own.cidr.to_string())),
            },
            FilterField {
                name: "ipv6-cidr-block-association.state",
                values: |s, _| maybe(s.ipv6.as_ref().map(|_| "associated")),
            },
            FilterField { name: "ipv6-native", values: |s, _| shown(s.is_ipv6_native()) },
            FilterField { name: "map-customer-owned-ip-on-launch", values: |_, _| one("false") },
            FilterField { name: "map-public-ip-on-launch", values: |s, _| shown(s.map_public_ip) },
            FilterField { name: "outpost-arn", values: |_, _| Vec::new() },
            FilterField { name: "owner-id", values: |s, _| shown(s.account) },
            FilterField {
                name: "private-dns-name-options-on-launch.enable-resource-name-dns-a-record",
                values: |_, _| one("false"),
            },
            FilterField {
                name: "private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record",
                values: |s, _| shown(s.is_ipv6_native()),
            },
            FilterField {
                name: "private-dns-name-options-on-launch.hostname-type",
                values: |s, _| one(render::hostname_type(s).as_str().to_owned()),
            },
            FilterField { name: "state", values: |_, _| one("available") },
            FilterField { name: "subnet-arn", values: |s, _| shown(arn(s)) },
            FilterField { name: "subnetArn", values: |s, _| shown(arn(s)) },
            FilterField { name: "subnet-id", values: |s, _| shown(s.subnet) },
            FilterField { name: "vpc-id", values: |s, _| shown(s.vpc) },
        ]
    }
}

/// A subnet's ARN; its zone knows the region.
pub fn arn(subnet: &Subnet) -> Arn {
    Arn::new("ec2", &subnet.zone.region, subnet.account, Subnet::RESOURCE_TYPE, subnet.subnet)
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateSubnet, create::touches, create::create)
        .exclusive(ops::CreateDefaultSubnet, create::default_touches, create::create_default)
        .exclusive(ops::DeleteSubnet, delete::touches, delete::delete)
        .exclusive(ops::AssociateSubnetCidrBlock, ipv6::associate_touches, ipv6::associate)
        .exclusive(ops::DisassociateSubnetCidrBlock, ipv6::disassociate_touches, ipv6::disassociate)
        .read(ops::DescribeSubnets, describe::touches, describe::describe)
        .exclusive(ops::CreateSubnetCidrReservation, reservation::create_touches, reservation::create)
        .write(ops::DeleteSubnetCidrReservation, reservation::delete_touches, reservation::delete)
        .read(ops::GetSubnetCidrReservations, reservation::get_touches, reservation::get)
        .write(ops::ModifySubnetAttribute, attribute::touches, attribute::modify);
}
