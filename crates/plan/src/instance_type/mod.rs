//! Instance types: the catalogue, and what can be told of each type.
//!
//! A type is a row of facts; what follows from others (whether volumes are NVMe, how many IPv6 addresses an interface
//! takes) is a method. Launches, `DescribeInstanceTypes` and the limits on interfaces and volumes all read it here.
//! AWS: <https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html>
//! Differs: a first selection of the general, compute and memory families up to 4xlarge, and `m1.small`, the type that
//! `RunInstances` takes when none is named.

mod catalogue;

use model::MiB;
use model::host::Architecture;

/// One type of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub cores: u32,
    pub threads_per_core: u32,
    /// What `CpuOptions` may ask; empty: nothing but the default.
    pub valid_cores: &'static [u32],
    pub valid_threads_per_core: &'static [u32],
    pub memory: MiB,
    pub architectures: &'static [Architecture],
    /// Shown as an architecture too; no image of ours has it.
    pub runs_i386: bool,
    pub manufacturer: &'static str,
    pub clock_ghz: Option<f64>,
    pub processor_features: &'static [&'static str],
    pub hypervisor: Hypervisor,
    pub burstable: bool,
    pub current_generation: bool,
    pub free_tier: bool,
    pub spot: bool,
    pub hibernation: bool,
    pub auto_recovery: bool,
    pub dedicated_hosts: bool,
    pub reboot_migration: bool,
    pub enclaves: bool,
    /// A precision time protocol clock in the guest.
    pub precise_clock: bool,
    pub cluster_placement: bool,
    pub boot_modes: &'static [&'static str],
    /// In EC2's words, such as `Up to 5 Gigabit`.
    pub network_performance: &'static str,
    pub baseline_gbps: f64,
    pub peak_gbps: f64,
    pub encryption_in_transit: bool,
    pub max_interfaces: u32,
    pub ipv4_per_interface: u32,
    /// The default of each interface.
    pub ena_queues: u32,
    pub flexible_ena_queues: Option<EnaQueues>,
    /// EBS volumes and, unless the limit is dedicated, network interfaces beside them.
    pub max_volumes: u32,
    pub dedicated_volume_limit: bool,
    /// Throughput to EBS; none where it is shared with the network.
    pub ebs: Option<EbsRates>,
    pub instance_store: Option<InstanceStore>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    Nitro,
    Xen,
}

impl Hypervisor {
    /// As EC2 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nitro => "nitro",
            Self::Xen => "xen",
        }
    }
}

/// Queues that can be spread over interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnaQueues {
    pub total: u32,
    pub per_interface: u32,
}

/// Bandwidth in Mbit/s and operations per second, sustained and at best.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EbsRates {
    pub baseline_mbps: u32,
    pub baseline_iops: u32,
    pub maximum_mbps: u32,
    pub maximum_iops: u32,
}

impl EbsRates {
    /// In megabytes per second.
    pub fn baseline_throughput(&self) -> f64 {
        f64::from(self.baseline_mbps) / 8.0
    }

    pub fn maximum_throughput(&self) -> f64 {
        f64::from(self.maximum_mbps) / 8.0
    }
}

/// Local disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceStore {
    pub disks: u32,
    pub gb_each: u32,
    pub kind: &'static str,
}

/// The type called `name`.
pub fn get(name: &str) -> Option<&'static InstanceType> {
    catalogue::CATALOGUE.binary_search_by(|t| t.name.cmp(name)).ok().map(|at| &catalogue::CATALOGUE[at])
}

/// Every type, in the order of the names.
pub fn all() -> &'static [InstanceType] {
    &catalogue::CATALOGUE
}

impl InstanceType {
    /// `t3` of `t3.micro`.
    pub fn family(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(family, _)| family)
    }

    /// The architectures as EC2 lists them.
    pub fn architecture_names(&self) -> impl Iterator<Item = &'static str> {
        let old = self.runs_i386.then_some("i386");
        old.into_iter().chain(self.architectures.iter().map(|a| a.as_str()))
    }

    /// Volumes are NVMe disks and interfaces ENA adapters: always on Nitro, never on Xen.
    pub fn is_nitro(&self) -> bool {
        self.hypervisor == Hypervisor::Nitro
    }

    pub fn ipv6_per_interface(&self) -> u32 {
        if self.instance_store.is_some() { 0 } else { self.ipv4_per_interface }
    }

    pub fn usage_classes(&self) -> &'static [&'static str] {
        if self.spot { &["on-demand", "spot"] } else { &["on-demand"] }
    }

    pub fn root_devices(&self) -> &'static [&'static str] {
        if self.instance_store.is_some() { &["ebs", "instance-store"] } else { &["ebs"] }
    }

    pub fn virtualization(&self) -> &'static [&'static str] {
        if self.instance_store.is_some() { &["hvm", "paravirtual"] } else { &["hvm"] }
    }

    pub fn placement_strategies(&self) -> &'static [&'static str] {
        if self.cluster_placement { &["cluster", "partition", "spread"] } else { &["partition", "spread"] }
    }
}

/// How the rows of the catalogue are written.
impl InstanceType {
    const fn size(self, name: &'static str, vcpus: u32, memory_mib: u32) -> Self {
        Self { name, vcpus, cores: vcpus / self.threads_per_core, memory: MiB(memory_mib), ..self }
    }

    const fn cores(self, valid_cores: &'static [u32]) -> Self {
        Self { valid_cores, ..self }
    }

    const fn valid_threads(self, valid_threads_per_core: &'static [u32]) -> Self {
        Self { valid_threads_per_core, ..self }
    }

    const fn clock(self, ghz: f64) -> Self {
        Self { clock_ghz: Some(ghz), ..self }
    }

    const fn interfaces(self, max_interfaces: u32, ipv4_per_interface: u32) -> Self {
        Self { max_interfaces, ipv4_per_interface, ..self }
    }

    const fn baseline(self, baseline_gbps: f64) -> Self {
        Self { baseline_gbps, ..self }
    }

    const fn network(self, network_performance: &'static str, peak_gbps: f64) -> Self {
        Self { network_performance, peak_gbps, ..self }
    }

    const fn queues(self, ena_queues: u32) -> Self {
        Self { ena_queues, ..self }
    }

    const fn flexible_queues(self, total: u32, per_interface: u32) -> Self {
        Self { flexible_ena_queues: Some(EnaQueues { total, per_interface }), ..self }
    }

    const fn ebs(self, baseline_mbps: u32, baseline_iops: u32, maximum_mbps: u32, maximum_iops: u32) -> Self {
        Self { ebs: Some(EbsRates { baseline_mbps, baseline_iops, maximum_mbps, maximum_iops }), ..self }
    }

    const fn instance_store(self, store: InstanceStore) -> Self {
        Self { instance_store: Some(store), ..self }
    }

    const fn free_tier(self) -> Self {
        Self { free_tier: true, ..self }
    }

    const fn enclaves(self) -> Self {
        Self { enclaves: true, ..self }
    }

    const fn i386(self) -> Self {
        Self { runs_i386: true, ..self }
    }

    const fn no_spot(self) -> Self {
        Self { spot: false, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for kind in all() {
            assert_eq!(get(kind.name), Some(kind));
        }
        assert_eq!(get("t3"), None);
        assert_eq!(get("z9.huge"), None);
    }

    #[test]
    fn the_facts_of_a_type_fit_together() {
        for kind in all() {
            let name = kind.name;
            assert_eq!(kind.vcpus, kind.cores * kind.threads_per_core, "{name}");
            assert!(
                kind.memory.0 >= 512 && kind.max_interfaces >= 2 && kind.ipv4_per_interface >= 2,
                "{name}"
            );
            assert!(!kind.architectures.is_empty(), "{name}");
            assert!(kind.valid_cores.is_empty() || kind.valid_cores.contains(&kind.cores), "{name}");
            assert!(kind.baseline_gbps > 0.0 && kind.baseline_gbps <= kind.peak_gbps, "{name}");
            assert_eq!(kind.ebs.is_some(), kind.is_nitro(), "{name}");
        }
    }

    #[test]
    fn graviton_types_are_arm_and_have_one_thread_a_core() {
        let arm: Vec<_> = all().iter().filter(|t| t.architectures == [Architecture::Arm64]).collect();
        assert!(arm.iter().all(|t| t.family().contains('g') && t.threads_per_core == 1));
        assert_eq!(arm.len(), 15);
    }
}
