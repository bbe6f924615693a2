//! `DescribeVpcPeeringConnections`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVpcPeeringConnectionsRequest, DescribeVpcPeeringConnectionsResult};
use control::{Context, Result, Tables};
use model::record::vpc_peering_connection::VpcPeeringConnection;

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcPeeringConnectionsRequest,
    tables: &Tables,
) -> Result<DescribeVpcPeeringConnectionsResult> {
    let query = Query {
        ids: &request.vpc_peering_connection_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<VpcPeeringConnection>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|peering| render::peering(&ctx.region, peering)).collect();
    Ok(DescribeVpcPeeringConnectionsResult { vpc_peering_connections: Some(shown), next_token })
}
