//! `DescribeVolumeStatus`: whether a volume can be read and written, as its host says.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/monitoring-volume-status.html>
//! Differs: there are no events, and I/O performance is not measured against what is provisioned.

use super::render::not_managed;
use crate::noun::{Noun as _, find_all};
use api_ec2::{
    DescribeVolumeStatusRequest, DescribeVolumeStatusResult, VolumeStatusAttachmentStatus,
    VolumeStatusDetails, VolumeStatusInfo, VolumeStatusInfoStatus, VolumeStatusItem, VolumeStatusName,
};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::VolumeId;
use model::record::volume::{Life, Volume, VolumeType};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Status, and the details `io-enabled` and `io-performance`.
fn verdict(volume: &Volume) -> (VolumeStatusInfoStatus, &'static str, &'static str) {
    match volume.life {
        Life::Ready | Life::Deleting => {
            (VolumeStatusInfoStatus::Ok, "passed", performance(volume).unwrap_or("not-applicable"))
        }
        Life::Creating => {
            (VolumeStatusInfoStatus::InsufficientData, "insufficient-data", "insufficient-data")
        }
        Life::Failed { .. } => (VolumeStatusInfoStatus::Impaired, "failed", "not-applicable"),
    }
}

/// Told of attached volumes with provisioned IOPS alone.
fn performance(volume: &Volume) -> Option<&'static str> {
    let provisioned = matches!(volume.provision.volume_type, VolumeType::Io1 | VolumeType::Io2);
    (provisioned && volume.attachment.is_some()).then_some("normal")
}

static FIELDS: &[FilterField<Volume, ()>] = &[
    FilterField { name: "action.code", values: |_, ()| Vec::new() },
    FilterField { name: "action.description", values: |_, ()| Vec::new() },
    FilterField { name: "action.event-id", values: |_, ()| Vec::new() },
    FilterField { name: "availability-zone", values: |v, ()| one(v.zone.to_string()) },
    FilterField { name: "availability-zone-id", values: |v, ()| one(v.zone.id()) },
    FilterField { name: "event.description", values: |_, ()| Vec::new() },
    FilterField { name: "event.event-id", values: |_, ()| Vec::new() },
    FilterField { name: "event.event-type", values: |_, ()| Vec::new() },
    FilterField { name: "event.not-after", values: |_, ()| Vec::new() },
    FilterField { name: "event.not-before", values: |_, ()| Vec::new() },
    FilterField { name: "operator.managed", values: |_, ()| one("false") },
    FilterField { name: "operator.principal", values: |_, ()| Vec::new() },
    FilterField {
        name: "volume-status.details-name",
        values: |_, ()| vec!["io-enabled".into(), "io-performance".into()],
    },
    FilterField {
        name: "volume-status.details-status",
        values: |v, ()| {
            let (_, enabled, performance) = verdict(v);
            vec![enabled.into(), performance.into()]
        },
    },
    FilterField { name: "volume-status.status", values: |v, ()| one(verdict(v).0.as_str().to_owned()) },
];

fn render(volume: &Volume) -> VolumeStatusItem {
    let (status, enabled, performance) = verdict(volume);
    let detail = |name, status: &str| VolumeStatusDetails { name: Some(name), status: Some(status.into()) };
    let attached = volume.attachments().filter_map(|attachment| {
        Some(VolumeStatusAttachmentStatus {
            io_performance: Some(self::performance(volume)?.to_owned()),
            instance_id: Some(attachment.instance.to_string()),
        })
    });
    VolumeStatusItem {
        actions: Some(Vec::new()),
        availability_zone: Some(volume.zone.to_string()),
        availability_zone_id: Some(volume.zone.id()),
        events: Some(Vec::new()),
        volume_id: Some(volume.volume.to_string()),
        volume_status: Some(VolumeStatusInfo {
            details: Some(vec![
                detail(VolumeStatusName::IoEnabled, enabled),
                detail(VolumeStatusName::IoPerformance, performance),
            ]),
            status: Some(status),
        }),
        attachment_statuses: Some(attached.collect()),
        operator: Some(not_managed()),
        ..VolumeStatusItem::default()
    }
}

pub fn describe(
    ctx: &Context,
    request: &DescribeVolumeStatusRequest,
    tables: &Tables,
) -> Result<DescribeVolumeStatusResult> {
    let by_ids = ByIds::from(&request.volume_ids);
    let paging =
        Paging::<VolumeId>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, by_ids)?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::parse(given, FIELDS)?;
    let volumes: BTreeMap<VolumeId, &Arc<Volume>> = match by_ids {
        ByIds::Given => find_all::<Volume>(ctx, tables, request.volume_ids.as_deref().unwrap_or_default())?,
        ByIds::Absent => Volume::listed(ctx, tables),
    }
    .into_iter()
    .map(|volume| (volume.volume, volume))
    .collect();
    let matching = volumes.into_values().filter(|v| filters.accept(v, &v.tags, &()));
    let (page, next_token) = page::cut(matching, &paging, |v| v.volume);
    let statuses = page.into_iter().map(|volume| render(volume)).collect();
    Ok(DescribeVolumeStatusResult { next_token, volume_statuses: Some(statuses) })
}
