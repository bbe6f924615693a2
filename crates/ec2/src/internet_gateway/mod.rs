//! Internet gateways: the edge at which a VPC's public addresses are translated.
//!
//! A VPC has at most one. Routes to a gateway that was detached or deleted stay and drop what they match.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html>

mod attach;
mod create;
mod describe;
pub mod render;

use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use api_ec2::ops;
use control::filter::{FilterField, maybe, shown};
use control::{Service, Tables};
use model::record::vpc::InternetGateway;

/// How many gateways an account may have in a region.
pub const MAX_GATEWAYS: usize = 5;

impl Noun for InternetGateway {
    const RESOURCE_TYPE: &'static str = "internet-gateway";
    const ERRORS: IdErrors = errors::INTERNET_GATEWAY;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "attachment.state", values: |g, _| maybe(g.vpc.map(|_| "available")) },
            FilterField { name: "attachment.vpc-id", values: |g, _| maybe(g.vpc.map(|v| v.to_string())) },
            FilterField { name: "internet-gateway-id", values: |g, _| shown(g.gateway) },
            FilterField { name: "owner-id", values: |g, _| shown(g.account) },
        ]
    }
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateInternetGateway, create::touches, create::create)
        .exclusive(ops::DeleteInternetGateway, create::delete_touches, create::delete)
        .exclusive(ops::AttachInternetGateway, attach::attach_touches, attach::attach)
        .exclusive(ops::DetachInternetGateway, attach::detach_touches, attach::detach)
        .read(ops::DescribeInternetGateways, describe::touches, describe::describe);
}
