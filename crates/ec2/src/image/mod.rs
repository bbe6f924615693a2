//! Machine images: those that come with the cloud, public, and those that accounts make of instances and snapshots.
//!
//! The cloud's own are registered by crate `nube`, as records, beside which AWS's public images stand as facts ([`public`]).
//! What is made here is pending until its snapshots are completed; [`crate::snapshot::absorb`] moves it on. Launches find
//! images by [`may_see`] and [`is_ready`].
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AMIs.html>
//! Differs: no sharing with organizations, no encryption. The tags of a public image are seen by everybody. An image of a
//! system without a boot loader goes on booting by the kernel of the image that it descends from.

mod attribute;
mod bin;
mod copy;
mod create;
mod deregister;
mod describe;
pub(crate) mod errors;
mod filters;
mod lifecycle;
mod modify;
mod names;
mod protection;
pub(crate) mod public;
mod register;
mod render;

pub use render::{block_devices, location, platform};

use crate::account_settings::{self, Verdict};
use crate::errors::IdErrors;
use crate::noun::{Noun, hold, touched};
use api_ec2::ops;
use control::filter::FilterField;
use control::{Context, Result, Service, Tables, Touched, Txn};
use model::record::image::{Image, State};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Noun for Image {
    const RESOURCE_TYPE: &'static str = "image";
    const ERRORS: IdErrors = crate::errors::IMAGE;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        filters::FILTERS
    }

    fn visible_to(&self, ctx: &Context) -> bool {
        self.is_visible_to(ctx.account())
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let own = tables.find::<Self>(&ctx.region, "owner", ctx.account());
        let shared = tables.find::<Self>(&ctx.region, "shared", ctx.account());
        let public = tables.find::<Self>(&ctx.region, "public", "true");
        let all = own.chain(shared).chain(public).filter(|image| image.registration.binned.is_none());
        let once: BTreeMap<_, _> = all.map(|image| (image.image, image)).collect();
        once.into_values().collect()
    }

    /// Images name no account in their ARN.
    fn arn(&self, ctx: &Context) -> control::Arn {
        control::Arn::ownerless("ec2", &ctx.region, Self::RESOURCE_TYPE, self.image)
    }
}

/// Whether the caller sees it: by its permissions, and by what the caller's account allows.
pub fn may_see(ctx: &Context, tables: &Tables, image: &Image) -> bool {
    let settings = || account_settings::now(ctx, tables).allowed_images;
    image.visible_to(ctx) && account_settings::verdict(ctx, &settings(), image) != Verdict::Hidden
}

/// Whether instances can be launched of it now.
pub fn is_ready(image: &Image) -> Result<()> {
    match &image.registration.state {
        State::Stock if image.host_image.is_none() => Err(public::not_imported(image)),
        State::Stock | State::Available => Ok(()),
        State::Pending | State::Failed { .. } | State::Disabled => Err(errors::unavailable(image)),
    }
}

/// An image of the caller's own, held until the commit.
fn own(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<Image>> {
    let image = hold::<Image>(ctx, txn, id)?;
    if image.owner == ctx.account() { Ok(image) } else { Err(errors::not_yours(image.image)) }
}

/// Whether the cloud itself has registered it, and would do so again.
fn is_stock(image: &Image) -> bool {
    image.registration.state == State::Stock
        || (image.host_image.is_some() && image.registration.source_image.is_none())
}

fn one(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<Image>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .read(
            ops::DescribeImages,
            |ctx, request, tables| match request.image_ids.as_deref() {
                Some(ids) if !ids.is_empty() => touched::<Image>(ctx, tables, ids),
                _ => Touched::anything(),
            },
            describe::describe,
        )
        .write(ops::CreateImage, create::touches, create::create)
        .write(ops::RegisterImage, register::touches, register::register)
        .write(ops::CopyImage, copy::touches, copy::copy)
        .exclusive(
            ops::DeregisterImage,
            |ctx, request, tables| one(ctx, tables, &request.image_id),
            deregister::deregister,
        )
        .read(ops::ListImagesInRecycleBin, |_, _, _| Touched::anything(), bin::list)
        .write(ops::RestoreImageFromRecycleBin, |_, _, _| Touched::anything(), bin::restore)
        .read(
            ops::DescribeImageAttribute,
            |ctx, request, tables| one(ctx, tables, &request.image_id),
            attribute::describe,
        )
        .write(
            ops::ModifyImageAttribute,
            |ctx, request, tables| one(ctx, tables, &request.image_id),
            modify::modify,
        )
        .write(
            ops::ResetImageAttribute,
            |ctx, request, tables| one(ctx, tables, &request.image_id),
            modify::reset,
        )
        .write(
            ops::CancelImageLaunchPermission,
            |ctx, request, tables| one(ctx, tables, &request.image_id),
            modify::cancel,
        )
        .write(ops::EnableImage, |ctx, r, tables| one(ctx, tables, &r.image_id), lifecycle::enable)
        .write(ops::DisableImage, |ctx, r, tables| one(ctx, tables, &r.image_id), lifecycle::disable)
        .write(
            ops::EnableImageDeprecation,
            |ctx, r, tables| one(ctx, tables, &r.image_id),
            lifecycle::deprecate,
        )
        .write(
            ops::DisableImageDeprecation,
            |ctx, r, tables| one(ctx, tables, &r.image_id),
            lifecycle::undo_deprecation,
        )
        .write(
            ops::EnableImageDeregistrationProtection,
            |ctx, r, tables| one(ctx, tables, &r.image_id),
            protection::enable,
        )
        .write(
            ops::DisableImageDeregistrationProtection,
            |ctx, r, tables| one(ctx, tables, &r.image_id),
            protection::disable,
        );
}
