//! `DeleteTags`: a key alone deletes the tag, a key and a value only the tag that has this value, nothing at all every
//! tag of the caller's own. What is not there is no error.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteTags.html>

use super::edit_all;
use crate::errors::invalid_parameter_value;
use api_ec2::{DeleteTagsRequest, DeleteTagsResult, Tag};
use control::{Context, Result, Txn};

pub(super) fn delete(
    ctx: &Context,
    request: &DeleteTagsRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTagsResult> {
    let given: &[Tag] = request.tags.as_deref().unwrap_or_default();
    for tag in given {
        let key = tag.key.as_deref().unwrap_or_default();
        if key.is_empty() {
            return Err(invalid_parameter_value("Tag keys must not be empty."));
        }
        if is_system(key) {
            return Err(invalid_parameter_value(
                "Tag keys starting with 'aws:' are reserved for internal use",
            ));
        }
    }
    edit_all(ctx, txn, &request.resources, &mut |tags| {
        if given.is_empty() {
            tags.retain(|key, _| is_system(key));
        }
        for tag in given {
            let key = tag.key.as_deref().unwrap_or_default();
            let wanted = |value: &String| tag.value.as_ref().is_none_or(|wanted| wanted == value);
            if tags.get(key).is_some_and(wanted) {
                tags.remove(key);
            }
        }
        Ok(())
    })?;
    Ok(DeleteTagsResult::default())
}

fn is_system(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with("aws:")
}
