//! `DescribeImages`: by id, owner, who may launch them, and filters.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html>
//! Deprecated images show to their owner, by their id, and to whoever asks for them. Nothing is ever disabled here.

use super::render;
use crate::errors::client;
use crate::noun::{Noun as _, find_all, parse_filters};
use api_ec2::{DescribeImagesRequest, DescribeImagesResult};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::record::image::Image;
use model::{AccountId, ImageId};
use std::collections::BTreeMap;

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeImagesRequest,
    tables: &Tables,
) -> Result<DescribeImagesResult> {
    let owners = request.owners.iter().flatten().map(|o| Owner::parse(ctx, o)).collect::<Result<Vec<_>>>()?;
    let users =
        request.executable_users.iter().flatten().map(|u| User::parse(u)).collect::<Result<Vec<_>>>()?;
    let paging = Paging::<ImageId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        Image::PAGE,
        ByIds::from(&request.image_ids),
    )?;
    let filters = parse_filters::<Image>(request.filters.as_deref())?;
    let candidates = match request.image_ids.as_deref() {
        Some(ids) if !ids.is_empty() => {
            let found = find_all::<Image>(ctx, tables, ids)?;
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
        (owners.is_empty() || owners.iter().any(|owner| owner.owns(image)))
            && (users.is_empty() || users.iter().any(|user| user.may_launch(image)))
            && filters.accept(image, &image.tags, tables)
    });
    let (page, next_token) = page::cut(matching, &paging, |image| image.image);
    let images = page.into_iter().map(|image| render::image(image)).collect();
    Ok(DescribeImagesResult { images: Some(images), next_token })
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

/// Whose explicit permission to launch is asked for. An owner needs none, so it has none.
enum User {
    Everybody,
    /// The caller or a named account: no image is shared with a single account.
    One,
}

impl User {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "all" => Ok(Self::Everybody),
            "self" => Ok(Self::One),
            _ => account(text).map(|_| Self::One),
        }
    }

    fn may_launch(&self, image: &Image) -> bool {
        match self {
            Self::Everybody => image.public,
            Self::One => false,
        }
    }
}

fn account(text: &str) -> Result<AccountId> {
    AccountId::parse(text)
        .ok_or_else(|| client("InvalidUserID.Malformed", format!("Invalid user id: \"{text}\"")))
}
