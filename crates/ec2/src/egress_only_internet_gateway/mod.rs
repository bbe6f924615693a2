//! Egress-only internet gateways: IPv6's way out that lets nobody in.
//!
//! One is made for its VPC and belongs to it for life. Routes to one that was deleted stay and drop what they match.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/egress-only-internet-gateway.html>

mod create;
mod describe;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, render_tags};
use api_ec2::{self as api, ops};
use control::filter::{FilterField, one, shown};
use control::{Service, Tables, Touched};
use model::record::vpc::EgressOnlyInternetGateway;
use model::{EgressOnlyInternetGatewayId, Region, VpcId};

/// How many an account may have in a region.
pub const MAX_GATEWAYS: usize = 5;

impl Noun for EgressOnlyInternetGateway {
    const RESOURCE_TYPE: &'static str = "egress-only-internet-gateway";
    const ERRORS: IdErrors = errors::EGRESS_ONLY_INTERNET_GATEWAY;
    const PAGE: std::ops::RangeInclusive<i32> = 5..=255;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "attachment.state", values: |_, _| one("attached") },
            FilterField { name: "attachment.vpc-id", values: |g, _| shown(g.vpc) },
            FilterField { name: "egress-only-internet-gateway-id", values: |g, _| shown(g.gateway) },
            FilterField { name: "owner-id", values: |g, _| shown(g.account) },
        ]
    }
}

/// Whether traffic of the VPC can leave by the gateway.
pub fn serves(tables: &Tables, region: &Region, id: EgressOnlyInternetGatewayId, vpc: VpcId) -> bool {
    tables.get::<EgressOnlyInternetGateway>(region, &id).is_some_and(|gateway| gateway.vpc == vpc)
}

fn render(gateway: &EgressOnlyInternetGateway) -> api::EgressOnlyInternetGateway {
    api::EgressOnlyInternetGateway {
        attachments: Some(vec![api::InternetGatewayAttachment {
            state: Some(api::AttachmentStatus::Attached),
            vpc_id: Some(gateway.vpc.to_string()),
        }]),
        egress_only_internet_gateway_id: Some(gateway.gateway.to_string()),
        tags: render_tags(&gateway.tags),
    }
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateEgressOnlyInternetGateway, create::touches, create::create)
        .exclusive(ops::DeleteEgressOnlyInternetGateway, create::delete_touches, create::delete)
        .read(ops::DescribeEgressOnlyInternetGateways, |_, _, _| Touched::anything(), describe::describe);
}
