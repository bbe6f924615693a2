//! `DescribeNetworkAcls`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeNetworkAclsRequest, DescribeNetworkAclsResult};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::NetworkAcl;

pub fn touches(_: &Context, _: &DescribeNetworkAclsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeNetworkAclsRequest,
    tables: &Tables,
) -> Result<DescribeNetworkAclsResult> {
    let query = Query {
        ids: &request.network_acl_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<NetworkAcl>(ctx, tables, &query)?;
    let acls = page.into_iter().map(|acl| render::network_acl(&ctx.region, tables, acl)).collect();
    Ok(DescribeNetworkAclsResult { network_acls: Some(acls), next_token })
}
