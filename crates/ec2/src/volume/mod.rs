//! Volumes: described, and made and removed with instances.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html>

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, Query, render_tags, select, wire_time};
use api_ec2::{
    DescribeVolumesRequest, DescribeVolumesResult, OperatorResponse, VolumeAttachmentState, VolumeState, ops,
};
use control::filter::{FilterField, maybe, one, shown};
use control::tag::Tags;
use control::{Context, Result, Service, Tables, Touched};
use model::AccountId;
use model::record::volume::Volume;

impl Noun for Volume {
    const RESOURCE_TYPE: &'static str = "volume";
    const ERRORS: IdErrors = errors::VOLUME;

    fn account(&self) -> AccountId {
        self.account
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }

    fn filters() -> &'static [FilterField<Self, Tables>] {
        FIELDS
    }
}

fn state(volume: &Volume) -> VolumeState {
    match (volume.deleting, &volume.attachment) {
        (true, _) => VolumeState::Deleting,
        (false, Some(_)) => VolumeState::InUse,
        (false, None) => VolumeState::Available,
    }
}

static FIELDS: &[FilterField<Volume, Tables>] = &[
    FilterField {
        name: "attachment.attach-time",
        values: |v, _| maybe(v.attachment.as_ref().map(|a| wire_time(a.at).to_string())),
    },
    FilterField {
        name: "attachment.delete-on-termination",
        values: |v, _| maybe(v.attachment.as_ref().map(|a| a.delete_on_termination.to_string())),
    },
    FilterField {
        name: "attachment.device",
        values: |v, _| maybe(v.attachment.as_ref().map(|a| a.device.as_str())),
    },
    FilterField {
        name: "attachment.instance-id",
        values: |v, _| maybe(v.attachment.as_ref().map(|a| a.instance.to_string())),
    },
    FilterField {
        name: "attachment.status",
        values: |v, _| maybe(v.attachment.as_ref().map(|_| "attached")),
    },
    FilterField { name: "availability-zone", values: |v, _| shown(&v.zone) },
    FilterField { name: "availability-zone-id", values: |v, _| one(v.zone.id()) },
    FilterField { name: "create-time", values: |v, _| shown(wire_time(v.created_at)) },
    FilterField { name: "encrypted", values: |_, _| one("false") },
    FilterField { name: "fast-restored", values: |_, _| one("false") },
    FilterField { name: "multi-attach-enabled", values: |_, _| one("false") },
    FilterField { name: "operator.managed", values: |_, _| one("false") },
    FilterField { name: "size", values: |v, _| shown(v.size.0) },
    FilterField { name: "snapshot-id", values: |v, _| maybe(v.snapshot.map(|s| s.to_string())) },
    FilterField { name: "status", values: |v, _| one(state(v).as_str().to_owned()) },
    FilterField { name: "volume-id", values: |v, _| shown(v.volume) },
    FilterField { name: "volume-type", values: |v, _| one(v.volume_type.as_str()) },
];

fn render(volume: &Volume) -> api_ec2::Volume {
    let attachments = volume.attachment.iter().map(|attachment| api_ec2::VolumeAttachment {
        delete_on_termination: Some(attachment.delete_on_termination),
        volume_id: Some(volume.volume.to_string()),
        instance_id: Some(attachment.instance.to_string()),
        device: Some(attachment.device.clone()),
        state: Some(VolumeAttachmentState::Attached),
        attach_time: Some(wire_time(attachment.at)),
        ..api_ec2::VolumeAttachment::default()
    });
    api_ec2::Volume {
        availability_zone_id: Some(volume.zone.id()),
        iops: volume.iops.map(|iops| iops as i32),
        tags: render_tags(&volume.tags),
        volume_type: Some(volume.volume_type.as_str().into()),
        multi_attach_enabled: Some(false),
        throughput: volume.throughput.map(|rate| rate as i32),
        operator: Some(OperatorResponse { managed: Some(false), ..OperatorResponse::default() }),
        volume_id: Some(volume.volume.to_string()),
        size: Some(volume.size.0 as i32),
        snapshot_id: Some(volume.snapshot.map(|s| s.to_string()).unwrap_or_default()),
        availability_zone: Some(volume.zone.to_string()),
        state: Some(state(volume)),
        create_time: Some(wire_time(volume.created_at)),
        attachments: Some(attachments.collect()),
        encrypted: Some(false),
        ..api_ec2::Volume::default()
    }
}

fn describe(
    ctx: &Context,
    request: &DescribeVolumesRequest,
    tables: &Tables,
) -> Result<DescribeVolumesResult> {
    let query = Query {
        ids: &request.volume_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (volumes, next_token) = select::<Volume>(ctx, tables, &query)?;
    Ok(DescribeVolumesResult { next_token, volumes: Some(volumes.into_iter().map(|v| render(v)).collect()) })
}

pub fn register(service: &mut Service) {
    service.read(ops::DescribeVolumes, |_, _, _| Touched::anything(), describe);
}
