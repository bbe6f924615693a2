//! Managed prefix lists: named sets of address ranges that rules of groups and routes may refer to.
//!
//! Each change of entries makes a version; the last one is in force, and hosts are told its ranges wherever a rule or a
//! route names the list. A reference counts in quotas as many times as the list may have entries.
//! Called by dispatch; [`nets`] by what derives the desired state of hosts.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html>
//! Differs: changes are in force at once; AWS's own lists are those of [`aws`]; no sharing with other accounts; ranges are cut to their
//! network.

pub mod aws;
mod change;
mod create;
mod describe;
mod render;
pub mod usage;

use crate::errors::{self, IdErrors, client, invalid_parameter_value};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Arn, Context, Result, Service, Tables};
use ipnet::IpNet;
use model::record::prefix_list::{Entry, Family, PrefixList};
use model::{GatewayService, PrefixListId, Region};
use plan::net::gateway_service;
use std::sync::Arc;

/// How many lists an account may have in a region.
pub const MAX_LISTS: usize = 100;
/// How many entries a list may have at most.
pub const MAX_ENTRIES: i32 = 1000;
/// How many entries one request may add or remove.
const MAX_CHANGES: usize = 100;

impl Noun for PrefixList {
    const RESOURCE_TYPE: &'static str = "prefix-list";
    const ERRORS: IdErrors = errors::PREFIX_LIST;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=100;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "owner-id", values: |l, _| one(render::owner(l)) },
            FilterField { name: "prefix-list-id", values: |l, _| shown(l.list) },
            FilterField { name: "prefix-list-name", values: |l, _| one(l.name.as_str()) },
        ]
    }

    fn visible_to(&self, ctx: &Context) -> bool {
        self.account.is_none_or(|account| account == ctx.account())
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let own = tables.find::<Self>(&ctx.region, "account", ctx.account());
        let mut all: Vec<&Arc<Self>> = own.chain(of_aws(&ctx.region, tables).map(|(_, list)| list)).collect();
        all.sort_unstable_by_key(|list| list.list);
        all
    }

    fn arn(&self, ctx: &Context) -> Arn {
        match self.account {
            Some(account) => Arn::new("ec2", &ctx.region, account, Self::RESOURCE_TYPE, self.list),
            None => Arn::of_aws("ec2", &ctx.region, Self::RESOURCE_TYPE, self.list),
        }
    }
}

/// AWS's lists of a region, with the services whose they are.
pub fn of_aws<'a>(
    region: &'a Region,
    tables: &'a Tables,
) -> impl Iterator<Item = (GatewayService, &'a Arc<PrefixList>)> {
    GatewayService::ALL.into_iter().filter_map(|service| {
        Some((service, tables.get::<PrefixList>(region, &gateway_service::prefix_list(region, service))?))
    })
}

/// The ranges of a list that are in force.
pub fn nets(tables: &Tables, region: &Region, list: PrefixListId) -> Vec<IpNet> {
    let list = tables.get::<PrefixList>(region, &list);
    list.map(|list| list.entries().iter().map(|entry| entry.cidr).collect()).unwrap_or_default()
}

/// A range as a request writes it, of the list's family.
fn range(family: Family, text: &str) -> Result<IpNet> {
    let shown: String = text.chars().take(64).collect();
    let net: IpNet =
        text.parse().map_err(|_| invalid_parameter_value(format!("The CIDR ({shown}) is not valid.")))?;
    match (family, net) {
        (Family::Ipv4, IpNet::V4(_)) | (Family::Ipv6, IpNet::V6(_)) => Ok(net.trunc()),
        (Family::Ipv4 | Family::Ipv6, _) => Err(invalid_parameter_value(format!(
            "The CIDR ({shown}) is not of the address family {}.",
            render::family(family)
        ))),
    }
}

/// Entries that a request adds, each range once.
fn added(family: Family, given: Option<&[api_ec2::AddPrefixListEntry]>) -> Result<Vec<Entry>> {
    let given = given.unwrap_or_default();
    if given.len() > MAX_CHANGES {
        return Err(invalid_parameter_value(format!("A request may add {MAX_CHANGES} entries at most.")));
    }
    let mut entries: Vec<Entry> = Vec::new();
    for entry in given {
        let cidr = range(family, &entry.cidr)?;
        let description = entry.description.clone().filter(|text| !text.is_empty());
        if description.as_ref().is_some_and(|text| text.chars().count() > 255) {
            return Err(invalid_parameter_value("An entry's description may have up to 255 characters."));
        }
        if entries.iter().any(|earlier| earlier.cidr == cidr) {
            return Err(invalid_parameter_value(format!(
                "The CIDR ({cidr}) must not appear multiple times."
            )));
        }
        entries.push(Entry { cidr, description });
    }
    Ok(entries)
}

/// Whether so many entries fit into a list.
fn check_size(max_entries: u32, entries: usize) -> Result<()> {
    if entries <= max_entries as usize {
        return Ok(());
    }
    Err(client(
        "PrefixListMaxEntriesExceeded",
        format!("You have exceeded the maximum number of entries ({max_entries}) of the prefix list."),
    ))
}

/// The size that a request wishes for.
fn size(wanted: i32) -> Result<u32> {
    let fits = (1..=MAX_ENTRIES).contains(&wanted);
    u32::try_from(wanted).ok().filter(|_| fits).ok_or_else(|| {
        invalid_parameter_value(format!(
            "Value ({wanted}) for parameter MaxEntries is invalid. It must be between 1 and {MAX_ENTRIES}."
        ))
    })
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > 255 || name.starts_with("com.amazonaws") {
        return Err(invalid_parameter_value(
            "Invalid prefix list name. It may have up to 255 characters and not start with com.amazonaws.",
        ));
    }
    Ok(())
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateManagedPrefixList, create::touches, create::create)
        .exclusive(
            ops::ModifyManagedPrefixList,
            |ctx, request, tables| touched::<PrefixList>(ctx, tables, [&request.prefix_list_id]),
            change::modify,
        )
        .exclusive(
            ops::RestoreManagedPrefixListVersion,
            |ctx, request, tables| touched::<PrefixList>(ctx, tables, [&request.prefix_list_id]),
            change::restore,
        )
        .exclusive(
            ops::DeleteManagedPrefixList,
            |ctx, request, tables| touched::<PrefixList>(ctx, tables, [&request.prefix_list_id]),
            change::delete,
        )
        .read(ops::DescribeManagedPrefixLists, |_, _, _| control::Touched::anything(), describe::describe)
        .read(ops::DescribePrefixLists, |_, _, _| control::Touched::anything(), describe::of_aws)
        .read(
            ops::GetManagedPrefixListEntries,
            |ctx, request, tables| touched::<PrefixList>(ctx, tables, [&request.prefix_list_id]),
            describe::entries,
        )
        .read(
            ops::GetManagedPrefixListAssociations,
            |ctx, request, tables| touched::<PrefixList>(ctx, tables, [&request.prefix_list_id]),
            describe::associations,
        );
}
