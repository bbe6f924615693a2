//! Imports and exports: what their operations take and refuse, and what becomes of a task, as who moves the bytes tells it.

use crate::refused;
use ec2::transfer::progress::{self, Found};
use model::record::image::{BootMode, Image};
use model::record::snapshot::Snapshot;
use model::record::transfer::{DiskFormat, ImportImageTask, ImportSnapshotTask, Stage};
use model::{ImageId, ImportImageTaskId, ImportSnapshotTaskId, SnapshotId};
use std::fs;
use std::sync::Arc;
use testkit::Kit;

/// A cloud with a bucket `disks` that holds `disk.raw` (4096 bytes), and the bucket's folder.
struct Place {
    kit: Kit,
    root: tempfile::TempDir,
}

const SNAPSHOT: [(&str, &str); 2] =
    [("DiskContainer.UserBucket.S3Bucket", "disks"), ("DiskContainer.UserBucket.S3Key", "disk.raw")];
const IMAGE: [(&str, &str); 2] =
    [("DiskContainer.1.UserBucket.S3Bucket", "disks"), ("DiskContainer.1.UserBucket.S3Key", "disk.raw")];

fn with<'a>(usual: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = usual.iter().filter(|(name, _)| more.iter().all(|(given, _)| given != name));
    usual.chain(more).copied().collect()
}

impl Place {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("disks")).unwrap();
        fs::write(root.path().join("disks/disk.raw"), [1; 4096]).unwrap();
        let buckets = control::bucket::Buckets::new(root.path().to_owned());
        let kit = Kit::with(|settings| settings.buckets = Some(buckets)).await;
        Self { kit, root }
    }

    async fn import_snapshot(&self, more: &[(&str, &str)]) -> ImportSnapshotTaskId {
        let answer = self.kit.call("ImportSnapshot", &with(&SNAPSHOT, more)).await.unwrap();
        answer.one("importTaskId").parse().unwrap()
    }

    async fn import_image(&self, more: &[(&str, &str)]) -> ImportImageTaskId {
        let answer = self.kit.call("ImportImage", &with(&IMAGE, more)).await.unwrap();
        answer.one("importTaskId").parse().unwrap()
    }

    fn snapshot(&self, id: SnapshotId) -> Arc<Snapshot> {
        self.kit.cloud.view.read().get::<Snapshot>(&self.kit.region(), &id).cloned().unwrap()
    }

    fn image_task(&self, id: ImportImageTaskId) -> Arc<ImportImageTask> {
        self.kit.cloud.view.read().get::<ImportImageTask>(&self.kit.region(), &id).cloned().unwrap()
    }

    async fn begun(&self, task: ImportImageTaskId, index: usize) -> SnapshotId {
        let boots = (index == 0).then_some((model::host::Architecture::X86_64, BootMode::Uefi));
        let found = Found { format: DiskFormat::Vmdk, bytes: (3 << 30) + 1, boots };
        let region = self.kit.region();
        let begun = progress::begin::<ImportImageTask>(&self.kit.cloud, &region, &task, index, found).await;
        begun.unwrap().unwrap()
    }
}

#[tokio::test]
async fn what_cannot_be_imported_is_refused_and_changes_nothing() {
    let place = Place::new().await;
    let format = "DiskContainer.Format";
    for (more, code) in [
        (&[("DiskContainer.UserBucket.S3Key", "none.raw")][..], "InvalidParameter"),
        (&[("DiskContainer.UserBucket.S3Key", "../secret")], "InvalidParameter"),
        (&[("DiskContainer.UserBucket.S3Bucket", "none")], "InvalidParameter"),
        (&[("DiskContainer.Url", "s3://disks/disk.raw")], "InvalidParameter"),
        (&[(format, "floppy")], "InvalidParameterValue"),
        (&[(format, "OVA")], "InvalidParameterValue"),
        (&[("KmsKeyId", "alias/x")], "InvalidParameterDependency"),
        (&[("DryRun", "true")], "DryRunOperation"),
    ] {
        assert_eq!(refused(&place.kit, "ImportSnapshot", &with(&SNAPSHOT, more)).await, code, "{more:?}");
    }
    let second = ("DiskContainer.2.Url", "s3://disks/disk.raw");
    for (more, code) in [
        (&[("DiskContainer.1.Format", "ova"), second][..], "InvalidParameter"),
        (&[("DiskContainer.1.DeviceName", "sda")], "InvalidParameterValue"),
        (&[("Platform", "Windows")], "UnsupportedOperation"),
        (&[("Architecture", "arm64"), ("BootMode", "legacy-bios")], "InvalidParameterValue"),
    ] {
        assert_eq!(refused(&place.kit, "ImportImage", &with(&IMAGE, more)).await, code, "{more:?}");
    }
    assert_eq!(refused(&place.kit, "ImportSnapshot", &[]).await, "MissingParameter");
    assert_eq!(refused(&place.kit, "ImportImage", &[]).await, "MissingParameter");
    for kind in ["DescribeImportSnapshotTasks", "DescribeImportImageTasks"] {
        let shown = place.kit.call(kind, &[]).await.unwrap();
        assert!(!shown.0.contains("import-"), "{}", shown.0);
    }
    let none = Kit::new().await;
    let error = none.call("ImportSnapshot", &SNAPSHOT).await.unwrap_err();
    assert!(error.code() == "InvalidParameter" && error.message().contains("--buckets"), "{error}");
}

#[tokio::test]
async fn an_answer_is_given_again_though_the_file_has_gone() {
    let place = Place::new().await;
    let first = place.import_snapshot(&[("ClientToken", "once")]).await;
    fs::remove_file(place.root.path().join("disks/disk.raw")).unwrap();
    assert_eq!(place.import_snapshot(&[("ClientToken", "once")]).await, first);
    assert_eq!(refused(&place.kit, "ImportSnapshot", &SNAPSHOT).await, "InvalidParameter");
}

#[tokio::test]
async fn an_account_has_twenty_tasks_of_a_kind_at_a_time() {
    let place = Place::new().await;
    let mut last = String::new();
    for _ in 0..20 {
        last = place.import_snapshot(&[]).await.to_string();
    }
    assert_eq!(refused(&place.kit, "ImportSnapshot", &SNAPSHOT).await, "ResourceCountExceeded");
    place.import_image(&[]).await;
    place.kit.call("CancelImportTask", &[("ImportTaskId", &last)]).await.unwrap();
    place.import_snapshot(&[]).await;
}

#[tokio::test]
async fn an_attempt_replaces_the_snapshot_of_the_one_before_and_a_cancellation_leaves_none() {
    let place = Place::new().await;
    let (cloud, region) = (&place.kit.cloud, place.kit.region());
    let task = place.import_snapshot(&[]).await;
    let found = Found { format: DiskFormat::Raw, bytes: 4096, boots: None };
    let begin = || progress::begin::<ImportSnapshotTask>(cloud, &region, &task, 0, found);
    let (first, second) = (begin().await.unwrap().unwrap(), begin().await.unwrap().unwrap());
    assert!(place.snapshot(first).is_deleting() && !place.snapshot(second).is_deleting());
    let shown = place.kit.call("DescribeImportSnapshotTasks", &[]).await.unwrap();
    let detail = |name: &str| shown.one(&format!("importSnapshotTaskSet/item/snapshotTaskDetail/{name}"));
    assert_eq!((detail("snapshotId"), detail("format")), (second.to_string(), "RAW".to_owned()));
    let second_id = second.to_string();
    let copy = [("SourceRegion", "us-east-1"), ("SourceSnapshotId", second_id.as_str())];
    assert_eq!(refused(&place.kit, "CopySnapshot", &copy).await, "IncorrectState");
    let id = task.to_string();
    let cancel = [("ImportTaskId", id.as_str()), ("CancelReason", "no need")];
    let done = place.kit.call("CancelImportTask", &cancel).await.unwrap();
    assert_eq!((done.one("previousState"), done.one("state")), ("active".into(), "deleted".into()));
    assert!(place.snapshot(second).is_deleting());
    assert_eq!(refused(&place.kit, "CancelImportTask", &cancel).await, "IncorrectState");
    // Who moves the bytes hears of it.
    assert!(
        !progress::reached::<ImportSnapshotTask>(cloud, &region, &task, Stage::Validating).await.unwrap()
    );
    assert_eq!(begin().await.unwrap(), None);
}

#[tokio::test]
async fn an_archive_becomes_an_image_with_all_of_its_disks() {
    let place = Place::new().await;
    let (cloud, region) = (&place.kit.cloud, place.kit.region());
    let task = place.import_image(&[("DiskContainer.1.Format", "OVA"), ("Description", "of a test")]).await;
    let members = vec![("root.vmdk".to_owned(), 10), ("data.vmdk".to_owned(), 20)];
    assert!(progress::unpacked::<ImportImageTask>(cloud, &region, &task, members).await.unwrap());
    let disks = place.image_task(task).disks.clone();
    let seen: Vec<_> = disks.iter().map(|disk| (disk.member.as_deref(), disk.bytes, disk.stated)).collect();
    assert_eq!(seen, [(Some("root.vmdk"), Some(10), None), (Some("data.vmdk"), Some(20), None)]);
    let made = [place.begun(task, 0).await, place.begun(task, 1).await];
    progress::finish::<ImportImageTask>(cloud, &region, &task).await.unwrap();
    let shown = place.kit.call("DescribeImportImageTasks", &[]).await.unwrap();
    assert_eq!(shown.one("importImageTaskSet/item/status"), "completed");
    let image: ImageId = shown.one("importImageTaskSet/item/imageId").parse().unwrap();
    let image = cloud.view.read().get::<Image>(&region, &image).cloned().unwrap();
    assert_eq!(image.name, task.to_string());
    assert_eq!(image.traits.boot_mode, Some(BootMode::Uefi));
    let devices: Vec<_> =
        image.devices.iter().map(|device| (device.device.as_str(), device.snapshot, device.size.0)).collect();
    assert_eq!(devices, [("/dev/sda1", Some(made[0]), 4), ("/dev/sdb", Some(made[1]), 4)]);
}

#[tokio::test]
async fn what_fails_leaves_no_snapshot_and_says_why() {
    let place = Place::new().await;
    let (cloud, region) = (&place.kit.cloud, place.kit.region());
    let task = place.import_image(&[]).await;
    let made = place.begun(task, 0).await;
    let reason = "ClientError: Disk validation failed [it is empty]".to_owned();
    progress::fail::<ImportImageTask>(cloud, &region, &task, reason.clone()).await.unwrap();
    assert!(place.snapshot(made).is_deleting());
    let shown = place.kit.call("DescribeImportImageTasks", &[]).await.unwrap();
    assert_eq!(shown.one("importImageTaskSet/item/status"), "deleted");
    assert_eq!(shown.one("importImageTaskSet/item/statusMessage"), reason);
    assert!(!place.kit.call("DescribeImages", &[("Owner.1", "self")]).await.unwrap().0.contains("ami-"));
}

#[tokio::test]
async fn an_export_needs_a_bucket_and_an_image_that_may_leave() {
    let place = Place::new().await;
    let asked = |bucket| {
        [
            ("ImageId", "ami-00000000000000001"),
            ("DiskImageFormat", "RAW"),
            ("S3ExportLocation.S3Bucket", bucket),
        ]
    };
    assert_eq!(refused(&place.kit, "ExportImage", &asked("disks")).await, "InvalidAMIID.NotFound");
    let odd = with(&asked("disks"), &[("DiskImageFormat", "QED")]);
    assert_eq!(refused(&place.kit, "ExportImage", &odd).await, "InvalidParameterValue");
}
