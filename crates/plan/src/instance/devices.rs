//! Block device mappings: the image's devices, changed and completed by the launch, become the volumes to make.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html>; what each type of volume
//! can be is decided by [`crate::volume`].

use crate::volume::{Asked, bootable, provision};
use model::record::image::{EncryptionChoice, Image, ImageDevice};
use model::record::volume::{Provision, VolumeType};
use model::{GiB, SnapshotId};

/// One `BlockDeviceMapping` of a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSpec {
    pub device: String,
    pub change: DeviceChange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChange {
    /// The image's device of this name is left out (`NoDevice`).
    Omit,
    /// A disk of the instance store, by its number ([`super::store`]); the image's device of this name is left out.
    Ephemeral(u8),
    Volume(VolumeSpec),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    pub size: Option<i32>,
    pub volume_type: Option<String>,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub delete_on_termination: Option<bool>,
    pub snapshot: Option<SnapshotId>,
    /// Of the snapshot, told by whoever has looked it up and found it usable.
    pub snapshot_size: Option<GiB>,
    pub encryption: Option<EncryptionChoice>,
}

/// Why there cannot be such devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    DeviceName(String),
    DeviceTwice(String),
    NoRoot,
    /// The root starts from the image's snapshot and from no other.
    RootSnapshot,
    /// There is no such snapshot.
    Snapshot(SnapshotId),
    SmallerThanImage {
        device: String,
        size: i32,
        least: GiB,
    },
    SmallerThanSnapshot {
        snapshot: SnapshotId,
        size: i32,
        least: GiB,
    },
    NoSize(String),
    TooManyDevices,
    VolumeType(String),
    NotBootable(VolumeType),
    Volume(crate::volume::Refusal),
}

/// A volume that each instance of the launch gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    pub device: String,
    pub provision: Provision,
    pub delete_on_termination: bool,
    pub snapshot: Option<SnapshotId>,
    /// Asked for, by the mapping or by the image.
    pub encryption: Option<EncryptionChoice>,
}

/// How many volumes one machine can hold, the root included.
pub const MOST_DEVICES: usize = 28;

/// The type of a volume when nobody names one, as in the API.
const DEFAULT_TYPE: &str = "gp2";

/// The volumes of each instance, the root first.
pub fn devices(image: &Image, specs: &[DeviceSpec]) -> Result<Vec<DevicePlan>, Refusal> {
    are_distinct(specs)?;
    let of = |device: &str| specs.iter().find(|s| same_device(&s.device, device)).map(|s| &s.change);
    let mut plans = Vec::new();
    for (at, own) in image.devices.iter().enumerate() {
        let root = at == 0;
        let spec = match of(&own.device) {
            None => &VolumeSpec::default(),
            Some(DeviceChange::Volume(spec)) => spec,
            Some(DeviceChange::Omit | DeviceChange::Ephemeral(_)) if root => return Err(Refusal::NoRoot),
            Some(DeviceChange::Omit | DeviceChange::Ephemeral(_)) => continue,
        };
        let mut like = own.clone();
        if let Some(snapshot) = spec.snapshot.filter(|_| spec.snapshot != own.snapshot) {
            if root {
                return Err(Refusal::RootSnapshot);
            }
            like.size = snapshot_size(spec, snapshot)?;
            like.snapshot = Some(snapshot);
            // What the image says of its own snapshot says nothing of another.
            like.encryption = None;
        } else if let Some(size) = spec.size
            && i64::from(size) < i64::from(own.size.0)
        {
            return Err(Refusal::SmallerThanImage { device: own.device.clone(), size, least: own.size });
        }
        plans.push(volume(&like, spec, root)?);
    }
    for DeviceSpec { device, change } in specs {
        let DeviceChange::Volume(spec) = change else { continue };
        if image.devices.iter().any(|own| same_device(&own.device, device)) {
            continue;
        }
        plans.push(added(device, spec)?);
    }
    if plans.len() > MOST_DEVICES {
        return Err(Refusal::TooManyDevices);
    }
    Ok(plans)
}

/// Every mapping names a device, and each device is named once.
pub fn are_distinct(specs: &[DeviceSpec]) -> Result<(), Refusal> {
    for (at, spec) in specs.iter().enumerate() {
        if !is_device_name(&spec.device) {
            return Err(Refusal::DeviceName(spec.device.clone()));
        }
        if specs[..at].iter().any(|earlier| same_device(&earlier.device, &spec.device)) {
            return Err(Refusal::DeviceTwice(spec.device.clone()));
        }
    }
    Ok(())
}

/// A volume that no image speaks of: empty, or made of a snapshot.
pub fn added(device: &str, spec: &VolumeSpec) -> Result<DevicePlan, Refusal> {
    let size = match (spec.snapshot, spec.size) {
        (Some(snapshot), _) => snapshot_size(spec, snapshot)?,
        // What cannot be is refused with the size asked for.
        (None, Some(_)) => GiB(0),
        (None, None) => return Err(Refusal::NoSize(device.to_owned())),
    };
    let like = ImageDevice {
        device: device.to_owned(),
        size,
        snapshot: spec.snapshot,
        delete_on_termination: false,
        volume_type: DEFAULT_TYPE.to_owned(),
        iops: None,
        throughput: None,
        encryption: None,
    };
    volume(&like, spec, false)
}

/// The size of another snapshot than the image's, which the volume must not be smaller than.
fn snapshot_size(spec: &VolumeSpec, snapshot: SnapshotId) -> Result<GiB, Refusal> {
    let least = spec.snapshot_size.ok_or(Refusal::Snapshot(snapshot))?;
    match spec.size {
        Some(size) if i64::from(size) < i64::from(least.0) => {
            Err(Refusal::SmallerThanSnapshot { snapshot, size, least })
        }
        Some(_) | None => Ok(least),
    }
}

/// A volume like this one but for what the caller says. Rates go with the type that they are for.
pub fn volume(like: &ImageDevice, spec: &VolumeSpec, root: bool) -> Result<DevicePlan, Refusal> {
    let named = spec.volume_type.as_deref().unwrap_or(&like.volume_type);
    let volume_type = VolumeType::parse(named).ok_or_else(|| Refusal::VolumeType(named.to_owned()))?;
    if root && !bootable(volume_type) {
        return Err(Refusal::NotBootable(volume_type));
    }
    let own = |rate: Option<u32>| rate.filter(|_| named == like.volume_type).map(|rate| rate as i32);
    let asked = Asked {
        volume_type,
        size: spec.size.map_or(i64::from(like.size.0), i64::from),
        iops: spec.iops.or(own(like.iops)),
        throughput: spec.throughput.or(own(like.throughput)),
        multi_attach: false,
    };
    Ok(DevicePlan {
        device: like.device.clone(),
        provision: provision(&asked).map_err(Refusal::Volume)?,
        delete_on_termination: spec.delete_on_termination.unwrap_or(like.delete_on_termination),
        snapshot: like.snapshot,
        encryption: spec.encryption.clone().or_else(|| like.encryption.clone()),
    })
}

/// `/dev/sdX[N]`, `/dev/xvdX[X]`, `/dev/hdX`, with or without `/dev/`.
pub fn is_device_name(name: &str) -> bool {
    let name = plain(name);
    let Some(rest) = ["xvd", "sd", "hd"].iter().find_map(|prefix| name.strip_prefix(prefix)) else {
        return false;
    };
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let digits = &rest[letters..];
    (1..=2).contains(&letters) && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Whether two names mean one device.
pub fn same_device(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(name: &str) -> &str {
    name.strip_prefix("/dev/").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::admit::tests::image;
    use super::*;
    use crate::volume;

    fn change(device: &str, spec: VolumeSpec) -> DeviceSpec {
        DeviceSpec { device: device.into(), change: DeviceChange::Volume(spec) }
    }

    #[test]
    fn without_mappings_an_instance_gets_the_images_devices() {
        let plan = devices(&image(), &[]).unwrap();
        assert_eq!(plan.len(), 1);
        assert_eq!((plan[0].device.as_str(), plan[0].provision.size), ("/dev/xvda", GiB(8)));
        assert!(plan[0].delete_on_termination);
        assert_eq!((plan[0].provision.iops, plan[0].provision.throughput), (Some(3000), Some(125)));
    }

    #[test]
    fn a_mapping_of_the_root_changes_it_and_others_add_volumes() {
        let root = VolumeSpec { size: Some(20), delete_on_termination: Some(false), ..VolumeSpec::default() };
        let data = VolumeSpec { size: Some(100), ..VolumeSpec::default() };
        let plan = devices(&image(), &[change("/dev/sdf", data), change("/dev/xvda", root)]).unwrap();
        assert_eq!(plan.iter().map(|p| p.device.as_str()).collect::<Vec<_>>(), ["/dev/xvda", "/dev/sdf"]);
        assert_eq!(plan[0].provision.size, GiB(20));
        assert!(!plan[0].delete_on_termination);
        assert_eq!((plan[1].provision.volume_type, plan[1].provision.iops), (VolumeType::Gp2, Some(300)));
    }

    #[test]
    fn a_root_is_never_smaller_than_its_image() {
        let small = VolumeSpec { size: Some(7), ..VolumeSpec::default() };
        let refused = devices(&image(), &[change("/dev/xvda", small)]).unwrap_err();
        assert!(matches!(refused, Refusal::SmallerThanImage { size: 7, least: GiB(8), .. }), "{refused:?}");
    }

    #[test]
    fn volumes_start_from_snapshots_and_are_no_smaller() {
        let snapshot = SnapshotId::from_entropy(7);
        let of = |size, snapshot_size| VolumeSpec {
            size,
            snapshot: Some(snapshot),
            snapshot_size,
            ..VolumeSpec::default()
        };
        let plan = devices(&image(), &[change("/dev/sdf", of(None, Some(GiB(5))))]).unwrap();
        assert_eq!((plan[1].provision.size, plan[1].snapshot), (GiB(5), Some(snapshot)));
        let refuse = |device, spec| devices(&image(), &[change(device, spec)]).unwrap_err();
        assert_eq!(
            refuse("/dev/sdf", of(Some(4), Some(GiB(5)))),
            Refusal::SmallerThanSnapshot { snapshot, size: 4, least: GiB(5) }
        );
        assert_eq!(refuse("/dev/sdf", of(None, None)), Refusal::Snapshot(snapshot));
        assert_eq!(refuse("/dev/xvda", of(None, Some(GiB(5)))), Refusal::RootSnapshot);
        let mut own = image();
        own.devices.push(ImageDevice {
            device: "/dev/sdf".into(),
            size: GiB(4),
            volume_type: "io2".into(),
            iops: Some(300),
            ..own.devices[0].clone()
        });
        let plan = devices(&own, &[]).unwrap();
        assert_eq!((plan[1].provision.size, plan[1].provision.iops), (GiB(4), Some(300)));
    }

    #[test]
    fn mistakes_are_told_apart() {
        let sized = |size| VolumeSpec { size: Some(size), ..VolumeSpec::default() };
        let typed = |name: &str, size| VolumeSpec {
            volume_type: Some(name.into()),
            size: Some(size),
            ..VolumeSpec::default()
        };
        let refuse = |specs: &[DeviceSpec]| devices(&image(), specs).unwrap_err();
        assert_eq!(refuse(&[change("sdf", VolumeSpec::default())]), Refusal::NoSize("sdf".into()));
        assert_eq!(refuse(&[change("disk1", sized(1))]), Refusal::DeviceName("disk1".into()));
        assert_eq!(
            refuse(&[change("sdf", sized(1)), change("sdf", sized(2))]),
            Refusal::DeviceTwice("sdf".into())
        );
        assert_eq!(
            refuse(&[change("sdf", typed("io2", 10))]),
            Refusal::Volume(volume::Refusal::NoIops(VolumeType::Io2))
        );
        assert_eq!(refuse(&[change("sdf", typed("gp9", 10))]), Refusal::VolumeType("gp9".into()));
        assert_eq!(refuse(&[change("/dev/xvda", typed("st1", 500))]), Refusal::NotBootable(VolumeType::St1));
        assert!(matches!(
            refuse(&[change("sdf", typed("st1", 10))]),
            Refusal::Volume(volume::Refusal::TooSmall { size: 10, .. })
        ));
        let fast = VolumeSpec { iops: Some(5000), ..typed("gp2", 10) };
        assert!(matches!(
            refuse(&[change("sdf", fast)]),
            Refusal::Volume(volume::Refusal::NoChoice { volume_type: VolumeType::Gp2, .. })
        ));
        assert_eq!(
            refuse(&[change("sdf", sized(1)), change("/dev/sdf", sized(2))]),
            Refusal::DeviceTwice("/dev/sdf".into())
        );
        let omit = DeviceSpec { device: "/dev/xvda".into(), change: DeviceChange::Omit };
        assert_eq!(refuse(&[omit]), Refusal::NoRoot);
        let many: Vec<_> =
            (0..28).map(|i| change(&format!("xvdb{}", char::from(b'a' + i % 26)), sized(1))).collect();
        assert!(matches!(refuse(&many), Refusal::DeviceTwice(_) | Refusal::TooManyDevices));
    }
}
