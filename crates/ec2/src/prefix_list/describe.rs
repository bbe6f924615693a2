//! `DescribeManagedPrefixLists`, `DescribePrefixLists`, `GetManagedPrefixListEntries`, `GetManagedPrefixListAssociations`.

use super::{render, usage};
use crate::errors::{PREFIX_LIST, invalid_parameter_value};
use crate::noun::{Noun as _, Query, find, parse_filters, select};
use api_ec2::{
    DescribeManagedPrefixListsRequest, DescribeManagedPrefixListsResult, DescribePrefixListsRequest,
    DescribePrefixListsResult, GetManagedPrefixListAssociationsRequest,
    GetManagedPrefixListAssociationsResult, GetManagedPrefixListEntriesRequest,
    GetManagedPrefixListEntriesResult, PrefixListAssociation, PrefixListEntry,
};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables};
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

/// Lists of AWS's services: there are none.
pub fn of_aws(
    _: &Context,
    request: &DescribePrefixListsRequest,
    _: &Tables,
) -> Result<DescribePrefixListsResult> {
    let ids = request.prefix_list_ids.as_deref().unwrap_or_default();
    let by_ids = ByIds::from(&request.prefix_list_ids);
    Paging::<String>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, by_ids)?;
    parse_filters::<PrefixList>(request.filters.as_deref())?;
    for id in ids {
        PrefixList::parse_id(id)?;
    }
    if !ids.is_empty() {
        return Err(PREFIX_LIST.none_found(ids));
    }
    Ok(DescribePrefixListsResult { prefix_lists: Some(Vec::new()), next_token: None })
}

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
    let (page, next_token) = page::cut(usage::users(ctx, tables, list.list), &paging, Clone::clone);
    let shown = page.into_iter().map(|id| PrefixListAssociation {
        resource_id: Some(id),
        resource_owner: Some(list.account.to_string()),
    });
    Ok(GetManagedPrefixListAssociationsResult { prefix_list_associations: Some(shown.collect()), next_token })
}
