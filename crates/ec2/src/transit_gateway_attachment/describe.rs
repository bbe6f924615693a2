//! `DescribeTransitGatewayVpcAttachments` and `DescribeTransitGatewayAttachments`: the same things, each in its own words.

use super::render;
use crate::errors::invalid_parameter_value;
use crate::noun::{Query, select};
use api_ec2::{
    DescribeTransitGatewayAttachmentsRequest, DescribeTransitGatewayAttachmentsResult,
    DescribeTransitGatewayVpcAttachmentsRequest, DescribeTransitGatewayVpcAttachmentsResult, Filter,
};
use control::{Context, Result, Tables};
use model::record::transit_gateway::TransitGatewayAttachment;

/// Filters of one of the two that the other does not have.
const OF_VPC: [&str; 1] = ["vpc-id"];
const OF_ANY: [&str; 6] = [
    "association.state",
    "association.transit-gateway-route-table-id",
    "resource-id",
    "resource-owner-id",
    "resource-type",
    "transit-gateway-owner-id",
];

fn check(filters: Option<&[Filter]>, foreign: &[&str]) -> Result<()> {
    let mut names = filters.unwrap_or_default().iter().filter_map(|filter| filter.name.as_deref());
    match names.find(|name| foreign.contains(name)) {
        Some(name) => Err(invalid_parameter_value(format!("The filter '{name}' is invalid"))),
        None => Ok(()),
    }
}

pub fn vpc_attachments(
    ctx: &Context,
    request: &DescribeTransitGatewayVpcAttachmentsRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayVpcAttachmentsResult> {
    check(request.filters.as_deref(), &OF_ANY)?;
    let query = Query {
        ids: &request.transit_gateway_attachment_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TransitGatewayAttachment>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|attachment| render::vpc_attachment(attachment)).collect();
    Ok(DescribeTransitGatewayVpcAttachmentsResult {
        transit_gateway_vpc_attachments: Some(shown),
        next_token,
    })
}

pub fn attachments(
    ctx: &Context,
    request: &DescribeTransitGatewayAttachmentsRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayAttachmentsResult> {
    check(request.filters.as_deref(), &OF_VPC)?;
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
