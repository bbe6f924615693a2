//! AWS's public images in this cloud: shown in a region from its first use on, kept in memory alone.
//!
//! The facts are in `plan::public_image`. A simulated host starts any of them; a real one those that were imported under
//! their name, whose record then stands in the fact's place.

use crate::errors::client;
use control::{Context, PublicImages, Tables};
use model::AccountId;
use model::record::image::Image;
use plan::public_image::{self, SIMULATED};
use wire::ApiError;

/// Who owns what comes with the cloud.
const OPERATOR: AccountId = AccountId::from_number(0);

/// Whether the images of the request's region are shown, if they are to be.
pub(crate) fn are_shown(ctx: &Context, tables: &Tables) -> bool {
    match ctx.cloud.settings.public_images {
        PublicImages::Absent => true,
        PublicImages::Listed | PublicImages::Launchable => tables.shows_facts::<Image>(&ctx.region),
    }
}

/// Shows the images of the request's region.
pub(crate) fn show(ctx: &Context) {
    let region = &ctx.region;
    let images = match ctx.cloud.settings.public_images {
        PublicImages::Absent => return,
        PublicImages::Listed => public_image::all(region, None),
        PublicImages::Launchable => {
            let mut images = public_image::all(region, Some(SIMULATED));
            images.push(public_image::simulated(region, OPERATOR));
            images
        }
    };
    ctx.cloud.view.show_facts(region, images);
}

/// The answer to a launch of an image that no host has a disk of.
pub(crate) fn not_imported(image: &Image) -> ApiError {
    client(
        "InvalidAMIID.Unavailable",
        format!(
            "The image '{}' ({}) is listed, but this host has no copy of it. Get one with: nube image import FILE|URL \
             --name {}",
            image.image,
            image.name,
            public_image::short_name(&image.name)
        ),
    )
}
