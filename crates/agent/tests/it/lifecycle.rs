//! The loop on a host that works: what is observed, and in which order.

use super::rig::{Rig, in_virtual_time, until};
use super::sample::*;
use agent::desired::Durability;
use agent::host::MachineState;
use agent::host::sim::{Inventory, SimConfig};
use model::host::*;
use std::time::Duration;

fn instance_wish(generation: u64, change: impl FnOnce(&mut InstanceDesired)) -> Vec<Desired> {
    let mut body = instance(1);
    change(&mut body);
    vec![wish(generation, DesiredBody::from(body))]
}

async fn running_rig() -> Rig {
    let config = SimConfig { shutdown_time: Duration::from_secs(2), ..SimConfig::default() };
    let rig = Rig::new(config).await;
    rig.handle().sync(first_instance()).await.unwrap();
    rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
    rig
}

fn is_stopped(phase: &InstancePhase) -> bool {
    matches!(phase, InstancePhase::Stopped { .. })
}

#[test]
fn an_instance_is_observed_starting_running_stopping_stopped_and_removed() {
    in_virtual_time(async {
        let rig = running_rig().await;
        let mut observations = rig.handle().subscribe();
        rig.handle().set(instance_wish(2, |body| body.power = Power::Off)).await.unwrap();
        let key = ObjectKey::Instance(instance_id(1));
        let mut seen = Vec::new();
        loop {
            let observed =
                until(&mut observations, |observed| observed.key == key && observed.generation == 2).await;
            seen.push(observed.body.clone());
            if matches!(&observed.body, ObservedBody::Instance(phase) if is_stopped(phase)) {
                break;
            }
        }
        assert_eq!(
            seen,
            [
                ObservedBody::Instance(InstancePhase::Stopping { run: 1 }),
                ObservedBody::Instance(InstancePhase::Stopped { run: 1, cause: StopCause::Requested }),
            ]
        );
        assert_eq!(rig.sim.inventory().ports, []);
        rig.handle().set(vec![Desired { key, generation: 3, body: None }]).await.unwrap();
        until(&mut observations, |observed| observed.key == key && observed.body == ObservedBody::Removed)
            .await;
        assert_eq!(rig.sim.inventory().consoles, []);
        assert_eq!(rig.sim.inventory().volumes, [volume_id(1)], "a volume outlives its instance");
        assert!(rig.directory.at(vpc_id(1), address(1)).is_none());
    });
}

#[test]
fn a_machine_that_dies_while_the_agent_is_down_is_reported_and_a_guest_shutdown_is_told_from_it() {
    in_virtual_time(async {
        for (is_shutdown, wanted) in [(true, "GuestShutdown"), (false, "Crashed")] {
            let mut rig = running_rig().await;
            rig.kill();
            if is_shutdown {
                rig.sim.guest_powers_off(instance_id(1));
            } else {
                rig.sim.kill(instance_id(1));
            }
            rig.start().await;
            let phase = rig.phase(1, is_stopped).await;
            assert!(format!("{phase:?}").contains(wanted), "{phase:?}");
            assert_eq!(rig.sim.boots(instance_id(1)), 1);
        }
    });
}

#[test]
fn a_running_machine_is_adopted_without_a_second_boot() {
    in_virtual_time(async {
        let mut rig = running_rig().await;
        for epoch in 2..5 {
            rig.restart().await;
            rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
            assert_eq!(rig.handle().hello().epoch, epoch);
            assert!(rig.directory.at(vpc_id(1), address(1)).is_some());
        }
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
    });
}

#[test]
fn after_a_host_reboot_an_instance_starts_again_with_the_same_address() {
    in_virtual_time(async {
        let mut rig = running_rig().await;
        let before = rig.sim.interface(interface_id(1));
        rig.kill();
        rig.sim.reboot_host();
        rig.start().await;
        rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 2);
        assert_eq!(rig.sim.interface(interface_id(1)), before);
        assert!(before.is_some());
    });
}

#[test]
fn a_reboot_boots_once_whether_the_guest_obeys_or_not() {
    in_virtual_time(async {
        for (deaf, took) in [(false, 2..10), (true, 240..250)] {
            let rig = running_rig().await;
            rig.sim.guest_ignores_button(instance_id(1), deaf);
            let before = tokio::time::Instant::now();
            rig.handle().set(instance_wish(2, |body| body.reboots = 1)).await.unwrap();
            while rig.sim.boots(instance_id(1)) < 2 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert!(took.contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
            tokio::time::sleep(Duration::from_mins(10)).await;
            assert_eq!(rig.sim.boots(instance_id(1)), 2);
            assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        }
    });
}

#[test]
fn a_lower_generation_is_ignored() {
    in_virtual_time(async {
        let rig = running_rig().await;
        rig.handle().set(instance_wish(5, |body| body.run = 1)).await.unwrap();
        rig.handle().set(instance_wish(4, |body| body.power = Power::ForceOff)).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
    });
}

#[test]
fn what_an_instance_waits_for_is_visible() {
    in_virtual_time(async {
        let rig = Rig::new(SimConfig::default()).await;
        let mut objects = first_instance();
        let vpc = objects.pop().unwrap();
        rig.handle().sync(objects).await.unwrap();
        rig.handle().quiet().await;
        let Reply::Status { objects } = rig.handle().request(Request::Status).await else {
            panic!("no status")
        };
        let waits = objects.iter().find(|line| line.key == instance_id(1).to_string()).unwrap();
        assert_eq!(waits.last_error, Some(format!("waits for {}", vpc_id(1))));
        rig.handle().set(vec![vpc]).await.unwrap();
        rig.phase(1, |phase| matches!(phase, InstancePhase::Running { .. })).await;
    });
}

#[test]
fn what_stands_undesired_stays_until_the_full_desired_state_is_known() {
    in_virtual_time(async {
        let mut rig = running_rig().await;
        rig.kill();
        std::fs::remove_dir_all(rig.state_dir.path().join("agent")).unwrap();
        rig.start().await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        rig.handle().sync(Vec::new()).await.unwrap();
        while rig.sim.inventory() != Inventory::default() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_corrupt_file_is_set_aside_and_removes_nothing_that_stands() {
    in_virtual_time(async {
        let mut rig = running_rig().await;
        rig.kill();
        let root = rig.state_dir.path().join("agent");
        let file = root.join("desired").join(format!("{}.json", instance_id(1)));
        std::fs::write(&file, "{ torn").unwrap();
        rig.start().await;
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(root.join("set-aside").join(file.file_name().unwrap()).exists());
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        rig.handle().sync(first_instance()).await.unwrap();
        rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
    });
}

#[test]
fn the_console_is_answered_and_an_unknown_instance_is_not_found() {
    in_virtual_time(async {
        let rig = running_rig().await;
        let ask = |n| Request::ConsoleOutput { instance: instance_id(n), limit: 65536 };
        let Reply::ConsoleOutput { text, at } = rig.handle().request(ask(1)).await else {
            panic!("no console")
        };
        assert!(String::from_utf8_lossy(text.as_slice()).contains("login:"));
        assert!(at.is_some());
        assert_eq!(rig.handle().request(ask(2)).await, Reply::NotFound);
    });
}

#[test]
fn a_second_agent_on_the_same_state_is_refused() {
    in_virtual_time(async {
        let rig = running_rig().await;
        let now = model::Timestamp::default();
        let refused =
            agent::desired::Disk::open(rig.state_dir.path(), agent::desired::Durability::Cached, now);
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn an_agent_that_ends_with_its_host_keeps_nothing_of_it_and_starts_anew_what_the_server_wishes_for() {
    in_virtual_time(async {
        let mut rig = Rig::new(SimConfig::default()).await;
        rig.durability = Durability::Volatile;
        rig.restart().await;
        rig.handle().sync(first_instance()).await.unwrap();
        rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
        let written =
            |of: &str| std::fs::read_dir(rig.state_dir.path().join("agent").join(of)).unwrap().count();
        assert_eq!((written("desired"), written("records")), (0, 0));
        let epoch = rig.handle().hello().epoch;
        rig.replace(SimConfig::default()).await;
        assert!(rig.handle().hello().epoch > epoch);
        assert_eq!(rig.sim.inventory(), Inventory::default());
        rig.handle().sync(first_instance()).await.unwrap();
        rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
    });
}

#[test]
fn ten_thousand_instances_are_brought_up_and_taken_down() {
    in_virtual_time(async {
        const COUNT: u32 = 10_000;
        let rig = Rig::new(SimConfig::default()).await;
        let mut objects = first_instance();
        for n in 2..=COUNT {
            objects.push(wish(1, DesiredBody::from(volume(n))));
            objects.push(wish(1, DesiredBody::from(instance(n))));
        }
        rig.handle().sync(objects).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.inventory().machines.len(), COUNT as usize);
        rig.handle().sync(Vec::new()).await.unwrap();
        while rig.sim.inventory() != Inventory::default() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[test]
fn what_the_host_refuses_for_good_is_unstartable_in_its_run_and_leaves_no_port() {
    in_virtual_time(async {
        for refused in [ObjectKey::Instance(instance_id(1)), ObjectKey::Volume(volume_id(1))] {
            let rig = Rig::new(SimConfig::default()).await;
            rig.sim.refuse(refused);
            rig.handle().sync(first_instance()).await.unwrap();
            let phase = rig.phase(1, |phase| matches!(phase, InstancePhase::Unstartable { .. })).await;
            let reason = format!("the simulator was told to refuse {refused}");
            assert_eq!(phase, InstancePhase::Unstartable { run: 1, reason });
            assert_eq!(rig.sim.inventory().ports, []);
            assert_eq!(rig.sim.violations(), Vec::<String>::new());
        }
    });
}

#[test]
fn a_group_that_a_running_instance_has_left_can_be_removed() {
    in_virtual_time(async {
        let rig = running_rig().await;
        let key = ObjectKey::SecurityGroup(group_id(1));
        rig.handle().set(vec![Desired { key, generation: 2, body: None }]).await.unwrap();
        rig.handle().quiet().await;
        assert_eq!(rig.sim.inventory().security_groups, [group_id(1)], "it is still in use");
        let mut news = instance_wish(2, |body| body.interfaces[0].security_groups = vec![group_id(2)]);
        news.push(wish(1, DesiredBody::from(group(2, 1))));
        rig.handle().set(news).await.unwrap();
        let mut observations = rig.handle().subscribe();
        until(&mut observations, |seen| seen.key == key && seen.body == ObservedBody::Removed).await;
        assert_eq!(rig.sim.inventory().security_groups, [group_id(2)]);
        assert_eq!(rig.sim.machine(instance_id(1)), MachineState::Running);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_wish_that_was_lost_with_its_file_releases_what_its_record_held() {
    in_virtual_time(async {
        let mut rig = running_rig().await;
        rig.kill();
        rig.sim.kill(instance_id(1));
        let file = format!("agent/desired/{}.json", instance_id(1));
        std::fs::remove_file(rig.state_dir.path().join(file)).unwrap();
        rig.start().await;
        rig.handle().sync(Vec::new()).await.unwrap();
        while rig.sim.inventory() != Inventory::default() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}
