//! `EnableFastSnapshotRestores`, `DisableFastSnapshotRestores`, `DescribeFastSnapshotRestores`: snapshots that the host keeps whole, so
//! that volumes of them lack nothing.
//!
//! Asked for by each account for itself, of its own snapshots and of those that it may use. What cannot be done for one snapshot is
//! told beside what was done for the others.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-fast-snapshot-restore.html>
//! Differs: no credits bound how many volumes have the use of it at a time, for they share what is kept.

use super::errors;
use crate::errors::{SNAPSHOT, client, invalid_parameter_combination, missing_parameter};
use crate::noun::{Noun as _, touched, wire_time};
use crate::parameter;
use api_ec2::{
    DescribeFastSnapshotRestoreSuccessItem, DescribeFastSnapshotRestoresRequest,
    DescribeFastSnapshotRestoresResult, DisableFastSnapshotRestoreErrorItem,
    DisableFastSnapshotRestoreStateError, DisableFastSnapshotRestoreStateErrorItem,
    DisableFastSnapshotRestoreSuccessItem, DisableFastSnapshotRestoresRequest,
    DisableFastSnapshotRestoresResult, EnableFastSnapshotRestoreErrorItem,
    EnableFastSnapshotRestoreStateError, EnableFastSnapshotRestoreStateErrorItem,
    EnableFastSnapshotRestoreSuccessItem, EnableFastSnapshotRestoresRequest,
    EnableFastSnapshotRestoresResult, FastSnapshotRestoreStateCode,
};
use control::cloud::Mode;
use control::filter::{FilterField, Filters, one, shown};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Cloud, Context, Result, Tables, Touched, Txn};
use model::record::snapshot::{FastRestore, Snapshot};
use model::{Region, SnapshotId, Zone};
use plan::snapshot::fast::{self, Refusal};
use std::collections::BTreeSet;
use std::sync::Arc;
use wire::ApiError;

/// The zones that a request names, each once.
fn zones(ctx: &Context, names: Option<&[String]>, ids: Option<&[String]>) -> Result<BTreeSet<Zone>> {
    let (names, ids) = (names.unwrap_or_default(), ids.unwrap_or_default());
    if !names.is_empty() && !ids.is_empty() {
        return Err(invalid_parameter_combination(
            "Specify either AvailabilityZones or AvailabilityZoneIds, not both.",
        ));
    }
    let by_name = names.iter().map(|name| parameter::zone(ctx, Some(name), None));
    let by_id = ids.iter().map(|id| parameter::zone(ctx, None, Some(id)));
    let found = by_name.chain(by_id).collect::<Result<Vec<_>>>()?;
    let found: BTreeSet<Zone> = found.into_iter().flatten().collect();
    if found.is_empty() { Err(missing_parameter("AvailabilityZone")) } else { Ok(found) }
}

fn refused(snapshot: &Snapshot, zone: &Zone, refusal: Refusal) -> ApiError {
    let id = snapshot.snapshot;
    match refusal {
        Refusal::NotCompleted => errors::incorrect_state(snapshot, "'completed'"),
        Refusal::Archived => client(
            "IncorrectState",
            format!("The snapshot '{id}' is in the archive tier, or on its way there or back."),
        ),
        Refusal::NotEnabled => client(
            "IncorrectState",
            format!("Fast snapshot restore is not enabled for the snapshot '{id}' in the zone '{zone}'."),
        ),
    }
}

/// What was done for one snapshot: for each zone what it is now, or why it stays as it is.
struct Done {
    snapshot: SnapshotId,
    zones: Vec<(Zone, Result<FastRestore>)>,
}

impl Done {
    fn successes(&self) -> impl Iterator<Item = (SnapshotId, &FastRestore)> {
        self.zones.iter().filter_map(|(_, done)| Some((self.snapshot, done.as_ref().ok()?)))
    }

    fn failures(&self) -> impl Iterator<Item = (&Zone, &ApiError)> {
        self.zones.iter().filter_map(|(zone, done)| Some((zone, done.as_ref().err()?)))
    }
}

type Change =
    fn(&Snapshot, model::AccountId, &Zone, model::Timestamp) -> std::result::Result<FastRestore, Refusal>;

/// Does it for every snapshot and zone; those that the caller cannot see are told among the failures.
fn change(
    ctx: &Context,
    txn: &mut Txn<'_>,
    ids: &[String],
    zones: &BTreeSet<Zone>,
    change: Change,
) -> Result<Vec<Done>> {
    if ids.is_empty() {
        return Err(missing_parameter("SourceSnapshotId"));
    }
    let ids = ids.iter().map(|id| Snapshot::parse_id(id)).collect::<Result<BTreeSet<SnapshotId>>>()?;
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        let held = txn.get::<Snapshot>(&ctx.region, &id).filter(|snapshot| snapshot.visible_to(ctx));
        let done = match held {
            None => zones.iter().map(|zone| (zone.clone(), Err(SNAPSHOT.not_found(id)))).collect(),
            Some(held) => {
                let mut snapshot = Snapshot::clone(&held);
                let each = zones.iter().map(|zone| {
                    let done = change(&snapshot, ctx.account(), zone, ctx.now);
                    if let Ok(fast) = &done {
                        snapshot = fast::with(&snapshot, fast.clone());
                    }
                    (zone.clone(), done.map_err(|why| refused(&snapshot, zone, why)))
                });
                let done = each.collect();
                if snapshot.fast_restores != held.fast_restores {
                    txn.put(&ctx.region, snapshot);
                }
                done
            }
        };
        all.push(Done { snapshot: id, zones: done });
    }
    Ok(all)
}

pub fn touches_enable(
    ctx: &Context,
    request: &EnableFastSnapshotRestoresRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Snapshot>(ctx, tables, &request.source_snapshot_ids)
}

pub fn touches_disable(
    ctx: &Context,
    request: &DisableFastSnapshotRestoresRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Snapshot>(ctx, tables, &request.source_snapshot_ids)
}

/// What became of a call, in the shapes of its operation: AWS has one set for each of the two, alike but for their names.
macro_rules! answer {
    ($done:expr, $result:ident, $success:ident, $error:ident, $state_error:ident, $state_error_item:ident) => {{
        let success = |(id, fast): (SnapshotId, &FastRestore)| {
            let shown = render(id, fast);
            $success {
                snapshot_id: shown.snapshot_id,
                availability_zone: shown.availability_zone,
                availability_zone_id: shown.availability_zone_id,
                state: shown.state,
                state_transition_reason: shown.state_transition_reason,
                owner_id: shown.owner_id,
                owner_alias: None,
                enabling_time: shown.enabling_time,
                optimizing_time: shown.optimizing_time,
                enabled_time: shown.enabled_time,
                disabling_time: shown.disabling_time,
                disabled_time: shown.disabled_time,
            }
        };
        let error = |(zone, error): (&Zone, &ApiError)| $state_error_item {
            availability_zone: Some(zone.to_string()),
            availability_zone_id: Some(zone.id()),
            error: Some($state_error {
                code: Some(error.code().to_owned()),
                message: Some(error.message().to_owned()),
            }),
        };
        let done: Vec<Done> = $done;
        let failed = done.iter().filter(|done| done.failures().next().is_some());
        let failed = failed.map(|done| $error {
            snapshot_id: Some(done.snapshot.to_string()),
            fast_snapshot_restore_state_errors: Some(done.failures().map(error).collect()),
        });
        $result {
            successful: Some(done.iter().flat_map(Done::successes).map(success).collect()),
            unsuccessful: Some(failed.collect()),
        }
    }};
}

pub fn enable(
    ctx: &Context,
    request: &EnableFastSnapshotRestoresRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableFastSnapshotRestoresResult> {
    let zones = zones(ctx, request.availability_zones.as_deref(), request.availability_zone_ids.as_deref())?;
    let done = change(ctx, txn, &request.source_snapshot_ids, &zones, fast::enable)?;
    Ok(answer!(
        done,
        EnableFastSnapshotRestoresResult,
        EnableFastSnapshotRestoreSuccessItem,
        EnableFastSnapshotRestoreErrorItem,
        EnableFastSnapshotRestoreStateError,
        EnableFastSnapshotRestoreStateErrorItem
    ))
}

pub fn disable(
    ctx: &Context,
    request: &DisableFastSnapshotRestoresRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableFastSnapshotRestoresResult> {
    let zones = zones(ctx, request.availability_zones.as_deref(), request.availability_zone_ids.as_deref())?;
    let done = change(ctx, txn, &request.source_snapshot_ids, &zones, fast::disable)?;
    Ok(answer!(
        done,
        DisableFastSnapshotRestoresResult,
        DisableFastSnapshotRestoreSuccessItem,
        DisableFastSnapshotRestoreErrorItem,
        DisableFastSnapshotRestoreStateError,
        DisableFastSnapshotRestoreStateErrorItem
    ))
}

/// One that is listed.
struct Row {
    snapshot: SnapshotId,
    fast: FastRestore,
}

impl Row {
    /// Where it stands in the listing.
    fn key(&self) -> String {
        format!("{}/{}", self.snapshot, self.fast.zone)
    }
}

static FIELDS: &[FilterField<Row, Tables>] = &[
    FilterField { name: "availability-zone", values: |row, _| shown(&row.fast.zone) },
    FilterField { name: "availability-zone-id", values: |row, _| one(row.fast.zone.id()) },
    FilterField { name: "owner-id", values: |row, _| shown(row.fast.account) },
    FilterField { name: "snapshot-id", values: |row, _| shown(row.snapshot) },
    FilterField { name: "state", values: |row, _| one(fast::state(row.fast.stage)) },
];

pub fn describe(
    ctx: &Context,
    request: &DescribeFastSnapshotRestoresRequest,
    tables: &Tables,
) -> Result<DescribeFastSnapshotRestoresResult> {
    let paging = Paging::<String>::parse(
        request.max_results.filter(|most| *most != 0),
        request.next_token.as_deref(),
        0..=200,
        ByIds::Absent,
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::parse(given, FIELDS)?;
    let found = tables.find::<Snapshot>(&ctx.region, Snapshot::FAST, ctx.account());
    // One that is shared no longer is shown until it has ended.
    let seen = found.filter(|snapshot| !snapshot.is_deleting() && snapshot.binned.is_none());
    let rows = seen.flat_map(|snapshot| {
        let own = snapshot.fast_restores.iter().filter(|fast| fast.account == ctx.account());
        own.map(|fast| Row { snapshot: snapshot.snapshot, fast: fast.clone() })
    });
    let mut rows: Vec<Row> = rows.filter(|row| filters.accept(row, &Tags::new(), tables)).collect();
    rows.sort_by_cached_key(Row::key);
    let (page, next_token) = page::cut(rows, &paging, Row::key);
    let shown = page.iter().map(|row| render(row.snapshot, &row.fast)).collect();
    Ok(DescribeFastSnapshotRestoresResult { fast_snapshot_restores: Some(shown), next_token })
}

fn render(snapshot: SnapshotId, fast: &FastRestore) -> DescribeFastSnapshotRestoreSuccessItem {
    DescribeFastSnapshotRestoreSuccessItem {
        snapshot_id: Some(snapshot.to_string()),
        availability_zone: Some(fast.zone.to_string()),
        availability_zone_id: Some(fast.zone.id()),
        state: Some(FastSnapshotRestoreStateCode::from(fast::state(fast.stage))),
        state_transition_reason: Some(fast::reason(fast)),
        owner_id: Some(fast.account.to_string()),
        owner_alias: None,
        enabling_time: Some(wire_time(fast.enabling_at)),
        optimizing_time: fast.optimizing_at.map(wire_time),
        enabled_time: fast.enabled_at.map(wire_time),
        disabling_time: fast.disabling_at.map(wire_time),
        disabled_time: fast.disabled_at.map(wire_time),
    }
}

/// Those that have been disabled for long are shown no more.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let now = cloud.clock.now();
    let due: Vec<(Region, SnapshotId)> = {
        let tables: &Tables = &cloud.view.read();
        let ended = tables.regions::<Snapshot>().flat_map(|region| {
            let found = tables.find::<Snapshot>(region, Snapshot::FAST_ENDED, "true");
            found.map(move |snapshot| (region.clone(), snapshot))
        });
        let due = ended.filter(|(_, snapshot)| fast::faded(snapshot, now).is_some());
        due.map(|(region, snapshot)| (region, snapshot.snapshot)).collect()
    };
    for (region, id) in due {
        let fade = |txn: &mut Txn<'_>| {
            if let Some(snapshot) = txn.get::<Snapshot>(&region, &id)
                && let Some(fast_restores) = fast::faded(&snapshot, now)
            {
                txn.put(&region, Snapshot { fast_restores, ..(*snapshot).clone() });
            }
            Ok(())
        };
        cloud.transact(Mode::Shared, fade).await?;
    }
    Ok(())
}
