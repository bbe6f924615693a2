//! A type of the catalogue in the API's shapes.

use super::filters::supported;
use api_ec2::{
    DefaultConnectionTrackingConfiguration, DiskInfo, EbsCardInfo, EbsInfo, EbsOptimizedInfo, EfaInfo,
    FpgaDeviceInfo, FpgaDeviceMemoryInfo, FpgaInfo, GpuDeviceInfo, GpuDeviceMemoryInfo, GpuInfo,
    InferenceAcceleratorInfo, InferenceDeviceInfo, InferenceDeviceMemoryInfo, InstanceStorageInfo,
    InstanceTypeInfo, MediaAcceleratorInfo, MediaDeviceInfo, MediaDeviceMemoryInfo, MemoryInfo,
    NetworkCardInfo, NetworkInfo, NeuronDeviceCoreInfo, NeuronDeviceInfo, NeuronDeviceMemoryInfo, NeuronInfo,
    NitroTpmInfo, PlacementGroupInfo, ProcessorInfo, VCpuInfo,
};
use plan::instance_type::{
    Accelerator, AcceleratorKind, EbsRates, Flag, InstanceStore, InstanceType, NetworkCard, Numbers, Words,
};

pub(super) fn info(kind: &InstanceType) -> InstanceTypeInfo {
    let told = |flag| Some(kind.has(flag));
    let accelerator = |of| kind.accelerator(of);
    InstanceTypeInfo {
        instance_type: Some(kind.name.into()),
        auto_recovery_supported: told(Flag::AutoRecovery),
        bare_metal: told(Flag::BareMetal),
        burstable_performance_supported: told(Flag::Burstable),
        current_generation: told(Flag::CurrentGeneration),
        dedicated_hosts_supported: told(Flag::DedicatedHosts),
        ebs_info: Some(ebs(kind)),
        fpga_info: accelerator(AcceleratorKind::Fpga).map(fpga),
        free_tier_eligible: told(Flag::FreeTier),
        gpu_info: accelerator(AcceleratorKind::Gpu).map(gpu),
        hibernation_supported: told(Flag::Hibernation),
        hypervisor: kind.hypervisor.map(Into::into),
        inference_accelerator_info: accelerator(AcceleratorKind::Inference).map(inference),
        instance_storage_info: kind.instance_store.map(storage),
        instance_storage_supported: Some(kind.instance_store.is_some()),
        media_accelerator_info: accelerator(AcceleratorKind::Media).map(media),
        memory_info: Some(MemoryInfo { size_in_mib: Some(i64::from(kind.memory.0)) }),
        network_info: Some(network(kind)),
        neuron_info: accelerator(AcceleratorKind::Neuron).map(neuron),
        nitro_enclaves_support: Some(supported(kind.has(Flag::Enclaves)).into()),
        nitro_tpm_info: kind
            .has(Flag::NitroTpm)
            .then(|| NitroTpmInfo { supported_versions: Some(vec!["2.0".into()]) }),
        nitro_tpm_support: Some(supported(kind.has(Flag::NitroTpm)).into()),
        phc_support: Some(supported(kind.has(Flag::PreciseClock)).into()),
        placement_group_info: Some(PlacementGroupInfo {
            supported_strategies: Some(each(kind.placement_strategies().iter().copied())),
        }),
        processor_info: Some(ProcessorInfo {
            manufacturer: Some(kind.manufacturer.into()),
            supported_architectures: Some(words(kind.architecture_names)),
            supported_features: Some(words(kind.processor_features)).filter(|list: &Vec<_>| !list.is_empty()),
            sustained_clock_speed_in_ghz: kind.clock_ghz,
        }),
        reboot_migration_support: Some(supported(kind.has(Flag::RebootMigration)).into()),
        supported_boot_modes: Some(words(kind.boot_modes)),
        supported_in_region: Some(true),
        supported_root_device_types: Some(words(kind.root_devices)),
        supported_usage_classes: Some(words(kind.usage_classes)),
        supported_virtualization_types: Some(words(kind.virtualization)),
        vcpu_info: Some(vcpus(kind)),
    }
}

/// How a type's bandwidth can be shared between network and EBS.
pub(super) fn bandwidth_weightings(kind: &InstanceType) -> &'static [&'static str] {
    if kind.has(Flag::BandwidthWeightings) { &["default", "ebs-1", "vpc-1"] } else { &[] }
}

fn vcpus(kind: &InstanceType) -> VCpuInfo {
    let list = |values: Numbers| (!values.is_empty()).then(|| values.iter().map(|v| v as i32).collect());
    VCpuInfo {
        default_vcpus: int(kind.vcpus),
        default_cores: int(kind.cores),
        default_threads_per_core: int(kind.threads_per_core),
        valid_cores: list(kind.valid_cores),
        valid_threads_per_core: list(kind.valid_threads_per_core),
    }
}

fn ebs(kind: &InstanceType) -> EbsInfo {
    let cards = kind.ebs_cards.zip(kind.ebs);
    EbsInfo {
        attachment_limit_type: Some(kind.volume_limit.into()),
        ebs_cards: cards.map(|(count, rates)| (0..count).map(|at| ebs_card(at, count, &rates)).collect()),
        ebs_optimized_info: kind.ebs.as_ref().map(ebs_rates),
        ebs_optimized_support: Some(kind.ebs_optimized.into()),
        encryption_support: Some("supported".into()),
        maximum_ebs_attachments: int(kind.max_volumes),
        maximum_ebs_cards: kind.ebs_cards.and_then(int),
        nvme_support: Some(kind.ebs_nvme.into()),
    }
}

fn ebs_rates(rates: &EbsRates) -> EbsOptimizedInfo {
    EbsOptimizedInfo {
        baseline_bandwidth_in_mbps: Some(rates.baseline_mbps as i32),
        baseline_iops: int(rates.baseline_iops),
        baseline_throughput_in_mbps: Some(rates.baseline_throughput()),
        maximum_bandwidth_in_mbps: Some(rates.maximum_mbps as i32),
        maximum_iops: int(rates.maximum_iops),
        maximum_throughput_in_mbps: Some(rates.maximum_throughput()),
    }
}

/// The cards carry the same.
fn ebs_card(at: u32, count: u32, rates: &EbsRates) -> EbsCardInfo {
    let part = f64::from(count);
    EbsCardInfo {
        ebs_card_index: int(at),
        baseline_bandwidth_in_mbps: Some((rates.baseline_mbps / part) as i32),
        baseline_throughput_in_mbps: Some(rates.baseline_throughput() / part),
        baseline_iops: int(rates.baseline_iops / count),
        maximum_bandwidth_in_mbps: Some((rates.maximum_mbps / part) as i32),
        maximum_throughput_in_mbps: Some(rates.maximum_throughput() / part),
        maximum_iops: int(rates.maximum_iops / count),
    }
}

fn storage(store: InstanceStore) -> InstanceStorageInfo {
    InstanceStorageInfo {
        disks: Some(vec![DiskInfo {
            count: int(store.disks),
            size_in_gb: Some(i64::from(store.gb_each)),
            r#type: Some(store.kind.into()),
        }]),
        encryption_support: Some(store.encryption.into()),
        nvme_support: Some(store.nvme.into()),
        total_size_in_gb: Some(i64::from(store.total_gb())),
    }
}

fn network(kind: &InstanceType) -> NetworkInfo {
    let cards: Vec<_> = kind.network_cards().enumerate().map(|(at, one)| card(at as u32, &one)).collect();
    let weightings = bandwidth_weightings(kind);
    NetworkInfo {
        network_performance: Some(kind.network_performance.into()),
        maximum_network_interfaces: int(kind.max_interfaces),
        maximum_network_cards: int(cards.len() as u32),
        default_network_card_index: Some(0),
        network_cards: Some(cards),
        ipv4_addresses_per_interface: int(kind.ipv4_per_interface),
        ipv6_addresses_per_interface: int(kind.ipv6_per_interface()),
        ipv6_supported: Some(kind.has(Flag::Ipv6)),
        ena_support: Some(kind.ena.into()),
        efa_supported: Some(kind.efa_interfaces.is_some()),
        efa_info: kind.efa_interfaces.map(|most| EfaInfo { maximum_efa_interfaces: int(most) }),
        encryption_in_transit_supported: Some(kind.has(Flag::EncryptionInTransit)),
        ena_srd_supported: Some(kind.has(Flag::EnaSrd)),
        bandwidth_weightings: (!weightings.is_empty()).then(|| each(weightings.iter().copied())),
        flexible_ena_queues_support: Some(supported(kind.has(Flag::FlexibleEnaQueues)).into()),
        connection_tracking_configuration: Some(DefaultConnectionTrackingConfiguration {
            default_tcp_established_timeout: int(kind.tcp_timeout),
            default_udp_stream_timeout: Some(180),
            default_udp_timeout: Some(30),
        }),
        secondary_network_supported: Some(false),
        maximum_secondary_network_interfaces: None,
        ipv4_addresses_per_secondary_interface: kind.has(Flag::SecondaryInterfaces).then_some(0),
    }
}

fn card(at: u32, card: &NetworkCard) -> NetworkCardInfo {
    NetworkCardInfo {
        network_card_index: int(at),
        network_performance: Some(card.performance.into()),
        maximum_network_interfaces: int(card.max_interfaces),
        additional_flexible_network_interfaces: card.flexible_interfaces.and_then(int),
        baseline_bandwidth_in_gbps: Some(card.baseline_gbps),
        peak_bandwidth_in_gbps: Some(card.peak_gbps),
        default_ena_queue_count_per_interface: int(card.ena_queues),
        maximum_ena_queue_count: card.max_ena_queues.and_then(int),
        maximum_ena_queue_count_per_interface: card.max_ena_queues_per_interface.and_then(int),
    }
}

fn gpu(device: Accelerator) -> GpuInfo {
    GpuInfo {
        total_gpu_memory_in_mib: int(device.total_memory().0),
        gpus: Some(vec![GpuDeviceInfo {
            name: Some(device.name.into()),
            manufacturer: device.manufacturer.map(Into::into),
            count: int(device.count),
            logical_gpu_count: device.gpu.and_then(|share| int(share.logical)),
            gpu_partition_size: device.gpu.map(|share| share.part),
            workloads: device.gpu.map(|share| each(share.workloads.split('+'))),
            memory_info: Some(GpuDeviceMemoryInfo { size_in_mib: int(device.memory.0) }),
        }]),
    }
}

fn fpga(device: Accelerator) -> FpgaInfo {
    FpgaInfo {
        total_fpga_memory_in_mib: int(device.total_memory().0),
        fpgas: Some(vec![FpgaDeviceInfo {
            name: Some(device.name.into()),
            manufacturer: device.manufacturer.map(Into::into),
            count: int(device.count),
            memory_info: Some(FpgaDeviceMemoryInfo { size_in_mib: int(device.memory.0) }),
        }]),
    }
}

fn inference(device: Accelerator) -> InferenceAcceleratorInfo {
    InferenceAcceleratorInfo {
        total_inference_memory_in_mib: int(device.total_memory().0),
        accelerators: Some(vec![InferenceDeviceInfo {
            name: Some(device.name.into()),
            manufacturer: device.manufacturer.map(Into::into),
            count: int(device.count),
            memory_info: Some(InferenceDeviceMemoryInfo { size_in_mib: int(device.memory.0) }),
        }]),
    }
}

fn media(device: Accelerator) -> MediaAcceleratorInfo {
    MediaAcceleratorInfo {
        total_media_memory_in_mib: int(device.total_memory().0),
        accelerators: Some(vec![MediaDeviceInfo {
            name: Some(device.name.into()),
            manufacturer: device.manufacturer.map(Into::into),
            count: int(device.count),
            memory_info: Some(MediaDeviceMemoryInfo { size_in_mib: int(device.memory.0) }),
        }]),
    }
}

fn neuron(device: Accelerator) -> NeuronInfo {
    NeuronInfo {
        total_neuron_device_memory_in_mib: int(device.total_memory().0),
        neuron_devices: Some(vec![NeuronDeviceInfo {
            name: Some(device.name.into()),
            count: int(device.count),
            core_info: device
                .neuron
                .map(|(count, version)| NeuronDeviceCoreInfo { count: int(count), version: int(version) }),
            memory_info: Some(NeuronDeviceMemoryInfo { size_in_mib: int(device.memory.0) }),
        }]),
    }
}

fn int(value: u32) -> Option<i32> {
    i32::try_from(value).ok()
}

fn words<T: From<&'static str>>(values: Words) -> Vec<T> {
    each(values.iter())
}

fn each<T: From<&'static str>>(values: impl Iterator<Item = &'static str>) -> Vec<T> {
    values.map(Into::into).collect()
}
