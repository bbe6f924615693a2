//! Disks and interfaces of running instances, as the control plane sees them: on the loop, over the simulator.

use super::rig::{Rig, in_virtual_time, until};
use super::sample::*;
use agent::host::sim::{Faults, SimConfig};
use model::GiB;
use model::host::*;
use std::time::Duration;

async fn running(release_time: Duration) -> Rig {
    let config = SimConfig { release_time, ..SimConfig::default() };
    let rig = Rig::new(config).await;
    rig.handle().sync(first_instance()).await.unwrap();
    rig.phase(1, |phase| matches!(phase, InstancePhase::Running { run: 1, .. })).await;
    rig
}

fn with(volumes: &[u32], interfaces: &[u32]) -> InstanceDesired {
    let attach = |n: &u32| AttachmentDesired {
        volume: volume_id(*n),
        device: "/dev/sdf".into(),
        medium: Medium::Volume,
    };
    InstanceDesired {
        volumes: volumes.iter().map(attach).collect(),
        interfaces: interfaces.iter().map(|n| instance(*n).interfaces.remove(0)).collect(),
        ..instance(1)
    }
}

async fn set(rig: &Rig, generation: u64, instance: InstanceDesired) {
    rig.handle().set(vec![wish(generation, DesiredBody::from(instance))]).await.unwrap();
}

/// Waits until exactly these are reported as plugged in.
async fn plugged(rig: &Rig, volumes: &[u32], interfaces: &[u32]) {
    let wanted = Devices {
        volumes: volumes.iter().map(|n| volume_id(*n)).collect(),
        interfaces: interfaces.iter().map(|n| interface_id(*n)).collect(),
    };
    let is_wanted =
        |phase: &InstancePhase| matches!(phase, InstancePhase::Running { devices, .. } if *devices == wanted);
    rig.phase(1, is_wanted).await;
}

#[test]
fn a_disk_and_an_interface_come_to_a_running_instance_and_go_again() {
    in_virtual_time(async {
        let rig = running(Duration::from_secs(1)).await;
        plugged(&rig, &[1], &[1]).await;
        rig.handle().set(vec![wish(1, DesiredBody::from(volume(2)))]).await.unwrap();
        set(&rig, 2, with(&[1, 2], &[1, 3])).await;
        plugged(&rig, &[1, 2], &[1, 3]).await;
        assert!(rig.sim.interface(interface_id(3)).is_some());
        set(&rig, 3, with(&[1], &[1])).await;
        plugged(&rig, &[1], &[1]).await;
        rig.handle().quiet().await;
        assert!(rig.sim.interface(interface_id(3)).is_none());
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_disk_waits_for_its_volume_while_another_leaves() {
    in_virtual_time(async {
        let rig = running(Duration::ZERO).await;
        set(&rig, 2, with(&[2], &[1])).await;
        plugged(&rig, &[], &[1]).await;
        rig.handle().set(vec![wish(1, DesiredBody::from(volume(2)))]).await.unwrap();
        plugged(&rig, &[2], &[1]).await;
    });
}

#[test]
fn a_volume_that_a_guest_does_not_let_go_of_is_reported_until_it_does() {
    in_virtual_time(async {
        let mut rig = running(Duration::from_secs(1)).await;
        rig.sim.guest_keeps_devices(instance_id(1), true);
        set(&rig, 2, with(&[], &[1])).await;
        let key = ObjectKey::Volume(volume_id(1));
        rig.handle().set(vec![Desired { key, generation: 2, body: None }]).await.unwrap();
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_mins(5)).await;
            plugged(&rig, &[1], &[1]).await;
            assert!(rig.sim.volume(volume_id(1)).is_some());
            rig.restart().await;
        }
        rig.sim.guest_keeps_devices(instance_id(1), false);
        plugged(&rig, &[], &[1]).await;
        until(&mut rig.handle().subscribe(), |seen| seen.key == key && seen.body == ObservedBody::Removed)
            .await;
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_volume_that_is_torn_out_of_a_stubborn_guest_is_free_for_another_instance() {
    in_virtual_time(async {
        let rig = running(Duration::from_secs(1)).await;
        rig.sim.guest_keeps_devices(instance_id(1), true);
        let second = InstanceDesired { volumes: with(&[1], &[]).volumes, ..instance(2) };
        set(&rig, 2, with(&[], &[1])).await;
        rig.handle().set(vec![wish(1, DesiredBody::from(second))]).await.unwrap();
        tokio::time::sleep(Duration::from_mins(2)).await;
        rig.phase(2, |phase| matches!(phase, InstancePhase::Starting { .. })).await;
        set(&rig, 3, InstanceDesired { torn_out: vec![volume_id(1)], ..with(&[], &[1]) }).await;
        plugged(&rig, &[], &[1]).await;
        rig.phase(2, |phase| matches!(phase, InstancePhase::Running { .. })).await;
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn an_interface_that_is_cut_off_is_free_while_its_guest_still_has_the_device() {
    in_virtual_time(async {
        let rig = running(Duration::from_mins(5)).await;
        set(&rig, 2, with(&[1], &[1, 3])).await;
        plugged(&rig, &[1], &[1, 3]).await;
        set(&rig, 3, InstanceDesired { cut_off: vec![interface_id(3)], ..with(&[1], &[1]) }).await;
        plugged(&rig, &[1], &[1]).await;
        assert!(rig.sim.interface(interface_id(3)).is_none(), "its port is gone");
        // Attached again, it comes once the dead device has gone.
        set(&rig, 4, with(&[1], &[1, 3])).await;
        plugged(&rig, &[1], &[1, 3]).await;
        assert!(rig.sim.interface(interface_id(3)).is_some());
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
        assert_eq!(rig.sim.violations(), Vec::<String>::new());
    });
}

#[test]
fn a_volume_grows_and_changes_its_limits_in_the_running_machine() {
    in_virtual_time(async {
        let rig = running(Duration::ZERO).await;
        let limits = VolumeLimits {
            iops: Rate { base: 300, burst: Some(Burst { rate: 3000, seconds: 2000 }) },
            bytes: Rate { base: 131_072_000, burst: None },
            operation: 256 << 10,
        };
        let grown = VolumeDesired { size: GiB(5), limits: Some(limits), ..volume(1) };
        rig.handle().set(vec![wish(2, DesiredBody::from(grown))]).await.unwrap();
        until(&mut rig.handle().subscribe(), |seen| {
            seen.key == ObjectKey::Volume(volume_id(1))
                && (seen.generation, &seen.body) == (2, &ObservedBody::Applied)
        })
        .await;
        assert_eq!(rig.sim.volume(volume_id(1)), Some((GiB(5), Some(limits))));
        assert_eq!(rig.sim.boots(instance_id(1)), 1);
    });
}

#[test]
fn an_instance_whose_slots_are_taken_says_so_and_keeps_what_it_has() {
    in_virtual_time(async {
        let rig = running(Duration::ZERO).await;
        let all: Vec<u32> = (1..=24).collect();
        let news = all[1..].iter().map(|n| wish(1, DesiredBody::from(volume(*n)))).collect();
        rig.handle().set(news).await.unwrap();
        set(&rig, 2, with(&all, &[1])).await;
        plugged(&rig, &all[..23], &[1]).await;
        let Reply::Status { objects } = rig.handle().request(Request::Status).await else {
            panic!("no status")
        };
        let reason = objects.iter().find_map(|object| object.last_error.clone()).unwrap();
        assert!(reason.contains("slots are taken"), "{reason}");
        set(&rig, 3, with(&all[1..], &[1])).await;
        plugged(&rig, &all[1..], &[1]).await;
    });
}

#[test]
fn an_agent_that_dies_at_any_moment_of_a_change_finds_the_truth() {
    for seed in 0..60 {
        in_virtual_time(async {
            let config = SimConfig { seed, release_time: Duration::from_secs(1), ..SimConfig::default() };
            let mut rig = Rig::new(config).await;
            rig.handle().sync(first_instance()).await.unwrap();
            rig.phase(1, |phase| matches!(phase, InstancePhase::Running { .. })).await;
            rig.handle().set(vec![wish(1, DesiredBody::from(volume(2)))]).await.unwrap();
            rig.sim.set_faults(Faults::HEAVY);
            for generation in 2..8 {
                let wanted = if generation % 2 == 0 { with(&[1, 2], &[1, 3]) } else { with(&[1], &[1]) };
                set(&rig, generation, wanted).await;
                tokio::time::sleep(Duration::from_millis(seed * 37 % 2500)).await;
                rig.restart().await;
            }
            rig.sim.set_faults(Faults::NONE);
            plugged(&rig, &[1], &[1]).await;
            set(&rig, 8, with(&[1, 2], &[1, 3])).await;
            plugged(&rig, &[1, 2], &[1, 3]).await;
            assert_eq!(rig.sim.violations(), Vec::<String>::new(), "seed {seed}");
        });
    }
}
