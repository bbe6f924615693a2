//! `DescribeSecurityGroups`: by ids, by names in the default VPC, by filters.

use super::{named_in_default_vpc, render};
use crate::noun::{Query, select};
use api_ec2::{DescribeSecurityGroupsRequest, DescribeSecurityGroupsResult};
use control::{Context, Result, Tables, Touched};
use model::record::security_group::SecurityGroup;

pub fn touches(_: &Context, _: &DescribeSecurityGroupsRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeSecurityGroupsRequest,
    tables: &Tables,
) -> Result<DescribeSecurityGroupsResult> {
    let mut ids = request.group_ids.clone();
    for name in request.group_names.iter().flatten() {
        let group = named_in_default_vpc(ctx, tables, name)?;
        ids.get_or_insert_default().push(group.group.to_string());
    }
    let query = Query {
        ids: &ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<SecurityGroup>(ctx, tables, &query)?;
    let groups = page.into_iter().map(|group| render::security_group(ctx, group)).collect();
    Ok(DescribeSecurityGroupsResult { security_groups: Some(groups), next_token })
}
