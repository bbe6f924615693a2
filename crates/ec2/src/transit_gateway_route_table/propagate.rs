//! Which tables know an attachment's VPC: `EnableTransitGatewayRouteTablePropagation`,
//! `DisableTransitGatewayRouteTablePropagation`.

use super::{pair, render};
use crate::errors::{client, missing_parameter};
use crate::parameter::refuse;
use api_ec2::{
    DisableTransitGatewayRouteTablePropagationRequest, DisableTransitGatewayRouteTablePropagationResult,
    EnableTransitGatewayRouteTablePropagationRequest, EnableTransitGatewayRouteTablePropagationResult,
    TransitGatewayPropagationState,
};
use control::{Context, Result, Txn};
use model::TransitGatewayRouteTableId;
use model::record::transit_gateway::TransitGatewayAttachment;
use std::collections::BTreeSet;

fn named(attachment: Option<&str>, announcement: Option<&str>) -> Result<String> {
    refuse(&[("TransitGatewayRouteTableAnnouncementId", announcement.is_some_and(|id| !id.is_empty()))])?;
    let attachment = attachment.filter(|id| !id.is_empty());
    Ok(attachment.ok_or_else(|| missing_parameter("TransitGatewayAttachmentId"))?.to_owned())
}

/// What is behind a peering is known by static routes alone.
fn propagating(
    attachment: &TransitGatewayAttachment,
) -> Result<(TransitGatewayAttachment, BTreeSet<TransitGatewayRouteTableId>)> {
    let refused = || {
        client(
            "UnsupportedOperation",
            format!(
                "Route propagation is not supported for the peering attachment {}.",
                attachment.attachment
            ),
        )
    };
    let tables = attachment.propagations().cloned().ok_or_else(refused)?;
    Ok((attachment.clone(), tables))
}

/// The attachment as it propagates to other tables.
fn with(
    mut attachment: TransitGatewayAttachment,
    tables: BTreeSet<TransitGatewayRouteTableId>,
) -> TransitGatewayAttachment {
    if let Some(propagations) = attachment.propagations_mut() {
        *propagations = tables;
    }
    attachment
}

pub fn enable(
    ctx: &Context,
    request: &EnableTransitGatewayRouteTablePropagationRequest,
    txn: &mut Txn<'_>,
) -> Result<EnableTransitGatewayRouteTablePropagationResult> {
    let attachment = named(
        request.transit_gateway_attachment_id.as_deref(),
        request.transit_gateway_route_table_announcement_id.as_deref(),
    )?;
    let (table, held) = pair(ctx, txn, &request.transit_gateway_route_table_id, &attachment)?;
    let (own, mut tables) = propagating(&held)?;
    if !tables.insert(table.table) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.Duplicate",
            format!(
                "Propagation {attachment} already exists in Transit Gateway Route Table {}.",
                table.table
            ),
        ));
    }
    let changed = with(own, tables);
    let shown = render::propagation(&changed, table.table, TransitGatewayPropagationState::Enabled);
    txn.put(&ctx.region, changed);
    Ok(EnableTransitGatewayRouteTablePropagationResult { propagation: Some(shown) })
}

pub fn disable(
    ctx: &Context,
    request: &DisableTransitGatewayRouteTablePropagationRequest,
    txn: &mut Txn<'_>,
) -> Result<DisableTransitGatewayRouteTablePropagationResult> {
    let attachment = named(
        request.transit_gateway_attachment_id.as_deref(),
        request.transit_gateway_route_table_announcement_id.as_deref(),
    )?;
    let (table, held) = pair(ctx, txn, &request.transit_gateway_route_table_id, &attachment)?;
    let (own, mut tables) = propagating(&held)?;
    if !tables.remove(&table.table) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.NotFound",
            format!(
                "Propagation {attachment} does not exist in Transit Gateway Route Table {}.",
                table.table
            ),
        ));
    }
    let changed = with(own, tables);
    let shown = render::propagation(&changed, table.table, TransitGatewayPropagationState::Disabled);
    txn.put(&ctx.region, changed);
    Ok(DisableTransitGatewayRouteTablePropagationResult { propagation: Some(shown) })
}
