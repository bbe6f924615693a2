//! Which images an account that trusts few may launch.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-allowed-amis.html>

use model::Timestamp;
use model::record::account::Criterion;
use model::record::image::Image;
use std::time::Duration;

/// The most criteria, and the most providers, names or product codes of one.
pub const MOST_CRITERIA: usize = 10;
pub const MOST_VALUES: usize = 200;

/// Whether one of the criteria accepts an image of somebody else. `matches` tells whether a name fits a pattern.
pub fn is_allowed(
    image: &Image,
    criteria: &[Criterion],
    now: Timestamp,
    matches: fn(&str, &str) -> bool,
) -> bool {
    // Nothing is asked: as on AWS, an account without criteria allows everybody's.
    criteria.is_empty() || criteria.iter().any(|criterion| accepts(criterion, image, now, matches))
}

fn accepts(criterion: &Criterion, image: &Image, now: Timestamp, matches: fn(&str, &str) -> bool) -> bool {
    let Criterion { providers, product_codes, names, days_since_deprecated, days_since_created } = criterion;
    let owner = image.owner.to_string();
    let provided = providers.is_empty()
        || providers.iter().any(|given| *given == owner || Some(given) == image.owner_alias.as_ref());
    let within =
        |since: Timestamp, days: u32| now.since(since) <= Duration::from_secs(u64::from(days) * 86_400);
    let fresh = days_since_created.is_none_or(|days| within(image.created_at, days));
    let current = days_since_deprecated
        .is_none_or(|days| image.traits.deprecated_at.is_none_or(|at| now < at || within(at, days)));
    // No image of this cloud has a product code.
    provided
        && product_codes.is_empty()
        && (names.is_empty() || names.iter().any(|pattern| matches(pattern, &image.name)))
        && fresh
        && current
}
