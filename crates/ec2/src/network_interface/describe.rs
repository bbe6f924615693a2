//! `DescribeNetworkInterfaces`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeNetworkInterfacesRequest, DescribeNetworkInterfacesResult};
use control::{Context, Result, Tables, Touched};
use model::record::network_interface::NetworkInterface;

pub fn touches(_: &Context, _: &DescribeNetworkInterfacesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeNetworkInterfacesRequest,
    tables: &Tables,
) -> Result<DescribeNetworkInterfacesResult> {
    let query = Query {
        ids: &request.network_interface_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<NetworkInterface>(ctx, tables, &query)?;
    let interfaces = page.into_iter().map(|interface| render::network_interface(tables, interface)).collect();
    Ok(DescribeNetworkInterfacesResult { network_interfaces: Some(interfaces), next_token })
}
