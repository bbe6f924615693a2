//! `DescribeVpcEndpointServiceConfigurations`: the caller's own.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{
    DescribeVpcEndpointServiceConfigurationsRequest, DescribeVpcEndpointServiceConfigurationsResult,
};
use control::{Context, Result, Tables};
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointServiceConfigurationsRequest,
    tables: &Tables,
) -> Result<DescribeVpcEndpointServiceConfigurationsResult> {
    let query = Query {
        ids: &request.service_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<VpcEndpointService>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|service| render::service(service)).collect();
    Ok(DescribeVpcEndpointServiceConfigurationsResult { service_configurations: Some(shown), next_token })
}
