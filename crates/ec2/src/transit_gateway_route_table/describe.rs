//! `DescribeTransitGatewayRouteTables`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeTransitGatewayRouteTablesRequest, DescribeTransitGatewayRouteTablesResult};
use control::{Context, Result, Tables};
use model::record::transit_gateway::TransitGatewayRouteTable;

pub fn describe(
    ctx: &Context,
    request: &DescribeTransitGatewayRouteTablesRequest,
    tables: &Tables,
) -> Result<DescribeTransitGatewayRouteTablesResult> {
    let query = Query {
        ids: &request.transit_gateway_route_table_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TransitGatewayRouteTable>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|table| render::table(tables, table)).collect();
    Ok(DescribeTransitGatewayRouteTablesResult { transit_gateway_route_tables: Some(shown), next_token })
}
