//! `ExportImage`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ExportImage.html>

use super::{description, may_begin, place, render};
use crate::errors::{IMAGE, client, invalid_parameter_value};
use crate::image;
use crate::noun::{Noun as _, created, given_tags, render_tags, touched};
use crate::snapshot;
use api_ec2::{DiskImageFormat, ExportImageRequest, ExportImageResult};
use control::bucket::{Missing, is_key};
use control::{Context, Result, Tables, Touched, Txn};
use model::ExportImageTaskId;
use model::record::image::{Image, State};
use model::record::snapshot::Snapshot;
use model::record::transfer::{DiskFormat, ExportImageTask, Stage};

pub fn touches(ctx: &Context, request: &ExportImageRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Image>(ctx, tables, [&request.image_id]);
    all.push(created(ctx, "export-image-task"));
    all
}

fn not_exportable(message: impl Into<String>) -> wire::ApiError {
    client("NotExportable", message)
}

/// The snapshot of an image's only disk, if its owner may take it out of the cloud.
fn disk_of(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<(Image, Snapshot)> {
    let parsed = Image::parse_id(id)?;
    let image =
        txn.get::<Image>(&ctx.region, &parsed).filter(|image| image::may_see(ctx, txn.tables(), image));
    let image = image.ok_or_else(|| IMAGE.not_found(parsed))?;
    if image.owner != ctx.account() {
        return Err(image::errors::not_yours(image.image));
    }
    if image.registration.state != State::Available {
        return Err(image::errors::unavailable(&image));
    }
    let disks: Vec<_> = image.snapshots().collect();
    let [disk] = disks[..] else {
        return Err(not_exportable(format!(
            "The image '{parsed}' has {} disks with data; an image with one disk can be exported.",
            disks.len()
        )));
    };
    if image.devices.first().and_then(|root| root.snapshot) != Some(disk) {
        return Err(not_exportable(format!("The image '{parsed}' has no snapshot of its root device.")));
    }
    if image.direct_kernel {
        return Err(not_exportable(format!(
            "The image '{parsed}' boots by a kernel that is not on its disk, so nothing else could boot it."
        )));
    }
    let disk = txn.get::<Snapshot>(&ctx.region, &disk).ok_or_else(|| snapshot_gone(disk))?;
    if disk.encryption.is_some() {
        return Err(not_exportable(format!(
            "The image '{parsed}' has an encrypted snapshot; images with encrypted snapshots cannot be exported."
        )));
    }
    if disk.account != ctx.account() {
        return Err(snapshot::errors::not_yours(disk.snapshot));
    }
    if !disk.is_completed() {
        return Err(snapshot::errors::incorrect_state(&disk, "'completed'"));
    }
    snapshot::errors::must_be_usable(&disk, ctx.now)?;
    Ok((Image::clone(&image), Snapshot::clone(&disk)))
}

fn snapshot_gone(id: model::SnapshotId) -> wire::ApiError {
    crate::errors::SNAPSHOT.not_found(id)
}

/// Whether the bucket is there, if there are any.
pub fn look(ctx: &Context, request: &ExportImageRequest) -> Result<(), Missing> {
    let Some(buckets) = ctx.cloud.settings.buckets.as_ref() else { return Ok(()) };
    buckets.bucket(&request.s3_export_location.s3_bucket).map(drop)
}

pub fn export(
    ctx: &Context,
    request: &ExportImageRequest,
    seen: &Result<(), Missing>,
    txn: &mut Txn<'_>,
) -> Result<ExportImageResult> {
    let format = match &request.disk_image_format {
        DiskImageFormat::Raw => DiskFormat::Raw,
        DiskImageFormat::Vmdk => DiskFormat::Vmdk,
        DiskImageFormat::Vhd => DiskFormat::Vhd,
        DiskImageFormat::Other(other) => {
            let shown: String = other.chars().take(32).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter DiskImageFormat is invalid. Known are VMDK, RAW and VHD."
            )));
        }
    };
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["export-image-task"])?;
    let description = description(request.description.as_deref())?;
    let (image, snapshot) = disk_of(ctx, txn, &request.image_id)?;
    may_begin::<ExportImageTask>(ctx, txn.tables())?;
    let task = ExportImageTask {
        task: ExportImageTaskId::from_entropy(ctx.bits()),
        account: ctx.account(),
        created_at: ctx.now,
        description,
        image: image.image,
        snapshot: snapshot.snapshot,
        size: snapshot.size,
        format,
        bucket: request.s3_export_location.s3_bucket.clone(),
        prefix: request.s3_export_location.s3_prefix.clone().filter(|prefix| !prefix.is_empty()),
        stage: Stage::Pending,
        tags: tags.remove("export-image-task").unwrap_or_default(),
    };
    place::buckets(ctx)?;
    if let Err(why) = seen {
        return Err(place::missing(why, &task.object()));
    }
    if !is_key(&task.object().key) {
        return Err(invalid_parameter_value("The S3Prefix makes no key that a file can have."));
    }
    let task = txn.put(&ctx.region, task);
    Ok(ExportImageResult {
        description: task.description.clone(),
        disk_image_format: Some(request.disk_image_format.clone()),
        export_image_task_id: Some(task.task.to_string()),
        image_id: Some(task.image.to_string()),
        role_name: request.role_name.clone(),
        progress: task.stage.percent().map(|percent| percent.to_string()),
        s3_export_location: Some(render::location(&task)),
        status: Some(task.stage.status().to_owned()),
        status_message: task.stage.message(),
        tags: render_tags(&task.tags),
    })
}
