//! Forks as the control plane sees them: on the loop, over the simulator.

use super::rig::{Rig, in_virtual_time};
use super::sample::*;
use agent::host::sim::{Faults, SimConfig};
use agent::host::{MachineState, Vmm};
use model::ForkId;
use model::host::*;
use std::time::Duration;

fn fork() -> ForkId {
    ForkId::from_entropy(0xf0)
}

async fn running() -> Rig {
    let rig = Rig::new(SimConfig::default()).await;
    rig.handle().sync(first_instance()).await.unwrap();
    rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
    rig
}

async fn ask(rig: &Rig, children: &[u32]) -> Reply {
    let children = children.iter().map(|n| instance_id(*n)).collect();
    rig.handle().request(Request::Fork { fork: fork(), instance: instance_id(1), children }).await
}

/// What the control plane wishes for a child.
fn child(n: u32) -> Vec<Desired> {
    let volume =
        VolumeDesired { fork: Some(ForkedVolume { fork: fork(), volume: volume_id(1) }), ..volume(n) };
    let instance = InstanceDesired { fork: Some(fork()), ..instance(n) };
    vec![wish(1, DesiredBody::from(volume)), wish(1, DesiredBody::from(instance))]
}

async fn runs(rig: &Rig, n: u32) {
    rig.phase(n, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
}

#[test]
fn children_go_on_from_their_parents_instant_which_is_kept_until_the_last_of_them_runs() {
    in_virtual_time(async {
        let rig = running().await;
        rig.sim.reset(instance_id(1)).await.unwrap();
        assert!(matches!(ask(&rig, &[2, 3]).await, Reply::Forked { .. }));
        rig.handle().set(child(2)).await.unwrap();
        runs(&rig, 2).await;
        assert_eq!(rig.sim.forks().await.unwrap().len(), 1, "the other has not begun");
        rig.handle().set(child(3)).await.unwrap();
        runs(&rig, 3).await;
        rig.handle().quiet().await;
        assert_eq!(rig.sim.forks().await.unwrap(), []);
        // They remember what their parent did, and have not booted.
        assert_eq!([1, 2, 3].map(|n| rig.sim.boots(instance_id(n))), [2, 2, 2]);
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        assert_eq!(rig.sim.inventory().snapshots, [], "what was frozen is no snapshot");
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_childs_later_runs_boot() {
    in_virtual_time(async {
        let rig = running().await;
        ask(&rig, &[2]).await;
        rig.handle().set(child(2)).await.unwrap();
        runs(&rig, 2).await;
        let again = InstanceDesired { run: 2, ..instance(2) };
        rig.handle().set(vec![wish(2, DesiredBody::from(again))]).await.unwrap();
        rig.phase(2, |phase| matches!(phase, InstancePhase::Running { run: 2, .. })).await;
        assert_eq!(rig.sim.boots(instance_id(2)), 2);
    });
}

#[test]
fn what_does_not_run_is_not_forked() {
    in_virtual_time(async {
        let rig = running().await;
        let stopped = InstanceDesired { power: Power::Off, ..instance(1) };
        rig.handle().set(vec![wish(2, DesiredBody::from(stopped))]).await.unwrap();
        rig.phase(1, |phase| matches!(phase, InstancePhase::Stopped { .. })).await;
        let Reply::Failed { reason } = ask(&rig, &[2]).await else { panic!("it was forked") };
        assert!(reason.contains(&instance_id(1).to_string()), "{reason}");
        assert_eq!(rig.sim.forks().await.unwrap(), []);
    });
}

#[test]
fn a_fork_whose_children_never_come_is_forgotten() {
    in_virtual_time(async {
        let mut rig = running().await;
        ask(&rig, &[2]).await;
        rig.restart().await;
        rig.handle().sync(first_instance()).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.forks().await.unwrap().len(), 1, "they may still come");
        tokio::time::sleep(plan::host::UNHEARD * 2).await;
        rig.handle().sync(first_instance()).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.forks().await.unwrap(), []);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn an_agent_that_dies_in_the_middle_of_a_fork_harms_nobody() {
    for at in 0..40 {
        in_virtual_time(async {
            let faults = Faults { delay: 1.0, longest_delay: Duration::from_millis(100), ..Faults::NONE };
            let mut rig = Rig::new(SimConfig { seed: at, ..SimConfig::default() }).await;
            rig.handle().sync(first_instance()).await.unwrap();
            runs(&rig, 1).await;
            rig.sim.set_faults(faults);
            let asked = tokio::time::timeout(Duration::from_millis(at * 20), ask(&rig, &[2])).await;
            rig.kill();
            rig.sim.set_faults(Faults::NONE);
            rig.start().await;
            rig.handle().sync(first_instance()).await.unwrap();
            rig.handle().quiet().await;
            assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running, "seed {at}");
            let inventory = rig.sim.inventory();
            assert_eq!(inventory.machines, [instance_id(1)], "seed {at}");
            assert_eq!(inventory.snapshots, [], "seed {at}");
            if let Ok(Reply::Forked { .. }) = asked {
                rig.handle().set(child(2)).await.unwrap();
                runs(&rig, 2).await;
            }
            assert_eq!(rig.sim.violations(), Vec::<String>::new(), "seed {at}");
        });
    }
}
