//! `DescribeNatGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeNatGatewaysRequest, DescribeNatGatewaysResult};
use control::{Context, Result, Tables};
use model::record::nat_gateway::NatGateway;
use model::record::network_interface::NetworkInterface;

pub fn describe(
    ctx: &Context,
    request: &DescribeNatGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeNatGatewaysResult> {
    let query = Query {
        ids: &request.nat_gateway_ids,
        filters: &request.filter,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<NatGateway>(ctx, tables, &query)?;
    let interface = |gateway: &NatGateway| {
        tables.get::<NetworkInterface>(&ctx.region, &gateway.interface).map(|interface| &**interface)
    };
    let shown = page.into_iter().map(|gateway| render::nat_gateway(interface(gateway), gateway)).collect();
    Ok(DescribeNatGatewaysResult { nat_gateways: Some(shown), next_token })
}
