//! A type of the catalogue in the API's shapes.

use super::filters::{attachment_limit, ebs_optimized, required, supported};
use api_ec2::{
    DefaultConnectionTrackingConfiguration, DiskInfo, EbsInfo, EbsOptimizedInfo, InstanceStorageInfo,
    InstanceTypeInfo, MemoryInfo, NetworkCardInfo, NetworkInfo, NitroTpmInfo, PlacementGroupInfo,
    ProcessorInfo, VCpuInfo,
};
use plan::instance_type::{EbsRates, InstanceStore, InstanceType};

pub(super) fn info(kind: &InstanceType) -> InstanceTypeInfo {
    InstanceTypeInfo {
        instance_type: Some(kind.name.into()),
        auto_recovery_supported: Some(kind.auto_recovery),
        bare_metal: Some(false),
        burstable_performance_supported: Some(kind.burstable),
        current_generation: Some(kind.current_generation),
        dedicated_hosts_supported: Some(kind.dedicated_hosts),
        ebs_info: Some(ebs(kind)),
        free_tier_eligible: Some(kind.free_tier),
        hibernation_supported: Some(kind.hibernation),
        hypervisor: Some(kind.hypervisor.as_str().into()),
        instance_storage_info: kind.instance_store.map(storage),
        instance_storage_supported: Some(kind.instance_store.is_some()),
        memory_info: Some(MemoryInfo { size_in_mib: Some(i64::from(kind.memory.0)) }),
        network_info: Some(network(kind)),
        nitro_enclaves_support: Some(supported(kind.enclaves).into()),
        nitro_tpm_info: kind
            .is_nitro()
            .then(|| NitroTpmInfo { supported_versions: Some(vec!["2.0".into()]) }),
        nitro_tpm_support: Some(supported(kind.is_nitro()).into()),
        phc_support: Some(supported(kind.precise_clock).into()),
        placement_group_info: Some(PlacementGroupInfo {
            supported_strategies: Some(each(kind.placement_strategies())),
        }),
        processor_info: Some(ProcessorInfo {
            manufacturer: Some(kind.manufacturer.into()),
            supported_architectures: Some(kind.architecture_names().map(Into::into).collect()),
            supported_features: (!kind.processor_features.is_empty()).then(|| each(kind.processor_features)),
            sustained_clock_speed_in_ghz: kind.clock_ghz,
        }),
        reboot_migration_support: Some(supported(kind.reboot_migration).into()),
        supported_boot_modes: Some(each(kind.boot_modes)),
        supported_in_region: Some(true),
        supported_root_device_types: Some(each(kind.root_devices())),
        supported_usage_classes: Some(each(kind.usage_classes())),
        supported_virtualization_types: Some(each(kind.virtualization())),
        vcpu_info: Some(vcpus(kind)),
        ..InstanceTypeInfo::default()
    }
}

fn vcpus(kind: &InstanceType) -> VCpuInfo {
    let list = |values: &[u32]| (!values.is_empty()).then(|| values.iter().map(|v| *v as i32).collect());
    VCpuInfo {
        default_vcpus: int(kind.vcpus),
        default_cores: int(kind.cores),
        default_threads_per_core: int(kind.threads_per_core),
        valid_cores: list(kind.valid_cores),
        valid_threads_per_core: list(kind.valid_threads_per_core),
    }
}

fn ebs(kind: &InstanceType) -> EbsInfo {
    EbsInfo {
        attachment_limit_type: Some(attachment_limit(kind).into()),
        ebs_optimized_info: kind.ebs.as_ref().map(ebs_rates),
        ebs_optimized_support: Some(ebs_optimized(kind).into()),
        encryption_support: Some("supported".into()),
        maximum_ebs_attachments: int(kind.max_volumes),
        nvme_support: Some(required(kind.is_nitro()).into()),
        ..EbsInfo::default()
    }
}

fn ebs_rates(rates: &EbsRates) -> EbsOptimizedInfo {
    EbsOptimizedInfo {
        baseline_bandwidth_in_mbps: int(rates.baseline_mbps),
        baseline_iops: int(rates.baseline_iops),
        baseline_throughput_in_mbps: Some(rates.baseline_throughput()),
        maximum_bandwidth_in_mbps: int(rates.maximum_mbps),
        maximum_iops: int(rates.maximum_iops),
        maximum_throughput_in_mbps: Some(rates.maximum_throughput()),
    }
}

fn storage(store: InstanceStore) -> InstanceStorageInfo {
    InstanceStorageInfo {
        disks: Some(vec![DiskInfo {
            count: int(store.disks),
            size_in_gb: Some(i64::from(store.gb_each)),
            r#type: Some(store.kind.into()),
        }]),
        encryption_support: Some("unsupported".into()),
        nvme_support: Some("unsupported".into()),
        total_size_in_gb: Some(i64::from(store.disks * store.gb_each)),
    }
}

fn network(kind: &InstanceType) -> NetworkInfo {
    let queues = kind.flexible_ena_queues;
    let card = NetworkCardInfo {
        network_card_index: Some(0),
        network_performance: Some(kind.network_performance.into()),
        maximum_network_interfaces: int(kind.max_interfaces),
        additional_flexible_network_interfaces: queues.map(|_| 0),
        baseline_bandwidth_in_gbps: Some(kind.baseline_gbps),
        peak_bandwidth_in_gbps: Some(kind.peak_gbps),
        default_ena_queue_count_per_interface: int(kind.ena_queues),
        maximum_ena_queue_count: queues.and_then(|q| int(q.total)),
        maximum_ena_queue_count_per_interface: queues.and_then(|q| int(q.per_interface)),
    };
    NetworkInfo {
        network_performance: Some(kind.network_performance.into()),
        maximum_network_interfaces: int(kind.max_interfaces),
        maximum_network_cards: Some(1),
        default_network_card_index: Some(0),
        network_cards: Some(vec![card]),
        ipv4_addresses_per_interface: int(kind.ipv4_per_interface),
        ipv6_addresses_per_interface: int(kind.ipv6_per_interface()),
        ipv6_supported: Some(kind.ipv6_per_interface() > 0),
        ena_support: Some(required(kind.is_nitro()).into()),
        efa_supported: Some(false),
        encryption_in_transit_supported: Some(kind.encryption_in_transit),
        ena_srd_supported: Some(false),
        flexible_ena_queues_support: Some(supported(queues.is_some()).into()),
        connection_tracking_configuration: Some(DefaultConnectionTrackingConfiguration {
            default_tcp_established_timeout: Some(432_000),
            default_udp_stream_timeout: Some(180),
            default_udp_timeout: Some(30),
        }),
        secondary_network_supported: Some(false),
        ..NetworkInfo::default()
    }
}

fn int(value: u32) -> Option<i32> {
    i32::try_from(value).ok()
}

fn each<T: From<&'static str>>(values: &'static [&'static str]) -> Vec<T> {
    values.iter().map(|value| (*value).into()).collect()
}
