//! Network ACLs: numbered, stateless rules at the border of a subnet.
//!
//! Every subnet has exactly one; without a choice its VPC's default one. Entries act in the order of their numbers; what none
//! matches is denied, which describes show as entry 32767.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html>

mod associate;
mod create;
mod delete;
mod describe;
mod entry;
pub mod render;

use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, Values, shown};
use control::{Service, Tables};
use model::net::AclEntry;
use model::record::vpc::NetworkAcl;
use std::borrow::Cow;

/// How many ACLs a VPC may have.
pub const MAX_ACLS: usize = 200;
/// How many entries an ACL may have in one direction, counted for IPv4 and IPv6 apart.
pub const MAX_ENTRIES: usize = 20;
/// The greatest number of an entry.
pub const MAX_NUMBER: u16 = 32766;

impl Noun for NetworkAcl {
    const RESOURCE_TYPE: &'static str = "network-acl";
    const ERRORS: IdErrors = errors::NETWORK_ACL;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "association.association-id",
                values: |a, _| a.associations.iter().map(|a| Cow::Owned(a.association.to_string())).collect(),
            },
            FilterField {
                name: "association.network-acl-id",
                values: |a, _| if a.associations.is_empty() { Vec::new() } else { shown(a.acl) },
            },
            FilterField {
                name: "association.subnet-id",
                values: |a, _| a.associations.iter().map(|a| Cow::Owned(a.subnet.to_string())).collect(),
            },
            FilterField { name: "default", values: |a, _| shown(a.is_default) },
            FilterField { name: "entry.cidr", values: |a, _| each(a, |e| e.cidr_block.clone()) },
            FilterField { name: "entry.egress", values: |a, _| each(a, |e| e.egress) },
            FilterField {
                name: "entry.icmp.code",
                values: |a, _| each(a, |e| e.icmp_type_code.as_ref().and_then(|i| i.code)),
            },
            FilterField {
                name: "entry.icmp.type",
                values: |a, _| each(a, |e| e.icmp_type_code.as_ref().and_then(|i| i.r#type)),
            },
            FilterField { name: "entry.ipv6-cidr", values: |a, _| each(a, |e| e.ipv6_cidr_block.clone()) },
            FilterField {
                name: "entry.port-range.from",
                values: |a, _| each(a, |e| e.port_range.as_ref().and_then(|p| p.from)),
            },
            FilterField {
                name: "entry.port-range.to",
                values: |a, _| each(a, |e| e.port_range.as_ref().and_then(|p| p.to)),
            },
            FilterField { name: "entry.protocol", values: |a, _| each(a, |e| e.protocol.clone()) },
            FilterField {
                name: "entry.rule-action",
                values: |a, _| each(a, |e| e.rule_action.as_ref().map(|action| action.as_str().to_owned())),
            },
            FilterField { name: "entry.rule-number", values: |a, _| each(a, |e| e.rule_number) },
            FilterField { name: "network-acl-id", values: |a, _| shown(a.acl) },
            FilterField { name: "owner-id", values: |a, _| shown(a.account) },
            FilterField { name: "vpc-id", values: |a, _| shown(a.vpc) },
        ]
    }
}

/// One fact of every entry, as describes show it.
fn each<T: std::fmt::Display>(
    acl: &NetworkAcl,
    fact: impl Fn(&api_ec2::NetworkAclEntry) -> Option<T>,
) -> Values<'_> {
    let facts = render::entries(acl, &[render::IPV4]).into_iter().filter_map(|entry| fact(&entry));
    facts.map(|fact| Cow::Owned(fact.to_string())).collect()
}

/// The entries of one direction.
fn entries(acl: &mut NetworkAcl, egress: Egress) -> &mut Vec<AclEntry> {
    match egress {
        Egress::Yes => &mut acl.egress,
        Egress::No => &mut acl.ingress,
    }
}

/// Whether an entry is about packets that leave the subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Egress {
    Yes,
    No,
}

impl From<bool> for Egress {
    fn from(egress: bool) -> Self {
        if egress { Self::Yes } else { Self::No }
    }
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateNetworkAcl, create::touches, create::create)
        .exclusive(ops::DeleteNetworkAcl, delete::touches, delete::delete)
        .read(ops::DescribeNetworkAcls, describe::touches, describe::describe)
        .write(ops::CreateNetworkAclEntry, entry::create_touches, entry::create)
        .write(ops::ReplaceNetworkAclEntry, entry::replace_touches, entry::replace)
        .write(ops::DeleteNetworkAclEntry, entry::delete_touches, entry::delete)
        .exclusive(ops::ReplaceNetworkAclAssociation, associate::touches, associate::replace);
}
