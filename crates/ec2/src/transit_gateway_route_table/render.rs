//! A transit gateway's route table as the API shows it, and what is in it.

use super::defaults;
use crate::noun::{render_tags, wire_time};
use crate::transit_gateway_attachment::render::{resource, resource_type};
use api_ec2 as api;
use control::Tables;
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};
use model::{Region, TransitGatewayRouteTableId};
use plan::net::transit::{Origin, Way};
use std::sync::Arc;

pub fn state(table: &TransitGatewayRouteTable) -> api::TransitGatewayRouteTableState {
    match table.deleted_at {
        None => api::TransitGatewayRouteTableState::Available,
        Some(_) => api::TransitGatewayRouteTableState::Deleted,
    }
}

pub fn table(tables: &Tables, table: &TransitGatewayRouteTable) -> api::TransitGatewayRouteTable {
    let [association, propagation] = defaults(table, tables);
    api::TransitGatewayRouteTable {
        transit_gateway_route_table_id: Some(table.table.to_string()),
        transit_gateway_id: Some(table.gateway.to_string()),
        state: Some(state(table)),
        default_association_route_table: Some(association),
        default_propagation_route_table: Some(propagation),
        creation_time: Some(wire_time(table.created_at)),
        tags: render_tags(&table.tags),
    }
}

pub fn association(
    attachment: &TransitGatewayAttachment,
    table: TransitGatewayRouteTableId,
    state: api::TransitGatewayAssociationState,
) -> api::TransitGatewayAssociation {
    api::TransitGatewayAssociation {
        transit_gateway_route_table_id: Some(table.to_string()),
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        resource_id: Some(resource(attachment)),
        resource_type: Some(resource_type(attachment)),
        state: Some(state),
    }
}

pub fn propagation(
    attachment: &TransitGatewayAttachment,
    table: TransitGatewayRouteTableId,
    state: api::TransitGatewayPropagationState,
) -> api::TransitGatewayPropagation {
    api::TransitGatewayPropagation {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        resource_id: Some(resource(attachment)),
        resource_type: Some(resource_type(attachment)),
        transit_gateway_route_table_id: Some(table.to_string()),
        state: Some(state),
        ..Default::default()
    }
}

/// The attachment that a way leads by, while packets may pass by it.
pub fn leads<'a>(
    tables: &'a Tables,
    region: &Region,
    way: &Way,
) -> Option<&'a Arc<TransitGatewayAttachment>> {
    let attachment = tables.get::<TransitGatewayAttachment>(region, &way.to?)?;
    attachment.is_open().then_some(attachment)
}

pub fn route(tables: &Tables, region: &Region, way: &Way) -> api::TransitGatewayRoute {
    let by = leads(tables, region, way);
    let shown = way.to.map(|to| {
        // What was attached is known as long as it is described.
        let known = tables.get::<TransitGatewayAttachment>(region, &to);
        vec![api::TransitGatewayRouteAttachment {
            resource_id: known.map(|known| resource(known)),
            transit_gateway_attachment_id: Some(to.to_string()),
            resource_type: known.map(|known| resource_type(known)),
        }]
    });
    api::TransitGatewayRoute {
        destination_cidr_block: Some(way.destination.to_string()),
        transit_gateway_attachments: shown,
        r#type: Some(match way.origin {
            Origin::Static => api::TransitGatewayRouteType::Static,
            Origin::Propagated => api::TransitGatewayRouteType::Propagated,
        }),
        state: Some(match by {
            Some(_) => api::TransitGatewayRouteState::Active,
            None => api::TransitGatewayRouteState::Blackhole,
        }),
        ..Default::default()
    }
}
