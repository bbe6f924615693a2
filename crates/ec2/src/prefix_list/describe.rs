//! `DescribeManagedPrefixLists`, `DescribePrefixLists`, `GetManagedPrefixListEntries`, `GetManagedPrefixListAssociations`.

use super::{render, usage};
use crate::errors::{PREFIX_LIST, invalid_parameter_value};
use crate::noun::{Noun as _, Query, find, select};
use api_ec2::{
    DescribeManagedPrefixListsRequest, DescribeManagedPrefixListsResult, DescribePrefixListsRequest,
    DescribePrefixListsResult, GetManagedPrefixListAssociationsRequest,
    GetManagedPrefixListAssociationsResult, GetManagedPrefixListEntriesRequest,
    GetManagedPrefixListEntriesResult, PrefixListAssociation, PrefixListEntry,
};
use control::filter::{FilterField, Filters, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
use model::PrefixListId;
use model::record::prefix_list::PrefixList;

pub fn describe(
    ctx: &Context,
    request: &DescribeManagedPrefixListsRequest,
    tables: &Tables,
) -> Result<DescribeManagedPrefixListsResult> {
    let query = Query {
        ids: &request.prefix_list_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<PrefixList>(ctx, tables, &query)?;
    let lists = page.into_iter().map(|list| render::prefix_list(ctx, list, render::state(list))).collect();
    Ok(DescribeManagedPrefixListsResult { prefix_lists: Some(lists), next_token })
}

/// AWS's own lists, each with its ranges.
pub fn of_aws(
    ctx: &Context,
    request: &DescribePrefixListsRequest,
    tables: &Tables,
) -> Result<DescribePrefixListsResult> {
    let ids = request.prefix_list_ids.as_deref().unwrap_or_default();
    let paging = Paging::<PrefixListId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::from(&request.prefix_list_ids),
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), OF_AWS)?;
    let wanted = ids.iter().map(|id| PrefixList::parse_id(id)).collect::<Result<Vec<_>>>()?;
    let mut lists: Vec<_> = super::of_aws(&ctx.region, tables).map(|(_, list)| list).collect();
    lists.sort_unstable_by_key(|list| list.list);
    let is_there = |id: &PrefixListId| lists.iter().any(|list| list.list == *id);
    let missing: Vec<String> = wanted.iter().filter(|id| !is_there(id)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(PREFIX_LIST.none_found(&missing));
    }
    lists.retain(|list| wanted.is_empty() || wanted.contains(&list.list));
    let matching = lists.into_iter().filter(|list| filters.accept(list, &list.tags, &()));
    let (page, next_token) = page::cut(matching, &paging, |list| list.list);
    let shown = page.into_iter().map(|list| api_ec2::PrefixList {
        prefix_list_id: Some(list.list.to_string()),
        prefix_list_name: Some(list.name.clone()),
        cidrs: Some(list.entries().iter().map(|entry| entry.cidr.to_string()).collect()),
    });
    Ok(DescribePrefixListsResult { prefix_lists: Some(shown.collect()), next_token })
}

static OF_AWS: &[FilterField<PrefixList, ()>] = &[
    FilterField { name: "prefix-list-id", values: |l, ()| shown(l.list) },
    FilterField { name: "prefix-list-name", values: |l, ()| one(l.name.as_str()) },
];

pub fn entries(
    ctx: &Context,
    request: &GetManagedPrefixListEntriesRequest,
    tables: &Tables,
) -> Result<GetManagedPrefixListEntriesResult> {
    let list = find::<PrefixList>(ctx, tables, &request.prefix_list_id)?;
    let paging =
        Paging::<usize>::parse(request.max_results, request.next_token.as_deref(), 1..=100, ByIds::Absent)?;
    let version = request.target_version.unwrap_or_else(|| list.version());
    let entries = list.entries_of(version).ok_or_else(|| {
        invalid_parameter_value(format!("The specified value for version is not valid: {version}."))
    })?;
    let (page, next_token) = page::cut(entries.iter().enumerate(), &paging, |(at, _)| *at);
    let shown = page.into_iter().map(|(_, entry)| PrefixListEntry {
        cidr: Some(entry.cidr.to_string()),
        description: entry.description.clone(),
    });
    Ok(GetManagedPrefixListEntriesResult { entries: Some(shown.collect()), next_token })
}

pub fn associations(
    ctx: &Context,
    request: &GetManagedPrefixListAssociationsRequest,
    tables: &Tables,
) -> Result<GetManagedPrefixListAssociationsResult> {
    let list = find::<PrefixList>(ctx, tables, &request.prefix_list_id)?;
    let paging =
        Paging::<String>::parse(request.max_results, request.next_token.as_deref(), 5..=255, ByIds::Absent)?;
    let (page, next_token) = page::cut(usage::users(&ctx.region, tables, list.list), &paging, Clone::clone);
    let shown = page.into_iter().map(|id| PrefixListAssociation {
        resource_id: Some(id),
        resource_owner: Some(ctx.account().to_string()),
    });
    Ok(GetManagedPrefixListAssociationsResult { prefix_list_associations: Some(shown.collect()), next_token })
}
