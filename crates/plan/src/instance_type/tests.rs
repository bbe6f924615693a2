//! The whole table is read and held against what must be true of every type, and some well-known types against AWS's
//! published facts.

#![allow(clippy::float_cmp, reason = "the table's numbers are read, not computed")]

use super::*;

fn kind(name: &str) -> &'static InstanceType {
    get(name).unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

#[test]
fn every_type_is_found_by_its_name() {
    assert!(all().len() >= 1400);
    assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
    for kind in all() {
        assert_eq!(get(kind.name).map(|found| found.name), Some(kind.name));
    }
    assert!(get("t3").is_none());
    assert!(get("z9.huge").is_none());
}

#[test]
fn the_facts_of_a_type_fit_together() {
    for kind in all() {
        let name = kind.name;
        assert!(kind.vcpus >= 1 && kind.vcpus == kind.cores * kind.threads_per_core, "{name}");
        assert!(kind.memory.0 >= 512 && kind.max_interfaces >= 2, "{name}");
        assert!(kind.valid_cores.is_empty() || kind.valid_cores.contains(kind.cores), "{name}");
        assert_eq!(kind.valid_cores.is_empty(), kind.valid_threads_per_core.is_empty(), "{name}");
        assert!(kind.valid_cores.iter().all(|cores| cores <= kind.cores), "{name}");
        let cards: Vec<_> = kind.network_cards().collect();
        assert_eq!(cards.iter().map(|card| card.max_interfaces).sum::<u32>(), kind.max_interfaces, "{name}");
        assert!(
            cards.iter().all(|card| card.baseline_gbps > 0.0 && card.baseline_gbps <= card.peak_gbps),
            "{name}"
        );
        assert_eq!(kind.ebs.is_none(), kind.ebs_optimized == "unsupported", "{name}");
        assert_eq!(kind.has(Flag::BareMetal), kind.hypervisor.is_none(), "{name}");
        assert!(kind.usage_classes.contains("on-demand") && kind.root_devices.contains("ebs"), "{name}");
        assert!(!kind.architectures().is_empty() || kind.family().starts_with("mac"), "{name}");
        let inference = kind.accelerator(AcceleratorKind::Inference);
        let neuron = kind.accelerator(AcceleratorKind::Neuron);
        if let (Some(inference), Some(neuron)) = (inference, neuron) {
            assert_eq!((inference.count, inference.memory), (neuron.count, neuron.memory), "{name}");
        }
        for of in [AcceleratorKind::Gpu, AcceleratorKind::Fpga, AcceleratorKind::Media] {
            assert!(kind.accelerator(of).is_none_or(|device| device.memory.0 > 0), "{name}");
        }
    }
}

#[test]
fn well_known_types_have_their_published_sizes() {
    for (name, vcpus, mib, interfaces, addresses, network) in [
        ("t2.micro", 1, 1024, 2, 2, "Low to Moderate"),
        ("t3.nano", 2, 512, 2, 2, "Up to 5 Gigabit"),
        ("t3.medium", 2, 4096, 3, 6, "Up to 5 Gigabit"),
        ("t4g.2xlarge", 8, 32768, 4, 15, "Up to 5 Gigabit"),
        ("m1.small", 1, 1740, 2, 4, "Low"),
        ("m5.24xlarge", 96, 393_216, 15, 50, "25 Gigabit"),
        ("m7i.large", 2, 8192, 3, 10, "Up to 12.5 Gigabit"),
        ("c5n.18xlarge", 72, 196_608, 15, 50, "100 Gigabit"),
        ("c8g.medium", 1, 2048, 2, 4, "Up to 12.5 Gigabit"),
        ("r6i.large", 2, 16384, 3, 10, "Up to 12.5 Gigabit"),
        ("x2iedn.32xlarge", 128, 4_194_304, 15, 50, "100 Gigabit"),
        ("i3en.24xlarge", 96, 786_432, 15, 50, "100 Gigabit"),
        ("g4dn.xlarge", 4, 16384, 3, 10, "Up to 25 Gigabit"),
        ("u7in-32tb.224xlarge", 896, 33_554_432, 16, 50, "200 Gigabit"),
        ("mac1.metal", 12, 32768, 8, 30, "25 Gigabit"),
        ("p3.2xlarge", 8, 62464, 4, 15, "Up to 10 Gigabit"),
    ] {
        let kind = kind(name);
        let facts = (kind.vcpus, kind.memory.0, kind.max_interfaces, kind.ipv4_per_interface);
        assert_eq!(facts, (vcpus, mib, interfaces, addresses), "{name}");
        assert_eq!(kind.network_performance, network, "{name}");
    }
}

#[test]
fn lists_are_read_as_they_were_written() {
    let numbers = |text| Numbers::new(text).iter().collect::<Vec<_>>();
    assert!(numbers("-").is_empty());
    assert_eq!(numbers("7"), [7]);
    assert_eq!(numbers("1-4,6-12/3,48"), [1, 2, 3, 4, 6, 9, 12, 48]);
    assert_eq!(kind("m5.4xlarge").valid_cores.iter().collect::<Vec<_>>(), [2, 4, 6, 8]);
    assert_eq!(kind("t2.micro").architecture_names.iter().collect::<Vec<_>>(), ["i386", "x86_64"]);
    assert_eq!(kind("t2.micro").valid_cores.iter().count(), 0);
}

#[test]
fn network_cards_are_told_one_by_one() {
    let cards: Vec<_> = kind("p5.48xlarge").network_cards().collect();
    assert_eq!(cards.len(), 32);
    assert!(cards.iter().all(|card| card.max_interfaces == 2 && card.performance == "100 Gigabit"));
    assert!((kind("p5.48xlarge").peak_gbps() - 3200.0).abs() < 0.1);
    assert_eq!(kind("p5.48xlarge").efa_interfaces, Some(32));
    let one: Vec<_> = kind("t3.micro").network_cards().collect();
    assert_eq!((one.len(), one[0].ena_queues, one[0].max_ena_queues), (1, 2, None));
}

#[test]
fn bandwidth_has_a_burst_where_the_peak_is_above_the_baseline() {
    let rate = |name| kind(name).bandwidth();
    let (base, burst) = (8_000_000, Some(HostBurst { rate: 625_000_000, seconds: 300 }));
    assert_eq!(rate("t3.micro"), Rate { base, burst });
    assert_eq!(rate("m5.24xlarge"), Rate { base: 3_125_000_000, burst: None });
    assert_eq!(rate("p5.48xlarge"), Rate { base: 400_000_000_000, burst: None }, "of all cards");
}

#[test]
fn throughput_to_ebs_keeps_its_half_bits() {
    let rates = kind("c6in.large").ebs.unwrap();
    assert_eq!((rates.baseline_mbps, rates.baseline_throughput()), (1562.5, 195.3125));
    assert_eq!(kind("t3.micro").ebs.unwrap().baseline_throughput(), 10.875);
    assert_eq!(kind("t2.micro").ebs, None);
}

#[test]
fn accelerators_are_told_with_their_memory() {
    let gpu = kind("p4d.24xlarge").accelerator(AcceleratorKind::Gpu).unwrap();
    assert_eq!((gpu.count, gpu.name, gpu.manufacturer), (8, "A100", Some("NVIDIA")));
    assert_eq!(gpu.total_memory(), MiB(8 * 40960));
    let part = kind("g6f.large").accelerator(AcceleratorKind::Gpu).unwrap();
    assert_eq!((part.count, part.total_memory(), part.gpu.unwrap().part), (0, MiB(2861), 0.125));
    let chip = kind("trn1.2xlarge").accelerator(AcceleratorKind::Neuron).unwrap();
    assert_eq!((chip.name, chip.neuron), ("Trainium", Some((2, 2))));
    assert_eq!(kind("vt1.24xlarge").accelerator(AcceleratorKind::Media).unwrap().name, "U30");
    for (name, needs) in
        [("p5.48xlarge", true), ("mac2.metal", true), ("f2.6xlarge", true), ("m5.metal", false)]
    {
        assert_eq!(kind(name).needs_hardware(), needs, "{name}");
    }
}

#[test]
fn graviton_types_are_arm_and_have_one_thread_a_core() {
    let arm: Vec<_> = all().iter().filter(|t| t.architectures() == [Architecture::Arm64]).collect();
    assert!(arm.len() > 400);
    assert!(
        arm.iter()
            .all(|t| t.threads_per_core == 1 && t.manufacturer == "AWS" && t.boot_modes.contains("uefi"))
    );
}

#[test]
fn burstable_types_earn_credits() {
    let baseline = |name| {
        let kind = kind(name);
        let burst = kind.burst().unwrap();
        (burst.credits_per_hour, burst.baseline_percent(kind.vcpus), kind.default_credits())
    };
    assert_eq!(baseline("t3.micro"), (12.0, 10.0, Some("unlimited")));
    assert_eq!(baseline("t4g.2xlarge"), (192.0, 40.0, Some("unlimited")));
    assert_eq!(baseline("t2.micro"), (6.0, 10.0, Some("standard")));
    assert_eq!(kind("t3.large").burst().unwrap().most_credits(), 864.0);
    assert_eq!(kind("m5.large").burst(), None);
    for kind in all().iter().filter(|kind| ["t2", "t3", "t3a", "t4g"].contains(&kind.family())) {
        assert!(kind.burst().is_some(), "{}", kind.name);
    }
}
