//! `DescribePublicIpv4Pools`: each range that is provisioned, as what addresses are allocated from.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribePublicIpv4Pools.html>

use super::allocated;
use crate::noun::{Query, render_tags, select};
use api_ec2::{
    DescribePublicIpv4PoolsRequest, DescribePublicIpv4PoolsResult, PublicIpv4Pool, PublicIpv4PoolRange,
};
use control::{Context, Result, Tables};
use model::record::byoip::ByoipCidr;

pub fn describe(
    ctx: &Context,
    request: &DescribePublicIpv4PoolsRequest,
    tables: &Tables,
) -> Result<DescribePublicIpv4PoolsResult> {
    let query = Query {
        ids: &request.pool_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<ByoipCidr>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|pool| render(ctx, tables, pool)).collect();
    Ok(DescribePublicIpv4PoolsResult { public_ipv4_pools: Some(shown), next_token })
}

fn render(ctx: &Context, tables: &Tables, pool: &ByoipCidr) -> PublicIpv4Pool {
    let size = i32::try_from(pool.size()).unwrap_or(i32::MAX);
    let taken = i32::try_from(allocated(tables, &ctx.region, pool.pool)).unwrap_or(i32::MAX);
    let available = size.saturating_sub(taken);
    let range = PublicIpv4PoolRange {
        first_address: Some(pool.cidr.network().to_string()),
        last_address: Some(pool.cidr.broadcast().to_string()),
        address_count: Some(size),
        available_address_count: Some(available),
    };
    PublicIpv4Pool {
        pool_id: Some(pool.pool.to_string()),
        description: Some(pool.description.clone().unwrap_or_default()),
        pool_address_ranges: Some(vec![range]),
        total_address_count: Some(size),
        total_available_address_count: Some(available),
        network_border_group: Some(ctx.region.to_string()),
        tags: render_tags(&pool.tags),
    }
}
