//! `EnableImage`, `DisableImage`, and when an image is deprecated.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/disable-an-ami.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deprecate.html>

use super::{errors, own};
use crate::errors::invalid_parameter_value;
use api_ec2::{
    DisableImageDeprecationRequest, DisableImageDeprecationResult, DisableImageRequest, DisableImageResult,
    EnableImageDeprecationRequest, EnableImageDeprecationResult, EnableImageRequest, EnableImageResult,
};
use control::{Context, Result, Txn};
use model::Timestamp;
use model::record::image::{Image, Registration, State};
use model::record::snapshot::Snapshot;
use std::collections::BTreeSet;
use std::time::Duration;

const MINUTE: i64 = 60_000;
const YEAR: Duration = Duration::from_hours(24 * 365);

/// Disabling ends all sharing, and nothing brings that back.
pub fn disable(
    ctx: &Context,
    request: &DisableImageRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableImageResult> {
    let image = own(ctx, txn, &request.image_id)?;
    match image.registration.state {
        State::Stock | State::Available => {}
        State::Disabled => return Ok(DisableImageResult { r#return: Some(true) }),
        State::Pending | State::Failed { .. } => return Err(errors::incorrect_state(&image, "'available'")),
    }
    let shared = BTreeSet::new();
    let registration = Registration { state: State::Disabled, shared, ..image.registration.clone() };
    txn.put(&ctx.region, Image { public: false, registration, ..(*image).clone() });
    Ok(DisableImageResult { r#return: Some(true) })
}

/// Refused while a snapshot is archived, as nothing could be launched from it.
pub fn enable(ctx: &Context, request: &EnableImageRequest, txn: &mut Txn<'_>) -> Result<EnableImageResult> {
    let image = own(ctx, txn, &request.image_id)?;
    match image.registration.state {
        State::Disabled => {}
        State::Stock | State::Available => return Ok(EnableImageResult { r#return: Some(true) }),
        State::Pending | State::Failed { .. } => return Err(errors::incorrect_state(&image, "'disabled'")),
    }
    let mut snapshots = image.snapshots().filter_map(|id| txn.get::<Snapshot>(&ctx.region, &id));
    if let Some(archived) = snapshots.find(|snapshot| snapshot.is_archived()) {
        return Err(errors::is_archived(&image, archived.snapshot));
    }
    let registration = Registration { state: State::Available, ..image.registration.clone() };
    txn.put(&ctx.region, Image { registration, ..(*image).clone() });
    Ok(EnableImageResult { r#return: Some(true) })
}

fn write_deprecation(ctx: &Context, txn: &mut Txn<'_>, image: &Image, at: Option<Timestamp>) {
    let mut image = image.clone();
    image.traits.deprecated_at = at;
    txn.put(&ctx.region, image);
}

/// To the minute, within ten years, or two of a public image.
pub fn deprecate(
    ctx: &Context,
    request: &EnableImageDeprecationRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableImageDeprecationResult> {
    let image = own(ctx, txn, &request.image_id)?;
    let millis = request.deprecate_at.millis();
    let at = Timestamp::from_millis((millis + MINUTE / 2).div_euclid(MINUTE) * MINUTE);
    if millis < ctx.now.as_millis() {
        return Err(invalid_parameter_value("The date of a deprecation must not be in the past."));
    }
    let years = if image.public { 2 } else { 10 };
    if at > ctx.now + YEAR * years + Duration::from_hours(72) {
        return Err(invalid_parameter_value(format!(
            "The date of the deprecation must be within {years} years from now."
        )));
    }
    write_deprecation(ctx, txn, &image, Some(at));
    Ok(EnableImageDeprecationResult { r#return: Some(true) })
}

pub fn undo_deprecation(
    ctx: &Context,
    request: &DisableImageDeprecationRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableImageDeprecationResult> {
    let image = own(ctx, txn, &request.image_id)?;
    write_deprecation(ctx, txn, &image, None);
    Ok(DisableImageDeprecationResult { r#return: Some(true) })
}
