//! Transit gateways on a path: the tables that are asked on the way from one VPC to another, over peerings too.
//!
//! Packets take one hop between VPCs, whatever gateways lie between; the records tell which those are. Once they no longer
//! lead where the path was found to, the first gateway stands for all.

use super::explain::coded;
use super::render::named;
use crate::transit_gateway::desired::{Asked, trace};
use crate::transit_gateway_attachment::render::{resource, resource_type};
use api_ec2 as api;
use control::{Context, Tables};
use ipnet::IpNet;
use model::record::transit_gateway::{TransitGateway, TransitGatewayAttachment, TransitGatewayRouteTable};
use model::{TransitGatewayAttachmentId, TransitGatewayRouteTableId};
use plan::net::transit::{Origin, Way};

/// A route that was found at the first gateway.
fn found(
    ctx: &Context,
    tables: &Tables,
    table: TransitGatewayRouteTableId,
    (destination, to): (IpNet, Option<TransitGatewayAttachmentId>),
) -> Way {
    let record = tables.get::<TransitGatewayRouteTable>(&ctx.region, &table);
    let is_static =
        record.is_some_and(|record| record.routes.iter().any(|route| route.destination == destination));
    Way { destination, to, origin: if is_static { Origin::Static } else { Origin::Propagated } }
}

fn asked(ctx: &Context, tables: &Tables, from: TransitGatewayAttachmentId, range: IpNet) -> Vec<Asked> {
    let from = tables.get::<TransitGatewayAttachment>(&ctx.region, &from);
    from.map(|from| trace(tables, &ctx.region, from, range)).unwrap_or_default()
}

/// The parts of a path from where a packet entered to the attachment `to`, which it left by.
pub fn parts(
    ctx: &Context,
    tables: &Tables,
    first: Asked,
    table: TransitGatewayRouteTableId,
    (destination, to): (IpNet, TransitGatewayAttachmentId),
) -> Vec<api::PathComponent> {
    let mut passed = asked(ctx, tables, first.attachment, destination);
    if passed.last().and_then(|last| last.way?.to) != Some(to) {
        passed = vec![Asked { way: Some(found(ctx, tables, table, (destination, Some(to)))), ..first }];
    }
    let shown = passed.into_iter().map(|asked| api::PathComponent {
        component: asked.table.map(|table| named::<TransitGatewayRouteTable>(ctx, tables, table)),
        attached_to: Some(named::<TransitGatewayAttachment>(ctx, tables, asked.attachment)),
        transit_gateway: Some(named::<TransitGateway>(ctx, tables, asked.gateway)),
        transit_gateway_route_table_route: asked.way.map(|way| route(ctx, tables, &way)),
        ..Default::default()
    });
    shown.collect()
}

/// Why gateways lead a range nowhere: the last one that was asked says. `blackhole` is what the first one told of it.
pub fn refusal(ctx: &Context, tables: &Tables, first: Asked, blackhole: Option<IpNet>) -> api::Explanation {
    let told = first.table.zip(blackhole).map(|(table, net)| found(ctx, tables, table, (net, None)));
    let passed = blackhole.map(|net| asked(ctx, tables, first.attachment, net)).unwrap_or_default();
    let last = passed.last().copied().unwrap_or(Asked { way: told, ..first });
    let code = match (last.table, last.way) {
        (None, _) => "TGW_ATTACH_MISSING_TGW_RTB_ASSOCIATION",
        (Some(_), Some(_)) => "TGW_RTB_BAD_STATE_ROUTE",
        (Some(_), None) => "TGW_RTB_NO_ROUTE_TO_TGW_ATTACHMENT",
    };
    let shown = last.way.map(|way| api::TransitGatewayRouteTableRoute {
        state: Some("blackhole".into()),
        ..route(ctx, tables, &way)
    });
    api::Explanation {
        transit_gateway: Some(named::<TransitGateway>(ctx, tables, last.gateway)),
        transit_gateway_attachment: Some(named::<TransitGatewayAttachment>(ctx, tables, last.attachment)),
        transit_gateway_route_table: last
            .table
            .map(|table| named::<TransitGatewayRouteTable>(ctx, tables, table)),
        transit_gateway_route_table_route: shown,
        ..coded(code)
    }
}

fn route(ctx: &Context, tables: &Tables, way: &Way) -> api::TransitGatewayRouteTableRoute {
    let attachment = way.to.and_then(|to| tables.get::<TransitGatewayAttachment>(&ctx.region, &to));
    api::TransitGatewayRouteTableRoute {
        destination_cidr: Some(way.destination.to_string()),
        state: Some(if way.to.is_some() { "active" } else { "blackhole" }.into()),
        route_origin: Some(
            match way.origin {
                Origin::Static => "static",
                Origin::Propagated => "propagated",
            }
            .into(),
        ),
        attachment_id: way.to.map(|to| to.to_string()),
        resource_id: attachment.map(|attachment| resource(attachment)),
        resource_type: attachment.map(|attachment| resource_type(attachment).as_str().to_owned()),
        ..Default::default()
    }
}
