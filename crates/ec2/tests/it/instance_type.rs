//! Instance types and where they are offered.

use testkit::Kit;

/// The types that match, of all pages.
async fn names(kit: &Kit, parameters: &[(&str, &str)]) -> Vec<String> {
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let asked: Vec<_> = parameters.iter().copied().chain([("NextToken", token.as_str())]).collect();
        let page = kit.call("DescribeInstanceTypes", &asked).await.unwrap();
        seen.extend(page.all("instanceTypeSet/item/instanceType"));
        match page.all("nextToken").pop() {
            Some(next) => token = next,
            None => return seen,
        }
    }
}

#[tokio::test]
async fn a_type_is_shown_with_its_facts() {
    let kit = Kit::new().await;
    let shown = kit.call("DescribeInstanceTypes", &[("InstanceType.1", "t3.micro")]).await.unwrap();
    for (path, value) in [
        ("instanceType", "t3.micro"),
        ("hypervisor", "nitro"),
        ("burstablePerformanceSupported", "true"),
        ("vCpuInfo/defaultVCpus", "2"),
        ("vCpuInfo/defaultThreadsPerCore", "2"),
        ("memoryInfo/sizeInMiB", "1024"),
        ("processorInfo/supportedArchitectures/item", "x86_64"),
        ("ebsInfo/ebsOptimizedInfo/baselineThroughputInMBps", "10.875"),
        ("ebsInfo/nvmeSupport", "required"),
        ("networkInfo/maximumNetworkInterfaces", "2"),
        ("networkInfo/networkPerformance", "Up to 5 Gigabit"),
    ] {
        assert_eq!(shown.one(&format!("instanceTypeSet/item/{path}")), value, "{path}");
    }
}

#[tokio::test]
async fn types_are_named_exactly_or_by_patterns() {
    let kit = Kit::new().await;
    assert_eq!(names(&kit, &[("InstanceType.1", "t4g.*")]).await.len(), 7);
    assert!(names(&kit, &[("InstanceType.1", "z9.*")]).await.is_empty());
    let asked = [("InstanceType.1", "t3.nano"), ("InstanceType.2", "z9.huge")];
    let refused = kit.call("DescribeInstanceTypes", &asked).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidInstanceType");
    assert!(refused.message().contains("[z9.huge]"), "{}", refused.message());
}

#[tokio::test]
async fn filters_choose_types_by_their_facts() {
    let kit = Kit::new().await;
    let arm = names(
        &kit,
        &[
            ("Filter.1.Name", "processor-info.supported-architecture"),
            ("Filter.1.Value.1", "arm64"),
            ("Filter.2.Name", "memory-info.size-in-mib"),
            ("Filter.2.Value.1", "1024"),
        ],
    );
    assert_eq!(arm.await, ["t4g.micro"]);
    let refused = kit
        .call("DescribeInstanceTypes", &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "InvalidParameterValue");
}

/// Every filter of the operation, with a value, a type that has it and one that has not.
#[tokio::test]
async fn every_filter_tells_types_apart() {
    let kit = Kit::new().await;
    for (name, value, with, without) in [
        ("auto-recovery-supported", "true", "t3.micro", "p5.48xlarge"),
        ("bare-metal", "true", "m5.metal", "m5.large"),
        ("burstable-performance-supported", "true", "t3.micro", "m5.large"),
        ("current-generation", "false", "m1.small", "t3.micro"),
        ("dedicated-hosts-supported", "false", "p5.48xlarge", "t3.micro"),
        ("ebs-info.attachment-limit-type", "dedicated", "m7i.large", "m5.large"),
        ("ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps", "1562", "c6in.large", "t3.micro"),
        ("ebs-info.ebs-optimized-info.baseline-iops", "500", "t3.micro", "t3.nano"),
        ("ebs-info.ebs-optimized-info.baseline-throughput-in-mbps", "195.3125", "c6in.large", "t3.micro"),
        ("ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps", "2085", "t3.micro", "t3.large"),
        ("ebs-info.ebs-optimized-info.maximum-iops", "11800", "t3.micro", "t3.large"),
        ("ebs-info.ebs-optimized-info.maximum-throughput-in-mbps", "593.75", "m5.large", "t3.micro"),
        ("ebs-info.ebs-optimized-support", "unsupported", "t2.micro", "t3.micro"),
        ("ebs-info.encryption-support", "supported", "t3.micro", ""),
        ("ebs-info.maximum-ebs-attachments", "128", "m8idb.96xlarge", "t3.micro"),
        ("ebs-info.nvme-support", "unsupported", "t2.micro", "t3.micro"),
        ("free-tier-eligible", "true", "t3.micro", "t3.nano"),
        ("hibernation-supported", "true", "m5.large", "p5.48xlarge"),
        ("hypervisor", "xen", "t2.micro", "m5.metal"),
        ("instance-storage-info.disk.count", "8", "p5.48xlarge", "t3.micro"),
        ("instance-storage-info.disk.size-in-gb", "75", "m5d.large", "m5d.xlarge"),
        ("instance-storage-info.disk.type", "hdd", "d3.xlarge", "m5d.large"),
        ("instance-storage-info.encryption-support", "unsupported", "m1.small", "m5d.large"),
        ("instance-storage-info.nvme-support", "required", "m5d.large", "m1.small"),
        ("instance-storage-info.total-size-in-gb", "30400", "p5.48xlarge", "m5d.large"),
        ("instance-storage-supported", "true", "m5d.large", "m5.large"),
        ("instance-type", "m5d.*", "m5d.large", "m5.large"),
        ("memory-info.size-in-mib", "1024", "t3.micro", "t3.nano"),
        ("network-info.bandwidth-weightings", "vpc-1", "m8g.large", "m5.large"),
        ("network-info.efa-info.maximum-efa-interfaces", "32", "p5.48xlarge", "c5n.18xlarge"),
        ("network-info.efa-supported", "true", "c5n.18xlarge", "c5n.large"),
        ("network-info.ena-support", "unsupported", "t2.micro", "t3.micro"),
        ("network-info.encryption-in-transit-supported", "true", "m7i.large", "m5.large"),
        ("network-info.flexible-ena-queues-support", "supported", "m6i.large", "m5.large"),
        ("network-info.ipv4-addresses-per-interface", "2", "t3.micro", "t3.large"),
        ("network-info.ipv6-addresses-per-interface", "2", "t3.micro", "t3.large"),
        ("network-info.ipv6-supported", "false", "m1.small", "t3.micro"),
        ("network-info.maximum-network-cards", "32", "p5.48xlarge", "t3.micro"),
        ("network-info.maximum-network-interfaces", "64", "p5.48xlarge", "t3.micro"),
        ("network-info.network-performance", "Up to 5 Gigabit", "t3.micro", "m5.large"),
        ("nitro-enclaves-support", "supported", "m5.xlarge", "t3.micro"),
        ("nitro-tpm-info.supported-versions", "2.0", "t3.micro", "t2.micro"),
        ("nitro-tpm-support", "unsupported", "t2.micro", "t3.micro"),
        ("processor-info.supported-architecture", "i386", "t2.micro", "t3.micro"),
        ("processor-info.supported-features", "nested-virtualization", "m7i.large", "m5.large"),
        ("processor-info.sustained-clock-speed-in-ghz", "3.1", "m5.large", "t3.micro"),
        ("reboot-migration-support", "unsupported", "p5.48xlarge", "t3.micro"),
        ("supported-boot-mode", "legacy-bios", "t3.micro", "t4g.micro"),
        ("supported-root-device-type", "instance-store", "m1.small", "t3.micro"),
        ("supported-usage-class", "capacity-block", "p5.48xlarge", "t3.micro"),
        ("supported-virtualization-type", "paravirtual", "m1.small", "t3.micro"),
        ("vcpu-info.default-cores", "24", "m5.12xlarge", "m5.large"),
        ("vcpu-info.default-threads-per-core", "1", "t4g.micro", "t3.micro"),
        ("vcpu-info.default-vcpus", "96", "m5.24xlarge", "m5.large"),
        ("vcpu-info.valid-cores", "6", "m5.4xlarge", "m5.xlarge"),
        ("vcpu-info.valid-threads-per-core", "2", "m5.large", "t4g.micro"),
    ] {
        let mut filters = vec![
            ("Filter.1.Name", name),
            ("Filter.1.Value.1", value),
            ("Filter.2.Name", "instance-type"),
            ("Filter.2.Value.1", with),
        ];
        if !without.is_empty() {
            filters.push(("Filter.2.Value.2", without));
        }
        assert_eq!(names(&kit, &filters).await, [with], "{name}={value}");
    }
}

#[tokio::test]
async fn accelerators_cards_and_disks_are_shown() {
    let kit = Kit::new().await;
    let answer = kit.call("DescribeInstanceTypes", &[("InstanceType.1", "p5.48xlarge")]).await.unwrap();
    for (path, value) in [
        ("gpuInfo/gpus/item/name", "H100"),
        ("gpuInfo/gpus/item/count", "8"),
        ("gpuInfo/totalGpuMemoryInMiB", "655360"),
        ("instanceStorageInfo/totalSizeInGB", "30400"),
        ("instanceStorageInfo/nvmeSupport", "required"),
        ("networkInfo/maximumNetworkCards", "32"),
        ("networkInfo/efaInfo/maximumEfaInterfaces", "32"),
    ] {
        assert_eq!(answer.one(&format!("instanceTypeSet/item/{path}")), value, "{path}");
    }
    let cards = answer.all("instanceTypeSet/item/networkInfo/networkCards/item/networkCardIndex");
    assert_eq!(cards, (0..32).map(|i| i.to_string()).collect::<Vec<_>>());
    assert!(answer.all("instanceTypeSet/item/neuronInfo").is_empty());
    let metal = kit.call("DescribeInstanceTypes", &[("InstanceType.1", "m5.metal")]).await.unwrap();
    assert_eq!(metal.one("instanceTypeSet/item/bareMetal"), "true");
    assert!(metal.all("instanceTypeSet/item/hypervisor").is_empty());
    let chip = kit.call("DescribeInstanceTypes", &[("InstanceType.1", "inf1.xlarge")]).await.unwrap();
    for part in ["neuronInfo/neuronDevices", "inferenceAcceleratorInfo/accelerators"] {
        assert_eq!(chip.one(&format!("instanceTypeSet/item/{part}/item/count")), "1");
    }
}

#[tokio::test]
async fn pages_hold_5_to_100_types_and_cover_all_of_them() {
    let kit = Kit::new().await;
    for wrong in ["4", "101"] {
        let refused = kit.call("DescribeInstanceTypes", &[("MaxResults", wrong)]).await.unwrap_err();
        assert_eq!(refused.code(), "InvalidParameterValue");
    }
    let first = kit.call("DescribeInstanceTypes", &[]).await.unwrap();
    assert_eq!(first.all("instanceTypeSet/item").len(), 100, "a page that nobody asked to be smaller");
    let seen = names(&kit, &[("MaxResults", "37")]).await;
    assert!(seen.len() >= 1400);
    assert_eq!(seen, names(&kit, &[]).await);
}

#[tokio::test]
async fn types_are_chosen_by_requirements() {
    let kit = Kit::new().await;
    let asked = [
        ("ArchitectureType.1", "x86_64"),
        ("VirtualizationType.1", "hvm"),
        ("InstanceRequirements.VCpuCount.Min", "2"),
        ("InstanceRequirements.VCpuCount.Max", "2"),
        ("InstanceRequirements.MemoryMiB.Min", "4096"),
        ("InstanceRequirements.MemoryMiB.Max", "4096"),
        ("InstanceRequirements.CpuManufacturer.1", "intel"),
        ("InstanceRequirements.InstanceGeneration.1", "current"),
    ];
    let choose = async |more: &[(&str, &str)]| {
        let parameters: Vec<_> = asked.iter().chain(more).copied().collect();
        let answer = kit.call("GetInstanceTypesFromInstanceRequirements", &parameters).await?;
        Ok::<_, wire::ApiError>(answer.all("instanceTypeSet/item/instanceType"))
    };
    let allowed = ("InstanceRequirements.AllowedInstanceType.1", "c6*");
    assert_eq!(choose(&[allowed]).await.unwrap(), ["c6i.large", "c6id.large", "c6in.large"]);
    let disk = ("InstanceRequirements.LocalStorage", "required");
    assert_eq!(choose(&[allowed, disk]).await.unwrap(), ["c6id.large"]);
    assert!(
        !choose(&[]).await.unwrap().contains(&"t3.medium".to_owned()),
        "burstable ones must be asked for"
    );
    let burstable = ("InstanceRequirements.BurstablePerformance", "required");
    assert!(choose(&[burstable]).await.unwrap().contains(&"t3.medium".to_owned()));
    for (wrong, code) in [
        (
            vec![allowed, ("InstanceRequirements.ExcludedInstanceType.1", "c7*")],
            "InvalidParameterCombination",
        ),
        (vec![("InstanceRequirements.BareMetal", "maybe")], "InvalidParameterValue"),
        (vec![("InstanceRequirements.CpuManufacturer.2", "zilog")], "InvalidParameterValue"),
        (vec![("InstanceRequirements.NetworkInterfaceCount.Min", "-1")], "InvalidParameterValue"),
        (
            vec![
                ("InstanceRequirements.AcceleratorCount.Min", "2"),
                ("InstanceRequirements.AcceleratorCount.Max", "1"),
            ],
            "InvalidParameterValue",
        ),
        (
            vec![("InstanceRequirements.BaselinePerformanceFactors.Cpu.Reference.1.InstanceFamily", "c6i")],
            "UnsupportedOperation",
        ),
    ] {
        assert_eq!(choose(&wrong).await.unwrap_err().code(), code, "{wrong:?}");
    }
}

#[tokio::test]
async fn offerings_are_told_by_region_zone_and_zone_id() {
    let kit = Kit::new().await;
    let only = [("Filter.1.Name", "instance-type"), ("Filter.1.Value.1", "t3.nano")];
    let places = async |location_type: &str| {
        let mut asked = only.to_vec();
        asked.push(("LocationType", location_type));
        let answer = kit.call("DescribeInstanceTypeOfferings", &asked).await?;
        Ok::<_, wire::ApiError>(answer.all("instanceTypeOfferingSet/item/location"))
    };
    assert_eq!(places("region").await.unwrap(), ["us-east-1"]);
    assert_eq!(places("availability-zone").await.unwrap(), ["us-east-1a", "us-east-1b", "us-east-1c"]);
    assert_eq!(places("availability-zone-id").await.unwrap(), ["use1-az1", "use1-az2", "use1-az3"]);
    assert_eq!(places("planet").await.unwrap_err().code(), "InvalidParameterValue");
    let default = kit.call("DescribeInstanceTypeOfferings", &only).await.unwrap();
    assert_eq!(default.one("instanceTypeOfferingSet/item/locationType"), "region");
}

#[tokio::test]
async fn offerings_come_in_pages_of_a_thousand_and_by_place() {
    let kit = Kit::new().await;
    let zones = [
        ("LocationType", "availability-zone"),
        ("Filter.1.Name", "location"),
        ("Filter.1.Value.1", "us-east-1b"),
    ];
    let first = kit.call("DescribeInstanceTypeOfferings", &zones).await.unwrap();
    let places = first.all("instanceTypeOfferingSet/item/location");
    assert_eq!(places.len(), 1000);
    assert!(places.iter().all(|place| place == "us-east-1b"));
    let token = first.one("nextToken");
    let rest: Vec<_> = zones.iter().copied().chain([("NextToken", token.as_str())]).collect();
    let rest = kit.call("DescribeInstanceTypeOfferings", &rest).await.unwrap();
    assert_eq!(1000 + rest.all("instanceTypeOfferingSet/item").len(), names(&kit, &[]).await.len());
}
