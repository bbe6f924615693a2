//! Admission: may this launch happen, and as how many instances?
//!
//! What the host has room for decides in the end; see [`super::capacity`].

use super::capacity::Host;
use super::devices::{self, DevicePlan, devices};
use super::spec::LaunchSpec;
use crate::instance_type::Numbers;
use model::MiB;
use model::host::Architecture;
use model::record::image::Image;
use model::record::instance::CpuOptions;

/// What admission looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub image: &'a Image,
    pub machine: TypeFacts<'a>,
    pub host: Host,
}

/// What a launch needs to know of its instance type.
#[derive(Debug, Clone, Copy)]
pub struct TypeFacts<'a> {
    pub name: &'a str,
    pub vcpus: u32,
    pub threads_per_core: u32,
    /// What `CpuOptions` may ask for; empty: nothing but the default.
    pub valid_cores: Numbers,
    pub valid_threads_per_core: Numbers,
    pub memory: MiB,
    pub architectures: &'a [Architecture],
    /// It has an accelerator, or is an Apple.
    pub needs_hardware: bool,
}

impl TypeFacts<'_> {
    /// Whether instances may have these cores and threads a core.
    pub fn takes(&self, cpus: CpuOptions) -> bool {
        let CpuOptions { cores, threads_per_core } = cpus;
        let default = threads_per_core == self.threads_per_core && cores * threads_per_core == self.vcpus;
        default
            || (self.valid_cores.contains(cores) && self.valid_threads_per_core.contains(threads_per_core))
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
    CpuOptions(CpuOptions),
    Capacity {
        room: u32,
    },
    SeveralWithOneAddress,
    SeveralWithOneInterface,
    Device(devices::Refusal),
}

/// Decides on a launch.
pub fn admit(facts: &Facts<'_>, spec: &LaunchSpec) -> Result<Admitted, Refusal> {
    let Facts { image, machine, host } = *facts;
    if !image.has_content() || image.devices.is_empty() {
        return Err(Refusal::ImageUnavailable);
    }
    let room = host.room(&machine);
    // Nobody has an image for a machine that there is nowhere: tell the reason that a caller can do something about.
    if machine.architectures.is_empty() && room == 0 {
        return Err(Refusal::Capacity { room });
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
    if let Some(cpus) = spec.cpus
        && !machine.takes(cpus)
    {
        return Err(Refusal::CpuOptions(cpus));
    }
    let unique = spec.interfaces().map(|(_, network)| network).find(|network| network.is_unique());
    match unique.filter(|_| spec.max > 1) {
        Some(super::NetworkSpec::New { .. }) => return Err(Refusal::SeveralWithOneAddress),
        Some(super::NetworkSpec::Existing { .. }) => return Err(Refusal::SeveralWithOneInterface),
        None => {}
    }
    let devices = devices(image, &spec.devices).map_err(Refusal::Device)?;
    if room < spec.min {
        return Err(Refusal::Capacity { room });
    }
    Ok(Admitted { count: spec.max.min(room), devices })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::capacity::{Demand, HostFacts};
    use super::super::{GroupChoice, Ipv6Addresses, LaunchTags, NetworkSpec, PublicChoice};
    use super::*;
    use model::host::Capacity;
    use model::metadata::MetadataOptions;
    use model::record::image::ImageDevice;
    use model::record::instance::ShutdownBehavior;
    use model::{AccountId, GiB, ImageId, Overcommit, Timestamp};

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
                iops: None,
                throughput: None,
                encryption: None,
            }],
            host_image: Some("nano".into()),
            digest: None,
            direct_kernel: true,
            public: true,
            min_memory_mib: 64,
            default_user: None,
            created_at: Timestamp::default(),
            traits: model::record::image::Traits::default(),
            registration: model::record::image::Registration::default(),
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
                ipv6: Ipv6Addresses::AsSubnet,
                subnet: None,
                groups: GroupChoice::default(),
                private_address: None,
                secondary: super::super::SecondaryAddresses::NONE,
                prefixes: super::super::Ipv4Prefixes::NONE,
                ipv6_prefixes: super::super::Ipv6Prefixes::NONE,
                public: PublicChoice::Subnet,
                description: String::new(),
                delete_on_termination: true,
            },
            further: Vec::new(),
            devices: Vec::new(),
            metadata_options: MetadataOptions::default(),
            shutdown_behavior: ShutdownBehavior::Stop,
            disable_api_termination: false,
            disable_api_stop: false,
            monitoring: false,
            ebs_optimized: false,
            client_token: None,
            cpus: None,
            hibernation: false,
            tags: LaunchTags::default(),
        }
    }

    const X86: &[Architecture] = &[Architecture::X86_64];
    pub const MICRO: TypeFacts<'static> = TypeFacts {
        name: "t3.micro",
        vcpus: 2,
        threads_per_core: 2,
        valid_cores: Numbers::new("1"),
        valid_threads_per_core: Numbers::new("1,2"),
        memory: MiB(1024),
        architectures: X86,
        needs_hardware: false,
    };

    pub fn host(vcpus: u32, memory: u32, used: Demand) -> Host {
        let capacity = Capacity { vcpus, memory: MiB(memory) };
        Host::Real(HostFacts { capacity, overcommit: Overcommit::default(), used })
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
        let facts = Facts { image: &image, machine: MICRO, host: Host::Unknown };
        assert_eq!(admit(&facts, &spec(100, 100)).unwrap().count, 100);
    }

    #[test]
    fn an_image_must_suit_its_machine() {
        let mut arm = image();
        arm.architecture = Architecture::Arm64;
        let facts = Facts { image: &arm, machine: MICRO, host: Host::Unknown };
        assert!(matches!(admit(&facts, &spec(1, 1)), Err(Refusal::Architecture { .. })));
        let mut large = image();
        large.min_memory_mib = 2048;
        let facts = Facts { image: &large, machine: MICRO, host: Host::Unknown };
        assert_eq!(admit(&facts, &spec(1, 1)), Err(Refusal::MemoryTooSmall { least: MiB(2048) }));
        let mut bodiless = image();
        bodiless.host_image = None;
        let facts = Facts { image: &bodiless, machine: MICRO, host: Host::Unknown };
        assert_eq!(admit(&facts, &spec(1, 1)), Err(Refusal::ImageUnavailable));
    }

    #[test]
    fn cpu_options_are_those_that_the_type_has() {
        let image = image();
        let facts = Facts { image: &image, machine: MICRO, host: Host::Unknown };
        let asking = |cores, threads_per_core| LaunchSpec {
            cpus: Some(CpuOptions { cores, threads_per_core }),
            ..spec(1, 1)
        };
        assert!(admit(&facts, &asking(1, 2)).is_ok());
        assert!(admit(&facts, &asking(1, 1)).is_ok(), "one thread a core");
        for (cores, threads_per_core) in [(2, 1), (2, 2), (1, 3)] {
            let refused = Refusal::CpuOptions(CpuOptions { cores, threads_per_core });
            assert_eq!(admit(&facts, &asking(cores, threads_per_core)), Err(refused));
        }
        let fixed = TypeFacts { valid_cores: Numbers::NONE, valid_threads_per_core: Numbers::NONE, ..MICRO };
        let facts = Facts { machine: fixed, ..facts };
        assert!(admit(&facts, &asking(1, 2)).is_ok(), "its own");
        assert!(admit(&facts, &asking(1, 1)).is_err());
    }

    #[test]
    fn rare_hardware_is_a_matter_of_capacity() {
        let image = image();
        let gpu = TypeFacts { needs_hardware: true, ..MICRO };
        let mac = TypeFacts { architectures: &[], ..gpu };
        let full = Err(Refusal::Capacity { room: 0 });
        for machine in [gpu, mac] {
            let facts = Facts { image: &image, machine, host: host(64, 1 << 20, Demand::default()) };
            assert_eq!(admit(&facts, &spec(1, 1)), full);
        }
        let facts = Facts { image: &image, machine: gpu, host: Host::Unlimited };
        assert_eq!(admit(&facts, &spec(1, 1)).unwrap().count, 1);
        let facts = Facts { machine: mac, ..facts };
        assert!(matches!(admit(&facts, &spec(1, 1)), Err(Refusal::Architecture { .. })));
    }
}
