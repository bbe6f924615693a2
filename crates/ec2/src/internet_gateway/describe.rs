//! `DescribeInternetGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeInternetGatewaysRequest, DescribeInternetGatewaysResult};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::InternetGateway;

pub fn touches(_: &Context, _: &DescribeInternetGatewaysRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeInternetGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeInternetGatewaysResult> {
    let query = Query {
        ids: &request.internet_gateway_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<InternetGateway>(ctx, tables, &query)?;
    let gateways = page.into_iter().map(|gateway| render::internet_gateway(gateway)).collect();
    Ok(DescribeInternetGatewaysResult { internet_gateways: Some(gateways), next_token })
}
