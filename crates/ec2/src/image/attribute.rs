//! `DescribeImageAttribute`: one attribute of an image of one's own.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImageAttribute.html>
//! Differs: `blockDeviceMapping` is answered; AWS has given it up and refuses.

use super::{errors, protection, render};
use crate::errors::invalid_parameter_value;
use crate::noun::find;
use api_ec2::{
    AttributeValue, BootModeValues, DescribeImageAttributeRequest, ImageAttribute,
    ImageAttributeName as Name, LaunchPermission, PermissionGroup,
};
use control::{Context, Result, Tables};
use model::record::image::Image;

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeImageAttributeRequest,
    tables: &Tables,
) -> Result<ImageAttribute> {
    let image = find::<Image>(ctx, tables, &request.image_id)?;
    if image.owner != ctx.account() {
        return Err(errors::not_yours(image.image));
    }
    let text = |value: Option<&str>| Some(AttributeValue { value: value.map(str::to_owned) });
    let mut shown = ImageAttribute { image_id: Some(image.image.to_string()), ..ImageAttribute::default() };
    match &request.attribute {
        Name::Description => shown.description = text(image.description.as_deref()),
        Name::LaunchPermission => {
            let everybody = LaunchPermission { group: Some(PermissionGroup::All), ..Default::default() };
            let accounts = image.registration.shared.iter();
            let accounts = accounts
                .map(|id| LaunchPermission { user_id: Some(id.to_string()), ..LaunchPermission::default() });
            shown.launch_permissions =
                Some(image.public.then_some(everybody).into_iter().chain(accounts).collect());
        }
        Name::BlockDeviceMapping => shown.block_device_mappings = Some(render::block_devices(image)),
        Name::ProductCodes => shown.product_codes = Some(Vec::new()),
        Name::Kernel => shown.kernel_id = text(None),
        Name::Ramdisk => shown.ramdisk_id = text(None),
        Name::SriovNetSupport => shown.sriov_net_support = text(Some("simple")),
        Name::BootMode => {
            shown.boot_mode = text(render::boot_mode(image).as_ref().map(BootModeValues::as_str));
        }
        Name::TpmSupport => shown.tpm_support = text(None),
        Name::UefiData => shown.uefi_data = text(None),
        Name::LastLaunchedTime => shown.last_launched_time = text(None),
        Name::ImdsSupport => shown.imds_support = text(image.traits.imds_v2.then_some("v2.0")),
        Name::DeregistrationProtection => {
            shown.deregistration_protection = text(Some(protection::shown(image)));
        }
        Name::Other(name) => {
            return Err(invalid_parameter_value(format!(
                "Value ({name}) for parameter attribute is invalid."
            )));
        }
    }
    Ok(shown)
}
