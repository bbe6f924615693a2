//! Which launches may ask for hibernation.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/hibernating-prerequisites.html>
//! Differs: any image will do. The host keeps the memory by itself, and no guest takes part in it. Types with an instance store are
//! refused: its disks are those of one run.

use crate::instance_type::{Flag, InstanceType};
use model::record::image::Platform;
use model::record::volume::{Provision, VolumeType};
use model::{GiB, MiB};
use std::fmt;

/// The most memory that an instance may have.
const MOST_LINUX: MiB = MiB(150 << 10);
const MOST_WINDOWS: MiB = MiB(16 << 10);

/// What a launch says of what hibernation depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub kind: &'a InstanceType,
    pub platform: Platform,
    pub root: Provision,
    pub root_is_encrypted: bool,
}

/// Why an instance cannot be configured for hibernation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    Type(&'static str),
    InstanceStore(&'static str),
    Memory { has: MiB, most: MiB },
    NotEncrypted,
    RootType(VolumeType),
    RootSize { has: GiB, memory: MiB },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => write!(f, "the instance type {name} does not support hibernation"),
            Self::InstanceStore(name) => {
                write!(f, "instances of the type {name} have disks that are lost when they stop")
            }
            Self::Memory { has, most } => {
                write!(
                    f,
                    "instances with {} MiB of memory cannot be hibernated; the limit is {}",
                    has.0, most.0
                )
            }
            Self::NotEncrypted => f.write_str("the root volume must be encrypted"),
            Self::RootType(kind) => write!(f, "the root volume is of the type {kind}, which is too slow"),
            Self::RootSize { has, memory } => {
                write!(f, "the root volume of {} GiB is smaller than the memory of {} MiB", has.0, memory.0)
            }
        }
    }
}

/// Whether hibernation may be configured.
pub fn check(facts: &Facts<'_>) -> Result<(), Unfit> {
    let Facts { kind, platform, root, root_is_encrypted } = *facts;
    let memory = kind.memory;
    if !kind.has(Flag::Hibernation) || kind.has(Flag::BareMetal) {
        return Err(Unfit::Type(kind.name));
    }
    if kind.instance_store.is_some() {
        return Err(Unfit::InstanceStore(kind.name));
    }
    let most = match platform {
        Platform::Linux | Platform::RedHat | Platform::Suse => MOST_LINUX,
        Platform::Windows => MOST_WINDOWS,
    };
    if memory > most {
        return Err(Unfit::Memory { has: memory, most });
    }
    if !root_is_encrypted {
        return Err(Unfit::NotEncrypted);
    }
    match root.volume_type {
        VolumeType::Gp2 | VolumeType::Gp3 | VolumeType::Io1 | VolumeType::Io2 => {}
        VolumeType::Standard | VolumeType::St1 | VolumeType::Sc1 => {
            return Err(Unfit::RootType(root.volume_type));
        }
    }
    if root.size.bytes() < memory.bytes() {
        return Err(Unfit::RootSize { has: root.size, memory });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance_type::get;

    const ROOT: Provision = Provision {
        volume_type: VolumeType::Gp3,
        size: GiB(8),
        iops: None,
        throughput: None,
        multi_attach: false,
    };

    fn facts(kind: &str) -> Facts<'_> {
        let kind = get(kind).unwrap();
        Facts { kind, platform: Platform::Linux, root: ROOT, root_is_encrypted: true }
    }

    #[test]
    fn a_launch_must_meet_every_condition() {
        assert_eq!(check(&facts("t3.nano")), Ok(()));
        assert_eq!(check(&facts("p5.48xlarge")), Err(Unfit::Type("p5.48xlarge")));
        assert_eq!(check(&facts("m5d.large")), Err(Unfit::InstanceStore("m5d.large")));
        let plain = Facts { root_is_encrypted: false, ..facts("t3.nano") };
        assert_eq!(check(&plain), Err(Unfit::NotEncrypted));
        let slow = Provision { volume_type: VolumeType::Standard, ..ROOT };
        let slow = Facts { root: slow, ..facts("t3.nano") };
        assert_eq!(check(&slow), Err(Unfit::RootType(VolumeType::Standard)));
    }

    #[test]
    fn the_root_volume_holds_at_least_the_memory() {
        assert_eq!(check(&facts("t3.large")), Ok(()), "8 GiB of each");
        let (has, memory) = (GiB(8), MiB(16 << 10));
        assert_eq!(check(&facts("t3.xlarge")), Err(Unfit::RootSize { has, memory }));
    }

    #[test]
    fn memory_has_a_limit_that_depends_on_the_system() {
        let large = Provision { size: GiB(500), ..ROOT };
        for (kind, platform, fits) in [
            ("m5.8xlarge", Platform::Linux, true),
            ("m5.12xlarge", Platform::Linux, false),
            ("m5.xlarge", Platform::Windows, true),
            ("m5.2xlarge", Platform::Windows, false),
        ] {
            let facts = Facts { platform, root: large, ..facts(kind) };
            assert_eq!(check(&facts).is_ok(), fits, "{kind} {platform:?}");
        }
    }
}
