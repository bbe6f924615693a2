//! What gateway endpoints are made of: routes for their service's list, in the tables that are named.
//!
//! The routes stand in the tables' own records and say which endpoint they belong to; nothing else does.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/gateway-endpoints.html>

use super::interface::Owner;
use super::invalid_parameter;
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{find, hold};
use crate::parameter::refuse;
use crate::prefix_list::usage;
use crate::route_table::check_quota;
use api_ec2::{DnsOptionsSpecification, IpAddressType, SubnetConfiguration};
use control::{Context, Result, Tables, Txn};
use model::record::vpc::{Destination, Route, RouteTable, RouteTarget};
use model::record::vpc_endpoint::VpcEndpoint;
use model::{GatewayService, Region, RouteTableId, VpcEndpointId, VpcId};
use plan::net::gateway_service::prefix_list;
use std::sync::Arc;

/// What a request says that only interface endpoints have.
pub struct Others<'a> {
    pub subnets: &'a [&'a Option<Vec<String>>],
    pub groups: &'a [&'a Option<Vec<String>>],
    pub configurations: Option<&'a [SubnetConfiguration]>,
    pub private_dns: Option<bool>,
    pub addressing: Option<&'a IpAddressType>,
    pub names: Option<&'a DnsOptionsSpecification>,
}

pub fn refuse_others(others: &Others<'_>) -> Result<()> {
    let any =
        |lists: &[&Option<Vec<String>>]| lists.iter().any(|list| list.iter().flatten().next().is_some());
    if any(others.subnets) || others.configurations.is_some_and(|list| !list.is_empty()) {
        return Err(invalid_parameter("Subnet IDs are only supported for Interface type VPC Endpoint."));
    }
    if any(others.groups) {
        return Err(invalid_parameter(
            "Security group IDs are only supported for Interface type VPC Endpoint.",
        ));
    }
    if others.private_dns == Some(true) {
        return Err(invalid_parameter("Private DNS is only supported for Interface type VPC Endpoint."));
    }
    refuse(&[
        ("IpAddressType", others.addressing.is_some_and(|kind| kind.as_str() != "ipv4")),
        ("DnsOptions", others.names.is_some()),
    ])
}

fn is_to(route: &Route, endpoint: VpcEndpointId) -> bool {
    route.target == RouteTarget::Endpoint(endpoint)
}

/// The tables that lead to an endpoint.
pub fn tables_of(tables: &Tables, region: &Region, vpc: VpcId, endpoint: VpcEndpointId) -> Vec<RouteTableId> {
    let all = tables.find::<RouteTable>(region, "vpc", vpc);
    all.filter(|table| table.routes.iter().any(|route| is_to(route, endpoint))).map(|t| t.table).collect()
}

/// Puts a route into each of these tables, and names them.
pub fn lead(
    ctx: &Context,
    txn: &mut Txn<'_>,
    own: Owner,
    service: GatewayService,
    ids: &[String],
) -> Result<Vec<RouteTableId>> {
    let mut led = Vec::new();
    let destination = Destination::PrefixList(prefix_list(&ctx.region, service));
    for table in named(ctx, txn, own.vpc, ids)? {
        let mut table = RouteTable::clone(&table);
        if table.is_edge() {
            return Err(invalid_parameter_value(format!(
                "Route table {} is associated with a gateway and cannot lead to an endpoint",
                table.table
            )));
        }
        if table.routes.iter().any(|route| route.destination == destination) {
            return Err(client(
                "RouteAlreadyExists",
                format!(
                    "route table {} already has a route with destination-prefix-list-id {destination}",
                    table.table
                ),
            ));
        }
        table.routes.push(Route { destination, target: RouteTarget::Endpoint(own.endpoint) });
        check_quota(&table, &|list| usage::weight(txn.tables(), &ctx.region, list))?;
        led.push(table.table);
        txn.put(&ctx.region, table);
    }
    Ok(led)
}

/// Each table once, held until the commit, and of the VPC.
fn named(ctx: &Context, txn: &mut Txn<'_>, vpc: VpcId, ids: &[String]) -> Result<Vec<Arc<RouteTable>>> {
    let mut tables: Vec<Arc<RouteTable>> = Vec::new();
    for id in ids {
        let table = hold::<RouteTable>(ctx, txn, id)?;
        if table.vpc != vpc {
            return Err(invalid_parameter_value(format!(
                "route table {id} and network {vpc} belong to different networks"
            )));
        }
        if !tables.iter().any(|known| known.table == table.table) {
            tables.push(table);
        }
    }
    Ok(tables)
}

/// Takes the routes out of these tables.
pub fn leave(ctx: &Context, txn: &mut Txn<'_>, endpoint: &VpcEndpoint, ids: &[String]) -> Result<()> {
    for id in ids {
        let table = find::<RouteTable>(ctx, txn.tables(), id)?.table;
        if !part(ctx, txn, endpoint.endpoint, table) {
            return Err(invalid_parameter(format!(
                "The route table '{id}' is not associated with the endpoint {}.",
                endpoint.endpoint
            )));
        }
    }
    Ok(())
}

/// Takes every route to an endpoint away.
pub fn end(ctx: &Context, txn: &mut Txn<'_>, endpoint: &VpcEndpoint) {
    for table in tables_of(txn.tables(), &ctx.region, endpoint.vpc, endpoint.endpoint) {
        part(ctx, txn, endpoint.endpoint, table);
    }
}

/// Whether the table had a route to the endpoint, which it has no more.
fn part(ctx: &Context, txn: &mut Txn<'_>, endpoint: VpcEndpointId, table: RouteTableId) -> bool {
    let Some(table) = txn.get::<RouteTable>(&ctx.region, &table) else { return false };
    let mut table = RouteTable::clone(&table);
    let before = table.routes.len();
    table.routes.retain(|route| !is_to(route, endpoint));
    let had = table.routes.len() < before;
    if had {
        txn.put(&ctx.region, table);
    }
    had
}
