//! `ModifySnapshotTier`, `RestoreSnapshotTier`, `DescribeSnapshotTierStatus`: into the archive, and out of it for good or for some
//! days.
//!
//! Archiving runs exclusively: that nothing uses the snapshot is read off indexes, which no version guards.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>
//! Differs: a move takes as long as copying takes; no period is charged.

use super::{errors, is_needed, own, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, render_tags, wire_time};
use api_ec2::{
    DescribeSnapshotTierStatusRequest, DescribeSnapshotTierStatusResult, ModifySnapshotTierRequest,
    ModifySnapshotTierResult, RestoreSnapshotTierRequest, RestoreSnapshotTierResult, SnapshotState,
    SnapshotTierStatus, TargetStorageTier, TieringOperationStatus,
};
use control::cloud::Mode;
use control::filter::{FilterField, Filters, maybe, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Cloud, Context, Result, Tables, Txn};
use model::record::image::{Image, State};
use model::record::snapshot::{Snapshot, Stage, Way};
use model::{Region, SnapshotId};
use plan::snapshot::tier::{DAYS, Refusal, archive, expired, restore, status};
use std::sync::Arc;
use wire::ApiError;

fn refused(snapshot: &Snapshot, refusal: Refusal) -> ApiError {
    let id = snapshot.snapshot;
    let state = |what: &str| client("IncorrectState", format!("The snapshot '{id}' {what}."));
    match refusal {
        Refusal::NotCompleted => errors::incorrect_state(snapshot, "'completed'"),
        Refusal::Moving => state("is on its way to another storage tier"),
        Refusal::Archived => state("is in the archive tier already"),
        Refusal::Fast => state("is enabled for fast snapshot restore, which must be disabled before"),
        Refusal::NotArchived => state("is not in the archive tier"),
    }
}

pub fn modify(
    ctx: &Context,
    request: &ModifySnapshotTierRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifySnapshotTierResult> {
    match &request.storage_tier {
        Some(TargetStorageTier::Archive) => {}
        Some(TargetStorageTier::Other(other)) => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter storageTier is invalid."
            )));
        }
        None => return Err(missing_parameter("StorageTier")),
    }
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    let tiering = archive(&snapshot, ctx.now).map_err(|why| refused(&snapshot, why))?;
    let id = snapshot.snapshot;
    let mut images = txn.tables().find::<Image>(&ctx.region, "snapshot", id);
    if let Some(image) = images.find(|image| image.registration.state != State::Disabled) {
        return Err(errors::in_use(id, image.image));
    }
    if is_needed(txn.tables(), &ctx.region, id) {
        return Err(client("IncorrectState", format!("Something is being made of the snapshot '{id}'.")));
    }
    txn.put(&ctx.region, Snapshot { tiering: Some(tiering), ..(*snapshot).clone() });
    Ok(ModifySnapshotTierResult {
        snapshot_id: Some(id.to_string()),
        tiering_start_time: Some(wire_time(ctx.now)),
    })
}

fn way(request: &RestoreSnapshotTierRequest) -> Result<Way> {
    match (request.temporary_restore_days, request.permanent_restore == Some(true)) {
        (Some(_), true) => Err(invalid_parameter_combination(
            "Specify either TemporaryRestoreDays or PermanentRestore, not both.",
        )),
        (None, true) => Ok(Way::ForGood),
        (Some(days), false) => {
            let wrong = || invalid_parameter_value("A temporary restore lasts 1 to 180 days.");
            let days = u32::try_from(days).ok().filter(|_| DAYS.contains(&days));
            Ok(Way::Temporarily(days.ok_or_else(wrong)?))
        }
        (None, false) => Err(client(
            "MissingParameter",
            "The request must contain the parameter temporaryRestoreDays or permanentRestore",
        )),
    }
}

pub fn restore_tier(
    ctx: &Context,
    request: &RestoreSnapshotTierRequest,
    txn: &mut Txn<'_>,
) -> Result<RestoreSnapshotTierResult> {
    let way = way(request)?;
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    let tiering = restore(&snapshot, way, ctx.now).map_err(|why| refused(&snapshot, why))?;
    txn.put(&ctx.region, Snapshot { tiering: Some(tiering), ..(*snapshot).clone() });
    Ok(RestoreSnapshotTierResult {
        snapshot_id: Some(snapshot.snapshot.to_string()),
        restore_start_time: Some(wire_time(ctx.now)),
        restore_duration: match way {
            Way::Temporarily(days) => i32::try_from(days).ok(),
            Way::ForGood | Way::ToArchive => None,
        },
        is_permanent_restore: Some(way == Way::ForGood),
    })
}

/// As EC2 spells its latest move.
fn operation(snapshot: &Snapshot) -> Option<&'static str> {
    snapshot.tiering.as_ref().map(status)
}

static FIELDS: &[FilterField<Snapshot, Tables>] = &[
    FilterField { name: "last-tiering-operation", values: |s, _| maybe(operation(s).map(str::to_owned)) },
    FilterField { name: "snapshot-id", values: |s, _| shown(s.snapshot) },
    FilterField { name: "volume-id", values: |s, _| one(render::volume(s)) },
];

pub fn describe(
    ctx: &Context,
    request: &DescribeSnapshotTierStatusRequest,
    tables: &Tables,
) -> Result<DescribeSnapshotTierStatusResult> {
    let paging = Paging::<SnapshotId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::Absent,
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::parse(given, FIELDS)?;
    let own = Snapshot::listed(ctx, tables).into_iter().filter(|s| s.account == ctx.account());
    let matching = own.filter(|s| filters.accept(s, &s.tags, tables));
    let (page, next_token) = page::cut(matching, &paging, |s| s.snapshot);
    let statuses = page.into_iter().map(|snapshot| render_status(snapshot));
    Ok(DescribeSnapshotTierStatusResult { snapshot_tier_statuses: Some(statuses.collect()), next_token })
}

fn render_status(snapshot: &Snapshot) -> SnapshotTierStatus {
    let shown = SnapshotTierStatus {
        snapshot_id: Some(snapshot.snapshot.to_string()),
        volume_id: Some(render::volume(snapshot)),
        status: Some(SnapshotState::from(snapshot.state_name())),
        owner_id: Some(snapshot.account.to_string()),
        tags: render_tags(&snapshot.tags),
        storage_tier: Some(render::tier(snapshot)),
        ..SnapshotTierStatus::default()
    };
    let Some(tiering) = &snapshot.tiering else { return shown };
    SnapshotTierStatus {
        last_tiering_start_time: Some(wire_time(tiering.started_at)),
        last_tiering_progress: Some(match tiering.stage {
            Stage::Moving { percent } => i32::from(percent),
            Stage::Done => 100,
            Stage::Failed { .. } => 0,
        }),
        last_tiering_operation_status: Some(TieringOperationStatus::from(status(tiering))),
        last_tiering_operation_status_detail: match &tiering.stage {
            Stage::Failed { reason } => Some(reason.clone()),
            Stage::Moving { .. } | Stage::Done => None,
        },
        archival_complete_time: tiering.archived_at.map(wire_time),
        restore_expiry_time: tiering.until.map(wire_time),
        ..shown
    }
}

/// Snapshots whose days are over go back.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let over = |snapshot: &Snapshot| expired(snapshot, now);
    let due: Vec<(Region, SnapshotId)> = {
        let tables: &Tables = &cloud.view.read();
        let regions = tables.regions::<Snapshot>();
        let restored = regions.flat_map(|region| {
            let found = tables.find::<Snapshot>(region, Snapshot::RESTORED, "true");
            found.map(move |snapshot| (region.clone(), snapshot))
        });
        restored.filter(|(_, s)| over(s).is_some()).map(|(region, s)| (region, s.snapshot)).collect()
    };
    for (region, id) in due {
        let end = |txn: &mut Txn<'_>| {
            if let Some(snapshot) = txn.get::<Snapshot>(&region, &id)
                && let Some(tiering) = over(&snapshot)
            {
                txn.put(&region, Snapshot { tiering: Some(tiering), ..(*snapshot).clone() });
            }
            Ok(())
        };
        cloud.transact(Mode::Shared, end).await?;
    }
    Ok(())
}

/// What the API shows of a restore for some days.
pub fn expiry(snapshot: &Snapshot) -> Option<wire::Timestamp> {
    snapshot.tiering.as_ref().and_then(|tiering| tiering.until).map(wire_time)
}
