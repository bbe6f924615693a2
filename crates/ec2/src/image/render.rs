//! Images in the API's shapes.

use super::protection;
use crate::noun::{render_tags, wire_time};
use api_ec2::{
    ArchitectureValues, BlockDeviceMapping, BootModeValues, DeviceType, EbsBlockDevice, HypervisorType,
    ImageState, ImageTypeValues, ImdsSupportValues, PlatformValues, StateReason, VirtualizationType,
    VolumeType,
};
use model::host::Architecture;
use model::record::image::{BootMode, Image, Platform, State};

pub(super) fn image(image: &Image) -> api_ec2::Image {
    let source = image.registration.source_image.as_ref();
    api_ec2::Image {
        architecture: Some(ArchitectureValues::from(image.architecture.as_str())),
        block_device_mappings: Some(block_devices(image)),
        boot_mode: boot_mode(image),
        creation_date: Some(wire_time(image.created_at).to_string()),
        deprecation_time: image.traits.deprecated_at.map(|at| wire_time(at).to_string()),
        deregistration_protection: Some(protection::shown(image).to_owned()),
        description: image.description.clone(),
        ena_support: Some(true),
        hypervisor: Some(HypervisorType::Xen),
        image_id: Some(image.image.to_string()),
        image_location: Some(location(image)),
        image_owner_alias: image.owner_alias.clone(),
        image_type: Some(ImageTypeValues::Machine),
        imds_support: image.traits.imds_v2.then_some(ImdsSupportValues::V20),
        name: Some(image.name.clone()),
        owner_id: Some(image.owner.to_string()),
        platform: platform(image.traits.platform),
        platform_details: Some(image.traits.platform.details().into()),
        public: Some(image.public),
        root_device_name: Some(image.root_device.clone()),
        root_device_type: Some(DeviceType::Ebs),
        sriov_net_support: Some("simple".into()),
        source_image_id: source.map(|(id, _)| id.to_string()),
        source_image_region: source.map(|(_, region)| region.to_string()),
        source_instance_id: image.registration.source_instance.map(|id| id.to_string()),
        state: Some(ImageState::from(image.state_name())),
        state_reason: state_reason(image),
        tags: render_tags(&image.tags),
        usage_operation: Some(image.traits.platform.usage_operation().into()),
        virtualization_type: Some(VirtualizationType::Hvm),
        ..api_ec2::Image::default()
    }
}

/// Why it failed.
pub(super) fn state_reason(image: &Image) -> Option<StateReason> {
    match &image.registration.state {
        State::Failed { reason } => Some(StateReason {
            code: Some("Server.InternalError".into()),
            message: Some(format!("Server.InternalError: {reason}")),
        }),
        State::Stock | State::Pending | State::Available | State::Disabled => None,
    }
}

/// Shown for Windows alone, and in lower case, whatever AWS's own model says: clients compare it with that.
pub fn platform(platform: Platform) -> Option<PlatformValues> {
    match platform {
        Platform::Windows => Some(PlatformValues::from("windows")),
        Platform::Linux | Platform::RedHat | Platform::Suse => None,
    }
}

/// Shown only where it is not the default of old.
pub(super) fn boot_mode(image: &Image) -> Option<BootModeValues> {
    match (image.traits.boot_mode, image.architecture) {
        (Some(BootMode::LegacyBios), _) => Some(BootModeValues::LegacyBios),
        (Some(BootMode::Uefi), _) | (None, Architecture::Arm64) => Some(BootModeValues::Uefi),
        (Some(BootMode::UefiPreferred), _) => Some(BootModeValues::UefiPreferred),
        (None, Architecture::X86_64) => None,
    }
}

/// `amazon/NAME` or `ACCOUNT/NAME`.
pub fn location(image: &Image) -> String {
    match &image.owner_alias {
        Some(alias) => format!("{alias}/{}", image.name),
        None => format!("{}/{}", image.owner, image.name),
    }
}

/// The image's volumes as a launch makes them.
pub fn block_devices(image: &Image) -> Vec<BlockDeviceMapping> {
    let mapping = |device: &model::record::image::ImageDevice| BlockDeviceMapping {
        device_name: Some(device.device.clone()),
        ebs: Some(EbsBlockDevice {
            delete_on_termination: Some(device.delete_on_termination),
            encrypted: Some(device.encryption.is_some()),
            kms_key_id: device.encryption.as_ref().and_then(|choice| choice.key.clone()),
            snapshot_id: device.snapshot.map(|s| s.to_string()),
            volume_size: i32::try_from(device.size.0).ok(),
            volume_type: Some(VolumeType::from(device.volume_type.as_str())),
            iops: device.iops.and_then(|iops| i32::try_from(iops).ok()),
            throughput: device.throughput.and_then(|rate| i32::try_from(rate).ok()),
            ..EbsBlockDevice::default()
        }),
        ..BlockDeviceMapping::default()
    };
    image.devices.iter().map(mapping).collect()
}
