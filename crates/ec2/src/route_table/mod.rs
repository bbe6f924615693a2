//! Route tables: where a subnet's packets go beside the VPC itself.
//!
//! A VPC has one main table, for subnets without one of their own. The route to the VPC's own block is in every table, shown
//! but not stored. A route whose target is gone, detached or stopped stays and drops what it matches (`blackhole`).
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html>
//! Differs: other targets answer `UnsupportedOperation`.

mod associate;
mod create;
mod delete;
mod describe;
mod edge;
pub mod render;
mod route;
mod target;

pub use route::check_quota;
pub use target::render as render_target;

use crate::errors::{self, IdErrors, client};
use crate::noun::{Noun, hold};
use api_ec2::ops;
use control::filter::{FilterField, Values, one, shown};
use control::{Context, Result, Service, Tables, Txn};
use ipnet::IpNet;
use model::record::vpc::{Destination, Route, RouteTable, RouteTarget, Vpc};
use model::{Region, RouteTableAssociationId, VpnGatewayId};
use std::borrow::Cow;
use std::sync::Arc;

/// How many route tables a VPC may have.
pub const MAX_TABLES: usize = 200;
/// How many routes a table may have beside the local ones.
pub const MAX_ROUTES: usize = 50;

impl Noun for RouteTable {
    const RESOURCE_TYPE: &'static str = "route-table";
    const ERRORS: IdErrors = errors::ROUTE_TABLE;
    const PAGE: std::ops::RangeInclusive<i32> = 5..=100;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "association.gateway-id",
                values: |t, _| t.edges().map(|gateway| Cow::Owned(gateway.to_string())).collect(),
            },
            FilterField { name: "association.main", values: |t, _| main_values(t) },
            FilterField {
                name: "association.route-table-association-id",
                values: |t, _| t.associations.iter().map(|a| Cow::Owned(a.association.to_string())).collect(),
            },
            FilterField {
                name: "association.route-table-id",
                values: |t, _| if t.associations.is_empty() { Vec::new() } else { shown(t.table) },
            },
            FilterField {
                name: "association.subnet-id",
                values: |t, _| {
                    let subnets = t.associations.iter().filter_map(|a| a.subnet);
                    subnets.map(|subnet| Cow::Owned(subnet.to_string())).collect()
                },
            },
            FilterField { name: "owner-id", values: |t, _| shown(t.account) },
            FilterField { name: "route-table-id", values: |t, _| shown(t.table) },
            FilterField {
                name: "route.destination-cidr-block",
                values: |t, all| destinations(t, all, |net| matches!(net, IpNet::V4(_))),
            },
            FilterField {
                name: "route.destination-ipv6-cidr-block",
                values: |t, all| destinations(t, all, |net| matches!(net, IpNet::V6(_))),
            },
            FilterField {
                name: "route.destination-prefix-list-id",
                values: |t, _| {
                    let is_list = |to| matches!(to, Destination::PrefixList(_));
                    let lists = t.routes.iter().filter(|route| is_list(route.destination));
                    lists.map(|route| Cow::Owned(route.destination.to_string())).collect()
                },
            },
            FilterField {
                name: "route.egress-only-internet-gateway-id",
                values: |t, _| {
                    on_targets(t, |target| match target {
                        RouteTarget::EgressOnly(id) => Some(id.to_string()),
                        _ => None,
                    })
                },
            },
            FilterField { name: "route.gateway-id", values: |t, all| gateways(t, all) },
            FilterField { name: "route.instance-id", values: |t, all| instances(t, all) },
            FilterField {
                name: "route.nat-gateway-id",
                values: |t, _| {
                    on_targets(t, |target| match target {
                        RouteTarget::NatGateway(id) => Some(id.to_string()),
                        _ => None,
                    })
                },
            },
            FilterField {
                name: "route.origin",
                values: |t, all| {
                    let created = t.routes.iter().map(|_| "CreateRoute".into());
                    let taken = propagated(t, all).into_iter().map(|_| "EnableVgwRoutePropagation".into());
                    one("CreateRouteTable").into_iter().chain(created).chain(taken).collect()
                },
            },
            FilterField {
                name: "route.state",
                values: |t, all| {
                    let states =
                        t.routes.iter().map(|r| if leads(t, r, all) { "active" } else { "blackhole" });
                    one("active").into_iter().chain(states.map(Into::into)).collect()
                },
            },
            FilterField {
                name: "route.transit-gateway-id",
                values: |t, _| {
                    on_targets(t, |target| match target {
                        RouteTarget::TransitGateway(id) => Some(id.to_string()),
                        _ => None,
                    })
                },
            },
            FilterField {
                name: "route.vpc-peering-connection-id",
                values: |t, _| {
                    on_targets(t, |target| match target {
                        RouteTarget::Peering(id) => Some(id.to_string()),
                        _ => None,
                    })
                },
            },
            FilterField { name: "vpc-id", values: |t, _| shown(t.vpc) },
        ]
    }
}

/// A table without associations is not main.
fn main_values(table: &RouteTable) -> Values<'_> {
    if table.associations.is_empty() {
        return one("false");
    }
    table.associations.iter().map(|a| Cow::Borrowed(if a.is_main() { "true" } else { "false" })).collect()
}

/// The destinations of a family, the local ones first. Records do not know their region; ids are unique in all of them.
fn destinations<'a>(
    table: &'a RouteTable,
    tables: &'a Tables,
    is_of: impl Fn(IpNet) -> bool + Copy,
) -> Values<'a> {
    let vpc = tables.everywhere::<Vpc>().find(|(_, vpc)| vpc.vpc == table.vpc);
    let local = vpc.into_iter().flat_map(|(_, vpc)| vpc.nets());
    let routed = table.routes.iter().filter_map(|route| match route.destination {
        Destination::Net(net) => Some(net),
        Destination::PrefixList(_) => None,
    });
    local.chain(routed).filter(|net| is_of(*net)).map(|net| Cow::Owned(net.to_string())).collect()
}

fn gateways<'a>(table: &'a RouteTable, tables: &'a Tables) -> Values<'a> {
    let routed = table.routes.iter().filter_map(|route| match route.target {
        RouteTarget::InternetGateway(gateway) => Some(Cow::Owned(gateway.to_string())),
        RouteTarget::VpnGateway(gateway) => Some(Cow::Owned(gateway.to_string())),
        RouteTarget::Endpoint(endpoint) => Some(Cow::Owned(endpoint.to_string())),
        RouteTarget::EgressOnly(_)
        | RouteTarget::Interface(_)
        | RouteTarget::Peering(_)
        | RouteTarget::NatGateway(_)
        | RouteTarget::TransitGateway(_) => None,
    });
    let taken = propagated(table, tables).into_iter().map(|(_, gateway)| Cow::Owned(gateway.to_string()));
    one("local").into_iter().chain(routed).chain(taken).collect()
}

fn on_targets(table: &RouteTable, of: fn(RouteTarget) -> Option<String>) -> Values<'_> {
    table.routes.iter().filter_map(|route| of(route.target)).map(Cow::Owned).collect()
}

/// The instances that routes lead to.
fn instances<'a>(table: &'a RouteTable, tables: &'a Tables) -> Values<'a> {
    let Some(region) = region(table, tables) else { return Vec::new() };
    let users = table.routes.iter().filter_map(|route| match route.target {
        RouteTarget::Interface(id) => target::user(region, tables, id),
        RouteTarget::InternetGateway(_)
        | RouteTarget::EgressOnly(_)
        | RouteTarget::Peering(_)
        | RouteTarget::NatGateway(_)
        | RouteTarget::TransitGateway(_)
        | RouteTarget::VpnGateway(_)
        | RouteTarget::Endpoint(_) => None,
    });
    users.map(|instance| Cow::Owned(instance.instance.to_string())).collect()
}

fn region<'a>(table: &RouteTable, tables: &'a Tables) -> Option<&'a Region> {
    tables.regions::<RouteTable>().find(|region| tables.get::<RouteTable>(region, &table.table).is_some())
}

/// What the table takes over from a virtual private gateway.
fn propagated(table: &RouteTable, tables: &Tables) -> Vec<(IpNet, VpnGatewayId)> {
    let here = region(table, tables);
    here.map(|region| crate::vpn_gateway::propagated(tables, region, table)).unwrap_or_default()
}

/// Whether a route's target is there.
fn leads(table: &RouteTable, route: &Route, tables: &Tables) -> bool {
    region(table, tables).is_some_and(|region| target::leads(region, tables, table, route))
}

/// The table that holds an association, held until the commit; `InvalidAssociationID.NotFound` when there is none.
fn holding(
    ctx: &Context,
    txn: &mut Txn<'_>,
    association: &str,
) -> Result<(Arc<RouteTable>, RouteTableAssociationId)> {
    let not_found = || {
        client("InvalidAssociationID.NotFound", format!("The association ID '{association}' does not exist"))
    };
    let id = RouteTableAssociationId::parse(association).map_err(|_| not_found())?;
    let mut mine = txn.tables().find::<RouteTable>(&ctx.region, "account", ctx.account());
    let table =
        mine.find(|table| table.associations.iter().any(|a| a.association == id)).ok_or_else(not_found)?;
    Ok((hold::<RouteTable>(ctx, txn, &table.table.to_string())?, id))
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateRouteTable, create::touches, create::create)
        .exclusive(ops::DeleteRouteTable, delete::touches, delete::delete)
        .read(ops::DescribeRouteTables, describe::touches, describe::describe)
        .exclusive(ops::AssociateRouteTable, associate::associate_touches, associate::associate)
        .exclusive(ops::DisassociateRouteTable, associate::disassociate_touches, associate::disassociate)
        .exclusive(ops::ReplaceRouteTableAssociation, associate::replace_touches, associate::replace)
        .write(ops::CreateRoute, route::create_touches, route::create)
        .write(ops::ReplaceRoute, route::replace_touches, route::replace)
        .write(ops::DeleteRoute, route::delete_touches, route::delete);
}
