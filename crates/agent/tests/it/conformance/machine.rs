//! Machines, and what is plugged into them while they run.

use super::*;

pub async fn an_unknown_machine_is_absent_and_its_end_and_removal_succeed(host: &impl TestHost) {
    let unknown = sample::instance_id(999);
    assert_eq!(host.vmm().state(unknown).await.unwrap(), MachineState::Absent);
    host.vmm().end(unknown).await.unwrap();
    host.vmm().forget(unknown).await.unwrap();
    host.net().remove_port(sample::interface_id(999)).await.unwrap();
    host.net().remove_security_group(sample::group_id(999)).await.unwrap();
    host.net().remove_vpc(sample::vpc_id(999)).await.unwrap();
    host.block().remove_volume(sample::volume_id(999)).await.unwrap();
}

pub async fn a_started_machine_runs_until_it_is_ended(host: &impl TestHost) {
    let started = start(host, 1).await;
    state_becomes(host, &started, MachineState::Running).await;
    assert_eq!(host.vmm().machines().await.unwrap(), [started.desired.instance]);
    for _ in 0..2 {
        host.vmm().end(started.desired.instance).await.unwrap();
        assert_eq!(host.vmm().state(started.desired.instance).await.unwrap(), MachineState::Absent);
    }
    clean_up(host, started).await;
}

pub async fn a_second_start_is_refused_and_harms_nothing(host: &impl TestHost) {
    let started = start(host, 1).await;
    assert!(host.vmm().start(&started.spec, Vec::new()).await.is_err());
    assert_eq!(host.vmm().state(started.desired.instance).await.unwrap(), MachineState::Running);
    clean_up(host, started).await;
}

pub async fn the_power_button_turns_a_guest_off_and_a_reset_boots_it_again(host: &impl TestHost) {
    let started = start(host, 1).await;
    state_becomes(host, &started, MachineState::Running).await;
    let pressing = async {
        // A guest that is still booting may not hear it.
        while host.vmm().state(started.desired.instance).await.unwrap() != MachineState::PoweredOff {
            host.vmm().press_power_button(started.desired.instance).await.unwrap();
            let _nudge = tokio::time::timeout(Duration::from_secs(2), host.vmm().changed()).await;
        }
    };
    tokio::time::timeout(host.patience(), pressing).await.expect("the guest powers off");
    host.vmm().reset(started.desired.instance).await.unwrap();
    state_becomes(host, &started, MachineState::Running).await;
    clean_up(host, started).await;
}

pub async fn a_killed_machine_is_absent_and_can_be_started_again(host: &impl TestHost) {
    let started = start(host, 1).await;
    host.kill(started.desired.instance).await;
    state_becomes(host, &started, MachineState::Absent).await;
    host.vmm().start(&started.spec, taps(host, &started.desired).await).await.unwrap();
    state_becomes(host, &started, MachineState::Running).await;
    clean_up(host, started).await;
}

pub async fn the_console_outlives_the_machine_and_is_cut_to_the_limit(host: &impl TestHost) {
    let started = start(host, 1).await;
    let written = async {
        loop {
            let (text, at) = host.vmm().console(started.desired.instance, 4096).await.unwrap();
            if !text.is_empty() {
                assert!(at.is_some());
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(host.patience(), written).await.expect("the machine writes to its console");
    host.vmm().end(started.desired.instance).await.unwrap();
    let (cut, _) = host.vmm().console(started.desired.instance, 7).await.unwrap();
    assert_eq!(cut.len(), 7);
    clean_up(host, started).await;
}

pub async fn ensuring_twice_is_ensuring_once(host: &impl TestHost) {
    let started = start(host, 1).await;
    for _ in 0..2 {
        host.net().ensure_vpc(&sample::vpc(1)).await.unwrap();
        host.net().ensure_security_group(&sample::group(1, 1)).await.unwrap();
        host.net().ensure_port(&started.desired.interfaces[0]).await.unwrap();
        let path = host.block().ensure_volume(&sample::volume(1), None).await.unwrap();
        assert_eq!(path, started.spec.disks[0].path);
    }
    let standing = host.net().standing().await.unwrap();
    assert_eq!(standing.vpcs, [sample::vpc_id(1)]);
    assert_eq!(standing.security_groups, [sample::group_id(1)]);
    assert_eq!(standing.ports, [sample::interface_id(1)]);
    assert_eq!(host.block().volumes().await.unwrap(), [sample::volume_id(1)]);
    clean_up(host, started).await;
}

pub async fn a_port_that_is_not_there_cannot_be_ensured(host: &impl TestHost) {
    host.net().ensure_vpc(&sample::vpc(1)).await.unwrap();
    host.net().ensure_security_group(&sample::group(1, 1)).await.unwrap();
    let error = host.net().ensure_port(&sample::instance(5).interfaces[0]).await.unwrap_err();
    assert_eq!(error.fault, agent::host::Fault::Transient);
    host.net().remove_security_group(sample::group_id(1)).await.unwrap();
    host.net().remove_vpc(sample::vpc_id(1)).await.unwrap();
}

pub async fn disks_and_interfaces_come_and_go_while_a_machine_runs(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    host.booted(instance).await;
    assert_eq!(found(host, instance).await, held(&[1], &[1]));
    let disk = extra_disk(host, 7, None).await;
    for _ in 0..2 {
        host.vmm().plug_disk(instance, &disk).await.unwrap();
        assert_eq!(found(host, instance).await, held(&[1, 7], &[1]));
    }
    let mut interface = sample::instance(7).interfaces.remove(0);
    interface.mac = model::Mac::from_entropy(7);
    let tap = host.net().open_port(&interface).await.unwrap();
    host.vmm().plug_interface(instance, tap).await.unwrap();
    assert_eq!(found(host, instance).await, held(&[1, 7], &[1, 7]));
    for _ in 0..2 {
        unplugged(host, instance, Device::Interface(interface.interface)).await;
        host.net().remove_port(interface.interface).await.unwrap();
        assert_eq!(found(host, instance).await, held(&[1, 7], &[1]));
    }
    for _ in 0..2 {
        unplugged(host, instance, Device::Volume(disk.volume)).await;
        assert_eq!(found(host, instance).await, held(&[1], &[1]));
    }
    // What it had from its start goes the same way, and the slots are free again.
    unplugged(host, instance, Device::Volume(sample::volume_id(1))).await;
    assert_eq!(found(host, instance).await, held(&[], &[1]));
    host.block().remove_volume(disk.volume).await.unwrap();
    clean_up(host, started).await;
}

pub async fn a_volume_that_is_torn_out_is_free_at_once(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let disk = extra_disk(host, 7, None).await;
    host.vmm().plug_disk(instance, &disk).await.unwrap();
    for _ in 0..2 {
        host.vmm().tear_out(instance, disk.volume).await.unwrap();
        let plugged = found(host, instance).await;
        assert!(!plugged.holds(disk.volume), "{plugged:?}");
    }
    // Another machine can have it while the guest still sees a dead disk.
    let other = sample::instance_id(2);
    let spec = MachineSpec { instance: other, disks: vec![disk.clone()], ..started.spec.clone() };
    host.vmm().start(&spec, Vec::new()).await.unwrap();
    assert!(found(host, other).await.holds(disk.volume));
    host.vmm().end(other).await.unwrap();
    host.vmm().forget(other).await.unwrap();
    host.booted(instance).await;
    unplugged(host, instance, Device::Volume(disk.volume)).await;
    host.vmm().plug_disk(instance, &disk).await.unwrap();
    assert_eq!(found(host, instance).await, held(&[1, 7], &[1]));
    host.vmm().end(instance).await.unwrap();
    assert_eq!(host.vmm().plugged(instance).await.unwrap(), Plugged::default());
    host.block().remove_volume(disk.volume).await.unwrap();
    clean_up(host, started).await;
}

pub async fn a_volume_in_use_grows_and_takes_other_limits(host: &impl TestHost) {
    let limits = |iops| VolumeLimits {
        iops: Rate { base: iops, burst: None },
        bytes: Rate { base: 131_072_000, burst: None },
        operation: 256 << 10,
    };
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let disk = extra_disk(host, 7, Some(limits(100))).await;
    let grown = VolumeDesired { size: GiB(3), limits: Some(limits(500)), ..sample::volume(7) };
    // Nothing to do for a machine that does not hold it, or is not there.
    host.vmm().tune_disk(instance, &grown).await.unwrap();
    host.vmm().tune_disk(sample::instance_id(99), &grown).await.unwrap();
    host.vmm().plug_disk(instance, &disk).await.unwrap();
    for _ in 0..2 {
        host.vmm().tune_disk(instance, &grown).await.unwrap();
        assert_eq!(host.block().ensure_volume(&grown, None).await.unwrap(), disk.path);
    }
    let unlimited = VolumeDesired { limits: None, ..grown.clone() };
    host.vmm().tune_disk(instance, &unlimited).await.unwrap();
    host.vmm().end(instance).await.unwrap();
    host.block().remove_volume(disk.volume).await.unwrap();
    clean_up(host, started).await;
}

pub async fn a_machine_without_a_free_slot_says_so(host: &impl TestHost) {
    let started = start(host, 1).await;
    let instance = started.desired.instance;
    let mut last = 0;
    let refused = loop {
        last += 1;
        let disk = extra_disk(host, 100 + last, None).await;
        if let Err(error) = host.vmm().plug_disk(instance, &disk).await {
            break error;
        }
    };
    assert_eq!(last as usize, plan::machine::ROOT_PORTS - 1);
    assert_eq!(refused.fault, agent::host::Fault::Permanent);
    assert!(refused.to_string().contains("slots are taken"), "{refused}");
    assert_eq!(found(host, instance).await.whole.volumes.len(), last as usize);
    host.vmm().end(instance).await.unwrap();
    for n in 1..=last {
        host.block().remove_volume(sample::volume_id(100 + n)).await.unwrap();
    }
    clean_up(host, started).await;
}
