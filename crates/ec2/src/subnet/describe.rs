//! `DescribeSubnets`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeSubnetsRequest, DescribeSubnetsResult};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::Subnet;

pub fn touches(_: &Context, _: &DescribeSubnetsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeSubnetsRequest,
    tables: &Tables,
) -> Result<DescribeSubnetsResult> {
    let query = Query {
        ids: &request.subnet_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<Subnet>(ctx, tables, &query)?;
    let subnets = page.into_iter().map(|subnet| render::subnet(subnet, tables)).collect();
    Ok(DescribeSubnetsResult { subnets: Some(subnets), next_token })
}
