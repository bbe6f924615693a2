//! `AttachVolume`: to an instance that runs, by hot-plug, or to a stopped one, for its next start. A Multi-Attach volume to up to
//! sixteen.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AttachVolume.html>

use super::{errors, render};
use crate::encryption::{can_be_opened, refused};
use crate::errors::{client, invalid_parameter_value};
use crate::instance::{attachable, errors as instances, kind};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{AttachVolumeRequest, VolumeAttachmentState};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::instance::{BlockDevice, Instance};
use model::record::volume::{Life, Volume, VolumeAttachment};
use plan::instance::devices::{is_device_name, same_device};
use plan::volume::bootable;

/// Of a Multi-Attach volume.
const MOST_INSTANCES: usize = 16;

pub fn touches(ctx: &Context, request: &AttachVolumeRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Volume>(ctx, tables, [&request.volume_id]);
    all.extend(touched::<Instance>(ctx, tables, [&request.instance_id]));
    all
}

pub fn attach(
    ctx: &Context,
    request: &AttachVolumeRequest,
    txn: &mut Txn<'_>,
) -> Result<api_ec2::VolumeAttachment> {
    refuse(&[("EbsCardIndex", request.ebs_card_index.is_some_and(|index| index != 0))])?;
    let device = request.device.as_str();
    if !is_device_name(device) {
        let shown: String = device.chars().take(64).collect();
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter device is invalid. {shown} is not a valid EBS device name."
        )));
    }
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    let instance = hold::<Instance>(ctx, txn, &request.instance_id)?;
    is_free(&volume, &instance)?;
    let state = attachable(&instance)?;
    if volume.provision.multi_attach && same_device(device, &instance.root_device) {
        return Err(invalid_parameter_value("A Multi-Attach volume cannot be the root device."));
    }
    if volume.zone != instance.zone {
        return Err(client(
            "InvalidVolume.ZoneMismatch",
            format!(
                "The volume '{}' is not in the same availability zone as instance '{}'",
                volume.volume, instance.instance
            ),
        ));
    }
    let of_store = instance.store.iter().filter_map(|mapped| mapped.device.as_ref());
    let mut taken = instance.volumes.iter().map(|mapped| &mapped.device).chain(of_store);
    if taken.any(|name| same_device(name, device)) {
        return Err(invalid_parameter_value(format!(
            "Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        )));
    }
    let root = same_device(device, &instance.root_device);
    if root && !bootable(volume.provision.volume_type) {
        return Err(invalid_parameter_value(format!(
            "A volume of the type {} cannot be the root device.",
            volume.provision.volume_type
        )));
    }
    let most = kind::most_volumes(&instance.instance_type, instance.interfaces.len(), instance.store.len());
    if instance.volumes.len() >= most {
        return Err(instances::too_many_volumes(&instance.instance_type, most));
    }

    can_be_opened(ctx, txn.tables(), &volume).map_err(refused)?;

    let attachment = VolumeAttachment {
        instance: instance.instance,
        device: device.to_owned(),
        at: ctx.now,
        delete_on_termination: false,
    };
    let mapping = BlockDevice {
        device: device.to_owned(),
        volume: volume.volume,
        delete_on_termination: false,
        attached_at: ctx.now,
        state,
    };
    let mut instance = (*instance).clone();
    // The root volume is the first.
    let at = if root { 0 } else { instance.volumes.len() };
    instance.volumes.insert(at, mapping);
    txn.put(&ctx.region, instance);
    let shown = render::attachment(&volume, &attachment, VolumeAttachmentState::Attaching);
    txn.put(&ctx.region, volume.with(attachment));
    Ok(shown)
}

fn is_free(volume: &Volume, instance: &Instance) -> Result<()> {
    let shared = volume.provision.multi_attach;
    if volume.attached_to(instance.instance).is_some() || (volume.attachment.is_some() && !shared) {
        return Err(client("VolumeInUse", format!("{} is already attached to an instance", volume.volume)));
    }
    if volume.attachments().count() >= MOST_INSTANCES {
        return Err(client(
            "AttachmentLimitExceeded",
            format!("{} is attached to {MOST_INSTANCES} instances, which is the most.", volume.volume),
        ));
    }
    match volume.life {
        Life::Ready => Ok(()),
        Life::Creating | Life::Failed { .. } | Life::Deleting => {
            Err(errors::incorrect_state(volume.volume, volume.state_name(), "'available'"))
        }
    }
}
