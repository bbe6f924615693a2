//! Which table an attachment's packets ask: `AssociateTransitGatewayRouteTable`, `DisassociateTransitGatewayRouteTable`.

use super::{pair, render};
use crate::errors::client;
use api_ec2::{
    AssociateTransitGatewayRouteTableRequest, AssociateTransitGatewayRouteTableResult,
    DisassociateTransitGatewayRouteTableRequest, DisassociateTransitGatewayRouteTableResult,
    TransitGatewayAssociationState,
};
use control::{Context, Result, Txn};
use model::record::transit_gateway::TransitGatewayAttachment;

pub fn associate(
    ctx: &Context,
    request: &AssociateTransitGatewayRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateTransitGatewayRouteTableResult> {
    let ids = (&request.transit_gateway_route_table_id, &request.transit_gateway_attachment_id);
    let (table, held) = pair(ctx, txn, ids.0, ids.1)?;
    if held.association.is_some() {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!("Transit Gateway Attachment {} is already associated to a route table.", ids.1),
        ));
    }
    let changed = TransitGatewayAttachment { association: Some(table.table), ..(*held).clone() };
    let shown = render::association(&changed, table.table, TransitGatewayAssociationState::Associating);
    txn.put(&ctx.region, changed);
    Ok(AssociateTransitGatewayRouteTableResult { association: Some(shown) })
}

pub fn disassociate(
    ctx: &Context,
    request: &DisassociateTransitGatewayRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<DisassociateTransitGatewayRouteTableResult> {
    let ids = (&request.transit_gateway_route_table_id, &request.transit_gateway_attachment_id);
    let (table, held) = pair(ctx, txn, ids.0, ids.1)?;
    if held.association != Some(table.table) {
        return Err(client(
            "InvalidAssociation.NotFound",
            format!("There is no association between {} and {}.", ids.0, ids.1),
        ));
    }
    let changed = TransitGatewayAttachment { association: None, ..(*held).clone() };
    let shown = render::association(&changed, table.table, TransitGatewayAssociationState::Disassociating);
    txn.put(&ctx.region, changed);
    Ok(DisassociateTransitGatewayRouteTableResult { association: Some(shown) })
}
