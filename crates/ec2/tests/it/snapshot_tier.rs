//! The archive tier: what is asked of the host, what cannot be done meanwhile, and what the clock ends.

use crate::instance::{Cloud, cloud};
use crate::snapshot::{complete, completed, described, ids, is, shown, taken, wished};
use crate::volume::{ZONE, available};
use model::host::{SnapshotPhase, SnapshotSource, Tier};
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

async fn archive(cloud: &Cloud, id: &str) {
    let asked = [("SnapshotId", id), ("StorageTier", "archive")];
    assert_eq!(cloud.ok("ModifySnapshotTier", &asked).await.one("snapshotId"), id);
}

/// The host has its data there.
async fn placed(cloud: &Cloud, id: &str, tier: Tier) {
    assert_eq!(wished(cloud, id).await.unwrap().tier, tier);
    is(cloud, id, SnapshotPhase::Completed { full: 1 << 20, tier }).await;
}

async fn status(cloud: &Cloud, id: &str, path: &str) -> Vec<String> {
    let asked = [("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", id)];
    let answer = cloud.ok("DescribeSnapshotTierStatus", &asked).await;
    answer.all(&format!("snapshotTierStatusSet/item/{path}"))
}

/// An image whose root is the snapshot.
async fn registered(cloud: &Cloud, id: &str) -> String {
    let image = [
        ("Name", "keeps"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", id),
    ];
    cloud.ok("RegisterImage", &image).await.one("imageId")
}

async fn use_of(cloud: &Cloud, id: &str) -> String {
    cloud.code("CreateVolume", &[("SnapshotId", id), ("AvailabilityZone", ZONE), ("DryRun", "true")]).await
}

#[tokio::test]
async fn an_archived_snapshot_cannot_be_used_until_it_is_restored() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    assert_eq!(status(&cloud, &id, "storageTier").await, ["standard"]);
    assert_eq!(status(&cloud, &id, "lastTieringOperationStatus").await, [] as [&str; 0]);
    archive(&cloud, &id).await;
    assert_eq!(shown(&cloud, &id, "storageTier").await, "standard", "until it is there");
    assert_eq!(use_of(&cloud, &id).await, "IncorrectState", "from now on");
    assert_eq!(status(&cloud, &id, "lastTieringOperationStatus").await, ["archival-in-progress"]);
    is(&cloud, &id, SnapshotPhase::Moving { percent: 47 }).await;
    assert_eq!(status(&cloud, &id, "lastTieringProgress").await, ["45"]);
    placed(&cloud, &id, Tier::Archive).await;
    assert_eq!(status(&cloud, &id, "lastTieringOperationStatus").await, ["archival-completed"]);
    assert_eq!(status(&cloud, &id, "archivalCompleteTime").await.len(), 1);
    let archived = [("Filter.1.Name", "storage-tier"), ("Filter.1.Value.1", "archive")];
    assert_eq!(ids(&cloud, &archived).await, [id.as_str()]);
    assert_eq!(use_of(&cloud, &id).await, "IncorrectState");
    let copy = [("SourceSnapshotId", id.as_str()), ("SourceRegion", "us-east-1")];
    assert_eq!(cloud.code("CopySnapshot", &copy).await, "IncorrectState");
    let image = [
        ("Name", "of-the-archive"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", &id),
    ];
    assert_eq!(cloud.code("RegisterImage", &image).await, "IncorrectState");

    let restore = [("SnapshotId", id.as_str()), ("PermanentRestore", "true")];
    let answer = cloud.ok("RestoreSnapshotTier", &restore).await;
    assert_eq!(answer.one("isPermanentRestore"), "true");
    assert_eq!(use_of(&cloud, &id).await, "IncorrectState", "not yet");
    placed(&cloud, &id, Tier::Standard).await;
    assert_eq!(use_of(&cloud, &id).await, "DryRunOperation");
    assert_eq!(shown(&cloud, &id, "storageTier").await, "standard");
    assert_eq!(status(&cloud, &id, "lastTieringOperationStatus").await, ["permanent-restore-completed"]);
}

#[tokio::test]
async fn a_temporary_restore_is_over_when_its_days_are() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    archive(&cloud, &id).await;
    placed(&cloud, &id, Tier::Archive).await;
    let restore = [("SnapshotId", id.as_str()), ("TemporaryRestoreDays", "2")];
    let answer = cloud.ok("RestoreSnapshotTier", &restore).await;
    assert_eq!(
        (answer.one("restoreDuration"), answer.one("isPermanentRestore")),
        ("2".into(), "false".into())
    );
    placed(&cloud, &id, Tier::Both).await;
    assert_eq!(use_of(&cloud, &id).await, "DryRunOperation");
    assert_eq!(shown(&cloud, &id, "storageTier").await, "archive");
    assert_eq!(shown(&cloud, &id, "restoreExpiryTime").await, "2026-01-03T00:00:00.000Z");
    cloud.kit.clock.advance(DAY);
    cloud.ok("RestoreSnapshotTier", &[("SnapshotId", &id), ("TemporaryRestoreDays", "3")]).await;
    assert_eq!(shown(&cloud, &id, "restoreExpiryTime").await, "2026-01-05T00:00:00.000Z", "at once");
    cloud.kit.clock.advance(DAY * 3);
    assert_eq!(use_of(&cloud, &id).await, "IncorrectState", "by the clock");
    ec2::snapshot::tier::sweep(&cloud.kit.cloud).await.unwrap();
    assert_eq!(wished(&cloud, &id).await.unwrap().tier, Tier::Archive);
    assert!(described(&cloud, &id).await.all("snapshotSet/item/restoreExpiryTime").is_empty());
    let ended =
        [("Filter.1.Name", "last-tiering-operation"), ("Filter.1.Value.1", "temporary-restore-completed")];
    let answer = cloud.ok("DescribeSnapshotTierStatus", &ended).await;
    assert_eq!(answer.all("snapshotTierStatusSet/item/snapshotId"), [id.as_str()]);
}

#[tokio::test]
async fn snapshots_of_a_disabled_image_are_archived_and_it_is_enabled_once_they_are_back() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let image = registered(&cloud, &id).await;
    let (disable, enable) = ("DisableImage", "EnableImage");
    cloud.ok(disable, &[("ImageId", &image)]).await;
    archive(&cloud, &id).await;
    assert_eq!(cloud.code(enable, &[("ImageId", &image)]).await, "IncorrectState", "on its way");
    placed(&cloud, &id, Tier::Archive).await;
    cloud.ok("RestoreSnapshotTier", &[("SnapshotId", &id), ("TemporaryRestoreDays", "2")]).await;
    placed(&cloud, &id, Tier::Both).await;
    assert_eq!(cloud.code(enable, &[("ImageId", &image)]).await, "IncorrectState", "for two days only");
    cloud.ok("RestoreSnapshotTier", &[("SnapshotId", &id), ("PermanentRestore", "true")]).await;
    placed(&cloud, &id, Tier::Standard).await;
    cloud.ok(enable, &[("ImageId", &image)]).await;
    let archive = [("SnapshotId", id.as_str()), ("StorageTier", "archive")];
    assert_eq!(cloud.code("ModifySnapshotTier", &archive).await, "InvalidSnapshot.InUse");
}

#[tokio::test]
async fn what_cannot_be_archived_or_restored_is_refused() {
    let cloud = cloud().await;
    let volume = available(&cloud, &[]).await;
    let id = completed(&cloud, &volume, &[]).await;
    let modify = |id: &str, tier: &str| vec![("SnapshotId", id.to_owned()), ("StorageTier", tier.to_owned())];
    let code = async |action: &str, given: &[(&str, String)]| {
        let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        cloud.code(action, &given).await
    };
    assert_eq!(code("ModifySnapshotTier", &modify(&id, "standard")).await, "InvalidParameterValue");
    assert_eq!(code("ModifySnapshotTier", &modify(&id, "archive")[..1]).await, "MissingParameter");
    let none = modify("snap-0123456789abcdef0", "archive");
    assert_eq!(code("ModifySnapshotTier", &none).await, "InvalidSnapshot.NotFound");
    for (given, wanted) in [
        (vec![], "MissingParameter"),
        (vec![("TemporaryRestoreDays", "0")], "InvalidParameterValue"),
        (vec![("TemporaryRestoreDays", "181")], "InvalidParameterValue"),
        (vec![("TemporaryRestoreDays", "1"), ("PermanentRestore", "true")], "InvalidParameterCombination"),
        (vec![("TemporaryRestoreDays", "1")], "IncorrectState"),
    ] {
        let mut asked = vec![("SnapshotId", id.as_str())];
        asked.extend(given);
        assert_eq!(cloud.code("RestoreSnapshotTier", &asked).await, wanted, "{asked:?}");
    }
    let pending = taken(&cloud, &volume, &[]).await;
    assert_eq!(code("ModifySnapshotTier", &modify(&pending, "archive")).await, "IncorrectState");
    assert_eq!(
        code("ModifySnapshotTier", &modify(&id, "archive")).await,
        "IncorrectState",
        "it is built upon"
    );
    complete(&cloud, &pending).await;
    registered(&cloud, &id).await;
    assert_eq!(code("ModifySnapshotTier", &modify(&id, "archive")).await, "InvalidSnapshot.InUse");
    archive(&cloud, &pending).await;
    assert_eq!(code("ModifySnapshotTier", &modify(&pending, "archive")).await, "IncorrectState");
    let next = taken(&cloud, &volume, &[]).await;
    match wished(&cloud, &next).await.unwrap().source.clone() {
        SnapshotSource::Volume { parent, .. } => {
            assert_eq!(parent.unwrap().to_string(), id, "it is archived");
        }
        other => panic!("{other:?}"),
    }
    is(&cloud, &pending, SnapshotPhase::Unmovable { reason: "damaged".into() }).await;
    assert_eq!(status(&cloud, &pending, "lastTieringOperationStatus").await, ["archival-failed"]);
    assert_eq!(status(&cloud, &pending, "lastTieringOperationStatusDetail").await, ["damaged"]);
    assert_eq!(use_of(&cloud, &pending).await, "DryRunOperation");
}
