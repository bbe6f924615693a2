//! `DetachVolume`: at once from a stopped instance; from a running one when its guest lets go of it, or when it is forced.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DetachVolume.html>

use super::{errors, render};
use crate::errors::{client, missing_parameter, operation_not_permitted};
use crate::noun::{hold, touched};
use api_ec2::{DetachVolumeRequest, VolumeAttachmentState};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::instance::{AttachmentState, Force, Instance, Phase};
use model::record::volume::{Volume, VolumeAttachment};
use plan::instance::devices::same_device;

pub fn touches(ctx: &Context, request: &DetachVolumeRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Volume>(ctx, tables, [&request.volume_id]);
    let volume = crate::noun::find::<Volume>(ctx, tables, &request.volume_id).ok();
    let named = request.instance_id.clone().filter(|id| !id.is_empty());
    let attached = || volume.and_then(|v| v.attachment.as_ref()).map(|a| a.instance.to_string());
    all.extend(touched::<Instance>(ctx, tables, &named.or_else(attached)));
    all
}

pub fn detach(
    ctx: &Context,
    request: &DetachVolumeRequest,
    txn: &mut Txn<'_>,
) -> Result<api_ec2::VolumeAttachment> {
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    let named = request.instance_id.as_deref().filter(|id| !id.is_empty());
    let named = named.map(|id| hold::<Instance>(ctx, txn, id)).transpose()?;
    let Some(first) = &volume.attachment else {
        return Err(errors::incorrect_state(volume.volume, volume.state_name(), "attached"));
    };
    let attachment = match &named {
        Some(named) => volume
            .attached_to(named.instance)
            .ok_or_else(|| elsewhere(&volume, &format!("instance '{}'", named.instance)))?,
        // Which of them is to lose it only the caller knows.
        None if volume.provision.multi_attach => return Err(missing_parameter("InstanceId")),
        None => first,
    };
    if let Some(device) = request.device.as_deref().filter(|device| !device.is_empty())
        && !same_device(device, &attachment.device)
    {
        return Err(elsewhere(&volume, &format!("the device '{device}'")));
    }
    let instance = hold::<Instance>(ctx, txn, &attachment.instance.to_string())?;
    if instance.phase != Phase::Stopped && same_device(&attachment.device, &instance.root_device) {
        return Err(operation_not_permitted(format!(
            "Unable to detach root volume '{}' from instance '{}'",
            attachment.device, instance.instance
        )));
    }
    let force = if request.force == Some(true) { Force::Forced } else { Force::Graceful };
    let mut changed = (*instance).clone();
    if instance.phase == Phase::Stopped {
        changed.volumes.retain(|device| device.volume != volume.volume);
        super::set_free(txn, &ctx.region, volume.volume, instance.instance);
    } else {
        for device in changed.volumes.iter_mut().filter(|device| device.volume == volume.volume) {
            device.state = match (device.state, force) {
                (AttachmentState::Attaching | AttachmentState::Attached, force) => {
                    AttachmentState::Detaching { force, since: ctx.now }
                }
                (AttachmentState::Detaching { since, .. }, Force::Forced) => {
                    AttachmentState::Detaching { force, since }
                }
                (AttachmentState::Busy { .. }, Force::Forced) => AttachmentState::Busy { force },
                (AttachmentState::Detaching { .. }, Force::Graceful) => {
                    return Err(errors::incorrect_state(volume.volume, "detaching", "'attached'"));
                }
                (AttachmentState::Busy { .. }, Force::Graceful) => {
                    return Err(errors::incorrect_state(volume.volume, "busy", "'attached'"));
                }
            };
        }
    }
    txn.put(&ctx.region, changed);
    Ok(shown(&volume, attachment))
}

fn shown(volume: &Volume, attachment: &VolumeAttachment) -> api_ec2::VolumeAttachment {
    render::attachment(volume, attachment, VolumeAttachmentState::Detaching)
}

fn elsewhere(volume: &Volume, what: &str) -> wire::ApiError {
    client("InvalidAttachment.NotFound", format!("The volume '{}' is not attached to {what}.", volume.volume))
}
