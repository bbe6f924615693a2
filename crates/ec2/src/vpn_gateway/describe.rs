//! `DescribeVpnGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVpnGatewaysRequest, DescribeVpnGatewaysResult};
use control::{Context, Result, Tables};
use model::record::vpn::VpnGateway;

pub fn describe(
    ctx: &Context,
    request: &DescribeVpnGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeVpnGatewaysResult> {
    let query = Query {
        ids: &request.vpn_gateway_ids,
        filters: &request.filters,
        max_results: None,
        next_token: None,
    };
    let (all, _) = select::<VpnGateway>(ctx, tables, &query)?;
    let shown = all.into_iter().map(|gateway| render(gateway)).collect();
    Ok(DescribeVpnGatewaysResult { vpn_gateways: Some(shown) })
}
