//! Tasks as the API shows them.

use crate::noun::render_tags;
use api_ec2::{
    BootModeValues, ExportTaskS3Location, ImportImageResult, SnapshotDetail, SnapshotTaskDetail,
    UserBucketDetails,
};
use model::record::image::BootMode;
use model::record::kms::Encryption;
use model::record::transfer::{Disk, ExportImageTask, ImportImageTask, ImportSnapshotTask, Stage};

fn progress(stage: &Stage) -> Option<String> {
    stage.percent().map(|percent| percent.to_string())
}

#[allow(clippy::cast_precision_loss, reason = "that is how AWS shows it")]
fn bytes(disk: &Disk) -> Option<f64> {
    disk.bytes.map(|bytes| bytes as f64)
}

fn format(disk: &Disk) -> Option<String> {
    disk.format.or(disk.stated).map(|format| format.as_str().to_owned())
}

fn user_bucket(disk: &Disk) -> Option<UserBucketDetails> {
    let object = disk.object.as_ref()?;
    Some(UserBucketDetails { s3_bucket: Some(object.bucket.clone()), s3_key: Some(object.key.clone()) })
}

pub fn snapshot_task_detail(task: &ImportSnapshotTask) -> SnapshotTaskDetail {
    let disk = &task.disk;
    SnapshotTaskDetail {
        description: disk.description.clone(),
        disk_image_size: bytes(disk),
        encrypted: Some(disk.encryption.is_some()),
        format: format(disk),
        kms_key_id: disk.encryption.as_ref().map(Encryption::key_arn),
        progress: progress(&task.stage),
        snapshot_id: disk.snapshot.map(|id| id.to_string()),
        status: Some(task.stage.status().to_owned()),
        status_message: task.stage.message(),
        url: disk.url.clone(),
        user_bucket: user_bucket(disk),
    }
}

pub fn import_snapshot_task(task: &ImportSnapshotTask) -> api_ec2::ImportSnapshotTask {
    api_ec2::ImportSnapshotTask {
        description: task.description.clone(),
        import_task_id: Some(task.task.to_string()),
        snapshot_task_detail: Some(snapshot_task_detail(task)),
        tags: render_tags(&task.tags),
    }
}

fn snapshot_detail(task: &ImportImageTask, disk: &Disk) -> SnapshotDetail {
    SnapshotDetail {
        description: disk.description.clone(),
        device_name: disk.device.clone(),
        disk_image_size: bytes(disk),
        format: format(disk),
        progress: progress(&task.stage),
        snapshot_id: disk.snapshot.map(|id| id.to_string()),
        status: Some(task.stage.status().to_owned()),
        status_message: None,
        url: disk.url.clone(),
        user_bucket: user_bucket(disk),
    }
}

pub fn import_image_task(task: &ImportImageTask) -> api_ec2::ImportImageTask {
    let (architecture, boot_mode) =
        task.boots.map_or((task.architecture, task.boot_mode), |(known, mode)| (Some(known), Some(mode)));
    let encryption = task.disks.iter().find_map(|disk| disk.encryption.as_ref());
    api_ec2::ImportImageTask {
        architecture: architecture.map(|known| known.as_str().to_owned()),
        boot_mode: boot_mode.map(|mode| match mode {
            BootMode::LegacyBios => BootModeValues::LegacyBios,
            BootMode::Uefi => BootModeValues::Uefi,
            BootMode::UefiPreferred => BootModeValues::UefiPreferred,
        }),
        description: task.description.clone(),
        encrypted: Some(encryption.is_some()),
        image_id: task.image.map(|id| id.to_string()),
        import_task_id: Some(task.task.to_string()),
        kms_key_id: encryption.map(Encryption::key_arn),
        license_type: task.license.clone(),
        platform: Some("Linux".to_owned()),
        progress: progress(&task.stage),
        snapshot_details: Some(task.disks.iter().map(|disk| snapshot_detail(task, disk)).collect()),
        status: Some(task.stage.status().to_owned()),
        status_message: task.stage.message(),
        tags: render_tags(&task.tags),
        usage_operation: Some("RunInstances".to_owned()),
        ..api_ec2::ImportImageTask::default()
    }
}

pub fn import_image_result(task: &ImportImageTask) -> ImportImageResult {
    let shown = import_image_task(task);
    ImportImageResult {
        architecture: shown.architecture,
        description: shown.description,
        encrypted: shown.encrypted,
        import_task_id: shown.import_task_id,
        kms_key_id: shown.kms_key_id,
        license_type: shown.license_type,
        platform: shown.platform,
        progress: shown.progress,
        snapshot_details: shown.snapshot_details,
        status: shown.status,
        status_message: shown.status_message,
        tags: shown.tags,
        usage_operation: shown.usage_operation,
        ..ImportImageResult::default()
    }
}

pub fn location(task: &ExportImageTask) -> ExportTaskS3Location {
    ExportTaskS3Location { s3_bucket: Some(task.bucket.clone()), s3_prefix: task.prefix.clone() }
}

pub fn export_image_task(task: &ExportImageTask) -> api_ec2::ExportImageTask {
    api_ec2::ExportImageTask {
        description: task.description.clone(),
        export_image_task_id: Some(task.task.to_string()),
        image_id: Some(task.image.to_string()),
        progress: progress(&task.stage),
        s3_export_location: Some(location(task)),
        status: Some(task.stage.status().to_owned()),
        status_message: task.stage.message(),
        tags: render_tags(&task.tags),
    }
}
