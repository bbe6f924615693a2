//! `CreateTags`: adds tags or gives them new values.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTags.html>

use super::edit_all;
use crate::errors::{invalid_parameter_value, missing_parameter};
use api_ec2::{CreateTagsRequest, CreateTagsResult};
use control::tag::merge;
use control::{Context, Result, Txn};
use std::collections::BTreeSet;

pub(super) fn create(
    ctx: &Context,
    request: &CreateTagsRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTagsResult> {
    if request.tags.is_empty() {
        return Err(missing_parameter("tagSet"));
    }
    let mut keys = BTreeSet::new();
    for tag in &request.tags {
        let key = tag.key.as_deref().unwrap_or_default();
        if !keys.insert(key) {
            return Err(invalid_parameter_value(format!("Duplicate tag key '{key}' specified.")));
        }
    }
    let given: Vec<(&str, &str)> = request
        .tags
        .iter()
        .map(|tag| (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default()))
        .collect();
    edit_all(ctx, txn, &request.resources, &mut |tags| merge(tags, given.iter().copied()))?;
    Ok(CreateTagsResult::default())
}
