//! Images: names, the devices of a new one, when it is available, and whose an account may launch.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AMIs.html>

pub mod allowed;
#[cfg(test)]
mod tests;

use crate::instance::devices::{
    DeviceChange, DevicePlan, DeviceSpec, MOST_DEVICES, Refusal, VolumeSpec, added, are_distinct,
    same_device, volume,
};
use model::record::image::{ImageDevice, State};
use model::record::snapshot::Life;
use model::record::volume::{Provision, VolumeType};
use model::{SnapshotId, VolumeId};

/// Whether an image may be called so.
pub fn is_name(name: &str) -> bool {
    (3..=128).contains(&name.chars().count())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "()[] ./-'@_".contains(c))
}

/// A volume of an instance that becomes an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub device: String,
    pub volume: VolumeId,
    pub provision: Provision,
    pub delete_on_termination: bool,
}

/// A device of an image to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub content: Content,
    plan: DevicePlan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// What this volume holds.
    Volume(VolumeId),
    Snapshot(SnapshotId),
    Empty,
}

impl Device {
    fn of(plan: DevicePlan) -> Self {
        let content = plan.snapshot.map_or(Content::Empty, Content::Snapshot);
        Self { content, plan }
    }

    /// The device whose volumes start from `snapshot`.
    pub fn into_image(self, snapshot: Option<SnapshotId>) -> ImageDevice {
        let DevicePlan { device, provision, delete_on_termination, encryption, .. } = self.plan;
        let device = image_device(&device, &provision, delete_on_termination, snapshot);
        ImageDevice { encryption, ..device }
    }
}

/// Rates are kept of the types that leave a choice of them.
fn image_device(
    device: &str,
    provision: &Provision,
    delete_on_termination: bool,
    snapshot: Option<SnapshotId>,
) -> ImageDevice {
    let chosen = match provision.volume_type {
        VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2 => provision.iops,
        VolumeType::Standard | VolumeType::Gp2 | VolumeType::St1 | VolumeType::Sc1 => None,
    };
    ImageDevice {
        device: device.to_owned(),
        size: provision.size,
        snapshot,
        delete_on_termination,
        volume_type: provision.volume_type.to_string(),
        iops: chosen,
        throughput: provision.throughput,
        encryption: None,
    }
}

/// The devices of an image of an instance: its volumes, changed, left out and added to as the caller says.
pub fn captured(attached: &[Attached], root: &str, specs: &[DeviceSpec]) -> Result<Vec<Device>, Refusal> {
    are_distinct(specs)?;
    if !attached.first().is_some_and(|first| same_device(&first.device, root)) {
        return Err(Refusal::NoRoot);
    }
    let mut devices = Vec::new();
    for (at, own) in attached.iter().enumerate() {
        let is_root = at == 0;
        let change =
            specs.iter().find(|spec| same_device(&spec.device, &own.device)).map(|spec| &spec.change);
        let spec = match change {
            None => &VolumeSpec::default(),
            Some(DeviceChange::Volume(spec)) => spec,
            Some(DeviceChange::Omit | DeviceChange::Ephemeral(_)) if is_root => return Err(Refusal::NoRoot),
            Some(DeviceChange::Omit | DeviceChange::Ephemeral(_)) => continue,
        };
        let like = image_device(&own.device, &own.provision, own.delete_on_termination, None);
        if let Some(snapshot) = spec.snapshot {
            // A device that starts from elsewhere is not captured.
            if is_root {
                return Err(Refusal::RootSnapshot);
            }
            if spec.snapshot_size.is_none() {
                return Err(Refusal::Snapshot(snapshot));
            }
            devices.push(Device::of(added(&own.device, spec)?));
            continue;
        }
        if let Some(size) = spec.size
            && i64::from(size) < i64::from(like.size.0)
        {
            return Err(Refusal::SmallerThanImage { device: like.device, size, least: like.size });
        }
        devices.push(Device { content: Content::Volume(own.volume), plan: volume(&like, spec, is_root)? });
    }
    for DeviceSpec { device, change } in specs {
        let DeviceChange::Volume(spec) = change else { continue };
        if !attached.iter().any(|own| same_device(&own.device, device)) {
            devices.push(Device::of(added(device, spec)?));
        }
    }
    few_enough(devices)
}

/// The devices of an image that is made of snapshots; the root is the first.
pub fn registered(root: &str, specs: &[DeviceSpec]) -> Result<Vec<Device>, Refusal> {
    are_distinct(specs)?;
    let mut devices = Vec::new();
    for DeviceSpec { device, change } in specs {
        let DeviceChange::Volume(spec) = change else { continue };
        let is_root = same_device(device, root);
        let mut made = Device::of(added(device, spec)?);
        // Volumes of an image go with their instance, unless somebody says otherwise.
        made.plan.delete_on_termination = spec.delete_on_termination.unwrap_or(true);
        if is_root {
            if spec.snapshot.is_none() {
                return Err(Refusal::NoRoot);
            }
            if !crate::volume::bootable(made.plan.provision.volume_type) {
                return Err(Refusal::NotBootable(made.plan.provision.volume_type));
            }
            devices.insert(0, made);
        } else {
            devices.push(made);
        }
    }
    if !specs.iter().any(|spec| same_device(&spec.device, root)) {
        return Err(Refusal::NoRoot);
    }
    few_enough(devices)
}

fn few_enough(devices: Vec<Device>) -> Result<Vec<Device>, Refusal> {
    if devices.len() > MOST_DEVICES { Err(Refusal::TooManyDevices) } else { Ok(devices) }
}

/// What becomes of an image that is pending, by the snapshots that it waits for; none: it goes on waiting. `None` among them
/// is one that is gone.
pub fn settled<'a>(snapshots: impl IntoIterator<Item = Option<&'a Life>>) -> Option<State> {
    let mut all_completed = true;
    for life in snapshots {
        match life {
            Some(Life::Completed { .. }) => {}
            Some(Life::Pending { .. }) => all_completed = false,
            Some(Life::Failed { reason }) => return Some(State::Failed { reason: reason.clone() }),
            Some(Life::Deleting) | None => {
                return Some(State::Failed { reason: "a snapshot of it was deleted".to_owned() });
            }
        }
    }
    all_completed.then_some(State::Available)
}
