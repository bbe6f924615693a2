//! What is associated with a table, and what propagates to it.

use crate::noun::find;
use crate::transit_gateway::attached;
use crate::transit_gateway_attachment::render::{resource, resource_type};
use api_ec2 as api;
use api_ec2::{
    Filter, GetTransitGatewayAttachmentPropagationsRequest, GetTransitGatewayAttachmentPropagationsResult,
    GetTransitGatewayRouteTableAssociationsRequest, GetTransitGatewayRouteTableAssociationsResult,
    GetTransitGatewayRouteTablePropagationsRequest, GetTransitGatewayRouteTablePropagationsResult,
};
use control::filter::{FilterField, Filters, one, shown};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables};
use model::TransitGatewayRouteTableId;
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};
use std::sync::Arc;

/// Both lists are filtered by what is attached.
static FIELDS: [FilterField<TransitGatewayAttachment, ()>; 3] = [
    FilterField { name: "resource-id", values: |a, ()| one(resource(a)) },
    FilterField { name: "resource-type", values: |a, ()| one(resource_type(a).as_str().to_owned()) },
    FilterField { name: "transit-gateway-attachment-id", values: |a, ()| shown(a.attachment) },
];

static OF_ATTACHMENT: [FilterField<TransitGatewayRouteTableId, ()>; 1] =
    [FilterField { name: "transit-gateway-route-table-id", values: |table, ()| shown(*table) }];

fn parse<R>(given: Option<&[Filter]>, fields: &'static [FilterField<R, ()>]) -> Result<Filters<R, ()>> {
    Filters::parse(given.unwrap_or_default().iter().map(|f| (f.name.as_deref(), f.values.as_deref())), fields)
}

/// A page of the attachments of a table's gateway that `is_of` it, in the order of their ids.
fn listed<'a>(
    ctx: &'a Context,
    tables: &'a Tables,
    id: &str,
    (filters, max_results, next_token): (Option<&[Filter]>, Option<i32>, Option<&str>),
    is_of: impl Fn(&TransitGatewayAttachment, TransitGatewayRouteTableId) -> bool,
) -> Result<(Vec<&'a Arc<TransitGatewayAttachment>>, Option<String>)> {
    let table = find::<TransitGatewayRouteTable>(ctx, tables, id)?;
    let paging = Paging::parse(max_results, next_token, 5..=1000, ByIds::Absent)?;
    let filters = parse(filters, &FIELDS)?;
    let mut all = attached(tables, &ctx.region, table.gateway);
    all.retain(|attachment| is_of(attachment, table.table));
    all.retain(|attachment| filters.accept(attachment, &Tags::default(), &()));
    all.sort_by_key(|attachment| attachment.attachment);
    Ok(page::cut(all, &paging, |attachment| attachment.attachment))
}

pub fn associations(
    ctx: &Context,
    request: &GetTransitGatewayRouteTableAssociationsRequest,
    tables: &Tables,
) -> Result<GetTransitGatewayRouteTableAssociationsResult> {
    let query = (request.filters.as_deref(), request.max_results, request.next_token.as_deref());
    let id = &request.transit_gateway_route_table_id;
    let (page, next_token) = listed(ctx, tables, id, query, |a, table| a.association == Some(table))?;
    let shown = page.into_iter().map(|attachment| api::TransitGatewayRouteTableAssociation {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        resource_id: Some(resource(attachment)),
        resource_type: Some(resource_type(attachment)),
        state: Some(api::TransitGatewayAssociationState::Associated),
    });
    Ok(GetTransitGatewayRouteTableAssociationsResult { associations: Some(shown.collect()), next_token })
}

pub fn propagations(
    ctx: &Context,
    request: &GetTransitGatewayRouteTablePropagationsRequest,
    tables: &Tables,
) -> Result<GetTransitGatewayRouteTablePropagationsResult> {
    let query = (request.filters.as_deref(), request.max_results, request.next_token.as_deref());
    let id = &request.transit_gateway_route_table_id;
    let (page, next_token) = listed(ctx, tables, id, query, TransitGatewayAttachment::propagates_to)?;
    let shown = page.into_iter().map(|attachment| api::TransitGatewayRouteTablePropagation {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        resource_id: Some(resource(attachment)),
        resource_type: Some(resource_type(attachment)),
        state: Some(api::TransitGatewayPropagationState::Enabled),
        ..Default::default()
    });
    let shown = Some(shown.collect());
    Ok(GetTransitGatewayRouteTablePropagationsResult {
        transit_gateway_route_table_propagations: shown,
        next_token,
    })
}

pub fn of_attachment(
    ctx: &Context,
    request: &GetTransitGatewayAttachmentPropagationsRequest,
    tables: &Tables,
) -> Result<GetTransitGatewayAttachmentPropagationsResult> {
    let attachment = find::<TransitGatewayAttachment>(ctx, tables, &request.transit_gateway_attachment_id)?;
    let paging = Paging::parse(request.max_results, request.next_token.as_deref(), 5..=1000, ByIds::Absent)?;
    let filters = parse(request.filters.as_deref(), &OF_ATTACHMENT)?;
    let known = attachment.propagations().into_iter().flatten().copied();
    let known = known.filter(|table| filters.accept(table, &Tags::default(), &()));
    let (page, next_token) = page::cut(known, &paging, |table| *table);
    let shown = page.into_iter().map(|table| api::TransitGatewayAttachmentPropagation {
        transit_gateway_route_table_id: Some(table.to_string()),
        state: Some(api::TransitGatewayPropagationState::Enabled),
    });
    Ok(GetTransitGatewayAttachmentPropagationsResult {
        transit_gateway_attachment_propagations: Some(shown.collect()),
        next_token,
    })
}
