//! The filters of `DescribeInstanceTypes`.

use super::render::bandwidth_weightings;
use control::Tables;
use control::filter::{FilterField, Values, maybe, one, shown};
use plan::instance_type::{EbsRates, Flag, InstanceStore, InstanceType, Numbers, Words};
use std::fmt::Display;

pub(super) const FILTERS: &[FilterField<InstanceType, Tables>] = &[
    FilterField { name: "auto-recovery-supported", values: |t, _| shown(t.has(Flag::AutoRecovery)) },
    FilterField { name: "bare-metal", values: |t, _| shown(t.has(Flag::BareMetal)) },
    FilterField { name: "burstable-performance-supported", values: |t, _| shown(t.has(Flag::Burstable)) },
    FilterField { name: "current-generation", values: |t, _| shown(t.has(Flag::CurrentGeneration)) },
    FilterField { name: "dedicated-hosts-supported", values: |t, _| shown(t.has(Flag::DedicatedHosts)) },
    FilterField { name: "ebs-info.attachment-limit-type", values: |t, _| one(t.volume_limit) },
    FilterField {
        name: "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
        values: |t, _| ebs(t, |e| e.baseline_mbps as u32),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.baseline-iops",
        values: |t, _| ebs(t, |e| e.baseline_iops),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.baseline-throughput-in-mbps",
        values: |t, _| ebs(t, EbsRates::baseline_throughput),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps",
        values: |t, _| ebs(t, |e| e.maximum_mbps as u32),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.maximum-iops",
        values: |t, _| ebs(t, |e| e.maximum_iops),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
        values: |t, _| ebs(t, EbsRates::maximum_throughput),
    },
    FilterField { name: "ebs-info.ebs-optimized-support", values: |t, _| one(t.ebs_optimized) },
    FilterField { name: "ebs-info.encryption-support", values: |_, _| one("supported") },
    FilterField { name: "ebs-info.maximum-ebs-attachments", values: |t, _| shown(t.max_volumes) },
    FilterField { name: "ebs-info.nvme-support", values: |t, _| one(t.ebs_nvme) },
    FilterField { name: "free-tier-eligible", values: |t, _| shown(t.has(Flag::FreeTier)) },
    FilterField { name: "hibernation-supported", values: |t, _| shown(t.has(Flag::Hibernation)) },
    FilterField { name: "hypervisor", values: |t, _| maybe(t.hypervisor) },
    FilterField { name: "instance-storage-info.disk.count", values: |t, _| store(t, |s| s.disks) },
    FilterField { name: "instance-storage-info.disk.size-in-gb", values: |t, _| store(t, |s| s.gb_each) },
    FilterField { name: "instance-storage-info.disk.type", values: |t, _| store(t, |s| s.kind) },
    FilterField {
        name: "instance-storage-info.encryption-support",
        values: |t, _| store(t, |s| s.encryption),
    },
    FilterField { name: "instance-storage-info.nvme-support", values: |t, _| store(t, |s| s.nvme) },
    FilterField { name: "instance-storage-info.total-size-in-gb", values: |t, _| store(t, |s| s.total_gb()) },
    FilterField { name: "instance-storage-supported", values: |t, _| shown(t.instance_store.is_some()) },
    FilterField { name: "instance-type", values: |t, _| one(t.name) },
    FilterField { name: "memory-info.size-in-mib", values: |t, _| shown(t.memory.0) },
    FilterField {
        name: "network-info.bandwidth-weightings",
        values: |t, _| bandwidth_weightings(t).iter().map(|w| (*w).into()).collect(),
    },
    FilterField {
        name: "network-info.efa-info.maximum-efa-interfaces",
        values: |t, _| maybe(t.efa_interfaces.map(|n| n.to_string())),
    },
    FilterField { name: "network-info.efa-supported", values: |t, _| shown(t.efa_interfaces.is_some()) },
    FilterField { name: "network-info.ena-support", values: |t, _| one(t.ena) },
    FilterField {
        name: "network-info.encryption-in-transit-supported",
        values: |t, _| shown(t.has(Flag::EncryptionInTransit)),
    },
    FilterField {
        name: "network-info.flexible-ena-queues-support",
        values: |t, _| one(supported(t.has(Flag::FlexibleEnaQueues))),
    },
    FilterField {
        name: "network-info.ipv4-addresses-per-interface",
        values: |t, _| shown(t.ipv4_per_interface),
    },
    FilterField {
        name: "network-info.ipv6-addresses-per-interface",
        values: |t, _| shown(t.ipv6_per_interface()),
    },
    FilterField { name: "network-info.ipv6-supported", values: |t, _| shown(t.ipv6_per_interface() > 0) },
    FilterField {
        name: "network-info.maximum-network-cards",
        values: |t, _| shown(t.network_cards().count()),
    },
    FilterField { name: "network-info.maximum-network-interfaces", values: |t, _| shown(t.max_interfaces) },
    FilterField { name: "network-info.network-performance", values: |t, _| one(t.network_performance) },
    FilterField { name: "nitro-enclaves-support", values: |t, _| one(supported(t.has(Flag::Enclaves))) },
    FilterField {
        name: "nitro-tpm-info.supported-versions",
        values: |t, _| maybe(t.has(Flag::NitroTpm).then_some("2.0")),
    },
    FilterField { name: "nitro-tpm-support", values: |t, _| one(supported(t.has(Flag::NitroTpm))) },
    FilterField { name: "processor-info.supported-architecture", values: |t, _| texts(t.architecture_names) },
    FilterField { name: "processor-info.supported-features", values: |t, _| texts(t.processor_features) },
    FilterField {
        name: "processor-info.sustained-clock-speed-in-ghz",
        values: |t, _| maybe(t.clock_ghz.map(|ghz| ghz.to_string())),
    },
    FilterField {
        name: "reboot-migration-support",
        values: |t, _| one(supported(t.has(Flag::RebootMigration))),
    },
    FilterField { name: "supported-boot-mode", values: |t, _| texts(t.boot_modes) },
    FilterField { name: "supported-root-device-type", values: |t, _| texts(t.root_devices) },
    FilterField { name: "supported-usage-class", values: |t, _| texts(t.usage_classes) },
    FilterField { name: "supported-virtualization-type", values: |t, _| texts(t.virtualization) },
    FilterField { name: "vcpu-info.default-cores", values: |t, _| shown(t.cores) },
    FilterField { name: "vcpu-info.default-threads-per-core", values: |t, _| shown(t.threads_per_core) },
    FilterField { name: "vcpu-info.default-vcpus", values: |t, _| shown(t.vcpus) },
    FilterField { name: "vcpu-info.valid-cores", values: |t, _| numbers(t.valid_cores) },
    FilterField {
        name: "vcpu-info.valid-threads-per-core",
        values: |t, _| numbers(t.valid_threads_per_core),
    },
];

pub(super) fn supported(is: bool) -> &'static str {
    if is { "supported" } else { "unsupported" }
}

fn ebs<'a, T: Display>(kind: &InstanceType, value: fn(&EbsRates) -> T) -> Values<'a> {
    maybe(kind.ebs.map(|rates| value(&rates).to_string()))
}

fn store<'a, T: Display>(kind: &InstanceType, value: fn(InstanceStore) -> T) -> Values<'a> {
    maybe(kind.instance_store.map(|store| value(store).to_string()))
}

fn texts<'a>(values: Words) -> Values<'a> {
    values.iter().map(Into::into).collect()
}

fn numbers<'a>(values: Numbers) -> Values<'a> {
    values.iter().map(|value| value.to_string().into()).collect()
}
