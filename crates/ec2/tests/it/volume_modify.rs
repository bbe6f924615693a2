//! Modifications: from the call to the host and through their states.

use crate::instance::{Cloud, cloud};
use crate::volume::{applied, available, key, made, shown, wished};
use model::GiB;
use plan::volume::modification::OPTIMIZING;
use std::time::Duration;
use testkit::Answer;

async fn modify(cloud: &Cloud, volume: &str, more: &[(&str, &str)]) -> Answer {
    let mut parameters = vec![("VolumeId", volume)];
    parameters.extend(more);
    cloud.ok("ModifyVolume", &parameters).await
}

async fn refused(cloud: &Cloud, volume: &str, more: &[(&str, &str)]) -> String {
    let mut parameters = vec![("VolumeId", volume)];
    parameters.extend(more);
    cloud.code("ModifyVolume", &parameters).await
}

async fn modification(cloud: &Cloud, volume: &str, path: &str) -> String {
    let answer = cloud.ok("DescribeVolumesModifications", &[("VolumeId.1", volume)]).await;
    answer.one(&format!("volumeModificationSet/item/{path}"))
}

/// Lets the host hold to it and the clock run.
async fn completed(cloud: &Cloud, volume: &str) {
    applied(cloud, volume).await;
    cloud.kit.clock.advance(OPTIMIZING);
    assert_eq!(modification(cloud, volume, "modificationState").await, "completed");
}

#[tokio::test]
async fn a_volume_grows_once_its_host_has_grown_it() {
    let cloud = cloud().await;
    let id = available(&cloud, &[("VolumeType", "gp3")]).await;
    let asked = [("Size", "20"), ("Iops", "4000"), ("Throughput", "200")];
    assert_eq!(refused(&cloud, &id, &[asked[0], ("DryRun", "true")]).await, "DryRunOperation");
    let answer = modify(&cloud, &id, &asked).await;
    for (path, value) in [
        ("volumeId", id.as_str()),
        ("modificationState", "modifying"),
        ("originalSize", "10"),
        ("targetSize", "20"),
        ("originalIops", "3000"),
        ("targetIops", "4000"),
        ("targetThroughput", "200"),
        ("targetVolumeType", "gp3"),
        ("progress", "0"),
    ] {
        assert_eq!(answer.one(&format!("volumeModification/{path}")), value, "{path}");
    }
    assert_eq!(shown(&cloud, &id, "size").await, "10", "not yet");
    assert_eq!(refused(&cloud, &id, &[("Size", "30")]).await, "IncorrectModificationState");
    applied(&cloud, &id).await;
    let wish = wished(&cloud, &id).unwrap();
    assert_eq!((wish.size, wish.limits.unwrap().iops.base), (GiB(20), 4000));
    assert_eq!(modification(&cloud, &id, "modificationState").await, "optimizing");
    assert_eq!(shown(&cloud, &id, "size").await, "20");
    assert_eq!(shown(&cloud, &id, "throughput").await, "200");
    cloud.kit.clock.advance(OPTIMIZING / 2);
    assert_eq!(modification(&cloud, &id, "progress").await, "50");
    assert_eq!(refused(&cloud, &id, &[("Size", "30")]).await, "IncorrectModificationState");
    cloud.kit.clock.advance(OPTIMIZING / 2);
    assert_eq!(modification(&cloud, &id, "modificationState").await, "completed");
    assert_eq!(modification(&cloud, &id, "progress").await, "100");
    assert!(!modification(&cloud, &id, "endTime").await.is_empty());
    modify(&cloud, &id, &[("Size", "30")]).await;
}

#[tokio::test]
async fn four_modifications_fit_into_a_day() {
    let cloud = cloud().await;
    let id = available(&cloud, &[]).await;
    for size in ["11", "12", "13", "14"] {
        modify(&cloud, &id, &[("Size", size)]).await;
        completed(&cloud, &id).await;
        cloud.kit.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(refused(&cloud, &id, &[("Size", "15")]).await, "VolumeModificationRateExceeded");
    cloud.kit.clock.advance(Duration::from_hours(20));
    modify(&cloud, &id, &[("Size", "15")]).await;
}

#[tokio::test]
async fn a_type_changes_with_its_defaults() {
    let cloud = cloud().await;
    let id = available(&cloud, &[("Size", "100")]).await;
    modify(&cloud, &id, &[("VolumeType", "io2")]).await;
    completed(&cloud, &id).await;
    assert_eq!(shown(&cloud, &id, "volumeType").await, "io2");
    assert_eq!(shown(&cloud, &id, "iops").await, "3000");
    modify(&cloud, &id, &[("MultiAttachEnabled", "true")]).await;
    completed(&cloud, &id).await;
    assert_eq!(shown(&cloud, &id, "multiAttachEnabled").await, "true");
}

#[tokio::test]
async fn a_modification_that_cannot_be_is_refused() {
    let cloud = cloud().await;
    let id = available(&cloud, &[]).await;
    let new = made(&cloud, &[]).await;
    for (more, code) in [
        (vec![], "MissingParameter"),
        (vec![("Size", "9")], "InvalidParameterValue"),
        (vec![("Size", "16385")], "InvalidParameterValue"),
        (vec![("Iops", "200")], "InvalidParameterCombination"),
        (vec![("VolumeType", "gp9")], "UnknownVolumeType"),
        (vec![("VolumeType", "st1")], "InvalidParameterValue"),
        (vec![("VolumeType", "io1")], "InvalidParameterValue"),
        (vec![("VolumeType", "gp3"), ("Iops", "5001")], "InvalidParameterValue"),
        (vec![("MultiAttachEnabled", "true")], "InvalidParameterCombination"),
    ] {
        assert_eq!(refused(&cloud, &id, &more).await, code, "{more:?}");
    }
    assert_eq!(refused(&cloud, &new, &[("Size", "20")]).await, "IncorrectState");
    let none = "vol-0123456789abcdef0";
    assert_eq!(refused(&cloud, none, &[("Size", "20")]).await, "InvalidVolume.NotFound");
    assert_eq!(
        cloud.code("DescribeVolumesModifications", &[("VolumeId.1", &id)]).await,
        "InvalidVolumeModification.NotFound"
    );
    let instance = cloud.running(&[]).await;
    let root = cloud.shown(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    let disk = [("VolumeType", "st1"), ("Size", "125")];
    assert_eq!(refused(&cloud, &root, &disk).await, "InvalidParameterValue", "no root is a spinning disk");
}

#[tokio::test]
async fn a_volume_in_use_is_modified_like_any_other() {
    let cloud = cloud().await;
    let instance = cloud.running(&[]).await;
    let root = cloud.shown(&instance, "blockDeviceMapping/item/ebs/volumeId").await;
    modify(&cloud, &root, &[("Size", "6")]).await;
    completed(&cloud, &root).await;
    assert_eq!(shown(&cloud, &root, "size").await, "6");
    assert_eq!(shown(&cloud, &root, "status").await, "in-use");
    let filter = [("Filter.1.Name", "modification-state"), ("Filter.1.Value.1", "completed")];
    let found = cloud.ok("DescribeVolumesModifications", &filter).await;
    assert_eq!(found.all("volumeModificationSet/item/volumeId"), [root.as_str()]);
    let small = [("Filter.1.Name", "target-size"), ("Filter.1.Value.1", "7")];
    let found = cloud.ok("DescribeVolumesModifications", &small).await;
    assert!(found.all("volumeModificationSet/item").is_empty());
    cloud.settled(key(&root)).await;
}
