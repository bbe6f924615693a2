//! `DescribeInstanceTypes`: by name, by filters, 100 at once.

use super::{filters, render};
use crate::errors::{client, invalid_parameter_combination};
use api_ec2::{DescribeInstanceTypesRequest, DescribeInstanceTypesResult};
use control::filter::{Filters, Pattern};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables};
use plan::instance_type::{self, InstanceType};

/// As many come at once when nobody says how many.
const PAGE: usize = 100;
/// How many types one call may name.
const MAX_NAMED: usize = 100;

pub(super) fn describe(
    _: &Context,
    request: &DescribeInstanceTypesRequest,
    tables: &Tables,
) -> Result<DescribeInstanceTypesResult> {
    let named = request.instance_types.as_deref().unwrap_or_default();
    if named.len() > MAX_NAMED {
        return Err(invalid_parameter_combination(format!(
            "A request may name up to {MAX_NAMED} instance types."
        )));
    }
    let mut paging = Paging::<String>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=100,
        ByIds::from(&request.instance_types),
    )?;
    paging.limit = paging.limit.or(Some(PAGE));
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::<InstanceType, Tables>::parse(given, filters::FILTERS)?;
    let names: Vec<&str> = named.iter().map(api_ec2::InstanceType::as_str).collect();
    let matching = chosen(&names)?.into_iter().filter(|kind| filters.accept(kind, &Tags::new(), tables));
    let (page, next_token) = page::cut(matching, &paging, |kind| kind.name.to_owned());
    let types = page.into_iter().map(render::info).collect();
    Ok(DescribeInstanceTypesResult { instance_types: Some(types), next_token })
}

/// The types that the names and patterns (`t3.*`) stand for; all when there are none. A pattern may match nothing, a name
/// may not.
fn chosen(names: &[&str]) -> Result<Vec<&'static InstanceType>> {
    let patterns: Vec<Pattern> = names.iter().map(|name| Pattern::new(name)).collect();
    let unknown: Vec<&str> = patterns
        .iter()
        .filter_map(Pattern::literal)
        .filter(|name| instance_type::get(name).is_none())
        .collect();
    if !unknown.is_empty() {
        return Err(client(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{}]", unknown.join(", ")),
        ));
    }
    let wanted = |kind: &&InstanceType| patterns.is_empty() || patterns.iter().any(|p| p.matches(kind.name));
    Ok(instance_type::all().iter().filter(wanted).collect())
}
