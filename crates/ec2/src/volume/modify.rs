//! `ModifyVolume`: another size, type or performance, also while the volume is in use.
//!
//! The record shows the old values until the host holds to the new ones.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVolume.html>
//! Differs: optimizing takes seconds, there being nothing to move.

use super::{errors, modifications};
use crate::errors::client;
use crate::instance::desired;
use crate::noun::hold;
use api_ec2::{ModifyVolumeRequest, ModifyVolumeResult};
use control::{Context, Result, Txn};
use model::record::instance::Instance;
use model::record::volume::{Life, Modification, Volume, VolumeType};
use plan::instance::devices::same_device;
use plan::volume::modification::{MOST, Stage, counted, stage};
use plan::volume::{Change, bootable};

fn change(request: &ModifyVolumeRequest) -> Result<Change> {
    let name = request.volume_type.as_ref().map(api_ec2::VolumeType::as_str);
    let volume_type = name
        .filter(|name| !name.is_empty())
        .map(|name| VolumeType::parse(name).ok_or_else(|| errors::unknown_type(name)))
        .transpose()?;
    let change = Change {
        volume_type,
        size: request.size,
        iops: request.iops,
        throughput: request.throughput,
        multi_attach: request.multi_attach_enabled,
    };
    if change.is_empty() {
        return Err(client(
            "MissingParameter",
            "The request must contain one of the parameters size, volumeType, iops, throughput and \
             multiAttachEnabled",
        ));
    }
    Ok(change)
}

pub fn modify(ctx: &Context, request: &ModifyVolumeRequest, txn: &mut Txn<'_>) -> Result<ModifyVolumeResult> {
    let change = change(request)?;
    let before = hold::<Volume>(ctx, txn, &request.volume_id)?;
    match before.life {
        Life::Ready => {}
        Life::Creating | Life::Failed { .. } | Life::Deleting => {
            let state = before.state_name();
            return Err(errors::incorrect_state(before.volume, state, "'available' or 'in-use'"));
        }
    }
    if let Some(modification) = &before.modification {
        let stage = stage(modification, ctx.now);
        if !matches!(stage, Stage::Completed { .. }) {
            return Err(client(
                "IncorrectModificationState",
                format!(
                    "Cannot modify volume, because the volume '{}' is currently in modification state {}.",
                    before.volume,
                    stage.name().to_uppercase()
                ),
            ));
        }
    }
    let attached = before.attachment.is_some();
    let target = plan::volume::modify(&before.provision, &change, attached).map_err(errors::refused)?;
    if !bootable(target.volume_type) && is_root(ctx, txn, &before) {
        return Err(client(
            "InvalidParameterValue",
            format!("A volume of the type {} cannot be the root device.", target.volume_type),
        ));
    }
    let mut modified_at = counted(&before.modified_at, ctx.now);
    if modified_at.len() >= MOST {
        return Err(client(
            "VolumeModificationRateExceeded",
            format!(
                "The volume '{}' was modified {MOST} times within the last 24 hours, which is the most. Try again \
                 later.",
                before.volume
            ),
        ));
    }
    modified_at.push(ctx.now);
    let mut after = (*before).clone();
    after.modified_at = modified_at;
    let modification =
        Modification { started_at: ctx.now, original: before.provision, target, in_force_since: None };
    after.modification = Some(modification);
    // What makes no difference to the host needs no word from it.
    if desired::volume(&before, None) == desired::volume(&after, None) {
        after.provision = target;
        after.modification = after.modification.map(|m| Modification { in_force_since: Some(ctx.now), ..m });
    }
    let after = txn.put(&ctx.region, after);
    let shown = modifications::Shown::of(&after, ctx.now).map(|shown| shown.render());
    Ok(ModifyVolumeResult { volume_modification: shown })
}

fn is_root(ctx: &Context, txn: &mut Txn<'_>, volume: &Volume) -> bool {
    volume.attachment.as_ref().is_some_and(|attachment| {
        let instance = txn.get::<Instance>(&ctx.region, &attachment.instance);
        instance.is_some_and(|instance| same_device(&attachment.device, &instance.root_device))
    })
}
