//! `CreateTrafficMirrorFilter`, `ModifyTrafficMirrorFilterNetworkServices`, `DeleteTrafficMirrorFilter`.

use super::{MOST, description, render};
use crate::errors::{client, invalid_parameter_combination};
use crate::noun::{created, given_tags, hold};
use crate::parameter::not_one_of;
use api_ec2::{
    CreateTrafficMirrorFilterRequest, CreateTrafficMirrorFilterResult, DeleteTrafficMirrorFilterRequest,
    DeleteTrafficMirrorFilterResult, ModifyTrafficMirrorFilterNetworkServicesRequest,
    ModifyTrafficMirrorFilterNetworkServicesResult, TrafficMirrorNetworkService,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::TrafficMirrorFilterId;
use model::record::traffic_mirror::{TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession};

pub fn touches(ctx: &Context, _: &CreateTrafficMirrorFilterRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "traffic-mirror-filter")]
}

pub fn create(
    ctx: &Context,
    request: &CreateTrafficMirrorFilterRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTrafficMirrorFilterResult> {
    let description = description(request.description.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["traffic-mirror-filter"])?;
    if txn.tables().count::<TrafficMirrorFilter>(&ctx.region, "account", ctx.account()) >= MOST {
        return Err(client(
            "TrafficMirrorFilterLimitExceeded",
            "The maximum number of Traffic Mirror filters has been exceeded.",
        ));
    }
    let filter = TrafficMirrorFilter {
        filter: TrafficMirrorFilterId::from_entropy(ctx.bits()),
        account: ctx.account(),
        dns: false,
        description,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let filter = txn.put(&ctx.region, filter);
    Ok(CreateTrafficMirrorFilterResult {
        traffic_mirror_filter: Some(render::filter(ctx, txn.tables(), &filter)),
        client_token: request.client_token.clone(),
    })
}

pub fn modify_services(
    ctx: &Context,
    request: &ModifyTrafficMirrorFilterNetworkServicesRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyTrafficMirrorFilterNetworkServicesResult> {
    let added = request.add_network_services.as_deref().unwrap_or_default();
    let removed = request.remove_network_services.as_deref().unwrap_or_default();
    for service in added.iter().chain(removed) {
        if !matches!(service, TrafficMirrorNetworkService::AmazonDns) {
            return Err(not_one_of("NetworkServices", service.as_str(), "amazon-dns"));
        }
    }
    if !added.is_empty() && !removed.is_empty() {
        return Err(invalid_parameter_combination(
            "A network service can't be added and removed in the same request.",
        ));
    }
    let mut filter = TrafficMirrorFilter::clone(&*hold::<TrafficMirrorFilter>(
        ctx,
        txn,
        &request.traffic_mirror_filter_id,
    )?);
    filter.dns = (filter.dns && removed.is_empty()) || !added.is_empty();
    let filter = txn.put(&ctx.region, filter);
    Ok(ModifyTrafficMirrorFilterNetworkServicesResult {
        traffic_mirror_filter: Some(render::filter(ctx, txn.tables(), &filter)),
    })
}

/// Its rules go with it.
pub fn delete(
    ctx: &Context,
    request: &DeleteTrafficMirrorFilterRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTrafficMirrorFilterResult> {
    let filter = hold::<TrafficMirrorFilter>(ctx, txn, &request.traffic_mirror_filter_id)?.filter;
    let tables = txn.tables();
    if let Some(user) = tables.find::<TrafficMirrorSession>(&ctx.region, "filter", filter).next() {
        return Err(client(
            "TrafficMirrorFilterInUse",
            format!("Cannot delete {filter}. Filter is in use by {}", user.session),
        ));
    }
    for rule in tables.find::<TrafficMirrorFilterRule>(&ctx.region, "filter", filter) {
        txn.delete::<TrafficMirrorFilterRule>(&ctx.region, &rule.id);
    }
    txn.delete::<TrafficMirrorFilter>(&ctx.region, &filter);
    Ok(DeleteTrafficMirrorFilterResult { traffic_mirror_filter_id: Some(filter.to_string()) })
}
