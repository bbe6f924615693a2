//! AWS's public images: found as clients look for them, in memory alone, launched where the host can.

use crate::{done, refused};
use control::{PublicImages, RegionSettings, Settings};
use model::record::image::Image;
use model::{Region, Timestamp, region};
use std::sync::Arc;
use std::time::Duration;
use testkit::{ALICE, Answer, Kit};

/// Every commercial region, and the images.
fn world(settings: &mut Settings, images: PublicImages) {
    let regions = region::COMMERCIAL.iter().map(|facts| Region::parse(facts.name).unwrap());
    settings.regions =
        regions.map(|region| RegionSettings { zones: region::zones(&region), region }).collect();
    settings.regions.sort_by_key(|settings| settings.region.as_str() != "us-east-1");
    settings.public_images = images;
}

async fn emulator() -> Kit {
    Kit::with(|settings| world(settings, PublicImages::Launchable)).await
}

async fn found(kit: &Kit, parameters: &[(&str, &str)]) -> Answer {
    done(kit, "DescribeImages", parameters).await
}

const NAME: &str = "imagesSet/item/name";

#[tokio::test]
async fn people_find_the_images_that_they_look_for() {
    let kit = emulator().await;
    for (owner, pattern, architecture, newest) in [
        ("amazon", "al2023-ami-2023*-x86_64", "x86_64", "al2023-ami-2023.12.20260930.0-kernel-6.1-x86_64"),
        ("137112412989", "amzn2-ami-hvm-*-gp2", "arm64", "amzn2-ami-hvm-2.0.20260930.0-arm64-gp2"),
        (
            "099720109477",
            "ubuntu/images/hvm-ssd*/ubuntu-jammy-22.04-amd64-server-*",
            "x86_64",
            "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260731",
        ),
        ("136693071363", "debian-12-amd64-*", "x86_64", "debian-12-amd64-20261006-2623"),
        ("309956199498", "RHEL-9*", "arm64", "RHEL-9.6.0_HVM-20260811-arm64-0-Hourly2-GP3"),
        ("013907871322", "suse-sles-15-*", "x86_64", "suse-sles-15-sp7-v20260630-hvm-ssd-x86_64"),
        (
            "801119661308",
            "Windows_Server-2025-English-Full-Base-*",
            "x86_64",
            "Windows_Server-2025-English-Full-Base-2026.09.17",
        ),
    ] {
        let images = found(
            &kit,
            &[
                ("Owner.1", owner),
                ("Filter.1.Name", "name"),
                ("Filter.1.Value.1", pattern),
                ("Filter.2.Name", "architecture"),
                ("Filter.2.Value.1", architecture),
                ("Filter.3.Name", "virtualization-type"),
                ("Filter.3.Value.1", "hvm"),
                ("Filter.4.Name", "root-device-type"),
                ("Filter.4.Value.1", "ebs"),
                ("Filter.5.Name", "state"),
                ("Filter.5.Value.1", "available"),
            ],
        )
        .await;
        // What Terraform's most_recent does.
        let dates = images.all("imagesSet/item/creationDate");
        let latest = dates.iter().zip(images.all(NAME)).max_by(|a, b| a.0.cmp(b.0));
        assert_eq!(latest.map(|(_, name)| name).as_deref(), Some(newest), "{pattern}");
    }
}

#[tokio::test]
async fn an_image_says_of_itself_what_it_says_on_aws() {
    let kit = emulator().await;
    let named = |name: &'static str| [("Filter.1.Name", "name"), ("Filter.1.Value.1", name)];
    let windows = found(&kit, &named("Windows_Server-2022-English-Full-Base-2026.09.17")).await;
    let item = |answer: &Answer, member: &str| answer.all(&format!("imagesSet/item/{member}"));
    for (member, value) in [
        ("imageOwnerId", "801119661308"),
        ("imageOwnerAlias", "amazon"),
        ("imageLocation", "amazon/Windows_Server-2022-English-Full-Base-2026.09.17"),
        ("platform", "windows"),
        ("platformDetails", "Windows"),
        ("usageOperation", "RunInstances:0002"),
        ("rootDeviceName", "/dev/sda1"),
        ("blockDeviceMapping/item/ebs/volumeSize", "30"),
        ("isPublic", "true"),
        ("creationDate", "2026-09-17T11:33:00.000Z"),
    ] {
        assert_eq!(item(&windows, member), [value], "{member}");
    }
    let al2023 = found(&kit, &named("al2023-ami-2023.12.20260930.0-kernel-6.1-arm64")).await;
    for (member, value) in [
        ("imageOwnerId", "137112412989"),
        ("architecture", "arm64"),
        ("bootMode", "uefi"),
        ("imdsSupport", "v2.0"),
        ("platformDetails", "Linux/UNIX"),
        ("rootDeviceName", "/dev/xvda"),
        ("blockDeviceMapping/item/ebs/volumeType", "gp3"),
    ] {
        assert_eq!(item(&al2023, member), [value], "{member}");
    }
    assert!(item(&al2023, "platform").is_empty());
    assert!(item(&al2023, "blockDeviceMapping/item/ebs/snapshotId")[0].starts_with("snap-0"));
    let red_hat = found(&kit, &named("RHEL-10.0.0_HVM-20260812-x86_64-0-Hourly2-GP3")).await;
    assert_eq!(item(&red_hat, "usageOperation"), ["RunInstances:0010"]);
}

#[tokio::test]
async fn the_clouds_own_image_comes_first_and_ones_own_are_none_of_these() {
    let kit = emulator().await;
    let amazon = found(&kit, &[("Owner.1", "amazon")]).await.all(NAME);
    assert_eq!(amazon[0], "nube/nano-simulated");
    assert!(amazon.len() > 50);
    assert!(found(&kit, &[("Owner.1", "self")]).await.all(NAME).is_empty());
    assert!(found(&kit, &[("ExecutableBy.1", "self")]).await.all(NAME).is_empty());
    assert!(found(&kit, &[("Owner.1", "aws-marketplace")]).await.all(NAME).is_empty());
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let mut parameters = vec![("Owner.1", "amazon"), ("MaxResults", "10")];
        if !token.is_empty() {
            parameters.push(("NextToken", &token));
        }
        let page = found(&kit, &parameters).await;
        paged.extend(page.all(NAME));
        match page.all("nextToken").pop() {
            Some(next) => token = next,
            None => break,
        }
    }
    assert_eq!(paged, amazon);
}

#[tokio::test]
async fn deprecated_images_show_to_those_who_ask_for_them() {
    let kit = emulator().await;
    // Three years on, all but the newest of each kind are deprecated.
    kit.clock.advance(Duration::from_hours(24 * 365 * 3));
    let pattern = [("Filter.1.Name", "name"), ("Filter.1.Value.1", "debian-13-amd64-*")];
    assert_eq!(found(&kit, &pattern).await.all(NAME), ["debian-13-amd64-20260914-2601"]);
    let mut both = pattern.to_vec();
    both.push(("IncludeDeprecated", "true"));
    let both = found(&kit, &both).await;
    assert_eq!(both.all(NAME).len(), 2);
    for id in both.all("imagesSet/item/imageId") {
        assert_eq!(found(&kit, &[("ImageId.1", &id)]).await.all(NAME).len(), 1);
    }
}

#[tokio::test]
async fn a_region_has_ids_of_its_own_and_costs_nothing_until_it_is_used() {
    let kit = emulator().await;
    let shown = |region: &str| {
        let region = Region::parse(region).unwrap();
        kit.cloud.view.read().all::<Image>(&region).count()
    };
    let name = [("Filter.1.Name", "name"), ("Filter.1.Value.1", "debian-13-arm64-20260914-2601")];
    let mut ids = Vec::new();
    for region in ["us-east-1", "eu-west-1", "ap-east-2"] {
        assert_eq!(shown(region), 0, "{region} before its first use");
        let answer = kit.call_in(region, "DescribeImages", &name).await.unwrap();
        ids.push(answer.one("imagesSet/item/imageId"));
        assert!(shown(region) > 50);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert_eq!(shown("eu-west-2"), 0);
    let elsewhere = [("ImageId.1", ids[1].as_str())];
    assert_eq!(refused(&kit, "DescribeImages", &elsewhere).await, "InvalidAMIID.NotFound");
    // Nothing of them is in the store.
    let scan = kit.cloud.store.scan("").await.unwrap();
    assert!(!scan.entries.iter().any(|(key, _)| key.as_str().contains("/image/")));
}

/// The id of the image with this name in us-east-1.
async fn id_of(kit: &Kit, name: &str) -> String {
    found(kit, &[("Filter.1.Name", "name"), ("Filter.1.Value.1", name)]).await.one("imagesSet/item/imageId")
}

async fn launch(kit: &Kit, image: &str, kind: &str) -> Result<Answer, wire::ApiError> {
    let parameters = [("ImageId", image), ("InstanceType", kind), ("MinCount", "1"), ("MaxCount", "1")];
    kit.call("RunInstances", &parameters).await
}

#[tokio::test]
async fn a_simulated_host_starts_any_of_them() {
    let kit = emulator().await;
    let windows = id_of(&kit, "Windows_Server-2019-English-Core-Base-2026.09.17").await;
    let launched = launch(&kit, &windows, "t3.micro").await.unwrap();
    assert_eq!(launched.one("instancesSet/item/platform"), "windows");
    assert_eq!(launched.one("instancesSet/item/platformDetails"), "Windows");
    assert_eq!(launched.one("instancesSet/item/metadataOptions/httpTokens"), "optional");
    let arm = id_of(&kit, "al2023-ami-2023.12.20260930.0-kernel-6.1-arm64").await;
    let launched = launch(&kit, &arm, "t4g.micro").await.unwrap();
    assert_eq!(launched.one("instancesSet/item/architecture"), "arm64");
    assert_eq!(launched.one("instancesSet/item/metadataOptions/httpTokens"), "required");
    assert_eq!(launched.one("instancesSet/item/metadataOptions/httpPutResponseHopLimit"), "2");
    let refused = launch(&kit, &arm, "t3.micro").await.unwrap_err();
    assert_eq!(refused.code(), "InvalidParameterValue");
    let filter = [("Filter.1.Name", "platform"), ("Filter.1.Value.1", "windows")];
    let found = done(&kit, "DescribeInstances", &filter).await;
    assert_eq!(found.all("reservationSet/item/instancesSet/item/imageId"), [windows]);
}

#[tokio::test]
async fn a_real_host_names_the_command_that_imports_one_and_starts_it_then() {
    let kit = Kit::with(|settings| world(settings, PublicImages::Listed)).await;
    let name = "debian-12-amd64-20261006-2623";
    let id = id_of(&kit, name).await;
    let refused = launch(&kit, &id, "t3.micro").await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("InvalidAMIID.Unavailable", 400));
    assert!(refused.message().contains("nube image import"), "{}", refused.message());
    assert!(refused.message().contains(name), "{}", refused.message());
    let region = kit.region();
    let mut image = Image::clone(&plan::public_image::by_short_name(&region, name).map(Arc::new).unwrap());
    image.host_image = Some("imported".into());
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region, image.clone());
        Ok(())
    };
    kit.cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
    assert_eq!(launch(&kit, &id, "t3.micro").await.unwrap().one("instancesSet/item/imageId"), id);
}

#[tokio::test]
async fn all_is_forgotten_in_every_region_and_what_comes_with_the_cloud_stays() {
    let kit = emulator().await;
    let image = id_of(&kit, "debian-13-amd64-20260914-2601").await;
    launch(&kit, &image, "t3.micro").await.unwrap();
    let before = crate::default_vpc(&kit).await;
    kit.call_in("eu-west-1", "CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.unwrap();
    let forgotten = kit.cloud.forget_everything(|_| false).await.unwrap();
    assert_eq!((forgotten["instance"], forgotten["vpc"]), (1, 3));
    assert!(kit.cloud.store.scan("").await.unwrap().entries.is_empty());
    assert!(done(&kit, "DescribeInstances", &[]).await.all("reservationSet/item").is_empty());
    assert_ne!(crate::default_vpc(&kit).await, before);
    assert_eq!(id_of(&kit, "debian-13-amd64-20260914-2601").await, image);
    launch(&kit, &image, "t3.micro").await.unwrap();
    assert_eq!(kit.context(ALICE).now, Timestamp::from_millis(testkit::START.as_millis()));
}

#[tokio::test]
async fn regions_are_worlds_of_their_own() {
    let kit = emulator().await;
    let vpcs = async |region: &str| {
        let answer = kit.call_in(region, "DescribeVpcs", &[]).await.unwrap();
        answer.all("vpcSet/item/vpcId")
    };
    let (here, there) = (vpcs("us-east-1").await, vpcs("eu-west-1").await);
    assert_eq!((here.len(), there.len()), (1, 1));
    assert_ne!(here, there);
    let key = [("KeyName", "me"), ("KeyType", "ed25519")];
    kit.call_in("us-east-1", "CreateKeyPair", &key).await.unwrap();
    kit.call_in("eu-west-1", "CreateKeyPair", &key).await.unwrap();
    let keys = kit.call_in("us-west-2", "DescribeKeyPairs", &[]).await.unwrap();
    assert!(keys.all("keySet/item").is_empty());
    let foreign = [("VpcId.1", there[0].as_str())];
    assert_eq!(refused(&kit, "DescribeVpcs", &foreign).await, "InvalidVpcID.NotFound");
}

#[tokio::test]
async fn the_world_has_awss_regions_and_zones() {
    let kit = emulator().await;
    let regions = done(&kit, "DescribeRegions", &[]).await;
    assert_eq!(regions.all("regionInfo/item/regionName").len(), 34);
    let opted = [("Filter.1.Name", "opt-in-status"), ("Filter.1.Value.1", "opted-in")];
    let opted = done(&kit, "DescribeRegions", &opted).await.all("regionInfo/item/regionEndpoint");
    assert_eq!(opted.len(), 17);
    assert!(opted.contains(&"ec2.me-central-1.amazonaws.com".to_owned()));
    let zones = kit.call_in("ca-central-1", "DescribeAvailabilityZones", &[]).await.unwrap();
    assert_eq!(
        zones.all("availabilityZoneInfo/item/zoneName"),
        ["ca-central-1a", "ca-central-1b", "ca-central-1d"]
    );
    assert_eq!(zones.all("availabilityZoneInfo/item/zoneId"), ["cac1-az1", "cac1-az2", "cac1-az4"]);
    assert_eq!(zones.all("availabilityZoneInfo/item/groupLongName")[0], "Canada (Central) 1");
    // A default subnet in each of six zones.
    let subnets = kit.call_in("us-east-1", "DescribeSubnets", &[]).await.unwrap();
    assert_eq!(subnets.all("subnetSet/item/availabilityZone").len(), 6);
}
