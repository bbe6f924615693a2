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
    let launches = by_launch(instances);
    let texts = encodings.of(tables, &ctx.region, &launches);
    answer.element("reservationSet", |answer| {
        let mut texts = texts.iter();
        for launch in launches.chunk_by(|a, b| a.reservation == b.reservation) {
            answer.element(ITEM, |answer| {
                answer.members(&render::launch(launch[0].reservation, launch[0].account));
                answer.element("instancesSet", |answer| {
                    texts.by_ref().take(launch.len()).for_each(|text| answer.encoded(text));
                });
            });
        }
    });
    Ok(())
}

/// Launches in the order of their first instances here, each with its instances in the order of the launch.
fn by_launch(instances: Vec<&Arc<Instance>>) -> Vec<&Arc<Instance>> {
    if instances.len() < 2 {
        return instances;
    }
    let mut places = HashMap::new();
    let mut placed: Vec<_> = instances
        .into_iter()
        .map(|instance| {
            let next = places.len();
            (*places.entry(instance.reservation).or_insert(next), instance.launch_index, instance)
        })
        .collect();
    // Stable, as an instance of another launch may have the same index.
    placed.sort_by_key(|(place, index, _)| (*place, *index));
    placed.into_iter().map(|(_, _, instance)| instance).collect()
}
