//! Machine images: those that come with the cloud, public, and those that an account owns.
//!
//! Images are registered by the cloud itself (crate `nube`), as records, beside which AWS's public images stand as facts
//! ([`public`]); here they are shown. Launches find them by
//! [`crate::noun::find`].
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/AMIs.html>
//! Differs: an image is its owner's or everybody's; launch permissions for single accounts are not built. The tags of a
//! public image are seen by everybody.

mod attribute;
mod describe;
mod filters;
pub(crate) mod public;
mod render;

pub use render::{block_devices, location, platform};

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::FilterField;
use control::tag::Tags;
use control::{Context, Service, Tables, Touched};
use model::AccountId;
use model::record::image::Image;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Noun for Image {
    const RESOURCE_TYPE: &'static str = "image";
    const ERRORS: IdErrors = errors::IMAGE;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

    fn account(&self) -> AccountId {
        self.owner
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }

    fn filters() -> &'static [FilterField<Self, Tables>] {
        filters::FILTERS
    }

    fn visible_to(&self, ctx: &Context) -> bool {
        self.public || self.owner == ctx.account()
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let own = tables.find::<Self>(&ctx.region, "owner", ctx.account());
        let public = tables.find::<Self>(&ctx.region, "public", "true");
        let once: BTreeMap<_, _> = own.chain(public).map(|image| (image.image, image)).collect();
        once.into_values().collect()
    }

    /// Images name no account in their ARN.
    fn arn(&self, ctx: &Context) -> control::Arn {
        control::Arn::ownerless("ec2", &ctx.region, Self::RESOURCE_TYPE, self.image)
    }
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
        .read(
            ops::DescribeImageAttribute,
            |ctx, request, tables| touched::<Image>(ctx, tables, [&request.image_id]),
            attribute::describe,
        );
}
