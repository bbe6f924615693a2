//! `CreateManagedPrefixList`: version 1 of a list.

use super::{MAX_LISTS, added, check_name, check_size, render, size};
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{created, given_tags};
use api_ec2::{CreateManagedPrefixListRequest, CreateManagedPrefixListResult, PrefixListState};
use control::{Context, Result, Tables, Touched, Txn};
use model::PrefixListId;
use model::record::prefix_list::{Family, Last, PrefixList};

pub fn touches(ctx: &Context, _: &CreateManagedPrefixListRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "prefix-list")]
}

pub fn create(
    ctx: &Context,
    request: &CreateManagedPrefixListRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateManagedPrefixListResult> {
    check_name(&request.prefix_list_name)?;
    let family = match request.address_family.as_str() {
        "IPv4" => Family::Ipv4,
        "IPv6" => Family::Ipv6,
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter AddressFamily is invalid. Use IPv4 or IPv6."
            )));
        }
    };
    let max_entries = size(request.max_entries)?;
    let entries = added(family, request.entries.as_deref())?;
    check_size(max_entries, entries.len())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["prefix-list"])?;
    if txn.tables().find::<PrefixList>(&ctx.region, "account", ctx.account()).count() >= MAX_LISTS {
        return Err(client(
            "PrefixListLimitExceeded",
            "The maximum number of prefix lists of this account has been reached.",
        ));
    }
    let list = PrefixList {
        list: PrefixListId::from_entropy(ctx.bits()),
        account: Some(ctx.account()),
        name: request.prefix_list_name.clone(),
        family,
        max_entries,
        versions: vec![entries],
        last: Last::Created,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::prefix_list(ctx, &list, PrefixListState::CreateInProgress);
    txn.put(&ctx.region, list);
    Ok(CreateManagedPrefixListResult { prefix_list: Some(shown) })
}
