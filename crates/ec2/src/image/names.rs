//! Names of images: unique among those of one owner in a region.

use super::errors;
use control::{Context, Result, Txn};
use model::ImageId;
use model::record::image::Image;

/// Takes a name for a new image of the caller's.
pub fn claim(ctx: &Context, txn: &mut Txn<'_>, name: &str, image: ImageId) -> Result<()> {
    if !plan::image::is_name(name) {
        return Err(errors::malformed_name());
    }
    // What came with the cloud has claimed nothing.
    let mut own = txn.tables().find::<Image>(&ctx.region, "owner", ctx.account());
    if let Some(other) = own.find(|other| other.name == name) {
        return Err(errors::name_taken(name, other.image));
    }
    let claimed = txn.claim(&ctx.region, &Image::name_claim(ctx.account(), name), &image.to_string());
    claimed.map_err(|taken| errors::name_taken(name, taken.by))
}

pub fn release(ctx: &Context, txn: &mut Txn<'_>, image: &Image) {
    txn.release(&ctx.region, &Image::name_claim(image.owner, &image.name));
}

/// At most 255 characters; none: no description.
pub fn description(given: Option<&str>) -> Result<Option<String>> {
    let text = crate::snapshot::description(given)?;
    Ok((!text.is_empty()).then_some(text))
}
