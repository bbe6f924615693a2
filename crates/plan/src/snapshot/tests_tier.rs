use super::tests::{DONE, NOW, snapshot};
use super::tier::{self, Refusal};
use super::*;
use model::host::Tier;
use model::record::snapshot::{Stage, Tiering, Way};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn with(tiering: Tiering) -> Snapshot {
    Snapshot { tiering: Some(tiering), ..snapshot(1, 1, DONE) }
}

/// The snapshot after its host has done what is wanted of it.
fn settled(snapshot: &Snapshot, now: Timestamp) -> Snapshot {
    let phase = SnapshotPhase::Completed { full: 7, tier: tier::wanted(snapshot) };
    with(tier::observe(snapshot, &phase, now).unwrap())
}

fn archived() -> Snapshot {
    settled(&with(tier::archive(&snapshot(1, 1, DONE), NOW).unwrap()), NOW)
}

fn seen(snapshot: &Snapshot, now: Timestamp) -> (bool, bool, Tier) {
    (snapshot.is_usable(now), tier::is_archived(snapshot), tier::wanted(snapshot))
}

#[test]
fn an_archived_snapshot_cannot_be_used_from_the_first_moment_on() {
    let standard = snapshot(1, 1, DONE);
    assert_eq!(seen(&standard, NOW), (true, false, Tier::Standard));
    let moving = with(tier::archive(&standard, NOW).unwrap());
    assert_eq!(seen(&moving, NOW), (false, false, Tier::Archive));
    let half = SnapshotPhase::Moving { percent: 51 };
    let half = with(tier::observe(&moving, &half, NOW).unwrap());
    assert_eq!(half.tiering.as_ref().unwrap().stage, Stage::Moving { percent: 50 });
    let late = SnapshotPhase::Completed { full: 7, tier: Tier::Standard };
    assert_eq!(tier::observe(&half, &late, NOW), None, "that was before");
    assert_eq!(seen(&settled(&half, NOW), NOW), (false, true, Tier::Archive));
    let failed = SnapshotPhase::Unmovable { reason: "damaged".into() };
    let failed = with(tier::observe(&half, &failed, NOW).unwrap());
    assert_eq!(seen(&failed, NOW), (true, false, Tier::Standard));
    assert_eq!(tier::status(failed.tiering.as_ref().unwrap()), "archival-failed");
}

#[test]
fn a_restore_for_some_days_ends_by_the_clock() {
    let asked = with(tier::restore(&archived(), Way::Temporarily(2), NOW).unwrap());
    assert_eq!(seen(&asked, NOW), (false, true, Tier::Both));
    let restored = settled(&asked, NOW);
    let end = NOW + DAY * 2;
    assert_eq!(seen(&restored, NOW + DAY), (true, true, Tier::Both));
    assert_eq!(seen(&restored, end), (false, true, Tier::Both));
    assert_eq!(tier::expired(&restored, NOW + DAY), None);
    let over = with(tier::expired(&restored, end).unwrap());
    assert_eq!(seen(&over, end), (false, true, Tier::Archive));
    let longer = with(tier::restore(&restored, Way::Temporarily(9), NOW + DAY).unwrap());
    assert_eq!(longer.tiering.as_ref().unwrap().until, Some(NOW + DAY * 10), "at once");
    assert!(tier::restore(&over, Way::Temporarily(9), end).is_ok());
}

#[test]
fn a_restore_for_good_leaves_nothing_in_the_archive() {
    let back = with(tier::restore(&archived(), Way::ForGood, NOW).unwrap());
    assert_eq!(seen(&back, NOW), (false, true, Tier::Standard));
    assert_eq!(seen(&settled(&back, NOW), NOW), (true, false, Tier::Standard));
    let restored = settled(&with(tier::restore(&archived(), Way::Temporarily(2), NOW).unwrap()), NOW);
    let kept = with(tier::restore(&restored, Way::ForGood, NOW + DAY).unwrap());
    assert!(kept.is_usable(NOW + DAY), "it goes on being usable");
    assert_eq!(tier::expired(&kept, NOW + DAY * 3), None, "it is on its way");
    assert_eq!(seen(&settled(&kept, NOW + DAY * 3), NOW + DAY * 3), (true, false, Tier::Standard));
}

#[test]
fn what_is_where_it_should_be_is_not_moved() {
    let standard = snapshot(1, 1, DONE);
    let pending = snapshot(1, 1, Life::Pending { taken: true, percent: 0 });
    assert_eq!(tier::archive(&pending, NOW), Err(Refusal::NotCompleted));
    assert_eq!(tier::archive(&archived(), NOW), Err(Refusal::Archived));
    assert_eq!(tier::restore(&standard, Way::ForGood, NOW), Err(Refusal::NotArchived));
    let moving = with(tier::archive(&standard, NOW).unwrap());
    assert_eq!(tier::archive(&moving, NOW), Err(Refusal::Moving));
    assert_eq!(tier::restore(&moving, Way::ForGood, NOW), Err(Refusal::Moving));
    let back = with(tier::restore(&archived(), Way::ForGood, NOW).unwrap());
    assert_eq!(tier::restore(&back, Way::ForGood, NOW), Err(Refusal::Moving));
}

#[test]
fn the_next_snapshot_builds_upon_none_that_is_archived() {
    let (old, new) = (snapshot(1, 1, DONE), Snapshot { started_at: NOW + DAY, ..archived() });
    assert_eq!(parent([&old, &new]), Some(old.snapshot));
}
