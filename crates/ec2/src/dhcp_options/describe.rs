//! `DescribeDhcpOptions`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeDhcpOptionsRequest, DescribeDhcpOptionsResult};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::DhcpOptions;

pub fn touches(_: &Context, _: &DescribeDhcpOptionsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeDhcpOptionsRequest,
    tables: &Tables,
) -> Result<DescribeDhcpOptionsResult> {
    let query = Query {
        ids: &request.dhcp_options_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<DhcpOptions>(ctx, tables, &query)?;
    let options = page.into_iter().map(|options| render::dhcp_options(options)).collect();
    Ok(DescribeDhcpOptionsResult { dhcp_options: Some(options), next_token })
}
