//! `CreateSnapshots`: of the volumes of an instance, all at one instant.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshots.html>

use super::take::{Taken, take};
use super::{create::description, render};
use crate::errors::{VOLUME, client, invalid_parameter_value};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use api_ec2::{CopyTagsFromSource, CreateSnapshotsRequest, CreateSnapshotsResult, SnapshotLocationEnum};
use control::tag::merge;
use control::{Context, Result, Tables, Touched, Txn};
use model::VolumeId;
use model::record::instance::{Instance, Phase};
use model::record::volume::Volume;
use plan::instance::devices::same_device;

pub fn touches(ctx: &Context, request: &CreateSnapshotsRequest, tables: &Tables) -> Vec<Touched> {
    let id = &request.instance_specification.instance_id;
    let mut all = touched::<Instance>(ctx, tables, [id]);
    if let Ok(instance) = crate::noun::find::<Instance>(ctx, tables, id) {
        let volumes: Vec<String> = instance.volumes.iter().map(|device| device.volume.to_string()).collect();
        all.extend(touched::<Volume>(ctx, tables, &volumes));
    }
    all.push(created(ctx, "snapshot"));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateSnapshotsRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateSnapshotsResult> {
    refuse(&[
        ("OutpostArn", request.outpost_arn.as_deref().is_some_and(|arn| !arn.is_empty())),
        ("Location", request.location.as_ref().is_some_and(|at| *at != SnapshotLocationEnum::Regional)),
    ])?;
    let copy_tags = match &request.copy_tags_from_source {
        None => false,
        Some(CopyTagsFromSource::Volume) => true,
        Some(CopyTagsFromSource::Other(other)) => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter copyTagsFromSource is invalid."
            )));
        }
    };
    let tags = given_tags(request.tag_specifications.as_deref(), &["snapshot"])?;
    let tags = tags.into_values().next().unwrap_or_default();
    let description = description(request.description.as_deref())?;
    let which = &request.instance_specification;
    let instance = hold::<Instance>(ctx, txn, &which.instance_id)?;
    match instance.phase {
        Phase::Running { .. } | Phase::Stopped | Phase::Stopping { .. } => {}
        Phase::Pending | Phase::ShuttingDown { .. } | Phase::Terminated { .. } => {
            return Err(client(
                "IncorrectInstanceState",
                format!(
                    "Instance '{}' is '{}', not 'running' or 'stopped'.",
                    instance.instance,
                    instance.phase.name()
                ),
            ));
        }
    }
    let left_out = left_out(&instance, which.exclude_data_volume_ids.as_deref().unwrap_or_default())?;
    let mut wanted = Vec::new();
    for device in instance.volumes.iter().filter(|device| device.state.leaving().is_none()) {
        let root = same_device(&device.device, &instance.root_device);
        if left_out.contains(&device.volume) || (root && which.exclude_boot_volume == Some(true)) {
            continue;
        }
        let Some(volume) = txn.get::<Volume>(&ctx.region, &device.volume) else { continue };
        let mut own = tags.clone();
        if copy_tags {
            // What the call itself names counts.
            let copied = volume.tags.iter().filter(|(key, _)| !tags.contains_key(*key));
            merge(&mut own, copied.map(|(key, value)| (key.as_str(), value.as_str())))?;
        }
        wanted.push(Taken { volume, description: description.clone(), tags: own });
    }
    if wanted.is_empty() {
        return Err(invalid_parameter_value(format!(
            "No volume of the instance '{}' is left to take a snapshot of.",
            instance.instance
        )));
    }
    let made = take(ctx, txn, wanted, None)?;
    let snapshots = made.iter().map(|snapshot| render::info(snapshot)).collect();
    Ok(CreateSnapshotsResult { snapshots: Some(snapshots) })
}

/// Data volumes of the instance that are to be passed over.
fn left_out(instance: &Instance, ids: &[String]) -> Result<Vec<VolumeId>> {
    ids.iter()
        .map(|text| {
            let id = VolumeId::parse(text).map_err(|_| VOLUME.malformed(text))?;
            let device = instance.volumes.iter().find(|device| device.volume == id);
            match device {
                Some(device) if same_device(&device.device, &instance.root_device) => {
                    Err(invalid_parameter_value(format!(
                        "The volume '{id}' is the root volume, which is left out by ExcludeBootVolume."
                    )))
                }
                Some(_) => Ok(id),
                None => Err(invalid_parameter_value(format!(
                    "The volume '{id}' is not attached to the instance '{}'.",
                    instance.instance
                ))),
            }
        })
        .collect()
}
