//! Route tables of transit gateways: what is associated asks them, what propagates is in them, and static routes.
//!
//! Of routes to one destination the static one counts; of different ones the most specific. A route to what is no longer
//! attached stays and drops (`blackhole`). [`crate::transit_gateway::desired`] makes of them what hosts are told.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/tgw-route-tables.html>
//! Differs: a table has up to 1,000 static routes; prefix list references are not built.

mod associate;
mod create;
mod delete;
mod describe;
mod list;
mod propagate;
mod render;
mod route;
mod search;

use crate::errors::{self, IdErrors, invalid_parameter_value};
use crate::noun::{Noun, touched};
use crate::transit_gateway::{incorrect_state, live};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Context, Result, Service, Tables, Touched, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayAttachment, TransitGatewayRouteTable};
use std::sync::Arc;

/// How many tables a gateway may have.
const MAX_TABLES: usize = 20;
/// How many static routes a table may have.
const MAX_ROUTES: usize = 1000;

impl Noun for TransitGatewayRouteTable {
    const RESOURCE_TYPE: &'static str = "transit-gateway-route-table";
    const ERRORS: IdErrors = errors::TRANSIT_GATEWAY_ROUTE_TABLE;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "default-association-route-table",
                values: |t, all| one(if defaults(t, all)[0] { "true" } else { "false" }),
            },
            FilterField {
                name: "default-propagation-route-table",
                values: |t, all| one(if defaults(t, all)[1] { "true" } else { "false" }),
            },
            FilterField { name: "state", values: |t, _| one(render::state(t).as_str().to_owned()) },
            FilterField { name: "transit-gateway-id", values: |t, _| shown(t.gateway) },
            FilterField { name: "transit-gateway-route-table-id", values: |t, _| shown(t.table) },
        ]
    }
}

/// Whether it is its gateway's default, for associations and for propagations. Records do not know their region; ids are
/// unique in all of them.
fn defaults(table: &TransitGatewayRouteTable, tables: &Tables) -> [bool; 2] {
    let gateways = tables.everywhere::<TransitGateway>();
    let gateway = gateways.map(|(_, gateway)| gateway).find(|gateway| gateway.gateway == table.gateway);
    gateway.map_or([false, false], |gateway| crate::transit_gateway::defaults(gateway, table.table))
}

/// A table and an attachment of one gateway, both held. A peering is one once it is accepted.
fn pair(
    ctx: &Context,
    txn: &mut Txn<'_>,
    table: &str,
    attachment: &str,
) -> Result<(Arc<TransitGatewayRouteTable>, Arc<TransitGatewayAttachment>)> {
    let held = live::<TransitGatewayRouteTable>(ctx, txn, table)?;
    let other = live::<TransitGatewayAttachment>(ctx, txn, attachment)?;
    if held.gateway != other.gateway {
        return Err(invalid_parameter_value(format!(
            "{attachment} and {table} do not belong to the same transit gateway."
        )));
    }
    if !other.is_open() {
        return Err(incorrect_state(format!("{attachment} is in invalid state")));
    }
    Ok((held, other))
}

fn both<'a>(
    ctx: &Context,
    tables: &Tables,
    table: &String,
    attachments: impl IntoIterator<Item = &'a String>,
) -> Vec<Touched> {
    let mut all = touched::<TransitGatewayRouteTable>(ctx, tables, [table]);
    all.extend(touched::<TransitGatewayAttachment>(ctx, tables, attachments));
    all
}

pub fn register(service: &mut Service) {
    type Table = TransitGatewayRouteTable;
    service
        .exclusive(ops::CreateTransitGatewayRouteTable, create::touches, create::create)
        .exclusive(
            ops::DeleteTransitGatewayRouteTable,
            |ctx, request, tables| touched::<Table>(ctx, tables, [&request.transit_gateway_route_table_id]),
            delete::delete,
        )
        .read(ops::DescribeTransitGatewayRouteTables, |_, _, _| Touched::anything(), describe::describe)
        .exclusive(
            ops::AssociateTransitGatewayRouteTable,
            |ctx, request, tables| {
                let attachment = [&request.transit_gateway_attachment_id];
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            associate::associate,
        )
        .exclusive(
            ops::DisassociateTransitGatewayRouteTable,
            |ctx, request, tables| {
                let attachment = [&request.transit_gateway_attachment_id];
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            associate::disassociate,
        )
        .exclusive(
            ops::EnableTransitGatewayRouteTablePropagation,
            |ctx, request, tables| {
                let attachment = &request.transit_gateway_attachment_id;
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            propagate::enable,
        )
        .exclusive(
            ops::DisableTransitGatewayRouteTablePropagation,
            |ctx, request, tables| {
                let attachment = &request.transit_gateway_attachment_id;
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            propagate::disable,
        )
        .write(
            ops::CreateTransitGatewayRoute,
            |ctx, request, tables| {
                let attachment = &request.transit_gateway_attachment_id;
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            route::create,
        )
        .write(
            ops::ReplaceTransitGatewayRoute,
            |ctx, request, tables| {
                let attachment = &request.transit_gateway_attachment_id;
                both(ctx, tables, &request.transit_gateway_route_table_id, attachment)
            },
            route::replace,
        )
        .write(
            ops::DeleteTransitGatewayRoute,
            |ctx, request, tables| touched::<Table>(ctx, tables, [&request.transit_gateway_route_table_id]),
            route::delete,
        )
        .read(
            ops::SearchTransitGatewayRoutes,
            |ctx, request, tables| touched::<Table>(ctx, tables, [&request.transit_gateway_route_table_id]),
            search::search,
        )
        .read(
            ops::GetTransitGatewayRouteTableAssociations,
            |ctx, request, tables| touched::<Table>(ctx, tables, [&request.transit_gateway_route_table_id]),
            list::associations,
        )
        .read(
            ops::GetTransitGatewayRouteTablePropagations,
            |ctx, request, tables| touched::<Table>(ctx, tables, [&request.transit_gateway_route_table_id]),
            list::propagations,
        )
        .read(
            ops::GetTransitGatewayAttachmentPropagations,
            |ctx, request, tables| {
                touched::<TransitGatewayAttachment>(ctx, tables, [&request.transit_gateway_attachment_id])
            },
            list::of_attachment,
        );
}
