//! `DescribeTransitGatewayVpcAttachments`, `DescribeTransitGatewayPeeringAttachments` and `DescribeTransitGatewayAttachments`:
//! the same things, each in its own words.

use super::render;
use crate::errors::invalid_parameter_value;
use crate::noun::{Query, select, select_of};
use crate::transit_gateway_peering as peering;
use api_ec2::{
    DescribeTransitGatewayAttachmentsRequest, DescribeTransitGatewayAttachmentsResult,
    DescribeTransitGatewayPeeringAttachmentsRequest, DescribeTransitGatewayPeeringAttachmentsResult,
    DescribeTransitGatewayVpcAttachmentsRequest, DescribeTransitGatewayVpcAttachmentsResult, Filter,
};
use control::{Context, Result, Tables};
use model::record::transit_gateway::TransitGatewayAttachment;

/// Filters of one of the three that others do not have.
const OF_VPC: [&str; 1] = ["vpc-id"];
const OF_PEERING: [&str; 2] = ["local-owner-id", "remote-owner-id"];
const OF_ANY: [&str; 6] = [
    "association.state",
    "association.transit-gateway-route-table-id",
    "resource-id",
    "resource-owner-id",
    "resource-type",
    "transit-gateway-owner-id",
];

fn check(filters: Option<&[Filter]>, foreign: [&[&str]; 2]) -> Result<()> {
    let mut names = filters.unwrap_or_default().iter().filter_map(|filter| filter.name.as_deref());
    match names.find(|name| foreign.concat().contains(name)) {
        Some(name) => Err(invalid_parameter_value(format!("The filter '{name}' is invalid"))),
        None => Ok(()),
    }
}

pub fn vpc_attachments(
    ctx: &Context,
    request: &DescribeTransitGatewayVpcAttachmentsRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayVpcAttachmentsResult> {
    check(request.filters.as_deref(), [&OF_ANY, &OF_PEERING])?;
    let query = Query {
        ids: &request.transit_gateway_attachment_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let is_of = |attachment: &TransitGatewayAttachment| attachment.vpc().is_some();
    let (page, next_token) = select_of(ctx, tables, &query, is_of)?;
    let shown = page.into_iter().filter_map(|attachment| render::vpc_attachment(attachment, None)).collect();
    Ok(DescribeTransitGatewayVpcAttachmentsResult {
        transit_gateway_vpc_attachments: Some(shown),
        next_token,
    })
}

pub fn peering_attachments(
    ctx: &Context,
    request: &DescribeTransitGatewayPeeringAttachmentsRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayPeeringAttachmentsResult> {
    check(request.filters.as_deref(), [&OF_ANY, &OF_VPC])?;
    let query = Query {
        ids: &request.transit_gateway_attachment_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let is_of = |attachment: &TransitGatewayAttachment| attachment.peering().is_some();
    let (page, next_token) = select_of(ctx, tables, &query, is_of)?;
    let shown = page.into_iter().filter_map(|attachment| peering::render(ctx, attachment, None)).collect();
    Ok(DescribeTransitGatewayPeeringAttachmentsResult {
        transit_gateway_peering_attachments: Some(shown),
        next_token,
    })
}

pub fn attachments(
    ctx: &Context,
    request: &DescribeTransitGatewayAttachmentsRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayAttachmentsResult> {
    check(request.filters.as_deref(), [&OF_VPC, &OF_PEERING])?;
    let query = Query {
        ids: &request.transit_gateway_attachment_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TransitGatewayAttachment>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|attachment| render::attachment(attachment)).collect();
    Ok(DescribeTransitGatewayAttachmentsResult { transit_gateway_attachments: Some(shown), next_token })
}
