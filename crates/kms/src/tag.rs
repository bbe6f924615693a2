//! `TagResource`, `UntagResource`, `ListResourceTags`.

use crate::errors::{invalid_state, limit_exceeded};
use crate::page::{self, Page};
use crate::{held, named};
use api_kms::errors::TAG_EXCEPTION;
use api_kms::{
    ListResourceTagsRequest, ListResourceTagsResponse, Tag, TagResourceRequest, TagResourceResult,
    UntagResourceRequest, UntagResourceResult,
};
use control::tag::{MAX_TAGS, Tags};
use control::{Context, Result, Tables, Txn};
use model::record::kms::{Key, KeyState};
use std::sync::Arc;
use wire::ApiError;

/// Adds tags; the model bounds their lengths.
pub fn merge(tags: &mut Tags, given: &[Tag]) -> Result<()> {
    for tag in given {
        let key = tag.tag_key.clone().unwrap_or_default();
        if key.is_empty() || key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(ApiError::of(
                &TAG_EXCEPTION,
                "A tag's key is not empty and does not begin with 'aws:'.",
            ));
        }
        tags.insert(key, tag.tag_value.clone().unwrap_or_default());
    }
    if tags.len() > MAX_TAGS {
        return Err(limit_exceeded(format!("A key has at most {MAX_TAGS} tags.")));
    }
    Ok(())
}

fn taggable(ctx: &Context, txn: &mut Txn<'_>, id: &str, action: &str) -> Result<Arc<Key>> {
    let key = held(ctx, txn, id, action)?;
    match key.state {
        KeyState::Enabled | KeyState::Disabled => Ok(key),
        KeyState::PendingDeletion(_) => Err(invalid_state(format!("{} is pending deletion.", key.arn()))),
    }
}

pub fn tag(ctx: &Context, request: &TagResourceRequest, txn: &mut Txn<'_>) -> Result<TagResourceResult> {
    let mut key = Key::clone(&*taggable(ctx, txn, &request.key_id, "TagResource")?);
    merge(&mut key.tags, &request.tags)?;
    txn.put(&ctx.region, key);
    Ok(TagResourceResult {})
}

pub fn untag(
    ctx: &Context,
    request: &UntagResourceRequest,
    txn: &mut Txn<'_>,
) -> Result<UntagResourceResult> {
    let mut key = Key::clone(&*taggable(ctx, txn, &request.key_id, "UntagResource")?);
    key.tags.retain(|name, _| !request.tag_keys.contains(name));
    txn.put(&ctx.region, key);
    Ok(UntagResourceResult {})
}

pub fn list(
    ctx: &Context,
    request: &ListResourceTagsRequest,
    tables: &Tables,
) -> Result<ListResourceTagsResponse> {
    let key = named(ctx, tables, &request.key_id, "ListResourceTags")?;
    let tags = key.tags.iter().map(|(name, value)| {
        (name.clone(), Tag { tag_key: Some(name.clone()), tag_value: Some(value.clone()) })
    });
    let Page { items, next, truncated } =
        page::cut(tags.collect(), request.limit, 50, request.marker.as_deref())?;
    Ok(ListResourceTagsResponse { tags: Some(items), next_marker: next, truncated: Some(truncated) })
}
