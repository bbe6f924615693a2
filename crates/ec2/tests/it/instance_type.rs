//! Instance types and where they are offered.

use testkit::Kit;

async fn names(kit: &Kit, parameters: &[(&str, &str)]) -> Vec<String> {
    let answer = kit.call("DescribeInstanceTypes", parameters).await.unwrap();
    answer.all("instanceTypeSet/item/instanceType")
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
    let old = names(&kit, &[("Filter.1.Name", "hypervisor"), ("Filter.1.Value.1", "xen")]).await;
    assert_eq!(old.len(), 8);
    let refused = kit
        .call("DescribeInstanceTypes", &[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "InvalidParameterValue");
}

#[tokio::test]
async fn pages_hold_5_to_100_types_and_cover_all_of_them() {
    let kit = Kit::new().await;
    for wrong in ["4", "101"] {
        let refused = kit.call("DescribeInstanceTypes", &[("MaxResults", wrong)]).await.unwrap_err();
        assert_eq!(refused.code(), "InvalidParameterValue");
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let page =
            kit.call("DescribeInstanceTypes", &[("MaxResults", "20"), ("NextToken", &token)]).await.unwrap();
        seen.extend(page.all("instanceTypeSet/item/instanceType"));
        match page.all("nextToken").pop() {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(seen, names(&kit, &[]).await);
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
