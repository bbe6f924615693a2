//! `DescribeRouteTables`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeRouteTablesRequest, DescribeRouteTablesResult};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::RouteTable;

pub fn touches(_: &Context, _: &DescribeRouteTablesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeRouteTablesRequest,
    tables: &Tables,
) -> Result<DescribeRouteTablesResult> {
    let query = Query {
        ids: &request.route_table_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<RouteTable>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|table| render::route_table(&ctx.region, tables, table)).collect();
    Ok(DescribeRouteTablesResult { route_tables: Some(shown), next_token })
}
