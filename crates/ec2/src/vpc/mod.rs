//! VPCs: an address block of one account in one region, with its own router, resolver and edge.
//!
//! A VPC comes with a main route table, a default network ACL and a default security group, and goes with them.
//! Called by dispatch; [`desired`] and [`concerned_by`] by the reconcilers that tell hosts what to hold.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/configure-your-vpc.html>
//! Differs: no IPAM pools, pools of an account's own or dedicated tenancy.

mod attribute;
mod block;
mod create;
mod delete;
mod describe;
mod desired;
pub mod ipv6;
pub mod render;

pub use desired::{attached, concerned_by, desired, network_acl_of, route_table_of};

use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, Values, one, shown};
use control::{Context, Service, Tables};
use model::record::vpc::{Vpc, VpcIpv6Cidr};
use std::borrow::Cow;

/// How many VPCs an account may have in a region.
pub const MAX_VPCS: usize = 5;

impl Noun for Vpc {
    const RESOURCE_TYPE: &'static str = "vpc";
    const ERRORS: IdErrors = errors::VPC;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "cidr", values: |vpc, _| shown(vpc.cidr) },
            FilterField {
                name: "cidr-block-association.association-id",
                values: |vpc, _| vpc.blocks().map(|(id, _)| Cow::Owned(id.to_string())).collect(),
            },
            FilterField {
                name: "cidr-block-association.cidr-block",
                values: |vpc, _| vpc.cidrs().map(|cidr| Cow::Owned(cidr.to_string())).collect(),
            },
            FilterField { name: "cidr-block-association.state", values: |_, _| one("associated") },
            FilterField { name: "dhcp-options-id", values: |vpc, _| shown(vpc.dhcp_options) },
            FilterField {
                name: "ipv6-cidr-block-association.association-id",
                values: |vpc, _| on_ipv6(vpc, |block| block.association.to_string()),
            },
            FilterField {
                name: "ipv6-cidr-block-association.ipv6-cidr-block",
                values: |vpc, _| on_ipv6(vpc, |block| block.cidr.to_string()),
            },
            FilterField {
                name: "ipv6-cidr-block-association.ipv6-pool",
                values: |vpc, _| on_ipv6(vpc, |_| ipv6::POOL.to_owned()),
            },
            FilterField {
                name: "ipv6-cidr-block-association.state",
                values: |vpc, _| on_ipv6(vpc, |_| "associated".to_owned()),
            },
            FilterField { name: "is-default", values: |vpc, _| shown(vpc.is_default) },
            FilterField { name: "isDefault", values: |vpc, _| shown(vpc.is_default) },
            FilterField { name: "owner-id", values: |vpc, _| shown(vpc.account) },
            FilterField { name: "state", values: |_, _| one("available") },
            FilterField { name: "vpc-id", values: |vpc, _| shown(vpc.vpc) },
        ]
    }
}

fn on_ipv6(vpc: &Vpc, of: fn(&VpcIpv6Cidr) -> String) -> Values<'_> {
    vpc.ipv6.iter().map(|block| Cow::Owned(of(block))).collect()
}

/// The account's default VPC in the region of the request, if it still has one.
pub fn default_of(ctx: &Context, tables: &Tables) -> Option<std::sync::Arc<Vpc>> {
    tables.find::<Vpc>(&ctx.region, "account", ctx.account()).find(|vpc| vpc.is_default).cloned()
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateVpc, create::touches, create::create)
        .exclusive(ops::CreateDefaultVpc, create::default_touches, create::create_default)
        .exclusive(ops::DeleteVpc, delete::touches, delete::delete)
        .exclusive(ops::AssociateVpcCidrBlock, block::associate_touches, block::associate)
        .exclusive(ops::DisassociateVpcCidrBlock, block::disassociate_touches, block::disassociate)
        .read(ops::DescribeVpcs, describe::touches, describe::describe)
        .read(ops::DescribeVpcAttribute, attribute::describe_touches, attribute::describe)
        .write(ops::ModifyVpcAttribute, attribute::modify_touches, attribute::modify)
        .write(ops::AssociateDhcpOptions, attribute::associate_touches, attribute::associate_dhcp_options);
}
