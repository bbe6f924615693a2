use super::lock::{self, Stage};
use super::*;
use model::record::snapshot::{Lock, LockMode, Source, Until};
use model::{AccountId, GiB, VolumeId};
use std::time::Duration;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_000);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn snapshot(number: u128, started: i64, life: Life) -> Snapshot {
    let source = Source::Volume {
        volume: VolumeId::from_entropy(1),
        parent: None,
        together: Vec::new(),
        during: None,
    };
    let (id, account) = (SnapshotId::from_entropy(number), AccountId::from_number(1));
    Snapshot { life, ..Snapshot::begun(id, account, source, GiB(1), Timestamp::from_millis(started)) }
}

pub(super) const DONE: Life = Life::Completed { at: NOW, full: 7 };

#[test]
fn the_latest_completed_one_is_the_parent() {
    let all = [
        snapshot(1, 10, DONE),
        snapshot(2, 30, DONE),
        snapshot(3, 20, DONE),
        snapshot(4, 40, Life::Pending { taken: true, percent: 50 }),
        snapshot(5, 50, Life::Failed { reason: String::new() }),
        snapshot(6, 60, Life::Deleting),
    ];
    assert_eq!(parent(&all), Some(SnapshotId::from_entropy(2)));
    assert_eq!(parent(&all[3..]), None);
}

#[test]
fn progress_only_grows_and_an_end_is_an_end() {
    let new = Life::Pending { taken: false, percent: 0 };
    let half = Life::Pending { taken: true, percent: 50 };
    let at = |percent| SnapshotPhase::Pending { percent };
    assert_eq!(observe(&new, &SnapshotPhase::Waiting, NOW), None);
    assert_eq!(observe(&new, &at(0), NOW), Some(Life::Pending { taken: true, percent: 0 }));
    assert_eq!(observe(&half, &at(54), NOW), None, "a small step");
    assert_eq!(observe(&half, &at(40), NOW), None);
    assert_eq!(observe(&half, &at(100), NOW), Some(Life::Pending { taken: true, percent: 95 }));
    let failed = SnapshotPhase::Failed { reason: "no space".into() };
    assert_eq!(observe(&half, &failed, NOW), Some(Life::Failed { reason: "no space".into() }));
    assert_eq!(observe(&half, &SnapshotPhase::Completed { full: 7, tier: Tier::Standard }, NOW), Some(DONE));
    for end in [DONE, Life::Failed { reason: String::new() }, Life::Deleting] {
        assert_eq!(observe(&end, &failed, NOW), None);
        assert_eq!(observe(&end, &SnapshotPhase::Completed { full: 8, tier: Tier::Standard }, NOW), None);
    }
}

fn locked(mode: LockMode, until: Until, cool_off: Option<u32>) -> Snapshot {
    let lock = Lock { mode, created_at: NOW, until, cool_off };
    Snapshot { lock: Some(lock), ..snapshot(1, 0, DONE) }
}

#[test]
fn a_lock_in_governance_mode_is_undone_or_runs_out() {
    let snapshot = locked(LockMode::Governance, Until::Days(1), None);
    assert!(lock::holds(&snapshot, NOW));
    assert_eq!(lock::undo(&snapshot, NOW), Ok(()));
    let shorter = Lock { until: Until::Date(NOW + HOUR), ..snapshot.lock.unwrap() };
    assert_eq!(lock::change(&snapshot, shorter, NOW), Ok(shorter));
    assert!(!lock::holds(&snapshot, NOW + DAY));
    assert_eq!(lock::undo(&snapshot, NOW + DAY), Err(lock::Refusal::NotLocked));
}

#[test]
fn a_lock_in_compliance_mode_only_grows_once_it_has_cooled_off() {
    let snapshot = locked(LockMode::Compliance, Until::Days(2), Some(1));
    let own = snapshot.lock.unwrap();
    let stage = |now| lock::stage(&snapshot, &own, now);
    assert_eq!(
        (stage(NOW), stage(NOW + HOUR), stage(NOW + DAY * 2)),
        (Stage::CoolingOff, Stage::Compliance, Stage::Expired)
    );
    assert_eq!(lock::undo(&snapshot, NOW), Ok(()));
    let later = NOW + HOUR;
    assert_eq!(lock::undo(&snapshot, later), Err(lock::Refusal::Compliance));
    let ask =
        |mode, until| lock::change(&snapshot, Lock { mode, until, created_at: later, cool_off: None }, later);
    assert_eq!(ask(LockMode::Compliance, Until::Days(1)), Err(lock::Refusal::Compliance));
    assert_eq!(ask(LockMode::Governance, Until::Days(3)), Err(lock::Refusal::Compliance));
    assert_eq!(ask(LockMode::Compliance, Until::Days(3)), Ok(Lock { until: Until::Days(3), ..own }));
}

#[test]
fn the_days_of_a_lock_count_from_completion() {
    let mut snapshot = locked(LockMode::Governance, Until::Days(1), None);
    snapshot.life = Life::Pending { taken: true, percent: 0 };
    assert!(lock::holds(&snapshot, NOW + DAY * 9));
    snapshot.life = Life::Completed { at: NOW + DAY, full: 0 };
    assert!(lock::holds(&snapshot, NOW + DAY + HOUR));
    assert!(!lock::holds(&snapshot, NOW + DAY * 2));
}
