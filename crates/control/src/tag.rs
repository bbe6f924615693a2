//! Tags: their limits, and the tags that a call gives to what it creates.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions>

use crate::{Result, errors};
use std::collections::{BTreeMap, BTreeSet};
use wire::ApiError;

pub use model::record::Tags;

/// How many tags a resource may have.
pub const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 127;
const MAX_VALUE: usize = 255;

/// Whether a caller may set a tag like this.
pub fn check(key: &str, value: &str) -> Result<()> {
    let invalid = |message: String| ApiError::new("InvalidParameterValue", 400, message);
    if key.is_empty() {
        return Err(invalid("Tag keys must not be empty.".into()));
    }
    if key.chars().count() > MAX_KEY {
        return Err(invalid(format!("Tag key exceeds the maximum length of {MAX_KEY} characters")));
    }
    if value.chars().count() > MAX_VALUE {
        return Err(invalid(format!("Tag value exceeds the maximum length of {MAX_VALUE} characters")));
    }
    if is_reserved(key) {
        return Err(invalid("Tag keys starting with 'aws:' are reserved for internal use".into()));
    }
    Ok(())
}

/// The system's own tags begin with `aws:`, in any case.
fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:"))
}

/// Adds `more` to `tags`, overwriting values; refuses the whole when one is wrong or they become too many.
pub fn merge<'a>(tags: &mut Tags, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let mut merged = tags.clone();
    for (key, value) in more {
        check(key, value)?;
        merged.insert(key.to_owned(), value.to_owned());
    }
    if merged.keys().filter(|key| !is_reserved(key)).count() > MAX_TAGS {
        return Err(ApiError::new(
            "TagLimitExceeded",
            400,
            format!("A resource may have at most {MAX_TAGS} tags, and the system's own beside them."),
        ));
    }
    *tags = merged;
    Ok(())
}

/// The tags of one creation, by resource type. `allowed` are the types that the call creates.
pub fn specifications<'a, T, K>(
    given: impl IntoIterator<Item = (&'a str, T)>,
    allowed: &[&'static str],
) -> Result<BTreeMap<&'static str, Tags>>
where
    T: IntoIterator<Item = (K, K)>,
    K: AsRef<str>,
{
    let mut out: BTreeMap<&'static str, Tags> = BTreeMap::new();
    for (kind, pairs) in given {
        let Some(kind) = allowed.iter().find(|a| **a == kind) else {
            return Err(errors::invalid_parameter_value(format!(
                "'{kind}' is not a valid taggable resource type for this operation."
            )));
        };
        let pairs: Vec<(K, K)> = pairs.into_iter().collect();
        let mut keys = BTreeSet::new();
        if let Some((twice, _)) = pairs.iter().find(|(key, _)| !keys.insert(key.as_ref())) {
            let twice = twice.as_ref();
            return Err(errors::invalid_parameter_value(format!("Duplicate tag key '{twice}' specified.")));
        }
        let tags = out.entry(kind).or_default();
        merge(tags, pairs.iter().map(|(k, v)| (k.as_ref(), v.as_ref())))?;
    }
    Ok(out)
}
