//! `ImportImage`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ImportImage.html>
//! Differs: Linux alone, x86_64 and arm64; licenses are noted and mean nothing.

use super::place::{self, Given, Seen};
use super::{MOST_DISKS, description, may_begin, render};
use crate::encryption;
use crate::errors::{
    SNAPSHOT, client, invalid_parameter_combination, invalid_parameter_value, missing_parameter,
};
use crate::noun::{Noun as _, created, given_tags, touched};
use crate::parameter::{refuse, unsupported};
use crate::snapshot;
use api_ec2::{BootModeValues, ImageDiskContainer, ImportImageRequest, ImportImageResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::ImportImageTaskId;
use model::host::Architecture;
use model::record::image::{BootMode, EncryptionChoice};
use model::record::snapshot::Snapshot;
use model::record::transfer::{Disk, DiskFormat, ImportImageTask, Stage};
use std::collections::BTreeSet;

pub fn touches(ctx: &Context, request: &ImportImageRequest, tables: &Tables) -> Vec<Touched> {
    let containers = request.disk_containers.iter().flatten();
    let mut all = touched::<Snapshot>(ctx, tables, containers.filter_map(|disk| disk.snapshot_id.as_ref()));
    all.extend(["import-image-task", "image", "snapshot"].map(|kind| created(ctx, kind)));
    all
}

fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}

fn invalid(what: &str, value: &str) -> wire::ApiError {
    let shown: String = value.chars().take(64).collect();
    invalid_parameter_value(format!("Invalid value '{shown}' for {what}."))
}

/// What is asked of the machines, beside the disks.
fn machine(request: &ImportImageRequest) -> Result<(Option<Architecture>, Option<BootMode>)> {
    refuse(&[(
        "LicenseSpecifications",
        request.license_specifications.as_ref().is_some_and(|list| !list.is_empty()),
    )])?;
    match text(request.platform.as_deref()) {
        None => {}
        Some(name) if name.eq_ignore_ascii_case("linux") => {}
        Some(name) if name.eq_ignore_ascii_case("windows") => {
            return Err(unsupported("The import of images of the platform Windows"));
        }
        Some(other) => return Err(invalid("Platform", other)),
    }
    if let Some(other) = text(request.hypervisor.as_deref()).filter(|given| *given != "xen") {
        return Err(invalid("Hypervisor", other));
    }
    if let Some(other) =
        text(request.license_type.as_deref()).filter(|given| !["AWS", "BYOL", "Auto"].contains(given))
    {
        return Err(invalid("LicenseType", other));
    }
    if let Some(other) = text(request.usage_operation.as_deref()).filter(|given| *given != "RunInstances") {
        return Err(unsupported(&format!(
            "The usage operation {}",
            other.chars().take(64).collect::<String>()
        )));
    }
    let architecture = match text(request.architecture.as_deref()) {
        None => None,
        Some("i386") => return Err(unsupported("The architecture i386")),
        Some(name) => Some(Architecture::parse(name).ok_or_else(|| invalid("Architecture", name))?),
    };
    let boot_mode = match &request.boot_mode {
        None => None,
        Some(BootModeValues::LegacyBios) => Some(BootMode::LegacyBios),
        Some(BootModeValues::Uefi) => Some(BootMode::Uefi),
        Some(BootModeValues::UefiPreferred) => Some(BootMode::UefiPreferred),
        Some(BootModeValues::Other(other)) => return Err(invalid("BootMode", other)),
    };
    if architecture == Some(Architecture::Arm64) && boot_mode == Some(BootMode::LegacyBios) {
        return Err(invalid_parameter_value("An image of the architecture arm64 boots by uefi alone."));
    }
    Ok((architecture, boot_mode))
}

/// A snapshot of the caller's own as a disk of the image.
fn of_snapshot(
    ctx: &Context,
    txn: &mut Txn<'_>,
    container: &ImageDiskContainer,
    id: &str,
    asked: Option<&EncryptionChoice>,
) -> Result<Disk> {
    if text(container.url.as_deref()).is_some() || container.user_bucket.is_some() {
        return Err(client(
            "InvalidParameter",
            "A disk container has either a SnapshotId or a file, not both.",
        ));
    }
    if asked.is_some() {
        return Err(invalid_parameter_combination(
            "The parameter Encrypted cannot be used with a SnapshotId: the snapshot is taken as it is",
        ));
    }
    let id = Snapshot::parse_id(id)?;
    let held = txn.get::<Snapshot>(&ctx.region, &id).filter(|held| held.visible_to(ctx));
    let held = held.ok_or_else(|| SNAPSHOT.not_found(id))?;
    if held.account != ctx.account() {
        return Err(snapshot::errors::not_yours(id));
    }
    if !held.is_completed() {
        return Err(snapshot::errors::incorrect_state(&held, "'completed'"));
    }
    snapshot::errors::must_be_usable(&held, ctx.now)?;
    Ok(Disk {
        object: None,
        url: None,
        description: description(container.description.as_deref())?,
        device: text(container.device_name.as_deref()).map(str::to_owned),
        stated: None,
        format: None,
        bytes: None,
        member: None,
        encryption: None,
        snapshot: Some(id),
        size: Some(held.size),
    })
}

fn given(container: &ImageDiskContainer) -> Given<'_> {
    Given {
        url: container.url.as_deref(),
        bucket: container.user_bucket.as_ref(),
        format: container.format.as_deref(),
        description: container.description.as_deref(),
        device: container.device_name.as_deref(),
    }
}

pub fn look(ctx: &Context, request: &ImportImageRequest) -> Seen {
    let containers = request.disk_containers.iter().flatten().take(MOST_DISKS);
    let files = containers.filter(|container| text(container.snapshot_id.as_deref()).is_none());
    Seen::of(ctx, files.map(given))
}

pub fn import(
    ctx: &Context,
    request: &ImportImageRequest,
    seen: &Seen,
    txn: &mut Txn<'_>,
) -> Result<ImportImageResult> {
    let (architecture, boot_mode) = machine(request)?;
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    let kinds = ["import-image-task", "image", "snapshot"];
    let mut tags = given_tags(request.tag_specifications.as_deref(), &kinds)?;
    let text_of = description(request.description.as_deref())?;
    let containers = request.disk_containers.as_deref().unwrap_or_default();
    if containers.is_empty() {
        return Err(missing_parameter("DiskContainers"));
    }
    if containers.len() > MOST_DISKS {
        return Err(invalid_parameter_value(format!("An image has at most {MOST_DISKS} disks.")));
    }
    let names: Vec<&str> = containers.iter().filter_map(|disk| text(disk.device_name.as_deref())).collect();
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err(client("InvalidParameter", "Two disks have the same device name."));
    }
    if let Some(bad) = names.iter().find(|name| !name.starts_with("/dev/") || name.len() > 64) {
        return Err(invalid("DeviceName", bad));
    }
    may_begin::<ImportImageTask>(ctx, txn.tables())?;
    let mut disks = Vec::with_capacity(containers.len());
    for container in containers {
        if let Some(id) = text(container.snapshot_id.as_deref()) {
            disks.push(of_snapshot(ctx, txn, container, id, asked.as_ref())?);
            continue;
        }
        let disk = place::disk(ctx, &given(container), seen, &DiskFormat::ALL, None)?;
        if disk.stated == Some(DiskFormat::Ova) && containers.len() > 1 {
            return Err(client("InvalidParameter", "An OVA archive is imported as the only disk container."));
        }
        let choice = encryption::choose_of(ctx, txn, asked.as_ref(), None).map_err(encryption::refused)?;
        disks.push(Disk { encryption: choice.encryption(ctx), ..disk });
    }
    let task = ImportImageTask {
        task: ImportImageTaskId::from_entropy(ctx.bits()),
        account: ctx.account(),
        created_at: ctx.now,
        description: text_of,
        disks,
        architecture,
        boot_mode,
        license: text(request.license_type.as_deref()).map(str::to_owned),
        boots: None,
        stage: Stage::Pending,
        image: None,
        image_tags: tags.remove("image").unwrap_or_default(),
        snapshot_tags: tags.remove("snapshot").unwrap_or_default(),
        tags: tags.remove("import-image-task").unwrap_or_default(),
    };
    let task = txn.put(&ctx.region, task);
    Ok(render::import_image_result(&task))
}
