//! What refers to a list, and how much room that takes in quotas.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/managed-prefix-lists.html#prefix-list-weight>

use crate::{route_table, security_group};
use control::{Context, Result, Tables};
use model::record::prefix_list::{Family, PrefixList};
use model::record::security_group::{Direction, SecurityGroup};
use model::record::vpc::RouteTable;
use model::{PrefixListId, Region};

/// The groups and route tables that refer to a list, by id.
pub fn users(region: &Region, tables: &Tables, list: PrefixListId) -> Vec<String> {
    let groups = tables.find::<SecurityGroup>(region, "prefix-list", list);
    let routed = tables.find::<RouteTable>(region, "prefix-list", list);
    let mut users: Vec<String> =
        groups.map(|g| g.group.to_string()).chain(routed.map(|t| t.table.to_string())).collect();
    users.sort_unstable();
    users.dedup();
    users
}

/// As how many entries a reference to the list counts, and of which family.
pub fn weight(tables: &Tables, region: &Region, list: PrefixListId) -> (usize, Family) {
    let list = tables.get::<PrefixList>(region, &list);
    list.map_or((1, Family::Ipv4), |list| (list.max_entries as usize, list.family))
}

/// Whether all that refers to a list that is about to change still fits into its quotas.
pub fn check_users(ctx: &Context, tables: &Tables, list: &PrefixList) -> Result<()> {
    let weigh = |other: PrefixListId| {
        if other == list.list {
            (list.max_entries as usize, list.family)
        } else {
            weight(tables, &ctx.region, other)
        }
    };
    for group in tables.find::<SecurityGroup>(&ctx.region, "prefix-list", list.list) {
        for direction in [Direction::Ingress, Direction::Egress] {
            security_group::check_quota(group, direction, &weigh)?;
        }
    }
    for table in tables.find::<RouteTable>(&ctx.region, "prefix-list", list.list) {
        route_table::check_quota(table, &weigh)?;
    }
    Ok(())
}
