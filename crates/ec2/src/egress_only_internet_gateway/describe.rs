//! `DescribeEgressOnlyInternetGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeEgressOnlyInternetGatewaysRequest, DescribeEgressOnlyInternetGatewaysResult};
use control::{Context, Result, Tables};
use model::record::vpc::EgressOnlyInternetGateway;

pub fn describe(
    ctx: &Context,
    request: &DescribeEgressOnlyInternetGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeEgressOnlyInternetGatewaysResult> {
    let query = Query {
        ids: &request.egress_only_internet_gateway_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<EgressOnlyInternetGateway>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|gateway| render(gateway)).collect();
    Ok(DescribeEgressOnlyInternetGatewaysResult { egress_only_internet_gateways: Some(shown), next_token })
}
