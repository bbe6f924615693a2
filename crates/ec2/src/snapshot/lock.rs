//! `LockSnapshot`, `UnlockSnapshot`, `DescribeLockedSnapshots`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_LockSnapshot.html>

use super::{errors, own};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value};
use crate::noun::{Noun as _, find_all, wire_time};
use api_ec2::{
    DescribeLockedSnapshotsRequest, DescribeLockedSnapshotsResult, LockMode as Asked, LockSnapshotRequest,
    LockSnapshotResult, LockState, LockedSnapshotsInfo, UnlockSnapshotRequest, UnlockSnapshotResult,
};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Txn};
use model::record::snapshot::{Life, Lock, LockMode, Snapshot, Until};
use model::{SnapshotId, Timestamp};
use plan::snapshot::lock::{
    MOST_COOL_OFF, MOST_DAYS, Refusal, change, cooled_off, counts_from, expires, stage, undo,
};
use wire::ApiError;

const DAY: i64 = 86_400_000;

fn refused(id: SnapshotId, refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::Compliance => client(
            "OperationNotPermitted",
            format!("The snapshot '{id}' is locked in compliance mode; its lock can only be made longer."),
        ),
        Refusal::NotLocked => client("SnapshotNotLocked", format!("The snapshot '{id}' is not locked.")),
    }
}

fn asked(ctx: &Context, request: &LockSnapshotRequest) -> Result<Lock> {
    let mode = match &request.lock_mode {
        Asked::Governance => LockMode::Governance,
        Asked::Compliance => LockMode::Compliance,
        Asked::Other(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter lockMode is invalid."
            )));
        }
    };
    let cool_off = match (mode, request.cool_off_period) {
        (_, None) => None,
        (LockMode::Governance, Some(_)) => {
            return Err(invalid_parameter_combination(
                "A lock in governance mode has no cooling-off period.",
            ));
        }
        (LockMode::Compliance, Some(hours)) => {
            let hours = u32::try_from(hours).ok().filter(|hours| (1..=MOST_COOL_OFF).contains(hours));
            let wrong = || invalid_parameter_value("A cooling-off period takes 1 to 72 hours.");
            Some(hours.ok_or_else(wrong)?)
        }
    };
    let until = match (request.lock_duration, request.expiration_date) {
        (Some(days), None) => {
            let days = u32::try_from(days).ok().filter(|days| (1..=MOST_DAYS).contains(days));
            Until::Days(days.ok_or_else(|| invalid_parameter_value("A lock lasts 1 to 36500 days."))?)
        }
        (None, Some(date)) => {
            let date = Timestamp::from_millis(date.millis());
            if date.as_millis() < ctx.now.as_millis() + DAY {
                return Err(invalid_parameter_value("A lock expires at least a day from now."));
            }
            Until::Date(date)
        }
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination(
                "Specify either LockDuration or ExpirationDate, not both.",
            ));
        }
        (None, None) => {
            return Err(client(
                "MissingParameter",
                "The request must contain the parameter lockDuration or expirationDate",
            ));
        }
    };
    Ok(Lock { mode, created_at: ctx.now, until, cool_off })
}

pub fn lock(ctx: &Context, request: &LockSnapshotRequest, txn: &mut Txn<'_>) -> Result<LockSnapshotResult> {
    let asked = asked(ctx, request)?;
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    match snapshot.life {
        Life::Pending { .. } | Life::Completed { .. } => {}
        Life::Failed { .. } | Life::Deleting => {
            return Err(errors::incorrect_state(&snapshot, "'pending' or 'completed'"));
        }
    }
    let lock = change(&snapshot, asked, ctx.now).map_err(|why| refused(snapshot.snapshot, why))?;
    let snapshot = txn.put(&ctx.region, Snapshot { lock: Some(lock), ..(*snapshot).clone() });
    let shown = render(&snapshot, &lock, ctx.now);
    Ok(LockSnapshotResult {
        snapshot_id: shown.snapshot_id,
        lock_state: shown.lock_state,
        lock_duration: shown.lock_duration,
        cool_off_period: shown.cool_off_period,
        cool_off_period_expires_on: shown.cool_off_period_expires_on,
        lock_created_on: shown.lock_created_on,
        lock_expires_on: shown.lock_expires_on,
        lock_duration_start_time: shown.lock_duration_start_time,
    })
}

pub fn unlock(
    ctx: &Context,
    request: &UnlockSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<UnlockSnapshotResult> {
    let snapshot = own(ctx, txn, &request.snapshot_id)?;
    undo(&snapshot, ctx.now).map_err(|why| refused(snapshot.snapshot, why))?;
    txn.put(&ctx.region, Snapshot { lock: None, ..(*snapshot).clone() });
    Ok(UnlockSnapshotResult { snapshot_id: Some(snapshot.snapshot.to_string()) })
}

fn render(snapshot: &Snapshot, lock: &Lock, now: Timestamp) -> LockedSnapshotsInfo {
    let days = match lock.until {
        Until::Days(days) => i64::from(days),
        Until::Date(at) => (at.as_millis() - lock.created_at.as_millis()).div_euclid(DAY),
    };
    LockedSnapshotsInfo {
        owner_id: Some(snapshot.account.to_string()),
        snapshot_id: Some(snapshot.snapshot.to_string()),
        lock_state: Some(LockState::from(stage(snapshot, lock, now).name())),
        lock_duration: i32::try_from(days).ok(),
        cool_off_period: lock.cool_off.and_then(|hours| i32::try_from(hours).ok()),
        cool_off_period_expires_on: cooled_off(lock).map(wire_time),
        lock_created_on: Some(wire_time(lock.created_at)),
        lock_duration_start_time: counts_from(snapshot, lock).map(wire_time),
        lock_expires_on: expires(snapshot, lock).map(wire_time),
    }
}

static FIELDS: &[FilterField<Snapshot, Timestamp>] = &[FilterField {
    name: "lock-state",
    values: |s, now| s.lock.map_or_else(Vec::new, |lock| one(stage(s, &lock, *now).name())),
}];

pub fn describe(
    ctx: &Context,
    request: &DescribeLockedSnapshotsRequest,
    tables: &Tables,
) -> Result<DescribeLockedSnapshotsResult> {
    let by_ids = ByIds::from(&request.snapshot_ids);
    let paging =
        Paging::<SnapshotId>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, by_ids)?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::parse(given, FIELDS)?;
    let candidates = match by_ids {
        ByIds::Given => {
            find_all::<Snapshot>(ctx, tables, request.snapshot_ids.as_deref().unwrap_or_default())?
        }
        ByIds::Absent => Snapshot::listed(ctx, tables),
    };
    let own = candidates.into_iter().filter(|s| s.account == ctx.account() && s.lock.is_some());
    let mut matching: Vec<_> = own.filter(|s| filters.accept(s, &s.tags, &ctx.now)).collect();
    matching.sort_unstable_by_key(|s| s.snapshot);
    matching.dedup_by_key(|s| s.snapshot);
    let (page, next_token) = page::cut(matching, &paging, |s| s.snapshot);
    let shown = page.iter().filter_map(|s| s.lock.map(|lock| render(s, &lock, ctx.now)));
    Ok(DescribeLockedSnapshotsResult { snapshots: Some(shown.collect()), next_token })
}
