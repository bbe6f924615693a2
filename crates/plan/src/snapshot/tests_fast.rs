use super::fast::{self, Refusal};
use super::tests::{DONE, NOW, snapshot};
use super::tier;
use super::*;
use model::host::Tier;
use model::record::snapshot::{FastRestore, FastStage, Shared};
use model::{AccountId, Zone};
use std::time::Duration;

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

fn account(number: u64) -> AccountId {
    AccountId::from_number(number)
}

fn enabled(snapshot: &Snapshot, by: u64, zone_name: &str) -> Snapshot {
    fast::with(snapshot, fast::enable(snapshot, account(by), &zone(zone_name), NOW).unwrap())
}

fn disabled(snapshot: &Snapshot, by: u64, zone_name: &str) -> Snapshot {
    fast::with(snapshot, fast::disable(snapshot, account(by), &zone(zone_name), NOW).unwrap())
}

fn seen(snapshot: &Snapshot, phase: &SnapshotPhase) -> Snapshot {
    match fast::observe(snapshot, phase, NOW) {
        Some(fast_restores) => Snapshot { fast_restores, ..snapshot.clone() },
        None => snapshot.clone(),
    }
}

fn is_in(tier: Tier) -> SnapshotPhase {
    SnapshotPhase::Completed { full: 7, tier }
}

fn stages(snapshot: &Snapshot) -> Vec<FastStage> {
    snapshot.fast_restores.iter().map(|fast| fast.stage).collect()
}

#[test]
fn it_is_enabled_when_the_host_has_it_and_disabled_when_it_has_let_go() {
    let plain = snapshot(1, 1, DONE);
    assert_eq!(tier::wanted(&plain), Tier::Standard);
    let asked = enabled(&plain, 1, "us-east-1a");
    assert_eq!((tier::wanted(&asked), asked.fast_asked), (Tier::Fast, 1));
    assert_eq!(enabled(&asked, 1, "us-east-1a").fast_asked, 1, "it is already");
    assert_eq!(stages(&seen(&asked, &is_in(Tier::Standard))), [FastStage::Enabling], "that was before");
    let fetching = seen(&asked, &SnapshotPhase::Moving { percent: 3 });
    assert_eq!(stages(&fetching), [FastStage::Optimizing]);
    let there = seen(&fetching, &is_in(Tier::Fast));
    assert_eq!(stages(&there), [FastStage::Enabled]);
    assert_eq!(fast::observe(&there, &is_in(Tier::Fast), NOW), None, "twice is once");
    let at_once = seen(&asked, &is_in(Tier::Fast)).fast_restores[0].clone();
    assert_eq!((at_once.optimizing_at, at_once.enabled_at), (Some(NOW), Some(NOW)));
    let ending = disabled(&there, 1, "us-east-1a");
    assert_eq!((tier::wanted(&ending), stages(&ending)), (Tier::Standard, vec![FastStage::Disabling]));
    assert_eq!(fast::observe(&ending, &is_in(Tier::Fast), NOW), None, "that was before");
    let over = seen(&ending, &is_in(Tier::Standard));
    assert_eq!(stages(&over), [FastStage::Disabled]);
    assert_eq!(fast::disable(&over, account(1), &zone("us-east-1a"), NOW), Err(Refusal::NotEnabled));
    assert_eq!(fast::disable(&over, account(1), &zone("us-east-1b"), NOW), Err(Refusal::NotEnabled));
    assert_eq!(fast::faded(&over, NOW), None);
    assert_eq!(fast::faded(&over, NOW + Duration::from_hours(1)), Some(Vec::new()));
    let again = enabled(&over, 1, "us-east-1a").fast_restores;
    assert_eq!((again.len(), again[0].stage, again[0].disabled_at), (1, FastStage::Enabling, None));
}

#[test]
fn it_stays_for_as_long_as_anybody_wants_it() {
    let two = enabled(&enabled(&snapshot(1, 1, DONE), 1, "us-east-1a"), 2, "us-east-1a");
    let two = seen(&two, &is_in(Tier::Fast));
    let one = disabled(&two, 1, "us-east-1a");
    assert_eq!(tier::wanted(&one), Tier::Fast);
    assert!(one.fast_asked > two.fast_asked, "so the host speaks again");
    let one = seen(&one, &is_in(Tier::Fast));
    assert_eq!(stages(&one), [FastStage::Disabled, FastStage::Enabled]);
    let more = seen(&enabled(&one, 2, "us-east-1b"), &is_in(Tier::Fast));
    assert_eq!(stages(&more), [FastStage::Disabled, FastStage::Enabled, FastStage::Enabled]);
    // Who may not use it any more loses it; its owner does not.
    let mut unshared = enabled(&more, 1, "us-east-1c");
    fast::end_unshared(&mut unshared, NOW);
    let expected = [FastStage::Disabled, FastStage::Disabling, FastStage::Disabling, FastStage::Enabling];
    assert_eq!(stages(&unshared), expected);
    let mut shared = more.clone();
    shared.shared = Shared { accounts: [account(2)].into(), ..Shared::default() };
    fast::end_unshared(&mut shared, NOW);
    assert_eq!(shared.fast_restores, more.fast_restores);
}

#[test]
fn what_the_host_cannot_do_is_disabled_and_says_why() {
    let asked = enabled(&snapshot(1, 1, DONE), 1, "us-east-1a");
    let failed = seen(&asked, &SnapshotPhase::Unmovable { reason: "damaged".into() });
    assert_eq!((tier::wanted(&failed), stages(&failed)), (Tier::Standard, vec![FastStage::Disabled]));
    let reason = |snapshot: &Snapshot| fast::reason(&snapshot.fast_restores[0]);
    assert_eq!(reason(&failed), "Server.InternalError: damaged");
    assert_eq!(reason(&asked), "Client.UserInitiated");
    assert_eq!(
        reason(&seen(&asked, &is_in(Tier::Fast))),
        "Client.UserInitiated - Lifecycle state transition"
    );
}

#[test]
fn what_is_not_completed_or_is_archived_is_not_fast_and_what_is_fast_not_archived() {
    let refused = |snapshot: &Snapshot| fast::enable(snapshot, account(1), &zone("us-east-1a"), NOW);
    let pending = snapshot(1, 1, Life::Pending { taken: true, percent: 0 });
    assert_eq!(refused(&pending), Err(Refusal::NotCompleted));
    let plain = snapshot(1, 1, DONE);
    let tiering = Some(tier::archive(&plain, NOW).unwrap());
    assert_eq!(refused(&Snapshot { tiering, ..plain.clone() }), Err(Refusal::Archived));
    let asked = enabled(&plain, 1, "us-east-1a");
    assert_eq!(tier::archive(&asked, NOW), Err(tier::Refusal::Fast));
    assert!(tier::archive(&disabled(&asked, 1, "us-east-1a"), NOW).is_ok());
    // The next snapshot builds upon it as upon any other.
    assert_eq!(parent([&asked]), Some(asked.snapshot));
}

#[test]
fn volumes_have_the_use_of_it_where_and_for_whom_it_is_enabled() {
    let asked = enabled(&snapshot(1, 1, DONE), 1, "us-east-1a");
    let uses = |snapshot: &Snapshot, by: u64, name: &str, encrypted: bool| {
        fast::restores(snapshot, account(by), &zone(name), encrypted)
    };
    assert!(!uses(&asked, 1, "us-east-1a", false), "not yet");
    let there = seen(&asked, &is_in(Tier::Fast));
    assert!(uses(&there, 1, "us-east-1a", false));
    assert!(!uses(&there, 1, "us-east-1a", true), "it has to be encrypted first");
    assert!(!uses(&there, 1, "us-east-1b", false));
    assert!(!uses(&there, 2, "us-east-1a", false));
    let known: Vec<FastRestore> = there.fast_restores.clone();
    assert_eq!(fast::state(known[0].stage), "enabled");
}
