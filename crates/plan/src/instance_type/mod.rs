//! Instance types: the catalogue, and what can be told of each type.
//!
//! A type is a row of facts; what follows from others (whether volumes are NVMe, how many IPv6 addresses an interface
//! takes) is a method. Launches, `DescribeInstanceTypes` and the limits on interfaces and volumes all read it here.
//! AWS: <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html>
//! Differs: one catalogue for all regions and zones.

mod burst;
mod catalogue;
mod requirements;
#[cfg(test)]
mod tests;

pub use burst::Burst;
pub use requirements::{Accelerators, Choice, Range, Requirements};

use catalogue::{maybe, number, parts, told};
use model::MiB;
use model::host::{Architecture, Burst as HostBurst, Rate};

/// One type of the catalogue.
#[derive(Debug, PartialEq)]
pub struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub cores: u32,
    pub threads_per_core: u32,
    /// What `CpuOptions` may ask; empty: nothing but the default.
    pub valid_cores: Numbers,
    pub valid_threads_per_core: Numbers,
    pub memory: MiB,
    /// As EC2 lists them, `i386` and Apple's among them.
    pub architecture_names: Words,
    pub manufacturer: &'static str,
    pub clock_ghz: Option<f64>,
    pub processor_features: Words,
    /// `nitro` or `xen`; bare metal has none.
    pub hypervisor: Option<&'static str>,
    flags: u32,
    pub usage_classes: Words,
    pub boot_modes: Words,
    pub root_devices: Words,
    pub virtualization: Words,
    /// In EC2's words, such as `Up to 5 Gigabit`.
    pub network_performance: &'static str,
    /// Of all network cards together.
    pub max_interfaces: u32,
    pub ipv4_per_interface: u32,
    /// Whether interfaces are ENA adapters: `required`, `supported` or `unsupported`.
    pub ena: &'static str,
    /// How many interfaces may be fabric adapters; none: it has no fabric.
    pub efa_interfaces: Option<u32>,
    /// After so many seconds an idle TCP connection is forgotten.
    pub tcp_timeout: u32,
    network_cards: &'static str,
    /// `default`, `supported` or `unsupported`.
    pub ebs_optimized: &'static str,
    /// Throughput to EBS; none where it is shared with the network.
    pub ebs: Option<EbsRates>,
    /// Whether volumes are NVMe disks: `required`, `supported` or `unsupported`.
    pub ebs_nvme: &'static str,
    pub max_volumes: u32,
    /// Whether volumes have a limit of their own (`dedicated`) or share it with interfaces and local disks (`shared`).
    pub volume_limit: &'static str,
    /// Over how many cards the throughput to EBS is spread evenly, where it is more than one.
    pub ebs_cards: Option<u32>,
    pub instance_store: Option<InstanceStore>,
    /// By [`AcceleratorKind`].
    accelerators: [&'static str; 5],
}

/// What a type has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Burstable,
    CurrentGeneration,
    FreeTier,
    Hibernation,
    AutoRecovery,
    DedicatedHosts,
    RebootMigration,
    Enclaves,
    NitroTpm,
    /// A precision time protocol clock in the guest.
    PreciseClock,
    BareMetal,
    ClusterPlacement,
    EncryptionInTransit,
    /// ENA Express.
    EnaSrd,
    FlexibleEnaQueues,
    Ipv6,
    BandwidthWeightings,
    /// EC2 tells the number of addresses of a secondary interface, which is none.
    SecondaryInterfaces,
}

impl Flag {
    /// As the table spells them.
    const WORDS: [(&'static str, Flag); 18] = [
        ("burst", Flag::Burstable),
        ("current", Flag::CurrentGeneration),
        ("free", Flag::FreeTier),
        ("hibernate", Flag::Hibernation),
        ("recover", Flag::AutoRecovery),
        ("hosts", Flag::DedicatedHosts),
        ("migrate", Flag::RebootMigration),
        ("enclaves", Flag::Enclaves),
        ("tpm", Flag::NitroTpm),
        ("clock", Flag::PreciseClock),
        ("metal", Flag::BareMetal),
        ("cluster", Flag::ClusterPlacement),
        ("transit", Flag::EncryptionInTransit),
        ("srd", Flag::EnaSrd),
        ("queues", Flag::FlexibleEnaQueues),
        ("ipv6", Flag::Ipv6),
        ("weights", Flag::BandwidthWeightings),
        ("secondary", Flag::SecondaryInterfaces),
    ];

    fn of(word: &str) -> Flag {
        let known = Self::WORDS.iter().find(|(known, _)| *known == word);
        known.expect("the committed table has known flags; a test reads all of it").1
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Words with commas between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words(&'static str);

impl Words {
    pub fn iter(self) -> impl Iterator<Item = &'static str> {
        told(self.0).into_iter().flat_map(|words| words.split(','))
    }

    pub fn contains(self, word: &str) -> bool {
        self.iter().any(|w| w == word)
    }
}

/// Numbers: `1-4`, `2-8/2` by twos, with commas between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers(&'static str);

impl Numbers {
    /// None at all.
    pub const NONE: Self = Self("-");

    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    pub fn iter(self) -> impl Iterator<Item = u32> {
        Words(self.0).iter().flat_map(|part| {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            (number(first)..=number(last)).step_by(number(step))
        })
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub fn contains(self, number: u32) -> bool {
        self.iter().any(|n| n == number)
    }
}

/// One of the network cards of a type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NetworkCard {
    pub performance: &'static str,
    pub max_interfaces: u32,
    pub baseline_gbps: f64,
    pub peak_gbps: f64,
    /// The default of each interface.
    pub ena_queues: u32,
    pub max_ena_queues: Option<u32>,
    pub max_ena_queues_per_interface: Option<u32>,
    pub flexible_interfaces: Option<u32>,
}

/// Bandwidth in Mbit/s and operations per second, sustained and at best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EbsRates {
    pub baseline_mbps: f64,
    pub baseline_iops: u32,
    pub maximum_mbps: f64,
    pub maximum_iops: u32,
}

impl EbsRates {
    /// In megabytes per second.
    pub fn baseline_throughput(&self) -> f64 {
        self.baseline_mbps / 8.0
    }

    pub fn maximum_throughput(&self) -> f64 {
        self.maximum_mbps / 8.0
    }
}

/// Local disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceStore {
    pub disks: u32,
    pub gb_each: u32,
    /// `ssd` or `hdd`.
    pub kind: &'static str,
    /// `required` or `unsupported`.
    pub encryption: &'static str,
    pub nvme: &'static str,
}

impl InstanceStore {
    /// Whether all of its disks are there, whatever a launch maps.
    pub fn is_nvme(&self) -> bool {
        self.nvme != "unsupported"
    }

    pub fn is_encrypted(&self) -> bool {
        self.encryption == "required"
    }

    pub fn total_gb(&self) -> u32 {
        self.disks * self.gb_each
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceleratorKind {
    Gpu,
    Fpga,
    Inference,
    Media,
    /// AWS's own chips, also those that are shown as inference accelerators.
    Neuron,
}

/// Devices of one kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accelerator {
    /// None where an instance has a part of a GPU.
    pub count: u32,
    pub name: &'static str,
    pub manufacturer: Option<&'static str>,
    /// Of each device.
    pub memory: MiB,
    /// Of a GPU: how many an instance sees, the part that each is, and what they are for.
    pub gpu: Option<GpuShare>,
    /// Of a Neuron device: its cores and their version.
    pub neuron: Option<(u32, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GpuShare {
    pub logical: u32,
    pub part: f64,
    /// With `+` between them.
    pub workloads: &'static str,
}

impl Accelerator {
    /// Of all devices together.
    pub fn total_memory(&self) -> MiB {
        MiB(self.memory.0 * self.count.max(1))
    }
}

/// The type called `name`.
pub fn get(name: &str) -> Option<&'static InstanceType> {
    let all = all();
    all.binary_search_by(|t| t.name.cmp(name)).ok().map(|at| &all[at])
}

/// Every type, in the order of the names.
pub fn all() -> &'static [InstanceType] {
    &catalogue::CATALOGUE
}

impl InstanceType {
    /// How many volumes an instance with so many interfaces takes. Where the limit is shared, the table leaves room for one.
    pub fn volumes_beside(&self, interfaces: u32) -> u32 {
        match self.volume_limit {
            "shared" => (self.max_volumes + 1).saturating_sub(interfaces),
            _ => self.max_volumes,
        }
    }

    /// `t3` of `t3.micro`.
    pub fn family(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(family, _)| family)
    }

    pub fn has(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    /// The architectures that machines of ours can have; none of Apple's.
    pub fn architectures(&self) -> &'static [Architecture] {
        if self.architecture_names.contains("x86_64") {
            &[Architecture::X86_64]
        } else if self.architecture_names.contains("arm64") {
            &[Architecture::Arm64]
        } else {
            &[]
        }
    }

    pub fn ipv6_per_interface(&self) -> u32 {
        if self.has(Flag::Ipv6) { self.ipv4_per_interface } else { 0 }
    }

    pub fn placement_strategies(&self) -> &'static [&'static str] {
        if self.has(Flag::ClusterPlacement) {
            &["cluster", "partition", "spread"]
        } else {
            &["partition", "spread"]
        }
    }

    /// At least one.
    pub fn network_cards(&self) -> impl Iterator<Item = NetworkCard> {
        self.network_cards.split(',').flat_map(|card| {
            let (count, card) = card.split_once('*').unwrap_or(("1", card));
            let [performance, interfaces, baseline, peak, queues, most, most_each, flexible] =
                parts(card, '|');
            let card = NetworkCard {
                performance,
                max_interfaces: number(interfaces),
                baseline_gbps: number(baseline),
                peak_gbps: number(peak),
                ena_queues: number(queues),
                max_ena_queues: maybe(most),
                max_ena_queues_per_interface: maybe(most_each),
                flexible_interfaces: maybe(flexible),
            };
            std::iter::repeat_n(card, number(count))
        })
    }

    /// Of all network cards together.
    pub fn peak_gbps(&self) -> f64 {
        self.network_cards().map(|card| card.peak_gbps).sum()
    }

    /// What an instance's interfaces carry together each way, in bytes per second, over all network cards: the baseline, and
    /// the peak as a burst. How long one lasts EC2 tells as from 5 to 60 minutes, of which this is the least.
    /// AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-network-bandwidth.html>
    pub fn bandwidth(&self) -> Rate {
        const BURST_SECONDS: u32 = 300;
        let bytes = |gbps: f64| (gbps * 1e9 / 8.0).round() as u64;
        let (base, peak) = (bytes(self.baseline_gbps()), bytes(self.peak_gbps()));
        let burst = (peak > base).then_some(HostBurst { rate: peak, seconds: BURST_SECONDS });
        Rate { base, burst }
    }

    /// Of all network cards together.
    pub fn baseline_gbps(&self) -> f64 {
        self.network_cards().map(|card| card.baseline_gbps).sum()
    }

    pub fn accelerator(&self, kind: AcceleratorKind) -> Option<Accelerator> {
        let cell = told(self.accelerators[kind as usize])?;
        let [count, name, manufacturer, memory, first, second, third] = parts(cell, '|');
        Some(Accelerator {
            count: number(count),
            name,
            manufacturer: told(manufacturer),
            memory: MiB(number(memory)),
            gpu: (kind == AcceleratorKind::Gpu).then(|| GpuShare {
                logical: number(first),
                part: number(second),
                workloads: third,
            }),
            neuron: (kind == AcceleratorKind::Neuron).then(|| (number(first), number(second))),
        })
    }

    /// What is not made of processors and memory alone: an accelerator, or an Apple.
    pub fn needs_hardware(&self) -> bool {
        self.architectures().is_empty() || self.accelerators.iter().any(|cell| told(cell).is_some())
    }
}
