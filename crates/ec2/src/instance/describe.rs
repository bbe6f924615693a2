//! DescribeInstances: pages of instances, grouped by the launch that made them.

use super::render::{self, Shown};
use crate::noun::{Query, select};
use api_ec2::{DescribeInstancesRequest, DescribeInstancesResult};
use control::{Context, Result, Tables};
use model::record::instance::Instance;
use std::sync::Arc;

pub fn run(
    ctx: &Context,
    request: &DescribeInstancesRequest,
    tables: &Tables,
) -> Result<DescribeInstancesResult> {
    let query = Query {
        ids: &request.instance_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (instances, next_token) = select::<Instance>(ctx, tables, &query)?;
    let mut launches: Vec<(&Arc<Instance>, Vec<Shown>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for instance in instances {
        let at = *places.entry(instance.reservation).or_insert_with(|| {
            launches.push((instance, Vec::new()));
            launches.len() - 1
        });
        launches[at].1.push(Shown::of(tables, instance));
    }
    let reservations = launches
        .into_iter()
        .map(|(first, shown)| render::reservation(first.reservation, first.account, shown));
    Ok(DescribeInstancesResult { next_token, reservations: Some(reservations.collect()) })
}
