//! `ModifyManagedPrefixList`, `RestoreManagedPrefixListVersion`, `DeleteManagedPrefixList`.

use super::{MAX_CHANGES, added, check_name, check_size, range, render, size, usage};
use crate::errors::{
    client, dependency_violation, invalid_parameter_combination, invalid_parameter_value, missing_parameter,
    operation_not_permitted,
};
use crate::noun::hold;
use api_ec2::{
    DeleteManagedPrefixListRequest, DeleteManagedPrefixListResult, ModifyManagedPrefixListRequest,
    ModifyManagedPrefixListResult, PrefixListState, RestoreManagedPrefixListVersionRequest,
    RestoreManagedPrefixListVersionResult,
};
use control::{Context, Result, Txn};
use model::record::prefix_list::{Last, PrefixList};
use std::sync::Arc;

/// The caller's own; AWS's change by the operator's word alone.
fn own(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<PrefixList>> {
    let list = hold::<PrefixList>(ctx, txn, id)?;
    if list.account.is_some() {
        return Ok(list);
    }
    Err(operation_not_permitted(format!(
        "The prefix list '{id}' is managed by AWS and cannot be modified or deleted."
    )))
}

fn check_version(list: &PrefixList, expected: i64) -> Result<()> {
    if expected == list.version() {
        return Ok(());
    }
    Err(client("PrefixListVersionMismatch", "The prefix list has the incorrect version number."))
}

/// Entries are removed first and added then; one that is there already gets the new description.
pub fn modify(
    ctx: &Context,
    request: &ModifyManagedPrefixListRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyManagedPrefixListResult> {
    let mut list = PrefixList::clone(&*own(ctx, txn, &request.prefix_list_id)?);
    if request.ipam_prefix_list_resolver_sync_enabled == Some(true) {
        return Err(crate::parameter::unsupported("The parameter IpamPrefixListResolverSyncEnabled"));
    }
    let removed = request.remove_entries.as_deref().unwrap_or_default();
    let changes = !removed.is_empty() || request.add_entries.as_ref().is_some_and(|added| !added.is_empty());
    if changes && request.max_entries.is_some() {
        return Err(invalid_parameter_combination(
            "You cannot modify the entries and the maximum entries for the prefix list in the same request.",
        ));
    }
    if !changes && request.max_entries.is_none() && request.prefix_list_name.is_none() {
        return Err(missing_parameter("AddEntries, RemoveEntries, MaxEntries or PrefixListName"));
    }
    if let Some(expected) = request.current_version {
        check_version(&list, expected)?;
    }
    if removed.len() > MAX_CHANGES {
        return Err(invalid_parameter_value(format!("A request may remove {MAX_CHANGES} entries at most.")));
    }
    if changes {
        let mut entries = list.entries().to_vec();
        for gone in removed {
            let cidr = range(list.family, &gone.cidr)?;
            let before = entries.len();
            entries.retain(|entry| entry.cidr != cidr);
            if entries.len() == before {
                return Err(invalid_parameter_value(format!(
                    "The CIDR ({cidr}) is not an entry of {}.",
                    list.list
                )));
            }
        }
        for entry in added(list.family, request.add_entries.as_deref())? {
            match entries.iter_mut().find(|present| present.cidr == entry.cidr) {
                Some(present) => *present = entry,
                None => entries.push(entry),
            }
        }
        check_size(list.max_entries, entries.len())?;
        if list.versions.last() != Some(&entries) {
            list.versions.push(entries);
        }
    }
    if let Some(name) = &request.prefix_list_name {
        check_name(name)?;
        list.name.clone_from(name);
    }
    if let Some(wanted) = request.max_entries {
        let wanted = size(wanted)?;
        if (wanted as usize) < list.entries().len() {
            return Err(invalid_parameter_value(format!(
                "Value ({wanted}) for parameter MaxEntries is invalid. The prefix list has {} entries.",
                list.entries().len()
            )));
        }
        list.max_entries = wanted;
    }
    list.last = Last::Modified;
    let shown = render::prefix_list(ctx, &list, PrefixListState::ModifyInProgress);
    let resized = request.max_entries.is_some();
    let list = txn.put(&ctx.region, list);
    if resized {
        usage::check_users(ctx, txn.tables(), &list)?;
    }
    Ok(ModifyManagedPrefixListResult { prefix_list: Some(shown) })
}

/// The entries of an earlier version become a new one.
pub fn restore(
    ctx: &Context,
    request: &RestoreManagedPrefixListVersionRequest,
    txn: &mut Txn<'_>,
) -> Result<RestoreManagedPrefixListVersionResult> {
    let mut list = PrefixList::clone(&*own(ctx, txn, &request.prefix_list_id)?);
    check_version(&list, request.current_version)?;
    let earlier =
        list.entries_of(request.previous_version).filter(|_| request.previous_version < list.version());
    let earlier = earlier.map(<[_]>::to_vec).ok_or_else(|| {
        invalid_parameter_value(format!(
            "The specified value for version ({}) is not an earlier version of {}.",
            request.previous_version, list.list
        ))
    })?;
    check_size(list.max_entries, earlier.len())?;
    list.versions.push(earlier);
    list.last = Last::Restored;
    let shown = render::prefix_list(ctx, &list, PrefixListState::RestoreInProgress);
    txn.put(&ctx.region, list);
    Ok(RestoreManagedPrefixListVersionResult { prefix_list: Some(shown) })
}

/// Refused while a rule or a route refers to the list.
pub fn delete(
    ctx: &Context,
    request: &DeleteManagedPrefixListRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteManagedPrefixListResult> {
    let list = own(ctx, txn, &request.prefix_list_id)?;
    let users: Vec<String> =
        usage::users(&ctx.region, txn.tables(), list.list).into_iter().take(10).collect();
    if !users.is_empty() {
        return Err(dependency_violation(format!(
            "The prefix list '{}' has dependencies and cannot be deleted: {}",
            list.list,
            users.join(", ")
        )));
    }
    txn.delete::<PrefixList>(&ctx.region, &list.list);
    let shown = render::prefix_list(ctx, &list, PrefixListState::DeleteInProgress);
    Ok(DeleteManagedPrefixListResult { prefix_list: Some(shown) })
}
