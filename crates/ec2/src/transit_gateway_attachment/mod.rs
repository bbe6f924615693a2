//! VPC attachments of transit gateways: one subnet of each zone that they serve.
//!
//! An attachment is associated with at most one route table, which the VPC's packets ask, and propagates the VPC's ranges to
//! any number. Subnets of zones without a subnet of the attachment get nothing through.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/tgw-vpc-attachments.html>
//! Differs: attached at once, with no interfaces in the subnets, whose network ACLs judge nothing of what passes by; what
//! comes asks the table of the first zone's subnet; appliance mode and references to groups across are refused.

mod create;
mod delete;
mod describe;
mod modify;
pub mod render;
mod settle;
mod zones;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::tag::Tags;
use control::{Service, Tables, Touched};
use model::record::transit_gateway::TransitGatewayAttachment;
use model::{AccountId, Region, SubnetId};

/// How many VPCs a gateway may join.
const MAX_ATTACHMENTS: usize = 100;

impl Noun for TransitGatewayAttachment {
    const RESOURCE_TYPE: &'static str = "transit-gateway-attachment";
    const ERRORS: IdErrors = errors::TRANSIT_GATEWAY_ATTACHMENT;

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "association.state",
                values: |a, _| maybe(a.association.map(|_| "associated")),
            },
            FilterField {
                name: "association.transit-gateway-route-table-id",
                values: |a, _| maybe(a.association.map(|table| table.to_string())),
            },
            FilterField { name: "resource-id", values: |a, _| shown(a.vpc) },
            FilterField { name: "resource-owner-id", values: |a, _| shown(a.account) },
            FilterField { name: "resource-type", values: |_, _| one("vpc") },
            FilterField { name: "state", values: |a, _| one(render::state(a).as_str().to_owned()) },
            FilterField { name: "transit-gateway-attachment-id", values: |a, _| shown(a.attachment) },
            FilterField { name: "transit-gateway-id", values: |a, _| shown(a.gateway) },
            FilterField { name: "transit-gateway-owner-id", values: |a, _| shown(a.account) },
            FilterField { name: "vpc-id", values: |a, _| shown(a.vpc) },
        ]
    }
}

/// The attachments that stand in a subnet.
pub fn of_subnet(tables: &Tables, region: &Region, subnet: SubnetId) -> Vec<String> {
    let all = tables.find::<TransitGatewayAttachment>(region, "subnet", subnet);
    all.filter(|a| a.deleted_at.is_none()).map(|a| a.attachment.to_string()).collect()
}

pub fn register(service: &mut Service) {
    type Attachment = TransitGatewayAttachment;
    service
        .exclusive(ops::CreateTransitGatewayVpcAttachment, create::touches, create::create)
        .exclusive(ops::ModifyTransitGatewayVpcAttachment, modify::touches, modify::modify)
        .exclusive(
            ops::DeleteTransitGatewayVpcAttachment,
            |ctx, request, tables| {
                touched::<Attachment>(ctx, tables, [&request.transit_gateway_attachment_id])
            },
            delete::delete,
        )
        .write(
            ops::AcceptTransitGatewayVpcAttachment,
            |ctx, request, tables| {
                touched::<Attachment>(ctx, tables, [&request.transit_gateway_attachment_id])
            },
            settle::accept,
        )
        .write(
            ops::RejectTransitGatewayVpcAttachment,
            |ctx, request, tables| {
                touched::<Attachment>(ctx, tables, [&request.transit_gateway_attachment_id])
            },
            settle::reject,
        )
        .read(
            ops::DescribeTransitGatewayVpcAttachments,
            |_, _, _| Touched::anything(),
            describe::vpc_attachments,
        )
        .read(ops::DescribeTransitGatewayAttachments, |_, _, _| Touched::anything(), describe::attachments);
}
