//! What every host must do, whatever it is made of. Each function is one test; a driver's tests call them all.

mod machine;
mod storage;

pub use machine::*;
pub use storage::*;

use super::sample;
use agent::host::{
    Block, Device, DiskSpec, Fault, Life, MachineSpec, MachineState, Net, Plugged, Release, Tap, Vmm,
};
use model::host::{
    InstanceDesired, Rate, SnapshotDesired, SnapshotPhase, SnapshotSource, Tier, VolumeDesired, VolumeLimits,
};
use model::{DataKey, GiB, InstanceId, SnapshotId, VolumeId};
use std::future::Future;
use std::time::Duration;

/// A host under test, and how to do to it what happens to hosts.
pub trait TestHost {
    fn vmm(&self) -> &impl Vmm;
    fn net(&self) -> &impl Net;
    fn block(&self) -> &impl Block;
    /// Adapts a sample instance to what the host can start.
    fn fit(&self, _instance: &mut InstanceDesired) {}
    /// Waits until the guest hears what it is asked, if it ever does.
    fn booted(&self, _instance: model::InstanceId) -> impl Future<Output = ()> {
        std::future::ready(())
    }
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
    let path = host.block().ensure_volume(&sample::volume(n), None).await.unwrap();
    let spec = MachineSpec {
        fork: None,
        instance: desired.instance,
        account: desired.account,
        machine: desired.machine.clone(),
        disks: vec![DiskSpec {
            volume: sample::volume_id(n),
            medium: model::host::Medium::Volume,
            path,
            device: "/dev/xvda".into(),
            limits: None,
            data_key: None,
            forked: None,
        }],
        identity: None,
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

/// Asks for a device until nothing of it is left.
async fn unplugged(host: &impl TestHost, instance: InstanceId, device: Device) {
    let asking = async {
        while host.vmm().unplug(instance, device).await.unwrap() == Release::Pending {
            let _nudge = tokio::time::timeout(Duration::from_secs(2), host.vmm().changed()).await;
        }
    };
    tokio::time::timeout(host.patience(), asking).await.unwrap_or_else(|_| panic!("{device} stays"));
}

fn held(volumes: &[u32], interfaces: &[u32]) -> Plugged {
    let mut plugged = Plugged::default();
    plugged.whole.volumes = volumes.iter().map(|n| sample::volume_id(*n)).collect();
    plugged.whole.interfaces = interfaces.iter().map(|n| sample::interface_id(*n)).collect();
    plugged
}

async fn found(host: &impl TestHost, instance: InstanceId) -> Plugged {
    let mut plugged = host.vmm().plugged(instance).await.unwrap();
    plugged.whole.volumes.sort_unstable();
    plugged.whole.interfaces.sort_unstable();
    plugged
}

async fn extra_disk(host: &impl TestHost, n: u32, limits: Option<VolumeLimits>) -> DiskSpec {
    let desired = VolumeDesired { limits, ..sample::volume(n) };
    let path = host.block().ensure_volume(&desired, None).await.unwrap();
    DiskSpec {
        volume: desired.volume,
        medium: model::host::Medium::Volume,
        path,
        device: "/dev/sdf".into(),
        limits,
        data_key: None,
        forked: None,
    }
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
