//! The catalogue: one constant a family, one line a size, in the order of the names.
//!
//! The numbers are what EC2's `DescribeInstanceTypes` answered in us-east-1 in 2026.

use super::{Hypervisor, InstanceStore, InstanceType};
use model::MiB;
use model::host::Architecture;

const X86_64: &[Architecture] = &[Architecture::X86_64];
const ARM64: &[Architecture] = &[Architecture::Arm64];

/// What most families of today have in common.
const BASE: InstanceType = InstanceType {
    name: "",
    vcpus: 0,
    cores: 0,
    threads_per_core: 2,
    valid_cores: &[],
    valid_threads_per_core: &[1, 2],
    memory: MiB(0),
    architectures: X86_64,
    runs_i386: false,
    manufacturer: "Intel",
    clock_ghz: None,
    processor_features: &[],
    hypervisor: Hypervisor::Nitro,
    burstable: false,
    current_generation: true,
    free_tier: false,
    spot: true,
    hibernation: true,
    auto_recovery: true,
    dedicated_hosts: true,
    reboot_migration: true,
    enclaves: false,
    precise_clock: false,
    cluster_placement: true,
    boot_modes: &["legacy-bios", "uefi"],
    network_performance: "",
    baseline_gbps: 0.0,
    peak_gbps: 0.0,
    encryption_in_transit: false,
    max_interfaces: 0,
    ipv4_per_interface: 0,
    ena_queues: 1,
    flexible_ena_queues: None,
    max_volumes: 27,
    dedicated_volume_limit: false,
    ebs: None,
    instance_store: None,
};

const T2: InstanceType = InstanceType {
    threads_per_core: 1,
    valid_threads_per_core: &[],
    clock_ghz: Some(2.3),
    hypervisor: Hypervisor::Xen,
    burstable: true,
    dedicated_hosts: false,
    cluster_placement: false,
    boot_modes: &["legacy-bios"],
    network_performance: "Moderate",
    peak_gbps: 1.024,
    max_volumes: 40,
    ..BASE
};

const T3: InstanceType = InstanceType {
    clock_ghz: Some(2.5),
    burstable: true,
    cluster_placement: false,
    network_performance: "Up to 5 Gigabit",
    peak_gbps: 5.0,
    ..BASE
};

const T3A: InstanceType = InstanceType {
    manufacturer: "AMD",
    clock_ghz: Some(2.2),
    burstable: true,
    dedicated_hosts: false,
    cluster_placement: false,
    network_performance: "Up to 5 Gigabit",
    peak_gbps: 5.0,
    ..BASE
};

const T4G: InstanceType = InstanceType {
    threads_per_core: 1,
    valid_threads_per_core: &[1],
    architectures: ARM64,
    manufacturer: "AWS",
    clock_ghz: Some(2.5),
    burstable: true,
    dedicated_hosts: false,
    cluster_placement: false,
    boot_modes: &["uefi"],
    network_performance: "Up to 5 Gigabit",
    peak_gbps: 5.0,
    ..BASE
};

const M5: InstanceType = InstanceType {
    clock_ghz: Some(3.1),
    current_generation: false,
    network_performance: "Up to 10 Gigabit",
    peak_gbps: 10.0,
    ..BASE
};

const M6I: InstanceType = InstanceType {
    clock_ghz: Some(3.5),
    current_generation: false,
    encryption_in_transit: true,
    network_performance: "Up to 12.5 Gigabit",
    peak_gbps: 12.5,
    ..BASE
};

const M7I: InstanceType = InstanceType {
    clock_ghz: Some(3.2),
    processor_features: &["nested-virtualization", "metal-compatibility"],
    precise_clock: true,
    encryption_in_transit: true,
    network_performance: "Up to 12.5 Gigabit",
    peak_gbps: 12.5,
    max_volumes: 32,
    dedicated_volume_limit: true,
    ..BASE
};

const C5: InstanceType = InstanceType {
    clock_ghz: Some(3.4),
    current_generation: false,
    network_performance: "Up to 10 Gigabit",
    peak_gbps: 10.0,
    ..BASE
};

const C6I: InstanceType = InstanceType {
    clock_ghz: Some(3.5),
    encryption_in_transit: true,
    network_performance: "Up to 12.5 Gigabit",
    peak_gbps: 12.5,
    ..BASE
};

const R5: InstanceType = InstanceType {
    clock_ghz: Some(3.1),
    current_generation: false,
    network_performance: "Up to 10 Gigabit",
    peak_gbps: 10.0,
    ..BASE
};

const R6I: InstanceType = InstanceType {
    clock_ghz: Some(3.5),
    current_generation: false,
    hibernation: false,
    encryption_in_transit: true,
    network_performance: "Up to 12.5 Gigabit",
    peak_gbps: 12.5,
    ..BASE
};

const M6G: InstanceType = InstanceType {
    threads_per_core: 1,
    valid_threads_per_core: &[1],
    architectures: ARM64,
    manufacturer: "AWS",
    clock_ghz: Some(2.5),
    boot_modes: &["uefi"],
    network_performance: "Up to 10 Gigabit",
    peak_gbps: 10.0,
    ..BASE
};

const C6G: InstanceType = InstanceType {
    threads_per_core: 1,
    valid_threads_per_core: &[1],
    architectures: ARM64,
    manufacturer: "AWS",
    clock_ghz: Some(2.5),
    boot_modes: &["uefi"],
    network_performance: "Up to 10 Gigabit",
    peak_gbps: 10.0,
    ..BASE
};

const M1: InstanceType = InstanceType {
    threads_per_core: 1,
    valid_threads_per_core: &[],
    clock_ghz: None,
    hypervisor: Hypervisor::Xen,
    current_generation: false,
    hibernation: false,
    auto_recovery: false,
    dedicated_hosts: false,
    reboot_migration: false,
    cluster_placement: false,
    boot_modes: &["legacy-bios"],
    network_performance: "Low",
    peak_gbps: 1.2,
    max_volumes: 39,
    ..BASE
};

/// The local disk of the one type of old that has one.
const INSTANCE_STORE: InstanceStore = InstanceStore { disks: 1, gb_each: 160, kind: "hdd" };

#[rustfmt::skip] // A line is a type.
pub(super) static CATALOGUE: [InstanceType; 65] = [
    C5.size("c5.2xlarge", 8, 16384).cores(&[2, 4]).interfaces(4, 15).baseline(2.5).queues(8).ebs(2300, 10000, 4750, 20000).enclaves(),
    C5.size("c5.4xlarge", 16, 32768).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(5.0).queues(8).ebs(4750, 20000, 4750, 20000).enclaves(),
    C5.size("c5.large", 2, 4096).cores(&[1]).interfaces(3, 10).baseline(0.75).queues(8).ebs(650, 4000, 4750, 20000),
    C5.size("c5.xlarge", 4, 8192).cores(&[2]).interfaces(4, 15).baseline(1.25).queues(8).ebs(1150, 6000, 4750, 20000).enclaves(),
    C6G.size("c6g.2xlarge", 8, 16384).cores(&[1, 2, 3, 4, 5, 6, 7, 8]).interfaces(4, 15).baseline(2.5).queues(8).ebs(2375, 12000, 4750, 20000).enclaves(),
    C6G.size("c6g.large", 2, 4096).cores(&[1, 2]).interfaces(3, 10).baseline(0.75).queues(8).ebs(630, 3600, 4750, 20000).enclaves(),
    C6G.size("c6g.medium", 1, 2048).interfaces(2, 4).baseline(0.5).queues(8).ebs(315, 2500, 4750, 20000).valid_threads(&[]),
    C6G.size("c6g.xlarge", 4, 8192).cores(&[1, 2, 3, 4]).interfaces(4, 15).baseline(1.25).queues(8).ebs(1188, 6000, 4750, 20000).enclaves(),
    C6I.size("c6i.2xlarge", 8, 16384).cores(&[2, 4]).interfaces(4, 15).baseline(3.125).queues(8).ebs(2500, 12000, 10000, 40000).flexible_queues(32, 8).enclaves(),
    C6I.size("c6i.4xlarge", 16, 32768).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(6.25).queues(8).ebs(5000, 20000, 10000, 40000).flexible_queues(64, 16).enclaves(),
    C6I.size("c6i.large", 2, 4096).cores(&[1]).interfaces(3, 10).baseline(0.781).queues(2).ebs(650, 3600, 10000, 40000).flexible_queues(6, 2),
    C6I.size("c6i.xlarge", 4, 8192).cores(&[1, 2]).interfaces(4, 15).baseline(1.562).queues(4).ebs(1250, 6000, 10000, 40000).flexible_queues(16, 4).enclaves(),
    M1.size("m1.small", 1, 1740).interfaces(2, 4).baseline(0.3).i386().instance_store(INSTANCE_STORE),
    M5.size("m5.2xlarge", 8, 32768).cores(&[2, 4]).interfaces(4, 15).baseline(2.5).queues(8).ebs(2300, 12000, 4750, 18750).enclaves(),
    M5.size("m5.4xlarge", 16, 65536).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(5.0).queues(8).ebs(4750, 18750, 4750, 18750).enclaves(),
    M5.size("m5.large", 2, 8192).cores(&[1]).interfaces(3, 10).baseline(0.75).queues(8).ebs(650, 3600, 4750, 18750),
    M5.size("m5.xlarge", 4, 16384).cores(&[2]).interfaces(4, 15).baseline(1.25).queues(8).ebs(1150, 6000, 4750, 18750).enclaves(),
    M6G.size("m6g.2xlarge", 8, 32768).cores(&[1, 2, 3, 4, 5, 6, 7, 8]).interfaces(4, 15).baseline(2.5).queues(8).ebs(2375, 12000, 4750, 20000).enclaves(),
    M6G.size("m6g.large", 2, 8192).cores(&[1, 2]).interfaces(3, 10).baseline(0.75).queues(8).ebs(630, 3600, 4750, 20000).enclaves(),
    M6G.size("m6g.medium", 1, 4096).interfaces(2, 4).baseline(0.5).queues(8).ebs(315, 2500, 4750, 20000).valid_threads(&[]),
    M6G.size("m6g.xlarge", 4, 16384).cores(&[1, 2, 3, 4]).interfaces(4, 15).baseline(1.25).queues(8).ebs(1188, 6000, 4750, 20000).enclaves(),
    M6I.size("m6i.2xlarge", 8, 32768).cores(&[2, 4]).interfaces(4, 15).baseline(3.125).queues(8).ebs(2500, 12000, 10000, 40000).flexible_queues(32, 8).enclaves(),
    M6I.size("m6i.4xlarge", 16, 65536).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(6.25).queues(8).ebs(5000, 20000, 10000, 40000).flexible_queues(64, 16).enclaves(),
    M6I.size("m6i.large", 2, 8192).cores(&[1]).interfaces(3, 10).baseline(0.781).queues(2).ebs(650, 3600, 10000, 40000).flexible_queues(6, 2),
    M6I.size("m6i.xlarge", 4, 16384).cores(&[1, 2]).interfaces(4, 15).baseline(1.562).queues(4).ebs(1250, 6000, 10000, 40000).flexible_queues(16, 4).enclaves(),
    M7I.size("m7i.2xlarge", 8, 32768).cores(&[1, 2, 3, 4]).interfaces(4, 15).baseline(3.125).queues(8).ebs(2500, 12000, 10000, 40000).enclaves(),
    M7I.size("m7i.4xlarge", 16, 65536).cores(&[1, 2, 3, 4, 5, 6, 7, 8]).interfaces(8, 30).baseline(6.25).queues(8).ebs(5000, 20000, 10000, 40000).enclaves(),
    M7I.size("m7i.large", 2, 8192).cores(&[1]).interfaces(3, 10).baseline(0.781).queues(2).ebs(650, 3600, 10000, 40000),
    M7I.size("m7i.xlarge", 4, 16384).cores(&[1, 2]).interfaces(4, 15).baseline(1.562).queues(4).ebs(1250, 6000, 10000, 40000).enclaves(),
    R5.size("r5.2xlarge", 8, 65536).cores(&[2, 4]).interfaces(4, 15).baseline(2.5).queues(8).ebs(2300, 12000, 4750, 18750).enclaves(),
    R5.size("r5.4xlarge", 16, 131_072).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(5.0).queues(8).ebs(4750, 18750, 4750, 18750).enclaves(),
    R5.size("r5.large", 2, 16384).cores(&[1]).interfaces(3, 10).baseline(0.75).queues(8).ebs(650, 3600, 4750, 18750),
    R5.size("r5.xlarge", 4, 32768).cores(&[2]).interfaces(4, 15).baseline(1.25).queues(8).ebs(1150, 6000, 4750, 18750).enclaves(),
    R6I.size("r6i.2xlarge", 8, 65536).cores(&[2, 4]).interfaces(4, 15).baseline(3.125).queues(8).ebs(2500, 12000, 10000, 40000).flexible_queues(32, 8).enclaves(),
    R6I.size("r6i.4xlarge", 16, 131_072).cores(&[2, 4, 6, 8]).interfaces(8, 30).baseline(6.25).queues(8).ebs(5000, 20000, 10000, 40000).flexible_queues(64, 16).enclaves(),
    R6I.size("r6i.large", 2, 16384).cores(&[1]).interfaces(3, 10).baseline(0.781).queues(2).ebs(650, 3600, 10000, 40000).flexible_queues(6, 2),
    R6I.size("r6i.xlarge", 4, 32768).cores(&[1, 2]).interfaces(4, 15).baseline(1.562).queues(4).ebs(1250, 6000, 10000, 40000).flexible_queues(16, 4).enclaves(),
    T2.size("t2.2xlarge", 8, 32768).interfaces(3, 15).baseline(1.0),
    T2.size("t2.large", 2, 8192).interfaces(3, 12).baseline(0.512).network("Low to Moderate", 1.024),
    T2.size("t2.medium", 2, 4096).interfaces(3, 6).baseline(0.256).i386().network("Low to Moderate", 1.024),
    T2.size("t2.micro", 1, 1024).interfaces(2, 2).baseline(0.064).i386().clock(2.5).network("Low to Moderate", 1.024),
    T2.size("t2.nano", 1, 512).interfaces(2, 2).baseline(0.032).i386().no_spot().clock(2.4).network("Low to Moderate", 0.512),
    T2.size("t2.small", 1, 2048).interfaces(3, 4).baseline(0.128).i386().clock(2.5).network("Low to Moderate", 1.024),
    T2.size("t2.xlarge", 4, 16384).interfaces(3, 15).baseline(0.75),
    T3.size("t3.2xlarge", 8, 32768).cores(&[2, 4]).interfaces(4, 15).baseline(2.048).queues(8).ebs(695, 4000, 2780, 15700),
    T3.size("t3.large", 2, 8192).cores(&[1]).interfaces(3, 12).baseline(0.512).queues(2).ebs(695, 4000, 2780, 15700),
    T3.size("t3.medium", 2, 4096).cores(&[1]).interfaces(3, 6).baseline(0.256).queues(2).ebs(347, 2000, 2085, 11800),
    T3.size("t3.micro", 2, 1024).cores(&[1]).interfaces(2, 2).baseline(0.064).queues(2).ebs(87, 500, 2085, 11800).free_tier(),
    T3.size("t3.nano", 2, 512).cores(&[1]).interfaces(2, 2).baseline(0.032).queues(2).ebs(43, 250, 2085, 11800),
    T3.size("t3.small", 2, 2048).cores(&[1]).interfaces(3, 4).baseline(0.128).queues(2).ebs(174, 1000, 2085, 11800).free_tier(),
    T3.size("t3.xlarge", 4, 16384).cores(&[2]).interfaces(4, 15).baseline(1.024).queues(4).ebs(695, 4000, 2780, 15700),
    T3A.size("t3a.2xlarge", 8, 32768).cores(&[2, 4]).interfaces(4, 15).baseline(2.048).queues(8).ebs(695, 4000, 2780, 15700),
    T3A.size("t3a.large", 2, 8192).cores(&[1]).interfaces(3, 12).baseline(0.512).queues(8).ebs(695, 4000, 2780, 15700),
    T3A.size("t3a.medium", 2, 4096).cores(&[1]).interfaces(3, 6).baseline(0.256).queues(8).ebs(350, 2000, 2085, 11800),
    T3A.size("t3a.micro", 2, 1024).cores(&[1]).interfaces(2, 2).baseline(0.064).queues(8).ebs(90, 500, 2085, 11800),
    T3A.size("t3a.nano", 2, 512).cores(&[1]).interfaces(2, 2).baseline(0.032).queues(8).ebs(45, 250, 2085, 11800),
    T3A.size("t3a.small", 2, 2048).cores(&[1]).interfaces(2, 4).baseline(0.128).queues(8).ebs(175, 1000, 2085, 11800),
    T3A.size("t3a.xlarge", 4, 16384).cores(&[2]).interfaces(4, 15).baseline(1.024).queues(8).ebs(695, 4000, 2780, 15700),
    T4G.size("t4g.2xlarge", 8, 32768).cores(&[1, 2, 3, 4, 5, 6, 7, 8]).interfaces(4, 15).baseline(2.048).queues(8).ebs(695, 4000, 2780, 15700),
    T4G.size("t4g.large", 2, 8192).cores(&[1, 2]).interfaces(3, 12).baseline(0.512).queues(2).ebs(695, 4000, 2780, 15700),
    T4G.size("t4g.medium", 2, 4096).cores(&[1, 2]).interfaces(3, 6).baseline(0.256).queues(2).ebs(347, 2000, 2085, 11800),
    T4G.size("t4g.micro", 2, 1024).cores(&[1, 2]).interfaces(2, 2).baseline(0.064).queues(2).ebs(87, 500, 2085, 11800).free_tier(),
    T4G.size("t4g.nano", 2, 512).cores(&[1, 2]).interfaces(2, 2).baseline(0.032).queues(2).ebs(43, 250, 2085, 11800),
    T4G.size("t4g.small", 2, 2048).cores(&[1, 2]).interfaces(3, 4).baseline(0.128).queues(2).ebs(174, 1000, 2085, 11800).free_tier(),
    T4G.size("t4g.xlarge", 4, 16384).cores(&[1, 2, 3, 4]).interfaces(4, 15).baseline(1.024).queues(4).ebs(695, 4000, 2780, 15700),
];
