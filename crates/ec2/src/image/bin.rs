//! The recycle bin, as far as images are in it: listed, restored. An image keeps its name while it is in the bin.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-recycle-bin.html>

use crate::errors::IMAGE;
use crate::noun::{Noun as _, wire_time};
use api_ec2::{
    ImageRecycleBinInfo, ListImagesInRecycleBinRequest, ListImagesInRecycleBinResult,
    RestoreImageFromRecycleBinRequest, RestoreImageFromRecycleBinResult,
};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Txn};
use model::ImageId;
use model::record::image::{Image, Registration};
use std::collections::BTreeSet;
use std::sync::Arc;

fn in_bin(ctx: &Context, image: &Image) -> bool {
    image.owner == ctx.account() && image.registration.binned.is_some()
}

pub fn list(
    ctx: &Context,
    request: &ListImagesInRecycleBinRequest,
    tables: &Tables,
) -> Result<ListImagesInRecycleBinResult> {
    let paging = Paging::<ImageId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        1..=1000,
        ByIds::from(&request.image_ids),
    )?;
    let wanted = request.image_ids.iter().flatten().map(|id| Image::parse_id(id));
    let wanted = wanted.collect::<Result<BTreeSet<_>>>()?;
    let own = tables.find::<Image>(&ctx.region, "owner", ctx.account());
    let found: Vec<&Arc<Image>> = own
        .filter(|image| in_bin(ctx, image) && (wanted.is_empty() || wanted.contains(&image.image)))
        .collect();
    if let Some(missing) = wanted.iter().find(|id| !found.iter().any(|held| held.image == **id)) {
        return Err(IMAGE.not_found(missing));
    }
    let (page, next_token) = page::cut(found, &paging, |image| image.image);
    let info = |image: &Arc<Image>| ImageRecycleBinInfo {
        image_id: Some(image.image.to_string()),
        name: Some(image.name.clone()),
        description: image.description.clone(),
        recycle_bin_enter_time: image.registration.binned.map(|binned| wire_time(binned.at)),
        recycle_bin_exit_time: image.registration.binned.map(|binned| wire_time(binned.until)),
    };
    Ok(ListImagesInRecycleBinResult { images: Some(page.into_iter().map(info).collect()), next_token })
}

pub fn restore(
    ctx: &Context,
    request: &RestoreImageFromRecycleBinRequest,
    txn: &mut Txn<'_>,
) -> Result<RestoreImageFromRecycleBinResult> {
    let id = Image::parse_id(&request.image_id)?;
    let held = txn.get::<Image>(&ctx.region, &id).filter(|image| in_bin(ctx, image));
    let held = held.ok_or_else(|| IMAGE.not_found(id))?;
    let registration = Registration { binned: None, ..held.registration.clone() };
    txn.put(&ctx.region, Image { registration, ..(*held).clone() });
    Ok(RestoreImageFromRecycleBinResult { r#return: Some(true) })
}
