//! Paging by key: a token names the last item seen, so pages stay stable while items come and go.

use crate::{Result, errors};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt::Display;
use std::str::FromStr;
use wire::ApiError;

/// What a request asks of paging, after its bounds were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging<K> {
    pub limit: Option<usize>,
    pub after: Option<K>,
}

impl<K: FromStr> Paging<K> {
    /// `bounds` are the least and the greatest `MaxResults` of the operation. `by_ids` says whether the request names ids,
    /// which AWS does not let be combined with `MaxResults`.
    pub fn parse(
        max_results: Option<i32>,
        next_token: Option<&str>,
        bounds: std::ops::RangeInclusive<i32>,
        by_ids: ByIds,
    ) -> Result<Self> {
        if let Some(max) = max_results {
            if by_ids == ByIds::Given {
                return Err(errors::invalid_parameter_combination(
                    "The parameter MaxResults cannot be used with a list of ids in the same request",
                ));
            }
            if !bounds.contains(&max) {
                return Err(errors::invalid_parameter_value(format!(
                    "Value ( {max} ) for parameter maxResults is invalid. Expecting a value between {} and {}.",
                    bounds.start(),
                    bounds.end()
                )));
            }
        }
        let after = next_token.filter(|t| !t.is_empty()).map(parse_token).transpose()?;
        Ok(Self { limit: max_results.map(|m| m as usize), after })
    }

    /// Whether nothing is to be cut.
    pub fn is_everything(&self) -> bool {
        self.limit.is_none() && self.after.is_none()
    }
}

/// Whether a request lists ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByIds {
    Given,
    Absent,
}

impl<T> From<&Option<Vec<T>>> for ByIds {
    fn from(ids: &Option<Vec<T>>) -> Self {
        if ids.as_ref().is_some_and(|ids| !ids.is_empty()) { Self::Given } else { Self::Absent }
    }
}

fn parse_token<K: FromStr>(token: &str) -> Result<K> {
    let invalid = || {
        ApiError::new("InvalidNextToken", 400, "The token in NextToken is not one that this operation gave.")
    };
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let text =
        std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_prefix("v1:")).ok_or_else(invalid)?;
    text.parse().map_err(|_| invalid())
}

/// Cuts one page out of `items`, which come in the order of their keys, and names where the next one begins.
pub fn cut<T, K: Display + Ord>(
    items: impl IntoIterator<Item = T>,
    paging: &Paging<K>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<String>) {
    let mut items =
        items.into_iter().filter(|item| paging.after.as_ref().is_none_or(|after| key(item) > *after));
    let Some(limit) = paging.limit else { return (items.collect(), None) };
    let page: Vec<T> = items.by_ref().take(limit).collect();
    let more = page.len() == limit && items.next().is_some();
    let token = page.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(format!("v1:{}", key(last))));
    (page, token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once_while_items_come_and_go() {
        let mut items: Vec<u32> = (0..20).collect();
        let mut seen = Vec::new();
        let mut token = None;
        loop {
            let paging = Paging::<u32>::parse(Some(5), token.as_deref(), 5..=1000, ByIds::Absent).unwrap();
            let (page, next) = cut(items.iter().copied(), &paging, |i| *i);
            seen.extend(page);
            items.retain(|i| *i != 3);
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_token_that_nobody_gave_is_refused() {
        let refused = Paging::<u32>::parse(None, Some("bogus!"), 5..=1000, ByIds::Absent).unwrap_err();
        assert_eq!(refused.code(), "InvalidNextToken");
    }
}
