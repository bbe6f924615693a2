//! The catalogue: the committed table of facts, read once, when somebody first asks.
//!
//! `catalogue.tsv` is made by `tools/instance-types/reduce.py`, which also says how it is written: a line a type, an empty
//! cell repeats the line above. Lists stay text and are read where they are asked for, so that the whole catalogue takes
//! about half a megabyte.

use super::{EbsRates, Flag, InstanceStore, InstanceType, Numbers, Words};
use model::MiB;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::LazyLock;

const TABLE: &str = include_str!("catalogue.tsv");
const COLUMNS: usize = 35;

pub(super) static CATALOGUE: LazyLock<Vec<InstanceType>> = LazyLock::new(|| {
    let mut above = [""; COLUMNS];
    let lines = TABLE.lines().skip(1);
    lines
        .map(|line| {
            for (cell, given) in above.iter_mut().zip(line.split('\t')) {
                if !given.is_empty() {
                    *cell = given;
                }
            }
            parse(&above)
        })
        .collect()
});

fn parse(cells: &[&'static str; COLUMNS]) -> InstanceType {
    let [
        name,
        vcpus,
        threads_per_core,
        valid_cores,
        valid_threads_per_core,
        memory,
        architectures,
        manufacturer,
        clock_ghz,
        processor_features,
        hypervisor,
        flags,
        usage_classes,
        boot_modes,
        root_devices,
        virtualization,
        network_performance,
        max_interfaces,
        ipv4_per_interface,
        ena,
        efa_interfaces,
        tcp_timeout,
        network_cards,
        ebs_optimized,
        ebs,
        ebs_nvme,
        max_volumes,
        volume_limit,
        ebs_cards,
        instance_store,
        gpu,
        fpga,
        inference,
        media,
        neuron,
    ] = *cells;
    let vcpus = number(vcpus);
    let threads_per_core = number(threads_per_core);
    InstanceType {
        name,
        vcpus,
        cores: vcpus / threads_per_core,
        threads_per_core,
        valid_cores: Numbers(valid_cores),
        valid_threads_per_core: Numbers(valid_threads_per_core),
        memory: MiB(number(memory)),
        architecture_names: Words(architectures),
        manufacturer,
        clock_ghz: maybe(clock_ghz),
        processor_features: Words(processor_features),
        hypervisor: told(hypervisor),
        flags: Words(flags).iter().fold(0, |set, word| set | Flag::of(word).bit()),
        usage_classes: Words(usage_classes),
        boot_modes: Words(boot_modes),
        root_devices: Words(root_devices),
        virtualization: Words(virtualization),
        network_performance,
        max_interfaces: number(max_interfaces),
        ipv4_per_interface: number(ipv4_per_interface),
        ena,
        efa_interfaces: maybe(efa_interfaces),
        tcp_timeout: number(tcp_timeout),
        network_cards,
        ebs_optimized,
        ebs: told(ebs).map(|rates| {
            let [baseline_mbps, baseline_iops, maximum_mbps, maximum_iops] = parts(rates, '/');
            EbsRates {
                baseline_mbps: number(baseline_mbps),
                baseline_iops: number(baseline_iops),
                maximum_mbps: number(maximum_mbps),
                maximum_iops: number(maximum_iops),
            }
        }),
        ebs_nvme,
        max_volumes: number(max_volumes),
        volume_limit,
        ebs_cards: maybe(ebs_cards),
        instance_store: told(instance_store).map(|store| {
            let [disks, gb_each, kind, encryption, nvme] = parts(store, '|');
            InstanceStore { disks: number(disks), gb_each: number(gb_each), kind, encryption, nvme }
        }),
        accelerators: [gpu, fpga, inference, media, neuron],
    }
}

/// `-` is: none.
pub(super) fn told(cell: &'static str) -> Option<&'static str> {
    Some(cell).filter(|cell| *cell != "-")
}

pub(super) fn number<T: FromStr<Err: Debug>>(cell: &str) -> T {
    cell.parse().expect("the committed table has numbers where they belong; a test reads all of it")
}

pub(super) fn maybe<T: FromStr<Err: Debug>>(cell: &'static str) -> Option<T> {
    told(cell).map(number)
}

/// The parts of a cell; those that are missing are empty.
pub(super) fn parts<const N: usize>(cell: &'static str, by: char) -> [&'static str; N] {
    let mut parts = cell.split(by);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}
