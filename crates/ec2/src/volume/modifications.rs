//! `DescribeVolumesModifications`: the latest modification of each volume that ever had one.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumesModifications.html>

use super::render::not_managed;
use crate::errors::client;
use crate::noun::{Noun as _, find_all, wire_time};
use api_ec2::{
    DescribeVolumesModificationsRequest, DescribeVolumesModificationsResult, VolumeModification,
    VolumeModificationState,
};
use control::filter::{FilterField, Filters, maybe, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::record::volume::{Modification, Volume};
use model::{Timestamp, VolumeId};
use plan::volume::modification::{Stage, stage};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A modification at an instant.
pub struct Shown {
    volume: VolumeId,
    modification: Modification,
    stage: Stage,
}

impl Shown {
    pub fn of(volume: &Volume, now: Timestamp) -> Option<Self> {
        let modification = volume.modification.clone()?;
        let stage = stage(&modification, now);
        Some(Self { volume: volume.volume, modification, stage })
    }

    pub fn render(&self) -> VolumeModification {
        let Modification { started_at, original, target, .. } = &self.modification;
        let number = |value: Option<u32>| value.map(|value| value as i32);
        VolumeModification {
            volume_id: Some(self.volume.to_string()),
            modification_state: Some(VolumeModificationState::from(self.stage.name())),
            target_size: Some(target.size.0 as i32),
            target_iops: number(target.iops),
            target_volume_type: Some(target.volume_type.as_str().into()),
            target_throughput: number(target.throughput),
            target_multi_attach_enabled: Some(target.multi_attach),
            original_size: Some(original.size.0 as i32),
            original_iops: number(original.iops),
            original_volume_type: Some(original.volume_type.as_str().into()),
            original_throughput: number(original.throughput),
            original_multi_attach_enabled: Some(original.multi_attach),
            progress: Some(i64::from(self.stage.percent())),
            start_time: Some(wire_time(*started_at)),
            end_time: match self.stage {
                Stage::Completed { at } => Some(wire_time(at)),
                Stage::Modifying | Stage::Optimizing { .. } => None,
            },
            operator: Some(not_managed()),
            ..VolumeModification::default()
        }
    }
}

static FIELDS: &[FilterField<Shown, ()>] = &[
    FilterField { name: "modification-state", values: |m, ()| one(m.stage.name()) },
    FilterField {
        name: "original-iops",
        values: |m, ()| maybe(m.modification.original.iops.map(|iops| iops.to_string())),
    },
    FilterField { name: "original-size", values: |m, ()| shown(m.modification.original.size.0) },
    FilterField {
        name: "original-volume-type",
        values: |m, ()| one(m.modification.original.volume_type.as_str()),
    },
    FilterField {
        name: "originalMultiAttachEnabled",
        values: |m, ()| shown(m.modification.original.multi_attach),
    },
    FilterField { name: "start-time", values: |m, ()| shown(wire_time(m.modification.started_at)) },
    FilterField {
        name: "target-iops",
        values: |m, ()| maybe(m.modification.target.iops.map(|iops| iops.to_string())),
    },
    FilterField { name: "target-size", values: |m, ()| shown(m.modification.target.size.0) },
    FilterField {
        name: "target-volume-type",
        values: |m, ()| one(m.modification.target.volume_type.as_str()),
    },
    FilterField {
        name: "targetMultiAttachEnabled",
        values: |m, ()| shown(m.modification.target.multi_attach),
    },
    FilterField { name: "volume-id", values: |m, ()| shown(m.volume) },
];

pub fn describe(
    ctx: &Context,
    request: &DescribeVolumesModificationsRequest,
    tables: &Tables,
) -> Result<DescribeVolumesModificationsResult> {
    let by_ids = ByIds::from(&request.volume_ids);
    let paging =
        Paging::<VolumeId>::parse(request.max_results, request.next_token.as_deref(), 5..=500, by_ids)?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::parse(given, FIELDS)?;
    let of = |volume: &Arc<Volume>| Shown::of(volume, ctx.now);
    let candidates: BTreeMap<VolumeId, Shown> = match by_ids {
        ByIds::Given => {
            let volumes = find_all::<Volume>(ctx, tables, request.volume_ids.as_deref().unwrap_or_default())?;
            let named = volumes.into_iter().map(|volume| {
                let shown = of(volume).ok_or_else(|| never_modified(volume.volume))?;
                Ok((volume.volume, shown))
            });
            named.collect::<Result<_>>()?
        }
        ByIds::Absent => {
            let all = Volume::listed(ctx, tables).into_iter();
            all.filter_map(|volume| Some((volume.volume, of(volume)?))).collect()
        }
    };
    let none = control::tag::Tags::new();
    let matching = candidates.into_values().filter(|m| filters.accept(m, &none, &()));
    let (page, next_token) = page::cut(matching, &paging, |m| m.volume);
    Ok(DescribeVolumesModificationsResult {
        next_token,
        volumes_modifications: Some(page.iter().map(Shown::render).collect()),
    })
}

fn never_modified(volume: VolumeId) -> wire::ApiError {
    client(
        "InvalidVolumeModification.NotFound",
        format!("Modification for volume '{volume}' does not exist."),
    )
}
