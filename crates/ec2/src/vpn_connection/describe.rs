//! `DescribeVpnConnections`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVpnConnectionsRequest, DescribeVpnConnectionsResult};
use control::{Context, Result, Tables};
use model::record::vpn::{CustomerGateway, VpnConnection};

pub fn describe(
    ctx: &Context,
    request: &DescribeVpnConnectionsRequest,
    tables: &Tables,
) -> Result<DescribeVpnConnectionsResult> {
    let query = Query {
        ids: &request.vpn_connection_ids,
        filters: &request.filters,
        max_results: None,
        next_token: None,
    };
    let (all, _) = select::<VpnConnection>(ctx, tables, &query)?;
    let shown = all.into_iter().map(|connection| {
        let customer = tables.get::<CustomerGateway>(&ctx.region, &connection.customer_gateway);
        render::connection(&ctx.cloud.root, customer.map(|customer| &**customer), connection)
    });
    Ok(DescribeVpnConnectionsResult { vpn_connections: Some(shown.collect()) })
}
