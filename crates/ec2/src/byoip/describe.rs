//! `DescribeByoipCidrs`: the caller's ranges, those that failed or ended of late too.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeByoipCidrs.html>

use super::{ranges, render, state};
use api_ec2::{DescribeByoipCidrsRequest, DescribeByoipCidrsResult};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::PublicIpv4PoolId;

pub fn describe(
    ctx: &Context,
    request: &DescribeByoipCidrsRequest,
    tables: &Tables,
) -> Result<DescribeByoipCidrsResult> {
    let next_token = request.next_token.as_deref();
    let paging =
        Paging::<PublicIpv4PoolId>::parse(Some(request.max_results), next_token, 1..=100, ByIds::Absent)?;
    let (page, next_token) = page::cut(ranges(ctx, tables), &paging, |range| range.pool);
    let shown = page.into_iter().map(|range| render(ctx, range, state(range)));
    Ok(DescribeByoipCidrsResult { byoip_cidrs: Some(shown.collect()), next_token })
}
