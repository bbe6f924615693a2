//! DHCP options: what a VPC's DHCP answers say beside the address.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_DHCP_Options.html>
//! Differs: a region's stock options are made with an account's first VPC and shown like any others.

mod create;
mod delete;
mod describe;
pub mod render;

use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, shown};
use control::{Service, Tables};
use model::record::vpc::DhcpOptions;
use std::borrow::Cow;

impl Noun for DhcpOptions {
    const RESOURCE_TYPE: &'static str = "dhcp-options";
    const ERRORS: IdErrors = errors::DHCP_OPTIONS;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "dhcp-options-id", values: |o, _| shown(o.options) },
            FilterField {
                name: "key",
                values: |o, _| o.configuration.iter().map(|(key, _)| Cow::Borrowed(key.as_str())).collect(),
            },
            FilterField { name: "owner-id", values: |o, _| shown(o.account) },
            FilterField {
                name: "value",
                values: |o, _| {
                    let values = o.configuration.iter().flat_map(|(_, values)| values);
                    values.map(|value| Cow::Borrowed(value.as_str())).collect()
                },
            },
        ]
    }
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateDhcpOptions, create::touches, create::create)
        .exclusive(ops::DeleteDhcpOptions, delete::touches, delete::delete)
        .read(ops::DescribeDhcpOptions, describe::touches, describe::describe);
}
