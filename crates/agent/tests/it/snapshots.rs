//! Snapshots as the control plane sees them: on the loop, over the simulator.

use super::rig::{Rig, in_virtual_time, until};
use super::sample::*;
use agent::host::sim::{Faults, SimConfig};
use model::host::*;
use std::time::Duration;

async fn running(config: SimConfig) -> Rig {
    let rig = Rig::new(config).await;
    rig.handle().sync(first_instance()).await.unwrap();
    rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
    rig
}

fn key(n: u32) -> ObjectKey {
    ObjectKey::Snapshot(snapshot_id(n))
}

async fn seen(rig: &Rig, n: u32, wanted: impl Fn(&SnapshotPhase) -> bool) -> SnapshotPhase {
    let observed = until(&mut rig.handle().subscribe(), |observed| {
        observed.key == key(n) && matches!(&observed.body, ObservedBody::Snapshot(phase) if wanted(phase))
    })
    .await;
    match observed.body {
        ObservedBody::Snapshot(phase) => phase,
        other => panic!("{other:?}"),
    }
}

fn is_completed(phase: &SnapshotPhase) -> bool {
    matches!(phase, SnapshotPhase::Completed { .. })
}

async fn want(rig: &Rig, generation: u64, bodies: Vec<DesiredBody>) {
    let wishes = bodies.into_iter().map(|body| wish(generation, body)).collect();
    rig.handle().set(wishes).await.unwrap();
}

async fn unwant(rig: &Rig, generation: u64, key: ObjectKey) {
    rig.handle().set(vec![Desired { key, generation, body: None }]).await.unwrap();
}

fn rebooted(times: u64) -> DesiredBody {
    DesiredBody::from(InstanceDesired { reboots: times, ..instance(1) })
}

fn during(reboot: u64) -> Option<Downtime> {
    Some(Downtime { instance: instance_id(1), run: 1, reboot })
}

#[test]
fn a_snapshot_is_pending_for_as_long_as_its_data_is_read_and_then_completed() {
    in_virtual_time(async {
        let config = SimConfig { snapshot_time: Duration::from_secs(20), ..SimConfig::default() };
        let mut rig = running(config).await;
        want(&rig, 1, vec![DesiredBody::from(snapshot(1, 1))]).await;
        seen(&rig, 1, |phase| matches!(phase, SnapshotPhase::Pending { percent: 40..60 })).await;
        // The volume may go from here on.
        rig.restart().await;
        unwant(&rig, 2, ObjectKey::Instance(instance_id(1))).await;
        unwant(&rig, 2, ObjectKey::Volume(volume_id(1))).await;
        assert_eq!(
            seen(&rig, 1, is_completed).await,
            SnapshotPhase::Completed { full: 1 << 30, tier: model::host::Tier::Standard }
        );
        // What has ended stays so.
        rig.restart().await;
        seen(&rig, 1, is_completed).await;
        assert_eq!(rig.sim.inventory().volumes, []);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_volume_is_not_removed_before_its_snapshot_is_taken() {
    in_virtual_time(async {
        let rig = running(SimConfig::default()).await;
        let news = vec![
            Desired { key: ObjectKey::Volume(volume_id(1)), generation: 2, body: None },
            Desired { key: ObjectKey::Instance(instance_id(1)), generation: 2, body: None },
            wish(1, DesiredBody::from(snapshot_of(1, &[(1, 1)], during(7)))),
        ];
        rig.handle().set(news).await.unwrap();
        seen(&rig, 1, is_completed).await;
        rig.handle().quiet().await;
        assert_eq!(rig.sim.inventory().volumes, []);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_snapshot_of_a_volume_that_is_gone_fails() {
    in_virtual_time(async {
        let rig = running(SimConfig::default()).await;
        want(&rig, 1, vec![DesiredBody::from(snapshot(1, 9))]).await;
        let phase = seen(&rig, 1, |phase| matches!(phase, SnapshotPhase::Failed { .. })).await;
        assert_eq!(phase, SnapshotPhase::Failed { reason: format!("{} is gone", volume_id(9)) });
        unwant(&rig, 2, key(1)).await;
        let mut observations = rig.handle().subscribe();
        until(&mut observations, |seen| seen.key == key(1) && seen.body == ObservedBody::Removed).await;
    });
}

#[test]
fn a_snapshot_during_a_reboot_is_taken_while_the_guest_is_down() {
    for ignores in [false, true] {
        in_virtual_time(async {
            let config = SimConfig { shutdown_time: Duration::from_secs(30), ..SimConfig::default() };
            let mut rig = running(config).await;
            rig.sim.guest_ignores_button(instance_id(1), ignores);
            want(&rig, 2, vec![DesiredBody::from(volume(2))]).await;
            let set = [(1, 1), (2, 2)];
            let wishes = [1, 2].map(|n| DesiredBody::from(snapshot_of(n, &set, during(1))));
            want(&rig, 1, wishes.into()).await;
            seen(&rig, 1, |phase| *phase == SnapshotPhase::Waiting).await;
            seen(&rig, 2, |phase| *phase == SnapshotPhase::Waiting).await;
            rig.restart().await;
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(rig.sim.inventory().snapshots, []);
            want(&rig, 2, vec![rebooted(1)]).await;
            seen(&rig, 1, is_completed).await;
            seen(&rig, 2, is_completed).await;
            rig.handle().quiet().await;
            assert_eq!(rig.sim.boots(instance_id(1)), 2);
            // Once that reboot is past, the instant is at once.
            want(&rig, 1, vec![DesiredBody::from(snapshot_of(3, &[(3, 1)], during(1)))]).await;
            seen(&rig, 3, is_completed).await;
            assert_eq!(rig.sim.violations(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_snapshot_that_is_removed_while_another_of_the_same_reboot_is_taken_leaves_nothing() {
    let slow = Faults { delay: 1.0, longest_delay: Duration::from_secs(3), ..Faults::NONE };
    // At whatever moment after the reboot is asked for.
    for moment in 0..200 {
        in_virtual_time(async {
            let rig = running(SimConfig { seed: moment, ..SimConfig::default() }).await;
            let wishes = [1, 2].map(|n| DesiredBody::from(snapshot_of(n, &[(n, 1)], during(1))));
            want(&rig, 1, wishes.into()).await;
            for n in [1, 2] {
                seen(&rig, n, |phase| *phase == SnapshotPhase::Waiting).await;
            }
            rig.sim.set_faults(slow);
            want(&rig, 2, vec![rebooted(1)]).await;
            tokio::time::sleep(Duration::from_millis(moment * 100)).await;
            unwant(&rig, 2, key(2)).await;
            let mut observations = rig.handle().subscribe();
            until(&mut observations, |seen| seen.key == key(2) && seen.body == ObservedBody::Removed).await;
            seen(&rig, 1, is_completed).await;
            rig.handle().quiet().await;
            assert_eq!(rig.sim.inventory().snapshots, [snapshot_id(1)], "{moment}");
            assert_eq!(rig.sim.violations(), Vec::<String>::new());
        });
    }
}

#[test]
fn a_snapshot_is_archived_once_nothing_is_being_made_of_it() {
    in_virtual_time(async {
        let config = SimConfig { snapshot_time: Duration::from_secs(20), ..SimConfig::default() };
        let mut rig = running(config).await;
        want(&rig, 1, vec![DesiredBody::from(snapshot(1, 1))]).await;
        seen(&rig, 1, is_completed).await;
        let tier = |tier| DesiredBody::from(SnapshotDesired { tier, ..snapshot(1, 1) });
        let made = VolumeDesired { snapshot: Some(snapshot_id(1)), ..volume(2) };
        want(&rig, 2, vec![tier(Tier::Archive), DesiredBody::from(made)]).await;
        seen(&rig, 1, |phase| matches!(phase, SnapshotPhase::Moving { .. })).await;
        rig.restart().await;
        let is_in = |wanted| move |phase: &SnapshotPhase| matches!(phase, SnapshotPhase::Completed { tier, .. } if *tier == wanted);
        seen(&rig, 1, is_in(Tier::Archive)).await;
        assert_eq!(rig.sim.inventory().volumes, [volume_id(1), volume_id(2)]);
        want(&rig, 3, vec![tier(Tier::Both)]).await;
        seen(&rig, 1, is_in(Tier::Both)).await;
        want(&rig, 4, vec![tier(Tier::Archive)]).await;
        seen(&rig, 1, is_in(Tier::Archive)).await;
        unwant(&rig, 5, key(1)).await;
        let mut observations = rig.handle().subscribe();
        until(&mut observations, |seen| seen.key == key(1) && seen.body == ObservedBody::Removed).await;
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn nothing_stays_fast_of_which_an_agent_died_before_it_was_desired_otherwise() {
    in_virtual_time(async {
        let config = SimConfig { snapshot_time: Duration::from_secs(20), ..SimConfig::default() };
        let mut rig = running(config).await;
        let tier = |tier| DesiredBody::from(SnapshotDesired { tier, ..snapshot(1, 1) });
        let is_in = |wanted| move |phase: &SnapshotPhase| matches!(phase, SnapshotPhase::Completed { tier, .. } if *tier == wanted);
        want(&rig, 1, vec![tier(Tier::Fast)]).await;
        seen(&rig, 1, |phase| matches!(phase, SnapshotPhase::Moving { .. })).await;
        seen(&rig, 1, is_in(Tier::Fast)).await;
        assert_eq!(rig.sim.fast_snapshots(), [snapshot_id(1)]);
        want(&rig, 2, vec![tier(Tier::Standard)]).await;
        seen(&rig, 1, is_in(Tier::Standard)).await;
        assert_eq!(rig.sim.fast_snapshots(), []);
        // The host has done it, and the agent dies before it has written that down.
        rig.kill();
        rig.sim.keeps_fast(snapshot_id(1));
        rig.start().await;
        want(&rig, 3, vec![tier(Tier::Standard)]).await;
        seen(&rig, 1, is_in(Tier::Standard)).await;
        rig.handle().quiet().await;
        assert_eq!(rig.sim.fast_snapshots(), []);
        want(&rig, 4, vec![tier(Tier::Fast)]).await;
        seen(&rig, 1, is_in(Tier::Fast)).await;
        unwant(&rig, 5, key(1)).await;
        let mut observations = rig.handle().subscribe();
        until(&mut observations, |seen| seen.key == key(1) && seen.body == ObservedBody::Removed).await;
        assert_eq!(rig.sim.fast_snapshots(), []);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_copy_and_a_volume_wait_for_the_snapshot_that_they_are_made_of() {
    in_virtual_time(async {
        let config = SimConfig { snapshot_time: Duration::from_secs(20), ..SimConfig::default() };
        let rig = running(config).await;
        let copy = SnapshotDesired { source: SnapshotSource::Copy(snapshot_id(1)), ..snapshot(2, 1) };
        let made = VolumeDesired { snapshot: Some(snapshot_id(1)), ..volume(2) };
        let wishes =
            vec![DesiredBody::from(made), DesiredBody::from(copy), DesiredBody::from(snapshot(1, 1))];
        want(&rig, 1, wishes).await;
        seen(&rig, 2, |phase| *phase == SnapshotPhase::Waiting).await;
        // Its removal waits for both.
        unwant(&rig, 2, ObjectKey::Volume(volume_id(7))).await;
        seen(&rig, 1, is_completed).await;
        unwant(&rig, 2, key(1)).await;
        seen(&rig, 2, is_completed).await;
        let mut observations = rig.handle().subscribe();
        until(&mut observations, |seen| seen.key == key(1) && seen.body == ObservedBody::Removed).await;
        assert_eq!(rig.sim.inventory().volumes, [volume_id(1), volume_id(2)]);
        assert_eq!(rig.sim.inventory().snapshots, [snapshot_id(2)]);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_snapshot_that_nobody_desires_is_removed() {
    in_virtual_time(async {
        let mut rig = running(SimConfig::default()).await;
        want(&rig, 1, vec![DesiredBody::from(snapshot(1, 1))]).await;
        seen(&rig, 1, is_completed).await;
        rig.kill();
        std::fs::remove_dir_all(rig.state_dir.path().join("agent")).unwrap();
        rig.start().await;
        rig.handle().sync(first_instance()).await.unwrap();
        while !rig.sim.inventory().snapshots.is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(rig.sim.inventory().volumes, [volume_id(1)]);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}
