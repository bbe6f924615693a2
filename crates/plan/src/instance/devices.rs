//! Block device mappings: the image's devices, changed and completed by the launch, become the volumes to make.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-device-mapping-concepts.html> and
//! <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html> for the bounds of each volume type.

use super::Refusal;
use model::record::image::Image;
use model::{GiB, SnapshotId};
use std::ops::RangeInclusive;

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
    /// An instance store volume, of which no type here has any: as on AWS it is passed over.
    Ephemeral,
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
}

/// A volume that each instance of the launch gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePlan {
    pub device: String,
    pub size: GiB,
    pub volume_type: String,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    pub delete_on_termination: bool,
    pub snapshot: Option<SnapshotId>,
}

/// How many volumes one machine can hold, the root included.
pub const MOST_DEVICES: usize = 28;

/// The type of a volume when nobody names one, as in the API.
const DEFAULT_TYPE: &str = "gp2";

struct TypeBounds {
    name: &'static str,
    size: RangeInclusive<i64>,
    /// Bounds of a caller's IOPS; `None`: the caller has no say.
    iops: Option<RangeInclusive<i64>>,
    throughput: Option<RangeInclusive<i64>>,
    bootable: bool,
}

const TYPES: [TypeBounds; 7] = [
    TypeBounds { name: "standard", size: 1..=1024, iops: None, throughput: None, bootable: true },
    TypeBounds { name: "gp2", size: 1..=16_384, iops: None, throughput: None, bootable: true },
    TypeBounds {
        name: "gp3",
        size: 1..=65_536,
        iops: Some(3000..=80_000),
        throughput: Some(125..=2000),
        bootable: true,
    },
    TypeBounds { name: "io1", size: 4..=16_384, iops: Some(100..=64_000), throughput: None, bootable: true },
    TypeBounds { name: "io2", size: 4..=65_536, iops: Some(100..=256_000), throughput: None, bootable: true },
    TypeBounds { name: "st1", size: 125..=16_384, iops: None, throughput: None, bootable: false },
    TypeBounds { name: "sc1", size: 125..=16_384, iops: None, throughput: None, bootable: false },
];

/// The volumes of each instance, the root first.
pub fn devices(image: &Image, specs: &[DeviceSpec]) -> Result<Vec<DevicePlan>, Refusal> {
    for (at, spec) in specs.iter().enumerate() {
        if !is_device_name(&spec.device) {
            return Err(Refusal::DeviceName(spec.device.clone()));
        }
        if specs[..at].iter().any(|earlier| earlier.device == spec.device) {
            return Err(Refusal::DeviceTwice(spec.device.clone()));
        }
    }
    let of = |device: &str| specs.iter().find(|s| s.device == device).map(|s| &s.change);
    let mut plans = Vec::new();
    for (at, own) in image.devices.iter().enumerate() {
        let root = at == 0;
        let spec = match of(&own.device) {
            None => &VolumeSpec::default(),
            Some(DeviceChange::Volume(spec)) => spec,
            Some(DeviceChange::Omit | DeviceChange::Ephemeral) if root => return Err(Refusal::NoRoot),
            Some(DeviceChange::Omit | DeviceChange::Ephemeral) => continue,
        };
        if let Some(snapshot) = spec.snapshot
            && own.snapshot != Some(snapshot)
        {
            return Err(if root { Refusal::RootSnapshot } else { Refusal::Snapshot(snapshot) });
        }
        let least = own.size;
        if let Some(size) = spec.size
            && i64::from(size) < i64::from(least.0)
        {
            return Err(Refusal::SmallerThanImage { device: own.device.clone(), size, least });
        }
        plans.push(volume(
            &own.device,
            spec,
            spec.size.map_or(i64::from(own.size.0), i64::from),
            &own.volume_type,
            own.delete_on_termination,
            own.snapshot,
            root,
        )?);
    }
    for DeviceSpec { device, change } in specs {
        let DeviceChange::Volume(spec) = change else { continue };
        if image.devices.iter().any(|own| own.device == *device) {
            continue;
        }
        if let Some(snapshot) = spec.snapshot {
            return Err(Refusal::Snapshot(snapshot));
        }
        let Some(size) = spec.size else { return Err(Refusal::NoSize(device.clone())) };
        plans.push(volume(device, spec, i64::from(size), DEFAULT_TYPE, false, None, false)?);
    }
    if plans.len() > MOST_DEVICES {
        return Err(Refusal::TooManyDevices);
    }
    Ok(plans)
}

fn volume(
    device: &str,
    spec: &VolumeSpec,
    size: i64,
    own_type: &str,
    delete_on_termination: bool,
    snapshot: Option<SnapshotId>,
    root: bool,
) -> Result<DevicePlan, Refusal> {
    let volume_type = spec.volume_type.as_deref().unwrap_or(own_type);
    let Some(bounds) = TYPES.iter().find(|t| t.name == volume_type) else {
        return Err(Refusal::VolumeType(volume_type.to_owned()));
    };
    if root && !bounds.bootable {
        return Err(Refusal::NotBootable(volume_type.to_owned()));
    }
    let outside = |what, value: i64, range: &RangeInclusive<i64>| Refusal::VolumeBounds {
        what,
        volume_type: bounds.name,
        value,
        least: *range.start(),
        most: *range.end(),
    };
    if !bounds.size.contains(&size) {
        return Err(outside("size", size, &bounds.size));
    }
    let asked = |what, value: Option<i32>, range: &Option<RangeInclusive<i64>>| match (value, range) {
        (None, _) => Ok(None),
        (Some(_), None) => Err(Refusal::VolumeHasNo { what, volume_type: bounds.name }),
        (Some(value), Some(range)) if range.contains(&i64::from(value)) => Ok(Some(value as u32)),
        (Some(value), Some(range)) => Err(outside(what, i64::from(value), range)),
    };
    let iops = asked("iops", spec.iops, &bounds.iops)?;
    let throughput = asked("throughput", spec.throughput, &bounds.throughput)?;
    let (iops, throughput) = match bounds.name {
        "gp2" => (Some((size * 3).clamp(100, 16_000) as u32), None),
        "gp3" => (iops.or(Some(3000)), throughput.or(Some(125))),
        "io1" | "io2" if iops.is_none() => return Err(Refusal::NoIops(bounds.name)),
        _ => (iops, throughput),
    };
    Ok(DevicePlan {
        device: device.to_owned(),
        size: GiB(size as u32),
        volume_type: volume_type.to_owned(),
        iops,
        throughput,
        delete_on_termination: spec.delete_on_termination.unwrap_or(delete_on_termination),
        snapshot,
    })
}

/// `/dev/sdX[N]`, `/dev/xvdX[X]`, `/dev/hdX`, with or without `/dev/`.
fn is_device_name(name: &str) -> bool {
    let name = name.strip_prefix("/dev/").unwrap_or(name);
    let Some(rest) = ["xvd", "sd", "hd"].iter().find_map(|prefix| name.strip_prefix(prefix)) else {
        return false;
    };
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let digits = &rest[letters..];
    (1..=2).contains(&letters) && digits.len() <= 2 && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::super::admit::tests::image;
    use super::*;

    fn change(device: &str, spec: VolumeSpec) -> DeviceSpec {
        DeviceSpec { device: device.into(), change: DeviceChange::Volume(spec) }
    }

    #[test]
    fn without_mappings_an_instance_gets_the_images_devices() {
        let plan = devices(&image(), &[]).unwrap();
        assert_eq!(plan.len(), 1);
        assert_eq!((plan[0].device.as_str(), plan[0].size), ("/dev/xvda", GiB(8)));
        assert!(plan[0].delete_on_termination);
        assert_eq!((plan[0].iops, plan[0].throughput), (Some(3000), Some(125)));
    }

    #[test]
    fn a_mapping_of_the_root_changes_it_and_others_add_volumes() {
        let root = VolumeSpec { size: Some(20), delete_on_termination: Some(false), ..VolumeSpec::default() };
        let data = VolumeSpec { size: Some(100), ..VolumeSpec::default() };
        let plan = devices(&image(), &[change("/dev/sdf", data), change("/dev/xvda", root)]).unwrap();
        assert_eq!(plan.iter().map(|p| p.device.as_str()).collect::<Vec<_>>(), ["/dev/xvda", "/dev/sdf"]);
        assert_eq!(plan[0].size, GiB(20));
        assert!(!plan[0].delete_on_termination);
        assert_eq!((plan[1].volume_type.as_str(), plan[1].iops), ("gp2", Some(300)));
    }

    #[test]
    fn a_root_is_never_smaller_than_its_image() {
        let small = VolumeSpec { size: Some(7), ..VolumeSpec::default() };
        let refused = devices(&image(), &[change("/dev/xvda", small)]).unwrap_err();
        assert!(matches!(refused, Refusal::SmallerThanImage { size: 7, least: GiB(8), .. }), "{refused:?}");
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
        assert_eq!(refuse(&[change("sdf", typed("io2", 10))]), Refusal::NoIops("io2"));
        assert_eq!(refuse(&[change("sdf", typed("gp9", 10))]), Refusal::VolumeType("gp9".into()));
        assert_eq!(refuse(&[change("/dev/xvda", typed("st1", 500))]), Refusal::NotBootable("st1".into()));
        assert!(matches!(
            refuse(&[change("sdf", typed("st1", 10))]),
            Refusal::VolumeBounds { what: "size", .. }
        ));
        let fast = VolumeSpec { iops: Some(5000), ..typed("gp2", 10) };
        assert_eq!(refuse(&[change("sdf", fast)]), Refusal::VolumeHasNo { what: "iops", volume_type: "gp2" });
        let omit = DeviceSpec { device: "/dev/xvda".into(), change: DeviceChange::Omit };
        assert_eq!(refuse(&[omit]), Refusal::NoRoot);
        let many: Vec<_> =
            (0..28).map(|i| change(&format!("xvdb{}", char::from(b'a' + i % 26)), sized(1))).collect();
        assert!(matches!(refuse(&many), Refusal::DeviceTwice(_) | Refusal::TooManyDevices));
    }
}
