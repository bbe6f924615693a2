//! What is attached to transit gateways: VPCs, and sides of peerings with other gateways ([`crate::transit_gateway_peering`]).
//!
//! A VPC's attachment stands in one subnet of each zone that it serves. It is associated with at most one route table, which
//! the VPC's packets ask, and propagates the VPC's ranges to any number. Subnets of zones without a subnet of the attachment
//! get nothing through.
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
use crate::transit_gateway::live;
use api_ec2::ops;
use control::filter::{FilterField, maybe, one, shown};
use control::{Context, Result, Service, Tables, Touched, Txn};
use model::record::transit_gateway::{AttachedVpc, TransitGatewayAttachment};
use model::{Region, SubnetId};
use std::sync::Arc;

/// How many VPCs a gateway may join.
const MAX_ATTACHMENTS: usize = 100;

impl Noun for TransitGatewayAttachment {
    const RESOURCE_TYPE: &'static str = "transit-gateway-attachment";
    const ERRORS: IdErrors = errors::TRANSIT_GATEWAY_ATTACHMENT;

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
            FilterField { name: "local-owner-id", values: |a, _| shown(a.account) },
            FilterField {
                name: "remote-owner-id",
                values: |a, _| maybe(a.peering().map(|far| far.account.to_string())),
            },
            FilterField { name: "resource-id", values: |a, _| one(render::resource(a)) },
            FilterField { name: "resource-owner-id", values: |a, _| shown(render::resource_owner(a)) },
            FilterField {
                name: "resource-type",
                values: |a, _| one(render::resource_type(a).as_str().to_owned()),
            },
            FilterField { name: "state", values: |a, _| one(render::state(a).as_str().to_owned()) },
            FilterField { name: "transit-gateway-attachment-id", values: |a, _| shown(a.attachment) },
            FilterField { name: "transit-gateway-id", values: |a, _| shown(a.gateway) },
            FilterField { name: "transit-gateway-owner-id", values: |a, _| shown(a.account) },
            FilterField { name: "vpc-id", values: |a, _| maybe(a.vpc().map(|vpc| vpc.vpc.to_string())) },
        ]
    }
}

/// An attachment of a VPC that has not ended, held until the commit; to operations on those there are no peerings.
fn of_vpc(
    ctx: &Context,
    txn: &mut Txn<'_>,
    id: &str,
) -> Result<(Arc<TransitGatewayAttachment>, AttachedVpc)> {
    let held = live::<TransitGatewayAttachment>(ctx, txn, id)?;
    let vpc = held.vpc().cloned().ok_or_else(|| TransitGatewayAttachment::ERRORS.not_found(id))?;
    Ok((held, vpc))
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
        .read(
            ops::DescribeTransitGatewayPeeringAttachments,
            |_, _, _| Touched::anything(),
            describe::peering_attachments,
        )
        .read(ops::DescribeTransitGatewayAttachments, |_, _, _| Touched::anything(), describe::attachments);
}
