//! `DescribeTags`: one line for each tag of each resource of the caller's, by resource id and key.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeTags.html>

use super::kinds::KINDS;
use api_ec2::{DescribeTagsRequest, DescribeTagsResult, ResourceType, TagDescription};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables};

struct Line {
    resource: String,
    resource_type: &'static str,
    key: String,
    value: String,
    /// The tag once more, for the filters on tags.
    alone: Tags,
}

const FILTERS: &[FilterField<Line, Tables>] = &[
    FilterField { name: "key", values: |l, _| one(l.key.as_str()) },
    FilterField { name: "resource-id", values: |l, _| one(l.resource.as_str()) },
    FilterField { name: "resource-type", values: |l, _| one(l.resource_type) },
    FilterField { name: "value", values: |l, _| one(l.value.as_str()) },
];

pub(super) fn describe(
    ctx: &Context,
    request: &DescribeTagsRequest,
    tables: &Tables,
) -> Result<DescribeTagsResult> {
    let paging =
        Paging::<String>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, ByIds::Absent)?;
    let given = request.filters.as_deref().unwrap_or_default();
    let given = given.iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    let filters = Filters::<Line, Tables>::parse(given, FILTERS)?;
    let mut lines: Vec<Line> = Vec::new();
    for kind in &KINDS {
        for (resource, tags) in (kind.list)(ctx, tables) {
            lines.extend(tags.iter().map(|(key, value)| Line {
                resource: resource.clone(),
                resource_type: kind.resource_type,
                key: key.clone(),
                value: value.clone(),
                alone: Tags::from([(key.clone(), value.clone())]),
            }));
        }
    }
    lines.retain(|line| filters.accept(line, &line.alone, tables));
    lines.sort_by_cached_key(place);
    let (page, next_token) = page::cut(lines, &paging, place);
    let shown = page.into_iter().map(|line| TagDescription {
        key: Some(line.key),
        resource_id: Some(line.resource),
        resource_type: Some(ResourceType::from(line.resource_type)),
        value: Some(line.value),
    });
    Ok(DescribeTagsResult { tags: Some(shown.collect()), next_token })
}

/// Where a line stands among all.
fn place(line: &Line) -> String {
    format!("{} {}", line.resource, line.key)
}
