//! What every host must do, whatever it is made of. Each function is one test; a driver's tests call them all.

use super::sample;
use agent::host::{Block, DiskSpec, Life, MachineSpec, MachineState, Net, Tap, Vmm};
use model::host::InstanceDesired;
use std::future::Future;
use std::time::Duration;

/// A host under test, and how to do to it what happens to hosts.
pub trait TestHost {
    fn vmm(&self) -> &impl Vmm;
    fn net(&self) -> &impl Net;
    fn block(&self) -> &impl Block;
    /// Adapts a sample instance to what the host can start.
    fn fit(&self, _instance: &mut InstanceDesired) {}
    /// Ends the machine's process from outside.
    fn kill(&self, instance: model::InstanceId) -> impl Future<Output = ()>;
    /// The longest that a guest takes to boot or to shut down.
    fn patience(&self) -> Duration {
        Duration::from_mins(2)
    }
}

pub struct Started {
    pub desired: InstanceDesired,
    pub spec: MachineSpec,
}

/// Brings up instance `n` with all that it stands on.
pub async fn start<H: TestHost>(host: &H, n: u32) -> Started {
    let mut desired = sample::instance(n);
    host.fit(&mut desired);
    host.net().ensure_vpc(&sample::vpc(1)).await.unwrap();
    host.net().ensure_security_group(&sample::group(1, 1)).await.unwrap();
    let path = host.block().ensure_volume(&sample::volume(n)).await.unwrap();
    let spec = MachineSpec {
        instance: desired.instance,
        account: desired.account,
        machine: desired.machine.clone(),
        disks: vec![DiskSpec { volume: sample::volume_id(n), path, device: "/dev/xvda".into() }],
        life: Life::First,
    };
    host.vmm().start(&spec, taps(host, &desired).await).await.unwrap();
    Started { desired, spec }
}

async fn taps<H: TestHost>(host: &H, desired: &InstanceDesired) -> Vec<Tap> {
    let mut taps = Vec::new();
    for interface in &desired.interfaces {
        taps.push(host.net().open_port(interface).await.unwrap());
    }
    taps
}

async fn state_becomes<H: TestHost>(host: &H, started: &Started, wanted: MachineState) {
    let waiting = async {
        while host.vmm().state(started.desired.instance).await.unwrap() != wanted {
            // A nudge may have been spent already: look again now and then.
            let _nudge = tokio::time::timeout(Duration::from_millis(200), host.vmm().changed()).await;
        }
    };
    tokio::time::timeout(host.patience(), waiting).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
}

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
        let path = host.block().ensure_volume(&sample::volume(1)).await.unwrap();
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

/// Removes all of an instance, twice, and finds the host empty.
async fn clean_up(host: &impl TestHost, started: Started) {
    for _ in 0..2 {
        host.vmm().end(started.desired.instance).await.unwrap();
        host.net().remove_port(started.desired.interfaces[0].interface).await.unwrap();
        host.vmm().forget(started.desired.instance).await.unwrap();
        host.block().remove_volume(started.spec.disks[0].volume).await.unwrap();
        host.net().remove_security_group(sample::group_id(1)).await.unwrap();
        host.net().remove_vpc(sample::vpc_id(1)).await.unwrap();
    }
    assert_eq!(host.vmm().machines().await.unwrap(), []);
    assert_eq!(host.net().standing().await.unwrap(), agent::host::Standing::default());
    assert_eq!(host.block().volumes().await.unwrap(), []);
}
