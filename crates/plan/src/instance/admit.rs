//! Admission: may this launch happen, and as how many instances?
//!
//! Memory is never promised twice; virtual CPUs are, up to [`VCPU_OVERCOMMIT`] times. A host that has not yet told its
//! capacity refuses nothing: its instances wait pending.

use super::devices::{DevicePlan, devices};
use super::spec::LaunchSpec;
use model::host::{Architecture, Capacity};
use model::record::image::Image;
use model::{GiB, MiB, SnapshotId};

/// How many virtual CPUs are given out for each CPU of the host.
pub const VCPU_OVERCOMMIT: u64 = 8;

/// What admission looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub image: &'a Image,
    pub machine: TypeFacts<'a>,
    /// `None`: no host has told its capacity yet.
    pub host: Option<HostFacts>,
}

/// What a launch needs to know of its instance type.
#[derive(Debug, Clone, Copy)]
pub struct TypeFacts<'a> {
    pub name: &'a str,
    pub vcpus: u32,
    pub threads_per_core: u32,
    pub memory: MiB,
    pub architectures: &'a [Architecture],
}

/// What the host has, and what of it is promised.
#[derive(Debug, Clone, Copy)]
pub struct HostFacts {
    pub capacity: Capacity,
    pub used: Demand,
}

/// Virtual CPUs and memory, in MiB, of some instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub vcpus: u64,
    pub memory: u64,
}

impl Demand {
    pub fn add(&mut self, vcpus: u32, memory: MiB) {
        self.add_many(1, vcpus, memory);
    }

    /// So many machines of one size.
    pub fn add_many(&mut self, count: usize, vcpus: u32, memory: MiB) {
        self.vcpus += count as u64 * u64::from(vcpus);
        self.memory += count as u64 * u64::from(memory.0);
    }
}

impl HostFacts {
    /// How many more machines of this size the host takes.
    pub fn room(&self, vcpus: u32, memory: MiB) -> u32 {
        let free_vcpus = (u64::from(self.capacity.vcpus) * VCPU_OVERCOMMIT).saturating_sub(self.used.vcpus);
        let free_memory = u64::from(self.capacity.memory.0).saturating_sub(self.used.memory);
        let by_vcpus = free_vcpus / u64::from(vcpus.max(1));
        let by_memory = free_memory / u64::from(memory.0.max(1));
        // A machine's guest sees at most the CPUs that are there.
        u32::try_from(by_vcpus.min(by_memory)).unwrap_or(u32::MAX)
    }
}

/// An admitted launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    pub count: u32,
    /// The volumes of each instance, the root first.
    pub devices: Vec<DevicePlan>,
}

/// Why a launch is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The image has no disk that a host could start from.
    ImageUnavailable,
    Architecture {
        machine: Vec<Architecture>,
        image: Architecture,
    },
    MemoryTooSmall {
        least: MiB,
    },
    CpuOptions {
        cores: u32,
        threads: u32,
    },
    Capacity {
        room: u32,
    },
    SeveralWithOneAddress,
    SeveralWithOneInterface,
    DeviceName(String),
    DeviceTwice(String),
    NoRoot,
    RootSnapshot,
    Snapshot(SnapshotId),
    SmallerThanImage {
        device: String,
        size: i32,
        least: GiB,
    },
    NoSize(String),
    TooManyDevices,
    VolumeType(String),
    NotBootable(String),
    NoIops(&'static str),
    VolumeHasNo {
        what: &'static str,
        volume_type: &'static str,
    },
    VolumeBounds {
        what: &'static str,
        volume_type: &'static str,
        value: i64,
        least: i64,
        most: i64,
    },
}

/// Decides on a launch.
pub fn admit(facts: &Facts<'_>, spec: &LaunchSpec) -> Result<Admitted, Refusal> {
    let Facts { image, machine, host } = *facts;
    if image.host_image.is_none() || image.devices.is_empty() {
        return Err(Refusal::ImageUnavailable);
    }
    if !machine.architectures.contains(&image.architecture) {
        return Err(Refusal::Architecture {
            machine: machine.architectures.to_vec(),
            image: image.architecture,
        });
    }
    if machine.memory.0 < image.min_memory_mib {
        return Err(Refusal::MemoryTooSmall { least: MiB(image.min_memory_mib) });
    }
    if let Some((cores, threads)) = spec.cpus
        && (threads != machine.threads_per_core || cores * threads != machine.vcpus)
    {
        return Err(Refusal::CpuOptions { cores, threads });
    }
    match spec.network {
        super::NetworkSpec::New { private_address: Some(_), .. } if spec.max > 1 => {
            return Err(Refusal::SeveralWithOneAddress);
        }
        super::NetworkSpec::Existing { .. } if spec.max > 1 => return Err(Refusal::SeveralWithOneInterface),
        super::NetworkSpec::New { .. } | super::NetworkSpec::Existing { .. } => {}
    }
    let devices = devices(image, &spec.devices)?;
    let room = host.map_or(u32::MAX, |host| host.room(machine.vcpus, machine.memory));
    if room < spec.min {
        return Err(Refusal::Capacity { room });
    }
    Ok(Admitted { count: spec.max.min(room), devices })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{GroupChoice, LaunchTags, NetworkSpec, PublicChoice};
    use super::*;
    use model::metadata::MetadataOptions;
    use model::record::image::ImageDevice;
    use model::record::instance::ShutdownBehavior;
    use model::{AccountId, ImageId, Timestamp};

    pub fn image() -> Image {
        Image {
            image: ImageId::from_entropy(1),
            owner: AccountId::from_number(1),
            owner_alias: None,
            name: "nano".into(),
            description: None,
            architecture: Architecture::X86_64,
            root_device: "/dev/xvda".into(),
            devices: vec![ImageDevice {
                device: "/dev/xvda".into(),
                size: GiB(8),
                snapshot: None,
                delete_on_termination: true,
                volume_type: "gp3".into(),
            }],
            host_image: Some("nano".into()),
            digest: None,
            direct_kernel: true,
            boot_mode: None,
            public: true,
            min_memory_mib: 64,
            default_user: None,
            created_at: Timestamp::default(),
            tags: std::collections::BTreeMap::new(),
        }
    }

    fn spec(min: u32, max: u32) -> LaunchSpec {
        LaunchSpec {
            image: ImageId::from_entropy(1),
            instance_type: None,
            min,
            max,
            key_name: None,
            user_data: None,
            zone: None,
            network: NetworkSpec::New {
                subnet: None,
                groups: GroupChoice::default(),
                private_address: None,
                public: PublicChoice::Subnet,
                description: String::new(),
                delete_on_termination: true,
            },
            devices: Vec::new(),
            metadata_options: MetadataOptions::default(),
            shutdown_behavior: ShutdownBehavior::Stop,
            disable_api_termination: false,
            disable_api_stop: false,
            monitoring: false,
            ebs_optimized: false,
            client_token: None,
            cpus: None,
            tags: LaunchTags::default(),
        }
    }

    const X86: &[Architecture] = &[Architecture::X86_64];
    const MICRO: TypeFacts<'static> =
        TypeFacts { name: "t3.micro", vcpus: 2, threads_per_core: 2, memory: MiB(1024), architectures: X86 };

    fn host(vcpus: u32, memory: u32, used: Demand) -> Option<HostFacts> {
        Some(HostFacts { capacity: Capacity { vcpus, memory: MiB(memory) }, used })
    }

    #[test]
    fn as_many_as_fit_are_launched_but_never_fewer_than_the_least() {
        let image = image();
        let facts = Facts { image: &image, machine: MICRO, host: host(4, 4096, Demand::default()) };
        assert_eq!(admit(&facts, &spec(1, 10)).unwrap().count, 4);
        assert_eq!(admit(&facts, &spec(4, 4)).unwrap().count, 4);
        assert_eq!(admit(&facts, &spec(5, 10)), Err(Refusal::Capacity { room: 4 }));
        let used = Demand { vcpus: 8, memory: 4000 };
        let full = Facts { host: host(4, 4096, used), ..facts };
        assert_eq!(admit(&full, &spec(1, 1)), Err(Refusal::Capacity { room: 0 }));
    }

    #[test]
    fn cpus_are_shared_and_memory_is_not() {
        let image = image();
        let facts = Facts { image: &image, machine: MICRO, host: host(1, 1 << 20, Demand::default()) };
        assert_eq!(admit(&facts, &spec(1, 100)).unwrap().count, 4);
    }

    #[test]
    fn a_host_that_said_nothing_refuses_nothing() {
        let image = image();
        let facts = Facts { image: &image, machine: MICRO, host: None };
        assert_eq!(admit(&facts, &spec(100, 100)).unwrap().count, 100);
    }

    #[test]
    fn an_image_must_suit_its_machine() {
        let mut arm = image();
        arm.architecture = Architecture::Arm64;
        let facts = Facts { image: &arm, machine: MICRO, host: None };
        assert!(matches!(admit(&facts, &spec(1, 1)), Err(Refusal::Architecture { .. })));
        let mut large = image();
        large.min_memory_mib = 2048;
        let facts = Facts { image: &large, machine: MICRO, host: None };
        assert_eq!(admit(&facts, &spec(1, 1)), Err(Refusal::MemoryTooSmall { least: MiB(2048) }));
        let mut bodiless = image();
        bodiless.host_image = None;
        let facts = Facts { image: &bodiless, machine: MICRO, host: None };
        assert_eq!(admit(&facts, &spec(1, 1)), Err(Refusal::ImageUnavailable));
    }

    #[test]
    fn cpu_options_other_than_the_types_own_are_refused() {
        let image = image();
        let facts = Facts { image: &image, machine: MICRO, host: None };
        let asking = |cores, threads| LaunchSpec { cpus: Some((cores, threads)), ..spec(1, 1) };
        assert!(admit(&facts, &asking(1, 2)).is_ok());
        assert_eq!(admit(&facts, &asking(2, 1)), Err(Refusal::CpuOptions { cores: 2, threads: 1 }));
    }
}
