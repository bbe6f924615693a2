//! `CreateTrafficMirrorTarget`, `DeleteTrafficMirrorTarget`.

use super::{MOST, description, render};
use crate::errors::{client, missing_parameter};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    CreateTrafficMirrorTargetRequest, CreateTrafficMirrorTargetResult, DeleteTrafficMirrorTargetRequest,
    DeleteTrafficMirrorTargetResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::TrafficMirrorTargetId;
use model::record::network_interface::NetworkInterface;
use model::record::traffic_mirror::{TrafficMirrorSession, TrafficMirrorTarget};

pub fn touches(ctx: &Context, request: &CreateTrafficMirrorTargetRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "traffic-mirror-target")];
    all.extend(touched::<NetworkInterface>(ctx, tables, &request.network_interface_id));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateTrafficMirrorTargetRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTrafficMirrorTargetResult> {
    refuse(&[
        ("NetworkLoadBalancerArn", request.network_load_balancer_arn.is_some()),
        ("GatewayLoadBalancerEndpointId", request.gateway_load_balancer_endpoint_id.is_some()),
    ])?;
    let id = request.network_interface_id.as_ref().ok_or_else(|| missing_parameter("NetworkInterfaceId"))?;
    let description = description(request.description.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["traffic-mirror-target"])?;
    let interface = super::session::own_interface(ctx, txn, id)?;
    if txn.tables().count::<TrafficMirrorTarget>(&ctx.region, "account", ctx.account()) >= MOST {
        return Err(client(
            "TrafficMirrorTargetLimitExceeded",
            "The maximum number of Traffic Mirror targets has been exceeded.",
        ));
    }
    let target = TrafficMirrorTarget {
        target: TrafficMirrorTargetId::from_entropy(ctx.bits()),
        account: ctx.account(),
        interface: interface.interface,
        description,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let target = txn.put(&ctx.region, target);
    // Whoever removes the interface at the same time looks again.
    txn.put(&ctx.region, NetworkInterface::clone(&interface));
    Ok(CreateTrafficMirrorTargetResult {
        traffic_mirror_target: Some(render::target(&target)),
        client_token: request.client_token.clone(),
    })
}

pub fn delete(
    ctx: &Context,
    request: &DeleteTrafficMirrorTargetRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTrafficMirrorTargetResult> {
    let target = hold::<TrafficMirrorTarget>(ctx, txn, &request.traffic_mirror_target_id)?.target;
    let user = txn.tables().find::<TrafficMirrorSession>(&ctx.region, "target", target).next();
    if let Some(user) = user {
        return Err(client(
            "TrafficMirrorTargetInUse",
            format!("Cannot delete {target}. Target is in use by {}", user.session),
        ));
    }
    txn.delete::<TrafficMirrorTarget>(&ctx.region, &target);
    Ok(DeleteTrafficMirrorTargetResult { traffic_mirror_target_id: Some(target.to_string()) })
}
