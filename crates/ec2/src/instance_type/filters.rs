//! The filters of `DescribeInstanceTypes`. Those on what no type of the catalogue has match nothing.

use control::Tables;
use control::filter::{FilterField, Values, maybe, one, shown};
use plan::instance_type::{EbsRates, InstanceStore, InstanceType};
use std::fmt::Display;

pub(super) const FILTERS: &[FilterField<InstanceType, Tables>] = &[
    FilterField { name: "auto-recovery-supported", values: |t, _| shown(t.auto_recovery) },
    FilterField { name: "bare-metal", values: |_, _| one("false") },
    FilterField { name: "burstable-performance-supported", values: |t, _| shown(t.burstable) },
    FilterField { name: "current-generation", values: |t, _| shown(t.current_generation) },
    FilterField { name: "dedicated-hosts-supported", values: |t, _| shown(t.dedicated_hosts) },
    FilterField { name: "ebs-info.attachment-limit-type", values: |t, _| one(attachment_limit(t)) },
    FilterField {
        name: "ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps",
        values: |t, _| ebs(t, |e| e.baseline_mbps),
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
        values: |t, _| ebs(t, |e| e.maximum_mbps),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.maximum-iops",
        values: |t, _| ebs(t, |e| e.maximum_iops),
    },
    FilterField {
        name: "ebs-info.ebs-optimized-info.maximum-throughput-in-mbps",
        values: |t, _| ebs(t, EbsRates::maximum_throughput),
    },
    FilterField { name: "ebs-info.ebs-optimized-support", values: |t, _| one(ebs_optimized(t)) },
    FilterField { name: "ebs-info.encryption-support", values: |_, _| one("supported") },
    FilterField { name: "ebs-info.maximum-ebs-attachments", values: |t, _| shown(t.max_volumes) },
    FilterField { name: "ebs-info.nvme-support", values: |t, _| one(required(t.is_nitro())) },
    FilterField { name: "free-tier-eligible", values: |t, _| shown(t.free_tier) },
    FilterField { name: "hibernation-supported", values: |t, _| shown(t.hibernation) },
    FilterField { name: "hypervisor", values: |t, _| one(t.hypervisor.as_str()) },
    FilterField { name: "instance-storage-info.disk.count", values: |t, _| store(t, |s| s.disks) },
    FilterField { name: "instance-storage-info.disk.size-in-gb", values: |t, _| store(t, |s| s.gb_each) },
    FilterField { name: "instance-storage-info.disk.type", values: |t, _| store(t, |s| s.kind) },
    FilterField {
        name: "instance-storage-info.encryption-support",
        values: |t, _| store(t, |_| "unsupported"),
    },
    FilterField { name: "instance-storage-info.nvme-support", values: |t, _| store(t, |_| "unsupported") },
    FilterField {
        name: "instance-storage-info.total-size-in-gb",
        values: |t, _| store(t, |s| s.disks * s.gb_each),
    },
    FilterField { name: "instance-storage-supported", values: |t, _| shown(t.instance_store.is_some()) },
    FilterField { name: "instance-type", values: |t, _| one(t.name) },
    FilterField { name: "memory-info.size-in-mib", values: |t, _| shown(t.memory.0) },
    FilterField { name: "network-info.bandwidth-weightings", values: |_, _| Values::new() },
    FilterField { name: "network-info.efa-info.maximum-efa-interfaces", values: |_, _| Values::new() },
    FilterField { name: "network-info.efa-supported", values: |_, _| one("false") },
    FilterField { name: "network-info.ena-support", values: |t, _| one(required(t.is_nitro())) },
    FilterField {
        name: "network-info.encryption-in-transit-supported",
        values: |t, _| shown(t.encryption_in_transit),
    },
    FilterField {
        name: "network-info.flexible-ena-queues-support",
        values: |t, _| one(supported(t.flexible_ena_queues.is_some())),
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
    FilterField { name: "network-info.maximum-network-cards", values: |_, _| one("1") },
    FilterField { name: "network-info.maximum-network-interfaces", values: |t, _| shown(t.max_interfaces) },
    FilterField { name: "network-info.network-performance", values: |t, _| one(t.network_performance) },
    FilterField { name: "nitro-enclaves-support", values: |t, _| one(supported(t.enclaves)) },
    FilterField {
        name: "nitro-tpm-info.supported-versions",
        values: |t, _| maybe(t.is_nitro().then_some("2.0")),
    },
    FilterField { name: "nitro-tpm-support", values: |t, _| one(supported(t.is_nitro())) },
    FilterField {
        name: "processor-info.supported-architecture",
        values: |t, _| t.architecture_names().map(Into::into).collect(),
    },
    FilterField { name: "processor-info.supported-features", values: |t, _| texts(t.processor_features) },
    FilterField {
        name: "processor-info.sustained-clock-speed-in-ghz",
        values: |t, _| maybe(t.clock_ghz.map(|ghz| ghz.to_string())),
    },
    FilterField { name: "reboot-migration-support", values: |t, _| one(supported(t.reboot_migration)) },
    FilterField { name: "supported-boot-mode", values: |t, _| texts(t.boot_modes) },
    FilterField { name: "supported-root-device-type", values: |t, _| texts(t.root_devices()) },
    FilterField { name: "supported-usage-class", values: |t, _| texts(t.usage_classes()) },
    FilterField { name: "supported-virtualization-type", values: |t, _| texts(t.virtualization()) },
    FilterField { name: "vcpu-info.default-cores", values: |t, _| shown(t.cores) },
    FilterField { name: "vcpu-info.default-threads-per-core", values: |t, _| shown(t.threads_per_core) },
    FilterField { name: "vcpu-info.default-vcpus", values: |t, _| shown(t.vcpus) },
    FilterField { name: "vcpu-info.valid-cores", values: |t, _| numbers(t.valid_cores) },
    FilterField {
        name: "vcpu-info.valid-threads-per-core",
        values: |t, _| numbers(t.valid_threads_per_core),
    },
];

pub(super) fn required(is: bool) -> &'static str {
    if is { "required" } else { "unsupported" }
}

pub(super) fn supported(is: bool) -> &'static str {
    if is { "supported" } else { "unsupported" }
}

pub(super) fn ebs_optimized(kind: &InstanceType) -> &'static str {
    if kind.ebs.is_some() { "default" } else { "unsupported" }
}

pub(super) fn attachment_limit(kind: &InstanceType) -> &'static str {
    if kind.dedicated_volume_limit { "dedicated" } else { "shared" }
}

fn ebs<'a, T: Display>(kind: &InstanceType, value: fn(&EbsRates) -> T) -> Values<'a> {
    maybe(kind.ebs.map(|rates| value(&rates).to_string()))
}

fn store<'a, T: Display>(kind: &InstanceType, value: fn(InstanceStore) -> T) -> Values<'a> {
    maybe(kind.instance_store.map(|store| value(store).to_string()))
}

fn texts<'a>(values: &'static [&'static str]) -> Values<'a> {
    values.iter().map(|value| (*value).into()).collect()
}

fn numbers<'a>(values: &[u32]) -> Values<'a> {
    values.iter().map(|value| value.to_string().into()).collect()
}
