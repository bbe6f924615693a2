//! `EnableVgwRoutePropagation`, `DisableVgwRoutePropagation`, and what comes of it.

use super::{of_vpc, serves};
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{hold, touched};
use crate::transit_gateway::live;
use api_ec2::{
    DisableVgwRoutePropagationRequest, DisableVgwRoutePropagationResult, EnableVgwRoutePropagationRequest,
    EnableVgwRoutePropagationResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::IpNet;
use model::record::vpc::{Destination, RouteTable, Vpc};
use model::record::vpn::VpnGateway;
use model::{Region, VpnGatewayId};
use std::collections::BTreeSet;

/// What a table takes over: destinations in their order, each once, beside the VPC's own and the table's own.
pub fn propagated(tables: &Tables, region: &Region, table: &RouteTable) -> Vec<(IpNet, VpnGatewayId)> {
    let gateway = of_vpc(tables, region, table.vpc).filter(|gw| table.propagating.contains(&gw.gateway));
    let Some(gateway) = gateway else { return Vec::new() };
    let Some(vpc) = tables.get::<Vpc>(region, &table.vpc) else { return Vec::new() };
    let connections = crate::vpn_connection::of_gateway(tables, region, gateway.gateway);
    let nets: BTreeSet<IpNet> =
        connections.iter().flat_map(|connection| &connection.routes).map(|net| IpNet::V4(*net)).collect();
    let own = |net: &IpNet| table.routes.iter().any(|route| route.destination == Destination::Net(*net));
    let free = nets.into_iter().filter(|net| !vpc.holds(*net) && !own(net));
    free.map(|net| (net, gateway.gateway)).collect()
}

fn both(ctx: &Context, tables: &Tables, gateway: &String, table: &String) -> Vec<Touched> {
    let mut all = touched::<VpnGateway>(ctx, tables, [gateway]);
    all.extend(touched::<RouteTable>(ctx, tables, [table]));
    all
}

pub fn enable_touches(
    ctx: &Context,
    request: &EnableVgwRoutePropagationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    both(ctx, tables, &request.gateway_id, &request.route_table_id)
}

pub fn enable(
    ctx: &Context,
    request: &EnableVgwRoutePropagationRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableVgwRoutePropagationResult> {
    let gateway = live::<VpnGateway>(ctx, txn, &request.gateway_id)?.gateway;
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    if !serves(txn.tables(), &ctx.region, gateway, table.vpc) {
        return Err(client(
            "Gateway.NotAttached",
            format!("Virtual private gateway {gateway} is not attached to network {}", table.vpc),
        ));
    }
    if table.is_edge() {
        return Err(invalid_parameter_value(format!(
            "Route propagation cannot be enabled for the gateway route table {}",
            table.table
        )));
    }
    if table.propagating.insert(gateway) {
        txn.put(&ctx.region, table);
    }
    Ok(EnableVgwRoutePropagationResult {})
}

pub fn disable_touches(
    ctx: &Context,
    request: &DisableVgwRoutePropagationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    both(ctx, tables, &request.gateway_id, &request.route_table_id)
}

pub fn disable(
    ctx: &Context,
    request: &DisableVgwRoutePropagationRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableVgwRoutePropagationResult> {
    let gateway = hold::<VpnGateway>(ctx, txn, &request.gateway_id)?.gateway;
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    if table.propagating.remove(&gateway) {
        txn.put(&ctx.region, table);
    }
    Ok(DisableVgwRoutePropagationResult {})
}
