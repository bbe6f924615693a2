//! `DescribeTransitGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeTransitGatewaysRequest, DescribeTransitGatewaysResult};
use control::{Context, Result, Tables};
use model::record::transit_gateway::TransitGateway;

pub fn describe(
    ctx: &Context,
    request: &DescribeTransitGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewaysResult> {
    let query = Query {
        ids: &request.transit_gateway_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TransitGateway>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|gateway| render::gateway(ctx, gateway)).collect();
    Ok(DescribeTransitGatewaysResult { transit_gateways: Some(shown), next_token })
}
