//! `DescribeImages`: by id, owner, who may launch them, and filters.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html>
//! Deprecated images show to their owner, by their id, and to whoever asks for them; disabled ones by their id, and to
//! whoever asks for them. What the caller's account does not allow is not there, or marked.

use super::render;
use crate::account_settings::{self, Verdict};
use crate::errors::{IMAGE, invalid_parameter_value};
use crate::noun::{Noun as _, find_all};
use crate::permission::{Whom, account};
use api_ec2::{DescribeImagesRequest, DescribeImagesResult, Filter};
use control::filter::Filters;
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::record::image::{Image, State};
use model::{AccountId, ImageId};
use std::collections::BTreeMap;

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeImagesRequest,
    tables: &Tables,
) -> Result<DescribeImagesResult> {
    let owners = request.owners.iter().flatten().map(|o| Owner::parse(ctx, o)).collect::<Result<Vec<_>>>()?;
    let users =
        request.executable_users.iter().flatten().map(|u| Whom::parse(ctx, u)).collect::<Result<Vec<_>>>()?;
    let paging = Paging::<ImageId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        Image::PAGE,
        ByIds::from(&request.image_ids),
    )?;
    let (asked, given) = allowed_filter(request.filters.as_deref().unwrap_or_default())?;
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::<Image, Tables>::parse(given, Image::filters())?;
    let settings = account_settings::now(ctx, tables).allowed_images;
    let verdict = |image: &Image| account_settings::verdict(ctx, &settings, image);
    let candidates = match request.image_ids.as_deref() {
        Some(ids) if !ids.is_empty() => {
            let found = find_all::<Image>(ctx, tables, ids)?;
            let hidden = found.iter().filter(|image| verdict(image) == Verdict::Hidden);
            let hidden: Vec<String> = hidden.map(|image| image.image.to_string()).collect();
            if !hidden.is_empty() {
                return Err(IMAGE.none_found(&hidden));
            }
            let once: BTreeMap<_, _> = found.into_iter().map(|image| (image.image, image)).collect();
            once.into_values().collect()
        }
        _ => Image::listed(ctx, tables),
    };
    let by_id = request.image_ids.as_ref().is_some_and(|ids| !ids.is_empty());
    let deprecated_too = by_id || request.include_deprecated == Some(true);
    let matching = candidates.into_iter().filter(|image| {
        let current = image.traits.deprecated_at.is_none_or(|at| ctx.now < at);
        if !(current || deprecated_too || image.owner == ctx.account()) {
            return false;
        }
        if image.registration.state == State::Disabled && !(by_id || request.include_disabled == Some(true)) {
            return false;
        }
        let verdict = verdict(image);
        if verdict == Verdict::Hidden || asked.is_some_and(|asked| asked != (verdict != Verdict::Marked)) {
            return false;
        }
        (owners.is_empty() || owners.iter().any(|owner| owner.owns(image)))
            && (users.is_empty() || users.iter().any(|user| may_launch(*user, image)))
            && filters.accept(image, &image.tags, tables)
    });
    let (page, next_token) = page::cut(matching, &paging, |image| image.image);
    let images = page.into_iter().map(|image| {
        let allowed = match verdict(image) {
            Verdict::Unasked => None,
            Verdict::Allowed => Some(true),
            Verdict::Marked | Verdict::Hidden => Some(false),
        };
        api_ec2::Image { image_allowed: allowed, ..render::image(image) }
    });
    let images = images.collect();
    Ok(DescribeImagesResult { images: Some(images), next_token })
}

/// The filter that depends on who asks, apart from the others.
fn allowed_filter(given: &[Filter]) -> Result<(Option<bool>, Vec<Filter>)> {
    let is_it = |filter: &&Filter| filter.name.as_deref() == Some("image-allowed");
    let asked = given.iter().find(is_it).map(|filter| match filter.values.as_deref() {
        Some([value]) if value == "true" => Ok(true),
        Some([value]) if value == "false" => Ok(false),
        _ => Err(invalid_parameter_value("The filter 'image-allowed' is either true or false.")),
    });
    let others = given.iter().filter(|filter| !is_it(filter)).cloned().collect();
    Ok((asked.transpose()?, others))
}

enum Owner {
    Account(AccountId),
    Alias(String),
}

impl Owner {
    fn parse(ctx: &Context, text: &str) -> Result<Self> {
        match text {
            "self" => Ok(Self::Account(ctx.account())),
            "amazon" | "aws-marketplace" | "aws-backup-vault" => Ok(Self::Alias(text.to_owned())),
            _ => account(text).map(Self::Account),
        }
    }

    fn owns(&self, image: &Image) -> bool {
        match self {
            Self::Account(account) => image.owner == *account,
            Self::Alias(alias) => image.owner_alias.as_ref() == Some(alias),
        }
    }
}

/// Whether somebody has an explicit permission to launch. An owner needs none, so it has none.
fn may_launch(whom: Whom, image: &Image) -> bool {
    match whom {
        Whom::Everybody => image.public,
        Whom::Account(account) => image.registration.shared.contains(&account),
    }
}
