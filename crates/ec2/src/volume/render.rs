//! A volume and its attachment as the API shows them.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Volume.html>

use super::place;
use crate::noun::{render_tags, wire_time};
use api_ec2::{OperatorResponse, VolumeAttachmentState, VolumeState};
use control::Tables;
use model::record::instance::{AttachmentState, Phase};
use model::record::kms::Encryption;
use model::record::volume::{Volume, VolumeAttachment};

/// How far an attachment has come.
pub fn attachment_state(
    tables: &Tables,
    volume: &Volume,
    attachment: &VolumeAttachment,
) -> VolumeAttachmentState {
    let state =
        place(tables, volume, attachment).map(|(instance, device)| match (device.state, instance.phase) {
            (AttachmentState::Attaching, _) | (AttachmentState::Attached, Phase::Pending) => {
                VolumeAttachmentState::Attaching
            }
            (AttachmentState::Attached, _) => VolumeAttachmentState::Attached,
            (AttachmentState::Detaching { .. }, _) => VolumeAttachmentState::Detaching,
            (AttachmentState::Busy { .. }, _) => VolumeAttachmentState::Busy,
        });
    state.unwrap_or(VolumeAttachmentState::Attached)
}

pub fn attachment(
    volume: &Volume,
    attachment: &VolumeAttachment,
    state: VolumeAttachmentState,
) -> api_ec2::VolumeAttachment {
    api_ec2::VolumeAttachment {
        delete_on_termination: Some(attachment.delete_on_termination),
        volume_id: Some(volume.volume.to_string()),
        instance_id: Some(attachment.instance.to_string()),
        device: Some(attachment.device.clone()),
        state: Some(state),
        attach_time: Some(wire_time(attachment.at)),
        ..api_ec2::VolumeAttachment::default()
    }
}

pub fn not_managed() -> OperatorResponse {
    OperatorResponse { managed: Some(false), ..OperatorResponse::default() }
}

pub fn volume(tables: &Tables, volume: &Volume) -> api_ec2::Volume {
    let attachments = volume
        .attachments()
        .map(|attached| attachment(volume, attached, attachment_state(tables, volume, attached)));
    let provision = &volume.provision;
    api_ec2::Volume {
        availability_zone_id: Some(volume.zone.id()),
        iops: provision.iops.map(|iops| iops as i32),
        tags: render_tags(&volume.tags),
        volume_type: Some(provision.volume_type.as_str().into()),
        multi_attach_enabled: Some(provision.multi_attach),
        throughput: provision.throughput.map(|rate| rate as i32),
        operator: Some(not_managed()),
        volume_id: Some(volume.volume.to_string()),
        size: Some(provision.size.0 as i32),
        snapshot_id: Some(volume.snapshot.map(|s| s.to_string()).unwrap_or_default()),
        availability_zone: Some(volume.zone.to_string()),
        state: Some(VolumeState::from(volume.state_name())),
        create_time: Some(wire_time(volume.created_at)),
        attachments: Some(attachments.collect()),
        encrypted: Some(volume.encryption.is_some()),
        fast_restored: Some(volume.fast_restored),
        kms_key_id: volume.encryption.as_ref().map(Encryption::key_arn),
        ..api_ec2::Volume::default()
    }
}
