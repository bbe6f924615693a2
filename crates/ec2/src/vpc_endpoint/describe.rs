//! `DescribeVpcEndpoints`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVpcEndpointsRequest, DescribeVpcEndpointsResult};
use control::{Context, Result, Tables};
use model::record::vpc_endpoint::VpcEndpoint;

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointsRequest,
    tables: &Tables,
) -> Result<DescribeVpcEndpointsResult> {
    let query = Query {
        ids: &request.vpc_endpoint_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<VpcEndpoint>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|endpoint| render::endpoint(tables, endpoint)).collect();
    Ok(DescribeVpcEndpointsResult { vpc_endpoints: Some(shown), next_token })
}
