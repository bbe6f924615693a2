//! A prefix list as the API shows it.

use crate::noun::{Noun as _, render_tags};
use api_ec2::{ManagedPrefixList, PrefixListState};
use control::Context;
use model::record::prefix_list::{Family, Last, PrefixList};

pub const fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

pub const fn state(list: &PrefixList) -> PrefixListState {
    match list.last {
        Last::Created => PrefixListState::CreateComplete,
        Last::Modified => PrefixListState::ModifyComplete,
        Last::Restored => PrefixListState::RestoreComplete,
    }
}

/// The account that has it, or `AWS`.
pub fn owner(list: &PrefixList) -> String {
    list.account.map_or_else(|| "AWS".to_owned(), |account| account.to_string())
}

pub fn prefix_list(ctx: &Context, list: &PrefixList, state: PrefixListState) -> ManagedPrefixList {
    ManagedPrefixList {
        prefix_list_id: Some(list.list.to_string()),
        address_family: Some(family(list.family).to_owned()),
        state: Some(state),
        prefix_list_arn: Some(list.arn(ctx).to_string()),
        prefix_list_name: Some(list.name.clone()),
        // AWS shows neither of its own.
        max_entries: list.account.map(|_| list.max_entries as i32),
        version: list.account.map(|_| list.version()),
        tags: render_tags(&list.tags),
        owner_id: Some(owner(list)),
        ..Default::default()
    }
}
