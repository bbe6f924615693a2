//! Deregistration protection.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deregistration-protection.html>

use super::own;
use api_ec2::{
    DisableImageDeregistrationProtectionRequest, DisableImageDeregistrationProtectionResult,
    EnableImageDeregistrationProtectionRequest, EnableImageDeregistrationProtectionResult,
};
use control::{Context, Result, Txn};
use model::Timestamp;
use model::record::image::{Image, Protection, Registration};
use std::time::Duration;

/// How long a protection with cooldown lasts after it was turned off.
const COOLDOWN: Duration = Duration::from_hours(24);

pub fn holds(image: &Image, now: Timestamp) -> bool {
    match image.registration.protection {
        Protection::Off => false,
        Protection::On { .. } => true,
        Protection::Until(at) => now < at,
    }
}

/// As the API shows it.
pub fn shown(image: &Image) -> &'static str {
    match image.registration.protection {
        Protection::Off | Protection::Until(_) => "disabled",
        Protection::On { cooldown: false } => "enabled-without-cooldown",
        Protection::On { cooldown: true } => "enabled-with-cooldown",
    }
}

fn write(ctx: &Context, txn: &mut Txn<'_>, image: &Image, protection: Protection) -> String {
    let registration = Registration { protection, ..image.registration.clone() };
    let image = txn.put(&ctx.region, Image { registration, ..image.clone() });
    shown(&image).to_owned()
}

pub fn enable(
    ctx: &Context,
    request: &EnableImageDeregistrationProtectionRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableImageDeregistrationProtectionResult> {
    let image = own(ctx, txn, &request.image_id)?;
    let protection = Protection::On { cooldown: request.with_cooldown == Some(true) };
    let shown = write(ctx, txn, &image, protection);
    Ok(EnableImageDeregistrationProtectionResult { r#return: Some(shown) })
}

pub fn disable(
    ctx: &Context,
    request: &DisableImageDeregistrationProtectionRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableImageDeregistrationProtectionResult> {
    let image = own(ctx, txn, &request.image_id)?;
    let protection = match image.registration.protection {
        Protection::On { cooldown: true } => Protection::Until(ctx.now + COOLDOWN),
        Protection::Until(at) => Protection::Until(at),
        Protection::Off | Protection::On { cooldown: false } => Protection::Off,
    };
    let shown = write(ctx, txn, &image, protection);
    Ok(DisableImageDeregistrationProtectionResult { r#return: Some(shown) })
}
