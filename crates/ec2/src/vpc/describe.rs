//! `DescribeVpcs`.

use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeVpcsRequest, DescribeVpcsResult, VpcState};
use control::{Context, Result, Tables, Touched};
use model::record::vpc::Vpc;

pub fn touches(_: &Context, _: &DescribeVpcsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(ctx: &Context, request: &DescribeVpcsRequest, tables: &Tables) -> Result<DescribeVpcsResult> {
    let query = Query {
        ids: &request.vpc_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<Vpc>(ctx, tables, &query)?;
    let vpcs = page.into_iter().map(|vpc| render::vpc(&ctx.region, vpc, VpcState::Available)).collect();
    Ok(DescribeVpcsResult { vpcs: Some(vpcs), next_token })
}
