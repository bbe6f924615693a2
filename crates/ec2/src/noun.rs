//! What every noun can do: be found by id, listed by ids and filters and pages, touched, tagged.
//!
//! A noun that implements [`Noun`] gets its describe, the checks of its ids and `CreateTags`/`DeleteTags` from here.

use crate::errors::IdErrors;
use api_ec2::{Filter, Tag};
use control::filter::{FilterField, Filters};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Arn, Context, Record, Result, Tables, Touched, Txn};
use model::record::Owned;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

/// A record of EC2 that callers name by id.
pub trait Noun: Record + Owned + Clone {
    /// The resource type in tags and ARNs, such as `security-group`.
    const RESOURCE_TYPE: &'static str;
    const ERRORS: IdErrors;
    /// The bounds of `MaxResults` in its describe.
    const PAGE: RangeInclusive<i32> = 5..=1000;

    /// The filters of its describe, beside those on tags.
    fn filters() -> &'static [FilterField<Self, Tables>];

    /// Whether the caller may see it at all; what it may not see does not exist for it.
    fn visible_to(&self, ctx: &Context) -> bool {
        self.account() == ctx.account()
    }

    /// Everything that the caller may see, in the order of the ids.
    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        tables.find::<Self>(&ctx.region, "account", ctx.account()).collect()
    }

    /// Every record that can pass these filters, in the order of the ids, when they can be had without looking at all
    /// that are [`Self::listed`]. More than can pass does no harm.
    fn narrowed<'a>(
        _: &Context,
        _: &'a Tables,
        _: &Filters<Self, Tables>,
    ) -> Option<std::collections::BTreeMap<Self::Id, &'a Arc<Self>>> {
        None
    }

    fn parse_id(text: &str) -> Result<Self::Id> {
        Self::Id::from_str(text).map_err(|_| Self::ERRORS.malformed(text))
    }

    fn arn(&self, ctx: &Context) -> Arn {
        Arn::new("ec2", &ctx.region, self.account(), Self::RESOURCE_TYPE, self.id())
    }
}

/// The record behind an id in a request, if the caller may see it.
pub fn find<'a, R: Noun>(ctx: &Context, tables: &'a Tables, id: &str) -> Result<&'a Arc<R>> {
    let parsed = R::parse_id(id)?;
    tables.get::<R>(&ctx.region, &parsed).filter(|r| r.visible_to(ctx)).ok_or_else(|| R::ERRORS.not_found(id))
}

/// [`find`], held until the commit.
pub fn hold<R: Noun>(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<R>> {
    let parsed = R::parse_id(id)?;
    txn.get::<R>(&ctx.region, &parsed).filter(|r| r.visible_to(ctx)).ok_or_else(|| R::ERRORS.not_found(id))
}

/// [`find`] for a list: every id is checked first, and all that are missing are named together.
pub fn find_all<'a, R: Noun>(ctx: &Context, tables: &'a Tables, ids: &[String]) -> Result<Vec<&'a Arc<R>>> {
    let parsed = ids.iter().map(|id| R::parse_id(id)).collect::<Result<Vec<_>>>()?;
    let found: Vec<_> =
        parsed.iter().map(|id| tables.get::<R>(&ctx.region, id).filter(|r| r.visible_to(ctx))).collect();
    let missing: Vec<String> =
        ids.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(id, _)| id.clone()).collect();
    if missing.is_empty() {
        Ok(found.into_iter().flatten().collect())
    } else {
        Err(R::ERRORS.none_found(&missing))
    }
}

/// What a describe asks: ids, filters, a page.
pub struct Query<'a> {
    pub ids: &'a Option<Vec<String>>,
    pub filters: &'a Option<Vec<Filter>>,
    pub max_results: Option<i32>,
    pub next_token: Option<&'a str>,
}

/// One page of the records that a describe asks for, and the token of the next.
pub fn select<'a, R: Noun>(
    ctx: &'a Context,
    tables: &'a Tables,
    query: &Query<'_>,
) -> Result<(Vec<&'a Arc<R>>, Option<String>)>
where
    R::Id: FromStr,
{
    select_of(ctx, tables, query, |_| true)
}

/// [`select`] for a describe of some of a noun's records; to it there are no others.
pub fn select_of<'a, R: Noun>(
    ctx: &'a Context,
    tables: &'a Tables,
    query: &Query<'_>,
    is_of: impl Fn(&R) -> bool,
) -> Result<(Vec<&'a Arc<R>>, Option<String>)>
where
    R::Id: FromStr,
{
    let paging =
        Paging::<R::Id>::parse(query.max_results, query.next_token, R::PAGE, ByIds::from(query.ids))?;
    let filters = parse_filters::<R>(query.filters.as_deref())?;
    let mut candidates = match query.ids.as_deref() {
        Some(ids) if !ids.is_empty() => {
            let mut found = find_all::<R>(ctx, tables, ids)?;
            let others: Vec<String> =
                found.iter().filter(|r| !is_of(r)).map(|record| record.id().to_string()).collect();
            if !others.is_empty() {
                return Err(R::ERRORS.none_found(&others));
            }
            // Each once and in order, however often it was named.
            let order = sorted(found.len(), &|a, b| found[a].id().cmp(&found[b].id()));
            found = order.into_iter().map(|index| found[index]).collect();
            found.dedup_by_key(|record| record.id());
            found
        }
        _ => match R::narrowed(ctx, tables, &filters) {
            Some(found) => found.into_values().filter(|r| r.visible_to(ctx)).collect(),
            None => R::listed(ctx, tables),
        },
    };
    candidates.retain(|record| is_of(record));
    if filters.is_empty() && paging.is_everything() {
        return Ok((candidates, None));
    }
    let matching = candidates.into_iter().filter(|r| filters.accept(r, r.tags(), tables));
    Ok(page::cut(matching, &paging, |r| r.id()))
}

/// The numbers below `count` in the order of what they stand for. One sort serves every noun: each one's own would be
/// eight kilobytes of the program.
fn sorted(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_unstable_by(|a, b| compare(*a, *b));
    order
}

/// The filters of a request, for nouns whose describe is not [`select`].
pub fn parse_filters<R: Noun>(given: Option<&[Filter]>) -> Result<Filters<R, Tables>> {
    let given = given.unwrap_or_default().iter().map(|f| (f.name.as_deref(), f.values.as_deref()));
    Filters::parse(given, R::filters())
}

/// What an operation touches when its request names records of one noun by id. Ids that name nothing are left to the
/// operation, whose error says so.
pub fn touched<'a, R: Noun>(
    ctx: &Context,
    tables: &Tables,
    ids: impl IntoIterator<Item = &'a String>,
) -> Vec<Touched> {
    let records = ids.into_iter().filter_map(|id| find::<R>(ctx, tables, id).ok());
    records.map(|r| Touched::new(r.arn(ctx)).tagged(r.tags())).collect()
}

/// What an operation touches when it makes a new resource.
pub fn created(ctx: &Context, resource_type: &str) -> Touched {
    Touched::new(Arn::new("ec2", &ctx.region, ctx.account(), resource_type, "*"))
}

/// Tags as the API shows them.
pub fn render_tags(tags: &Tags) -> Option<Vec<Tag>> {
    let shown = tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) });
    (!tags.is_empty()).then(|| shown.collect())
}

/// The tags that a creation gives, by resource type; other types than `allowed` are refused.
pub fn given_tags(
    specifications: Option<&[api_ec2::TagSpecification]>,
    allowed: &[&'static str],
) -> Result<std::collections::BTreeMap<&'static str, Tags>> {
    control::tag::specifications(
        specifications.unwrap_or_default().iter().map(|spec| {
            let kind = spec.resource_type.as_ref().map_or("", |kind| kind.as_str());
            let tags = spec.tags.as_deref().unwrap_or_default();
            (
                kind,
                tags.iter()
                    .map(|t| (t.key.as_deref().unwrap_or_default(), t.value.as_deref().unwrap_or_default())),
            )
        }),
        allowed,
    )
}

/// The timestamp of the wire.
pub fn wire_time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_millis(at.as_millis())
}
