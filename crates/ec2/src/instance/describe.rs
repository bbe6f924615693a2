//! DescribeInstances: pages of instances, grouped by the launch that made them.
//!
//! Of each instance the encoded text is kept, with the records that it was rendered from, for as long as those are the
//! present ones: see [`Encodings`].

use super::encodings::Encodings;
use super::render;
use crate::noun::{Query, select};
use api_ec2::{DescribeInstancesRequest, DescribeInstancesResult};
use control::{Context, Result, Tables};
use model::record::instance::Instance;
use std::collections::HashMap;
use std::sync::Arc;
use wire::ec2::{Answer, ITEM};

pub fn run(
    encodings: &Encodings,
    ctx: &Context,
    request: &DescribeInstancesRequest,
    tables: &Tables,
    answer: &mut Answer,
) -> Result<()> {
    let query = Query {
        ids: &request.instance_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (instances, next_token) = select::<Instance>(ctx, tables, &query)?;
    answer.members(&DescribeInstancesResult { next_token, ..DescribeInstancesResult::default() });
    answer.element("reservationSet", |answer| {
        for launch in by_launch(instances) {
            answer.element(ITEM, |answer| {
                answer.members(&render::launch(launch[0].reservation, launch[0].account));
                answer.element("instancesSet", |answer| {
                    for instance in launch {
                        answer.encoded(&encodings.of(tables, instance));
                    }
                });
            });
        }
    });
    Ok(())
}

/// Launches in the order of their first instances here, each with its instances in the order of the launch.
fn by_launch(instances: Vec<&Arc<Instance>>) -> Vec<Vec<&Arc<Instance>>> {
    let mut launches: Vec<Vec<&Arc<Instance>>> = Vec::new();
    let mut places = HashMap::new();
    for instance in instances {
        let at = *places.entry(instance.reservation).or_insert_with(|| {
            launches.push(Vec::new());
            launches.len() - 1
        });
        launches[at].push(instance);
    }
    for launch in &mut launches {
        launch.sort_by_key(|instance| instance.launch_index);
    }
    launches
}
