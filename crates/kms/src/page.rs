//! Pages of a listing: `Limit` and `Marker` in, `NextMarker` and `Truncated` out.

use api_kms::errors::INVALID_MARKER_EXCEPTION;
use control::Result;
use wire::ApiError;

/// What markers begin with, to know them again.
const MARK: &str = "after:";

pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
    pub truncated: bool,
}

/// The items behind `marker`, as many as `limit` lets through. They come in the order of their names.
pub fn cut<T>(
    mut items: Vec<(String, T)>,
    limit: Option<i32>,
    usual: usize,
    marker: Option<&str>,
) -> Result<Page<T>> {
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(marker) = marker {
        let unknown = || ApiError::of(&INVALID_MARKER_EXCEPTION, "The marker was not given by this service.");
        let after = marker.strip_prefix(MARK).ok_or_else(unknown)?.to_owned();
        items.retain(|(name, _)| *name > after);
    }
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usual);
    let truncated = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| truncated).map(|(name, _)| format!("{MARK}{name}"));
    Ok(Page { items: items.into_iter().map(|(_, item)| item).collect(), next, truncated })
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let items = || ["c", "a", "b"].map(|name| (name.to_owned(), name)).to_vec();
        let first = cut(items(), Some(2), 10, None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((first.items, first.truncated), (vec!["a", "b"], true));
        let second = cut(items(), Some(2), 10, first.next.as_deref()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((second.items, second.truncated, second.next), (vec!["c"], false, None));
        let wrong = cut(items(), None, 10, Some("b"));
        assert!(wrong.is_err_and(|error| error.code() == "InvalidMarkerException"));
    }
}
