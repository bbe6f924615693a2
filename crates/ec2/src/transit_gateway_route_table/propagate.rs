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
use model::record::transit_gateway::{AttachedResource, AttachedVpc, TransitGatewayAttachment};

fn named(attachment: Option<&str>, announcement: Option<&str>) -> Result<String> {
    refuse(&[("TransitGatewayRouteTableAnnouncementId", announcement.is_some_and(|id| !id.is_empty()))])?;
    let attachment = attachment.filter(|id| !id.is_empty());
    Ok(attachment.ok_or_else(|| missing_parameter("TransitGatewayAttachmentId"))?.to_owned())
}

/// What is behind a peering is known by static routes alone.
fn propagating(attachment: &TransitGatewayAttachment) -> Result<AttachedVpc> {
    let refused = || {
        client(
            "UnsupportedOperation",
            format!(
                "Route propagation is not supported for the peering attachment {}.",
                attachment.attachment
            ),
        )
    };
    attachment.vpc().cloned().ok_or_else(refused)
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
    let mut vpc = propagating(&held)?;
    if !vpc.propagations.insert(table.table) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.Duplicate",
            format!(
                "Propagation {attachment} already exists in Transit Gateway Route Table {}.",
                table.table
            ),
        ));
    }
    let changed = TransitGatewayAttachment { resource: AttachedResource::Vpc(vpc), ..(*held).clone() };
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
    let mut vpc = propagating(&held)?;
    if !vpc.propagations.remove(&table.table) {
        return Err(client(
            "TransitGatewayRouteTablePropagation.NotFound",
            format!(
                "Propagation {attachment} does not exist in Transit Gateway Route Table {}.",
                table.table
            ),
        ));
    }
    let changed = TransitGatewayAttachment { resource: AttachedResource::Vpc(vpc), ..(*held).clone() };
    let shown = render::propagation(&changed, table.table, TransitGatewayPropagationState::Disabled);
    txn.put(&ctx.region, changed);
    Ok(DisableTransitGatewayRouteTablePropagationResult { propagation: Some(shown) })
}
