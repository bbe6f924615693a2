//! Hibernation as the control plane sees it: on the loop, over the simulator.

use super::rig::{Rig, in_virtual_time};
use super::sample::*;
use agent::host::MachineState;
use agent::host::sim::{Faults, SimConfig};
use model::DataKey;
use model::host::*;
use std::time::Duration;

/// The first instance, its root volume encrypted.
fn first() -> Vec<Desired> {
    let root = VolumeDesired { data_key: Some(DataKey::new([1; 32])), ..volume(1) };
    let mut all = first_instance();
    all.retain(|wish| !matches!(wish.body, Some(DesiredBody::Volume(_))));
    all.push(wish(1, DesiredBody::from(root)));
    all
}

fn wanted(generation: u64, power: Power, run: u64) -> Vec<Desired> {
    let body = InstanceDesired { power, run, ..instance(1) };
    vec![wish(generation, DesiredBody::from(body))]
}

/// Everything, with the instance as it is wanted.
fn all(generation: u64, power: Power, run: u64) -> Vec<Desired> {
    let mut all = first();
    all.retain(|wish| !matches!(wish.body, Some(DesiredBody::Instance(_))));
    all.extend(wanted(generation, power, run));
    all
}

async fn running(config: SimConfig) -> Rig {
    let rig = Rig::new(config).await;
    rig.handle().sync(first()).await.unwrap();
    runs(&rig, 1).await;
    rig
}

async fn runs(rig: &Rig, wanted: u64) {
    rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run, .. } if *run == wanted)).await;
}

async fn stopped(rig: &Rig) -> StopCause {
    match rig.phase(1, |phase| matches!(phase, InstancePhase::Stopped { .. })).await {
        InstancePhase::Stopped { cause, .. } => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_goes_on_with_its_memory_whatever_its_host_and_its_agent_went_through() {
    in_virtual_time(async {
        let mut rig = running(SimConfig::default()).await;
        rig.handle().set(wanted(2, Power::Hibernate, 1)).await.unwrap();
        assert_eq!(stopped(&rig).await, StopCause::Hibernated);
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Asleep);
        assert_eq!(rig.sim.inventory().ports, [], "its network is taken away");
        rig.kill();
        rig.sim.reboot_host();
        rig.start().await;
        rig.handle().sync(all(2, Power::Hibernate, 1)).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Asleep);
        rig.handle().set(wanted(3, Power::On, 2)).await.unwrap();
        runs(&rig, 2).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 1, "it has not booted again");
        // A stop without more, and it boots.
        rig.handle().set(wanted(4, Power::Off, 2)).await.unwrap();
        assert_eq!(stopped(&rig).await, StopCause::Requested);
        rig.handle().set(wanted(5, Power::On, 3)).await.unwrap();
        runs(&rig, 3).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 2);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn without_room_for_its_memory_it_is_shut_down_and_boots() {
    in_virtual_time(async {
        let rig = running(SimConfig::default()).await;
        rig.sim.keeps_no_memory(true);
        rig.handle().set(wanted(2, Power::Hibernate, 1)).await.unwrap();
        let StopCause::NotHibernated { reason } = stopped(&rig).await else { panic!("it says nothing") };
        assert!(reason.contains("room"), "{reason}");
        rig.sim.keeps_no_memory(false);
        rig.handle().set(wanted(3, Power::On, 2)).await.unwrap();
        runs(&rig, 2).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 2);
        rig.handle().set(wanted(4, Power::Hibernate, 2)).await.unwrap();
        assert_eq!(stopped(&rig).await, StopCause::Hibernated);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn what_hibernates_is_removed_without_a_trace() {
    in_virtual_time(async {
        let rig = running(SimConfig::default()).await;
        rig.handle().set(wanted(2, Power::Hibernate, 1)).await.unwrap();
        stopped(&rig).await;
        let gone = Desired { key: ObjectKey::Instance(instance_id(1)), generation: 3, body: None };
        rig.handle().set(vec![gone]).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Absent);
        assert_eq!(rig.sim.inventory().consoles, []);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn an_agent_that_restarts_waits_for_the_key_before_it_keeps_anything() {
    in_virtual_time(async {
        let config = SimConfig { hibernation_time: Duration::from_secs(5), ..SimConfig::default() };
        let mut rig = running(config).await;
        rig.handle().set(wanted(2, Power::Hibernate, 1)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It knows of the wish, and of no key.
        rig.restart().await;
        tokio::time::sleep(Duration::from_mins(3)).await;
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        rig.handle().sync(all(2, Power::Hibernate, 1)).await.unwrap();
        assert_eq!(stopped(&rig).await, StopCause::Hibernated);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn an_agent_that_dies_in_the_middle_leaves_it_hibernating_or_has_it_hibernate() {
    for at in 0..40 {
        in_virtual_time(async {
            let faults = Faults { delay: 1.0, longest_delay: Duration::from_millis(100), ..Faults::NONE };
            let mut rig = running(SimConfig { seed: at, ..SimConfig::default() }).await;
            rig.sim.set_faults(faults);
            rig.handle().set(wanted(2, Power::Hibernate, 1)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(at * 10)).await;
            rig.restart().await;
            rig.handle().sync(all(2, Power::Hibernate, 1)).await.unwrap();
            assert_eq!(stopped(&rig).await, StopCause::Hibernated, "seed {at}");
            rig.handle().set(wanted(3, Power::On, 2)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(at * 10)).await;
            rig.restart().await;
            rig.handle().sync(all(3, Power::On, 2)).await.unwrap();
            runs(&rig, 2).await;
            assert_eq!(rig.sim.boots(instance_id(1)), 1, "seed {at}");
            assert_eq!(rig.sim.violations(), Vec::<String>::new(), "seed {at}");
        });
    }
}
