//! `DescribeCustomerGateways`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeCustomerGatewaysRequest, DescribeCustomerGatewaysResult};
use control::{Context, Result, Tables};
use model::record::vpn::CustomerGateway;

pub fn describe(
    ctx: &Context,
    request: &DescribeCustomerGatewaysRequest,
    tables: &Tables,
) -> Result<DescribeCustomerGatewaysResult> {
    let query = Query {
        ids: &request.customer_gateway_ids,
        filters: &request.filters,
        max_results: None,
        next_token: None,
    };
    let (all, _) = select::<CustomerGateway>(ctx, tables, &query)?;
    let shown = all.into_iter().map(|gateway| render(gateway)).collect();
    Ok(DescribeCustomerGatewaysResult { customer_gateways: Some(shown) })
}
