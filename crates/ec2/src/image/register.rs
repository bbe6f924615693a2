//! `RegisterImage`: of snapshots that are there.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RegisterImage.html>
//! Differs: who names no architecture means `x86_64`, and no virtualization type, `hvm`. An image of the root of a system
//! without a boot loader boots by the kernel that the system booted by.

use super::names;
use crate::errors::{client, invalid_parameter_value};
use crate::instance::errors::device_refused;
use crate::instance::spec;
use crate::noun::{created, given_tags, touched};
use crate::parameter::{refuse, unsupported};
use crate::snapshot;
use api_ec2::{BootModeValues, ImdsSupportValues, RegisterImageRequest, RegisterImageResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::ImageId;
use model::host::Architecture;
use model::record::image::{BootMode, Image, Registration, State, Traits};
use model::record::snapshot::Snapshot;
use plan::image::{Content, registered};

/// The root device of an image that names none, as on AWS.
const ROOT_DEVICE: &str = "/dev/sda1";

fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}

pub fn touches(ctx: &Context, request: &RegisterImageRequest, tables: &Tables) -> Vec<Touched> {
    let mappings = request.block_device_mappings.iter().flatten().filter_map(|mapping| mapping.ebs.as_ref());
    let mut all = touched::<Snapshot>(ctx, tables, mappings.filter_map(|ebs| ebs.snapshot_id.as_ref()));
    all.push(created(ctx, "image"));
    all
}

fn invalid(what: &str, value: &str) -> wire::ApiError {
    let shown: String = value.chars().take(64).collect();
    invalid_parameter_value(format!("Invalid value '{shown}' for {what}."))
}

fn boot_mode(request: &RegisterImageRequest) -> Result<Option<BootMode>> {
    Ok(match &request.boot_mode {
        None => None,
        Some(BootModeValues::LegacyBios) => Some(BootMode::LegacyBios),
        Some(BootModeValues::Uefi) => Some(BootMode::Uefi),
        Some(BootModeValues::UefiPreferred) => Some(BootMode::UefiPreferred),
        Some(BootModeValues::Other(other)) => return Err(invalid("BootMode", other)),
    })
}

pub fn register(
    ctx: &Context,
    request: &RegisterImageRequest,
    txn: &mut Txn<'_>,
) -> Result<RegisterImageResult> {
    refuse(&[
        ("ImageLocation", text(request.image_location.as_deref()).is_some()),
        ("BillingProduct", request.billing_products.as_ref().is_some_and(|list| !list.is_empty())),
        ("TpmSupport", request.tpm_support.is_some()),
        ("UefiData", text(request.uefi_data.as_deref()).is_some()),
        ("KernelId", text(request.kernel_id.as_deref()).is_some()),
        ("RamdiskId", text(request.ramdisk_id.as_deref()).is_some()),
    ])?;
    match text(request.virtualization_type.as_deref()) {
        None | Some("hvm") => {}
        Some("paravirtual") => return Err(unsupported("The virtualization type paravirtual")),
        Some(other) => return Err(invalid("VirtualizationType", other)),
    }
    if let Some(other) = text(request.sriov_net_support.as_deref()).filter(|given| *given != "simple") {
        return Err(invalid("SriovNetSupport", other));
    }
    let architecture = match request.architecture.as_ref().map(api_ec2::ArchitectureValues::as_str) {
        None => Architecture::X86_64,
        Some(known @ ("i386" | "x86_64_mac" | "arm64_mac")) => {
            return Err(unsupported(&format!("The architecture {known}")));
        }
        Some(name) => Architecture::parse(name).ok_or_else(|| invalid("Architecture", name))?,
    };
    let boot_mode = boot_mode(request)?;
    if architecture == Architecture::Arm64 && boot_mode.is_some_and(|mode| mode == BootMode::LegacyBios) {
        return Err(invalid_parameter_value("An image of the architecture arm64 boots by uefi alone."));
    }
    let imds_v2 = match &request.imds_support {
        None => false,
        Some(ImdsSupportValues::V20) => true,
        Some(ImdsSupportValues::Other(other)) => return Err(invalid("ImdsSupport", other)),
    };
    let tags = given_tags(request.tag_specifications.as_deref(), &["image"])?;
    let description = names::description(request.description.as_deref())?;
    let id = ImageId::from_entropy(ctx.bits());
    names::claim(ctx, txn, &request.name, id)?;
    let root = text(request.root_device_name.as_deref()).unwrap_or(ROOT_DEVICE);
    let mappings = request.block_device_mappings.iter().flatten();
    let mut specs = mappings.map(spec::device).collect::<Result<Vec<_>>>()?;
    if specs.is_empty() {
        return Err(client(
            "MissingParameter",
            "The request must contain block-device mappings with a snapshot of the root device",
        ));
    }
    snapshot::resolve(ctx, txn, &mut specs, &[])?;
    let devices = registered(root, &specs).map_err(device_refused)?;
    let devices = devices.into_iter().map(|device| {
        let snapshot = match device.content {
            Content::Snapshot(snapshot) => Some(snapshot),
            Content::Volume(_) | Content::Empty => None,
        };
        let own = snapshot.and_then(|id| txn.get::<Snapshot>(&ctx.region, &id));
        device.into_image(snapshot).encrypted_like(own.as_deref())
    });
    let devices: Vec<_> = devices.collect();
    let root_snapshot = devices.first().and_then(|root| root.snapshot);
    let kernel = root_snapshot
        .and_then(|id| txn.get::<Snapshot>(&ctx.region, &id))
        .and_then(|snapshot| snapshot.kernel.clone());
    let image = Image {
        image: id,
        owner: ctx.account(),
        owner_alias: None,
        name: request.name.clone(),
        description,
        architecture,
        root_device: root.to_owned(),
        devices,
        host_image: None,
        digest: None,
        direct_kernel: kernel.is_some(),
        public: false,
        min_memory_mib: 0,
        default_user: None,
        created_at: ctx.now,
        traits: Traits { boot_mode, imds_v2, ..Traits::default() },
        registration: Registration { state: State::Available, kernel, ..Registration::default() },
        tags: tags.into_values().next().unwrap_or_default(),
    };
    txn.put(&ctx.region, image);
    Ok(RegisterImageResult { image_id: Some(id.to_string()) })
}
