//! Disks of instance stores: made for a run, and gone with it.
//!
//! A reboot keeps them. They are empty at each start, whether the instance was stopped by its owner, by its guest or by accident.
//! Nobody but the instance and its host knows of them ([`StoreDisk`]): they are no volumes, in no snapshot and no image.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-lifetime.html>
//! Where the type says so (NVMe) a disk is encrypted with a key of its own, which ends with the run.
//! Differs: like volumes they take room on the host as they are written to.

use control::keys::RootKey;
use control::{Context, Tables, Txn};
use model::host::{AttachmentDesired, Medium, VolumeDesired};
use model::record::instance::{EphemeralMapping, Instance, StoreDevice};
use model::record::store_disk::StoreDisk;
use model::{InstanceId, Region, VolumeId};
use plan::instance::{DeviceChange, DeviceSpec, store};
use plan::instance_type;

/// What the root key knows their keys by.
const KEYS: &str = "instance store";

/// What a launch maps.
pub fn mapped(specs: &[DeviceSpec]) -> Vec<EphemeralMapping> {
    let mappings = specs.iter().filter_map(|spec| match spec.change {
        DeviceChange::Ephemeral(number) => Some(EphemeralMapping { device: spec.device.clone(), number }),
        DeviceChange::Omit | DeviceChange::Volume(_) => None,
    });
    mappings.collect()
}

/// How many disks a run has.
pub fn count(instance_type: &str, mapped: &[EphemeralMapping]) -> usize {
    instance_type::get(instance_type).map_or(0, |kind| store::disks(kind, mapped).len())
}

/// Makes the disks of a run that is about to begin.
pub fn begin(
    ctx: &Context,
    txn: &mut Txn<'_>,
    instance: InstanceId,
    instance_type: &str,
    mapped: &[EphemeralMapping],
) -> Vec<StoreDevice> {
    let plans = instance_type::get(instance_type).map(|kind| store::disks(kind, mapped));
    let disks = plans.unwrap_or_default().into_iter().map(|plan| {
        let disk = VolumeId::from_entropy(ctx.bits());
        let sealed = plan.encrypted.then(|| {
            ctx.cloud.root.new_data_key(KEYS, disk.to_string().as_bytes(), &*ctx.cloud.entropy).into()
        });
        txn.put(&ctx.region, StoreDisk { disk, instance, size: plan.size, sealed, ended: false });
        StoreDevice { disk, number: plan.number, device: plan.device }
    });
    disks.collect()
}

/// The run is over, and what its disks held is lost.
pub fn end(txn: &mut Txn<'_>, region: &Region, instance: &mut Instance) {
    for device in std::mem::take(&mut instance.store) {
        if let Some(disk) = txn.get::<StoreDisk>(region, &device.disk) {
            txn.put(region, StoreDisk { sealed: None, ended: true, ..(*disk).clone() });
        }
    }
}

/// The host has nothing of it left.
pub fn forget(txn: &mut Txn<'_>, region: &Region, disk: VolumeId) {
    if txn.get::<StoreDisk>(region, &disk).is_some_and(|disk| disk.ended) {
        txn.delete::<StoreDisk>(region, &disk);
    }
}

/// What the host should hold of a disk.
pub fn desired(root: &RootKey, tables: &Tables, region: &Region, disk: VolumeId) -> Option<VolumeDesired> {
    let disk = tables.get::<StoreDisk>(region, &disk).filter(|disk| !disk.ended)?;
    let sealed = disk.sealed.as_ref().map(model::Blob::as_slice);
    let data_key = sealed.and_then(|sealed| root.data_key(KEYS, disk.disk.to_string().as_bytes(), sealed));
    Some(VolumeDesired {
        shared: false,
        volume: disk.disk,
        size: disk.size,
        image: None,
        snapshot: None,
        fork: None,
        limits: None,
        data_key,
    })
}

/// The disks as the machine gets them, after its volumes.
pub fn attached(instance: &Instance) -> impl Iterator<Item = AttachmentDesired> {
    instance.store.iter().map(|device| AttachmentDesired {
        volume: device.disk,
        device: device.device.clone().unwrap_or_default(),
        medium: Medium::InstanceStore(device.number),
    })
}
