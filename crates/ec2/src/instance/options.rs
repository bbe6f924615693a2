//! ModifyInstanceMetadataOptions, MonitorInstances, UnmonitorInstances.

use super::lifecycle::held;
use super::spec::{MetadataChoice, metadata_options};
use super::{errors, render};
use crate::noun::hold;
use api_ec2::{
    InstanceMonitoring, ModifyInstanceMetadataOptionsRequest, ModifyInstanceMetadataOptionsResult,
    MonitorInstancesRequest, MonitorInstancesResult, UnmonitorInstancesRequest, UnmonitorInstancesResult,
};
use control::{Context, Result, Txn};
use model::record::instance::{Instance, Phase};

pub fn metadata(
    ctx: &Context,
    request: &ModifyInstanceMetadataOptionsRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyInstanceMetadataOptionsResult> {
    let instance = hold::<Instance>(ctx, txn, &request.instance_id)?;
    match instance.phase {
        Phase::Pending | Phase::Running { .. } | Phase::Stopping { .. } | Phase::Stopped => {}
        Phase::ShuttingDown { .. } | Phase::Terminated { .. } => {
            return Err(errors::incorrect_state(instance.instance, "modified"));
        }
    }
    let choice = MetadataChoice {
        tokens: request.http_tokens.as_ref(),
        hop_limit: request.http_put_response_hop_limit,
        endpoint: request.http_endpoint.as_ref(),
        ipv6: request.http_protocol_ipv6.as_ref(),
        tags: request.instance_metadata_tags.as_ref(),
    };
    let options = metadata_options(instance.metadata_options, &choice)?;
    let mut modified = (*instance).clone();
    modified.metadata_options = options;
    txn.put(&ctx.region, modified);
    Ok(ModifyInstanceMetadataOptionsResult {
        instance_id: Some(instance.instance.to_string()),
        instance_metadata_options: Some(render::metadata_options(options)),
    })
}

pub fn monitor(
    ctx: &Context,
    request: &MonitorInstancesRequest,
    txn: &mut Txn<'_>,
) -> Result<MonitorInstancesResult> {
    let instance_monitorings = Some(set(ctx, txn, &request.instance_ids, true)?);
    Ok(MonitorInstancesResult { instance_monitorings })
}

pub fn unmonitor(
    ctx: &Context,
    request: &UnmonitorInstancesRequest,
    txn: &mut Txn<'_>,
) -> Result<UnmonitorInstancesResult> {
    let instance_monitorings = Some(set(ctx, txn, &request.instance_ids, false)?);
    Ok(UnmonitorInstancesResult { instance_monitorings })
}

fn set(ctx: &Context, txn: &mut Txn<'_>, ids: &[String], on: bool) -> Result<Vec<InstanceMonitoring>> {
    let mut answers = Vec::new();
    for instance in held(ctx, txn, ids)? {
        if instance.phase.is_terminated() {
            return Err(errors::incorrect_state(instance.instance, "monitored"));
        }
        let mut modified = (*instance).clone();
        modified.monitoring = on;
        txn.put(&ctx.region, modified);
        answers.push(InstanceMonitoring {
            instance_id: Some(instance.instance.to_string()),
            monitoring: Some(render::monitoring(on)),
        });
    }
    Ok(answers)
}
