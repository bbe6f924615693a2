//! Launches: what they make, what they refuse, and that a refused one leaves no trace.

use crate::instance::{Cloud, IMAGE, cloud, cloud_with, image};
use control::cloud::Mode;
use model::host::{Architecture, Capacity, DesiredBody, Devices, InstancePhase, ObjectKey, StopCause};
use model::record::key_pair::{KeyPair, KeyType};
use model::record::network_interface::NetworkInterface;
use model::record::volume::Volume;
use model::{InstanceId, KeyPairId, MiB, Timestamp};
use testkit::{ALICE, BOB};

/// How many instances, interfaces, volumes and claims there are.
fn everything(cloud: &Cloud) -> (usize, usize, usize, usize) {
    let region = cloud.kit.region();
    let tables = cloud.kit.cloud.view.read();
    let claims =
        tables.count_claims(&region, "ip/") + tables.count_claims(&model::Region::global(), "public-ip/");
    (
        tables.all::<model::record::instance::Instance>(&region).count(),
        tables.all::<NetworkInterface>(&region).count(),
        tables.all::<Volume>(&region).count(),
        claims,
    )
}

#[tokio::test]
async fn a_launch_answers_with_the_whole_instance() {
    let cloud = cloud().await;
    let key = KeyPair {
        key_pair: KeyPairId::from_entropy(1),
        account: ALICE,
        name: "my-key".into(),
        key_type: KeyType::Ed25519,
        fingerprint: "f".into(),
        public_key: "ssh-ed25519 AAAA".into(),
        created_at: Timestamp::default(),
        tags: model::record::Tags::default(),
    };
    let region = cloud.kit.region();
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region, key.clone());
        Ok(())
    };
    cloud.kit.cloud.transact(Mode::Shared, put).await.unwrap();
    let answer = cloud
        .launch(&[
            ("KeyName", "my-key"),
            ("UserData", "IyEvYmluL3NoCg=="),
            ("Placement.AvailabilityZone", "us-east-1b"),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "example"),
            ("TagSpecification.2.ResourceType", "volume"),
            ("TagSpecification.2.Tag.1.Key", "disk"),
            ("TagSpecification.2.Tag.1.Value", "root"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.VolumeSize", "5"),
            ("BlockDeviceMapping.2.DeviceName", "/dev/sdf"),
            ("BlockDeviceMapping.2.Ebs.VolumeSize", "7"),
            ("BlockDeviceMapping.2.Ebs.VolumeType", "gp3"),
        ])
        .await;
    let one = |path: &str| answer.one(&format!("instancesSet/item/{path}"));
    assert_eq!(answer.one("ownerId"), ALICE.to_string());
    for (path, value) in [
        ("imageId", IMAGE),
        ("instanceState/name", "pending"),
        ("instanceState/code", "0"),
        ("keyName", "my-key"),
        ("instanceType", "t3.micro"),
        ("amiLaunchIndex", "0"),
        ("placement/availabilityZone", "us-east-1b"),
        ("placement/tenancy", "default"),
        ("monitoring/state", "disabled"),
        ("architecture", "x86_64"),
        ("rootDeviceType", "ebs"),
        ("rootDeviceName", "/dev/xvda"),
        ("virtualizationType", "hvm"),
        ("hypervisor", "xen"),
        ("launchTime", "2026-01-01T00:00:00.000Z"),
        ("groupSet/item/groupName", "default"),
        ("networkInterfaceSet/item/attachment/deviceIndex", "0"),
        ("networkInterfaceSet/item/attachment/deleteOnTermination", "true"),
        ("tagSet/item/key", "Name"),
        ("cpuOptions/coreCount", "1"),
        ("metadataOptions/httpEndpoint", "enabled"),
        ("sourceDestCheck", "true"),
    ] {
        assert_eq!(one(path), value, "{path}");
    }
    assert_eq!(answer.all("groupSet").len(), 1, "the reservation's list is there though empty");
    let id = one("instanceId");
    assert_eq!(
        cloud.describe(&id).await.one("reservationSet/item/reservationId"),
        answer.one("reservationId")
    );
    let attached = [("Filter.1.Name", "attachment.instance-id"), ("Filter.1.Value.1", id.as_str())];
    let volumes = cloud.ok("DescribeVolumes", &attached).await;
    let mut sizes = volumes.all("volumeSet/item/size");
    sizes.sort();
    assert_eq!(sizes, ["5", "7"]);
    assert_eq!(volumes.all("volumeSet/item/tagSet/item/value"), ["root", "root"]);
    assert_eq!(volumes.all("volumeSet/item/status"), ["in-use", "in-use"]);
}

#[tokio::test]
async fn every_mistake_has_its_code_and_leaves_no_trace() {
    let cloud = cloud().await;
    let region = cloud.kit.region();
    let arm = image("ami-00000000000000002", Architecture::Arm64);
    let mut private = image("ami-00000000000000003", Architecture::X86_64);
    private.public = false;
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region, arm.clone());
        txn.put(&region, private.clone());
        Ok(())
    };
    cloud.kit.cloud.transact(Mode::Shared, put).await.unwrap();
    // The account's defaults come with its first call.
    cloud.ok("DescribeInstances", &[]).await;
    let before = everything(&cloud);
    let none = "0123456789abcdef0";
    let huge = "QUFB".repeat(5462);
    let (subnet, group, eni) = (format!("subnet-{none}"), format!("sg-{none}"), format!("eni-{none}"));
    for (changed, code) in [
        (vec![("ImageId", "")], "MissingParameter"),
        (vec![("ImageId", "ami-zzz")], "InvalidAMIID.Malformed"),
        (vec![("ImageId", "ami-0123456789abcdef0")], "InvalidAMIID.NotFound"),
        (vec![("ImageId", "ami-00000000000000003")], "InvalidAMIID.NotFound"),
        (vec![("ImageId", "ami-00000000000000002")], "InvalidParameterValue"),
        (vec![("InstanceType", "t3.gigantic")], "InvalidParameterValue"),
        (vec![("KeyName", "nobody")], "InvalidKeyPair.NotFound"),
        (vec![("SubnetId", &subnet)], "InvalidSubnetID.NotFound"),
        (vec![("SubnetId", "subnet")], "InvalidSubnetId.Malformed"),
        (vec![("SecurityGroupId.1", &group)], "InvalidGroup.NotFound"),
        (vec![("SecurityGroupId.1", "web")], "InvalidGroupId.Malformed"),
        (vec![("SecurityGroup.1", "web")], "InvalidGroup.NotFound"),
        (vec![("SecurityGroup.1", "default"), ("SubnetId", &subnet)], "InvalidParameterCombination"),
        (vec![("MinCount", "0")], "InvalidParameterValue"),
        (vec![("MinCount", "3"), ("MaxCount", "2")], "InvalidParameterCombination"),
        (vec![("UserData", "not base64!")], "InvalidUserData.Malformed"),
        (vec![("UserData", &huge)], "InvalidParameterValue"),
        (vec![("Placement.AvailabilityZone", "us-east-1z")], "InvalidParameterValue"),
        (vec![("Placement.GroupName", "near")], "InvalidPlacementGroup.Unknown"),
        (vec![("Placement.Tenancy", "dedicated")], "UnsupportedOperation"),
        (vec![("PrivateIpAddress", "10.0.0.9")], "InvalidParameterValue"),
        (vec![("PrivateIpAddress", "172.31.0.9"), ("MaxCount", "2")], "InvalidParameterCombination"),
        (vec![("LaunchTemplate.LaunchTemplateName", "x")], "UnsupportedOperation"),
        (vec![("IamInstanceProfile.Name", "x")], "UnsupportedOperation"),
        (vec![("InstanceMarketOptions.MarketType", "spot")], "UnsupportedOperation"),
        (vec![("HibernationOptions.Configured", "true")], "UnsupportedHibernationConfiguration"),
        (vec![("CpuOptions.CoreCount", "2"), ("CpuOptions.ThreadsPerCore", "2")], "InvalidParameterValue"),
        (vec![("InstanceInitiatedShutdownBehavior", "explode")], "InvalidParameterValue"),
        (vec![("MetadataOptions.HttpPutResponseHopLimit", "65")], "InvalidParameterValue"),
        (
            vec![("BlockDeviceMapping.1.DeviceName", "/dev/xvda"), ("BlockDeviceMapping.1.NoDevice", "")],
            "InvalidBlockDeviceMapping",
        ),
        (
            vec![
                ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
                ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ],
            "MissingParameter",
        ),
        (
            vec![
                ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
                ("BlockDeviceMapping.1.Ebs.KmsKeyId", "alias/aws/ebs"),
            ],
            "InvalidParameterDependency",
        ),
        (vec![("NetworkInterface.1.DeviceIndex", "0"), ("SubnetId", &subnet)], "InvalidParameterCombination"),
        (vec![("NetworkInterface.1.DeviceIndex", "1")], "InvalidParameterValue"),
        (
            vec![("NetworkInterface.1.DeviceIndex", "0"), ("NetworkInterface.1.NetworkInterfaceId", &eni)],
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            vec![("TagSpecification.1.ResourceType", "vpc"), ("TagSpecification.1.Tag.1.Key", "a")],
            "InvalidParameterValue",
        ),
        (
            vec![("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "aws:a")],
            "InvalidParameterValue",
        ),
        (vec![("DryRun", "true")], "DryRunOperation"),
        (vec![("DryRun", "true"), ("KeyName", "nobody")], "InvalidKeyPair.NotFound"),
    ] {
        let mut parameters: Vec<(&str, &str)> =
            vec![("ImageId", IMAGE), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        for (name, value) in &changed {
            parameters.retain(|(known, _)| known != name);
            parameters.push((name, value));
        }
        assert_eq!(cloud.code("RunInstances", &parameters).await, code, "{changed:?}");
        assert_eq!(everything(&cloud), before, "{changed:?}");
    }
}

#[tokio::test]
async fn a_token_launches_once() {
    let cloud = cloud().await;
    let first = cloud.launch(&[("ClientToken", "t-1")]).await;
    let again = cloud.launch(&[("ClientToken", "t-1")]).await;
    let id = |answer: &testkit::Answer| answer.one("instancesSet/item/instanceId");
    assert_eq!(id(&first), id(&again));
    let other = [
        ("ImageId", IMAGE),
        ("InstanceType", "t3.nano"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("ClientToken", "t-1"),
    ];
    assert_eq!(cloud.code("RunInstances", &other).await, "IdempotentParameterMismatch");
    assert_eq!(everything(&cloud).0, 1);
    let by_token = [("Filter.1.Name", "client-token"), ("Filter.1.Value.1", "t-1")];
    assert_eq!(cloud.ok("DescribeInstances", &by_token).await.all("reservationSet/item").len(), 1);
    cloud.kit.clock.advance(control::token::KEPT + std::time::Duration::from_secs(1));
    ec2::sweep::tokens(&cloud.kit.cloud).await.unwrap();
    let region = cloud.kit.region();
    let tables = cloud.kit.cloud.view.read();
    assert_eq!(tables.all::<control::token::UsedToken>(&region).count(), 0);
}

#[tokio::test]
async fn a_token_holds_a_launch_of_five_hundred() {
    let cloud = cloud_with(Capacity { vcpus: 1024, memory: MiB(1 << 20) }).await;
    let five_hundred = [("MinCount", "500"), ("MaxCount", "500"), ("ClientToken", "t-500")];
    let ids = |answer: &testkit::Answer| answer.all("instancesSet/item/instanceId");
    let first = ids(&cloud.launch(&five_hundred).await);
    assert_eq!(first.len(), 500);
    assert_eq!(ids(&cloud.launch(&five_hundred).await), first);
    assert_eq!(everything(&cloud).0, 500);
}

#[tokio::test]
async fn a_hundred_are_one_launch() {
    let cloud = cloud().await;
    let answer = cloud.launch(&[("MinCount", "100"), ("MaxCount", "100")]).await;
    let ids = answer.all("instancesSet/item/instanceId");
    assert_eq!(ids.len(), 100);
    let addresses: std::collections::BTreeSet<String> =
        answer.all("instancesSet/item/privateIpAddress").into_iter().collect();
    assert_eq!(addresses.len(), 100);
    let indexes: Vec<String> = (0..100).map(|i| i.to_string()).collect();
    assert_eq!(answer.all("instancesSet/item/amiLaunchIndex"), indexes);
    let described = cloud.ok("DescribeInstances", &[]).await;
    assert_eq!(described.all("reservationSet/item").len(), 1);
    assert_eq!(described.all("reservationSet/item/instancesSet/item").len(), 100);
}

#[tokio::test]
async fn a_full_host_gives_what_it_has_and_then_refuses() {
    let cloud = cloud_with(Capacity { vcpus: 4, memory: MiB(3 * 1024) }).await;
    let answer = cloud.launch(&[("MinCount", "1"), ("MaxCount", "10")]).await;
    let ids = answer.all("instancesSet/item/instanceId");
    assert_eq!(ids.len(), 3);
    let one = [("ImageId", IMAGE), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    assert_eq!(cloud.code("RunInstances", &one).await, "InsufficientInstanceCapacity");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &ids[0])]).await;
    assert_eq!(
        cloud.code("RunInstances", &one).await,
        "InsufficientInstanceCapacity",
        "its machine is still there"
    );
    cloud.gone(&ids[0]).await;
    cloud.ok("RunInstances", &one).await;
}

#[tokio::test]
async fn a_refusal_for_want_of_room_names_type_and_zone() {
    let cloud = cloud_with(Capacity { vcpus: 4, memory: MiB(3 * 1024) }).await;
    for kind in ["m5.24xlarge", "g4dn.xlarge", "p5.48xlarge", "mac2.metal"] {
        let asked = [
            ("ImageId", IMAGE),
            ("InstanceType", kind),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("Placement.AvailabilityZone", "us-east-1b"),
        ];
        let refused = cloud.kit.call("RunInstances", &asked).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), ("InsufficientInstanceCapacity", 500), "{kind}");
        assert!(refused.message().contains(kind) && refused.message().contains("us-east-1b"), "{kind}");
        let dry: Vec<_> = asked.iter().copied().chain([("DryRun", "true")]).collect();
        assert_eq!(cloud.code("RunInstances", &dry).await, "InsufficientInstanceCapacity");
    }
    assert_eq!(everything(&cloud), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_simulated_host_has_whatever_is_asked_of_it() {
    let cloud = cloud_with(Capacity::UNLIMITED).await;
    for kind in ["p5.48xlarge", "u7in-32tb.224xlarge"] {
        cloud.launch(&[("InstanceType", kind), ("MinCount", "50"), ("MaxCount", "50")]).await;
    }
    let mac = [("ImageId", IMAGE), ("InstanceType", "mac2.metal"), ("MinCount", "1"), ("MaxCount", "1")];
    assert_eq!(cloud.code("RunInstances", &mac).await, "InvalidParameterValue", "no image is a mac's");
}

#[tokio::test]
async fn a_stopped_instance_starts_only_where_there_is_room() {
    let cloud = cloud_with(Capacity { vcpus: 4, memory: MiB(2 * 1024) }).await;
    let id = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    cloud
        .observe(&id, InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() })
        .await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    // Its room is given away.
    let others = cloud.launch(&[("MinCount", "2"), ("MaxCount", "2")]).await;
    let start = [("InstanceId.1", id.as_str())];
    assert_eq!(cloud.code("StartInstances", &start).await, "InsufficientInstanceCapacity");
    assert_eq!(cloud.state(&id).await, "stopped");
    let other = others.all("instancesSet/item/instanceId").remove(0);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &other)]).await;
    cloud.gone(&other).await;
    // A larger type does not fit, the old one does.
    let large = [("InstanceId", id.as_str()), ("InstanceType.Value", "t3.small")];
    cloud.ok("ModifyInstanceAttribute", &large).await;
    assert_eq!(cloud.code("StartInstances", &start).await, "InsufficientInstanceCapacity");
    let small = [("InstanceId", id.as_str()), ("InstanceType.Value", "t3.micro")];
    cloud.ok("ModifyInstanceAttribute", &small).await;
    cloud.ok("StartInstances", &start).await;
    assert_eq!(cloud.state(&id).await, "pending");
}

#[tokio::test]
async fn a_type_that_does_not_suit_the_instance_is_refused() {
    let cloud = cloud().await;
    let id = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let change = async |kind: &str| {
        let asked = [("InstanceId", id.as_str()), ("InstanceType.Value", kind)];
        cloud.kit.call("ModifyInstanceAttribute", &asked).await.map_err(|error| error.code().to_owned())
    };
    assert_eq!(change("t3.large").await.unwrap_err(), "IncorrectInstanceState", "it runs");
    cloud
        .observe(&id, InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() })
        .await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    for (kind, code) in [
        ("t3.gigantic", "InvalidParameterValue"),
        ("t4g.micro", "InvalidParameterValue"),
        ("mac1.metal", "InvalidParameterValue"),
    ] {
        assert_eq!(change(kind).await.unwrap_err(), code, "{kind}");
    }
    change("m5.large").await.unwrap();
    assert_eq!(cloud.shown(&id, "instanceType").await, "m5.large");
}

#[tokio::test]
async fn cpu_options_are_honoured_where_the_type_has_them() {
    let cloud = cloud().await;
    let asked =
        [("InstanceType", "m5.4xlarge"), ("CpuOptions.CoreCount", "2"), ("CpuOptions.ThreadsPerCore", "1")];
    let id = cloud.launch(&asked).await.one("instancesSet/item/instanceId");
    assert_eq!(cloud.shown(&id, "cpuOptions/coreCount").await, "2");
    assert_eq!(cloud.shown(&id, "cpuOptions/threadsPerCore").await, "1");
    let key = ObjectKey::Instance(InstanceId::parse(&id).unwrap());
    cloud.settled(key).await;
    let Some(DesiredBody::Instance(desired)) = cloud.host.object(key).and_then(|told| told.body) else {
        panic!("the host was told of no instance");
    };
    assert_eq!(desired.machine.vcpus, 2);
    let launch = |kind, cores, threads| {
        vec![
            ("ImageId", IMAGE),
            ("InstanceType", kind),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("CpuOptions.CoreCount", cores),
            ("CpuOptions.ThreadsPerCore", threads),
        ]
    };
    for (kind, cores, threads) in [("m5.4xlarge", "3", "2"), ("m5.4xlarge", "2", "3"), ("t2.micro", "1", "2")]
    {
        assert_eq!(cloud.code("RunInstances", &launch(kind, cores, threads)).await, "InvalidParameterValue");
    }
    // A new type has its own processors.
    cloud
        .observe(&id, InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() })
        .await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    cloud.ok("ModifyInstanceAttribute", &[("InstanceId", &id), ("InstanceType.Value", "m5.large")]).await;
    assert_eq!(cloud.shown(&id, "cpuOptions/coreCount").await, "1");
    assert_eq!(cloud.shown(&id, "cpuOptions/threadsPerCore").await, "2");
}

#[tokio::test]
async fn burstable_instances_have_the_credits_of_their_type() {
    let cloud = cloud().await;
    let mut ids = Vec::new();
    for kind in ["t3.micro", "t2.micro", "m5.large"] {
        ids.push(cloud.launch(&[("InstanceType", kind)]).await.one("instancesSet/item/instanceId"));
    }
    let all = cloud.ok("DescribeInstanceCreditSpecifications", &[]).await;
    let path = "instanceCreditSpecificationSet/item";
    let mut told: Vec<_> = all
        .all(&format!("{path}/instanceId"))
        .into_iter()
        .zip(all.all(&format!("{path}/cpuCredits")))
        .collect();
    told.sort_by_key(|(id, _)| ids.iter().position(|known| known == id));
    let credits = |id: &String, credits: &str| (id.clone(), credits.to_owned());
    assert_eq!(told, [credits(&ids[0], "unlimited"), credits(&ids[1], "standard")]);
    let one = cloud.ok("DescribeInstanceCreditSpecifications", &[("InstanceId.1", &ids[1])]).await;
    assert_eq!(one.one(&format!("{path}/cpuCredits")), "standard");
    let none = [("InstanceId.1", ids[2].as_str())];
    assert_eq!(
        cloud.code("DescribeInstanceCreditSpecifications", &none).await,
        "InvalidParameterCombination"
    );
    let family = cloud.ok("GetDefaultCreditSpecification", &[("InstanceFamily", "t4g")]).await;
    assert_eq!(family.one("instanceFamilyCreditSpecification/cpuCredits"), "unlimited");
    assert_eq!(
        cloud.code("GetDefaultCreditSpecification", &[("InstanceFamily", "m5")]).await,
        "InvalidParameterValue"
    );
}

#[tokio::test]
async fn filters_and_pages_find_what_they_should() {
    let cloud = cloud().await;
    let tagged = [
        ("MinCount", "3"),
        ("MaxCount", "3"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "role"),
        ("TagSpecification.1.Tag.1.Value", "web-front"),
    ];
    let web = cloud.launch(&tagged).await.all("instancesSet/item/instanceId");
    let others =
        cloud.launch(&[("MinCount", "6"), ("MaxCount", "6")]).await.all("instancesSet/item/instanceId");
    let address = cloud.shown(&others[0], "privateIpAddress").await;
    let path = "reservationSet/item/instancesSet/item/instanceId";
    for (name, value, found) in [
        ("tag:role", "web-*", 3),
        ("tag-key", "role", 3),
        ("tag:role", "db", 0),
        ("instance-state-name", "pending", 9),
        ("instance-state-code", "16", 0),
        ("image-id", IMAGE, 9),
        ("private-ip-address", address.as_str(), 1),
        ("network-interface.addresses.private-ip-address", address.as_str(), 1),
        ("instance.group-name", "default", 9),
        ("availability-zone", "us-east-1?", 9),
        ("instance-type", "t3.nano", 0),
        ("block-device-mapping.device-name", "/dev/xvda", 9),
        ("spot-instance-request-id", "*", 0),
        ("dns-name", "ec2-198-18-*", 9),
        ("launch-time", "2026-01-01T*", 9),
    ] {
        let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(cloud.ok("DescribeInstances", &filter).await.all(path).len(), found, "{name}={value}");
    }
    let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
    assert_eq!(cloud.code("DescribeInstances", &unknown).await, "InvalidParameterValue");

    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = cloud.ok("DescribeInstances", &[("MaxResults", "5"), ("NextToken", &token)]).await;
        seen.extend(page.all(path));
        match page.all("nextToken").pop() {
            Some(next) if !next.is_empty() => token = next,
            _ => break,
        }
    }
    let mut all: Vec<String> = web.into_iter().chain(others).collect();
    all.sort();
    // A page groups its instances by launch, so only the pages are in order.
    seen.sort();
    assert_eq!(seen, all);
    assert_eq!(cloud.code("DescribeInstances", &[("MaxResults", "4")]).await, "InvalidParameterValue");
    let theirs = cloud.kit.call_as(BOB, "ec2", "DescribeInstances", &[]).await.unwrap();
    assert!(theirs.all(path).is_empty());
}

#[tokio::test]
async fn an_interface_says_whether_it_is_public() {
    let cloud = cloud().await;
    let path = "instancesSet/item/networkInterfaceSet/item";
    let hidden = [
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.AssociatePublicIpAddress", "false"),
        ("NetworkInterface.1.Description", "inner"),
        ("NetworkInterface.1.DeleteOnTermination", "false"),
        ("NetworkInterface.1.PrivateIpAddress", "172.31.0.77"),
    ];
    let answer = cloud.launch(&hidden).await;
    assert!(answer.all("instancesSet/item/ipAddress").is_empty());
    assert_eq!(answer.one("instancesSet/item/privateIpAddress"), "172.31.0.77");
    assert_eq!(answer.one(&format!("{path}/description")), "inner");
    let taken =
        [("ImageId", IMAGE), ("MinCount", "1"), ("MaxCount", "1"), ("PrivateIpAddress", "172.31.0.77")];
    assert_eq!(cloud.code("RunInstances", &taken).await, "InvalidIPAddress.InUse");

    let id = answer.one("instancesSet/item/instanceId");
    let interface = answer.one(&format!("{path}/networkInterfaceId"));
    let reuse = [
        ("NetworkInterface.1.DeviceIndex", "0"),
        ("NetworkInterface.1.NetworkInterfaceId", interface.as_str()),
    ];
    let mut busy = vec![("ImageId", IMAGE), ("MinCount", "1"), ("MaxCount", "1")];
    busy.extend(reuse);
    assert_eq!(cloud.code("RunInstances", &busy).await, "InvalidNetworkInterface.InUse");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    cloud.gone(&id).await;
    let second = cloud.launch(&reuse).await;
    assert_eq!(second.one("instancesSet/item/privateIpAddress"), "172.31.0.77");
}
