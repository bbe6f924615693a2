//! Static routes: `CreateTransitGatewayRoute`, `ReplaceTransitGatewayRoute`, `DeleteTransitGatewayRoute`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTransitGatewayRoute.html>

use super::{MAX_ROUTES, pair, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::transit_gateway::live;
use api_ec2::{
    CreateTransitGatewayRouteRequest, CreateTransitGatewayRouteResult, DeleteTransitGatewayRouteRequest,
    DeleteTransitGatewayRouteResult, ReplaceTransitGatewayRouteRequest, ReplaceTransitGatewayRouteResult,
    TransitGatewayRouteState,
};
use control::{Context, Result, Txn};
use ipnet::IpNet;
use model::record::transit_gateway::{TransitGatewayRoute, TransitGatewayRouteTable};
use plan::net::transit::{Origin, Way};
use wire::ApiError;

/// Every destination without its host bits.
fn destination(text: &str) -> Result<IpNet> {
    let net: Option<IpNet> = text.parse().ok();
    let shown: String = text.chars().take(64).collect();
    let invalid = || {
        invalid_parameter_value(format!(
            "Value ({shown}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block."
        ))
    };
    Ok(net.ok_or_else(invalid)?.trunc())
}

/// The table, and where the route shall lead: by one attachment of the same gateway, or nowhere.
fn asked(
    ctx: &Context,
    txn: &mut Txn<'_>,
    table: &str,
    (text, attachment, blackhole): (&str, Option<&str>, Option<bool>),
) -> Result<(TransitGatewayRouteTable, TransitGatewayRoute)> {
    let attachment = attachment.filter(|id| !id.is_empty());
    let (held, to) = match (attachment, blackhole.unwrap_or(false)) {
        (Some(_), true) => {
            return Err(invalid_parameter_combination(
                "The parameters TransitGatewayAttachmentId and Blackhole cannot be used together",
            ));
        }
        (None, false) => return Err(missing_parameter("TransitGatewayAttachmentId")),
        (Some(id), false) => {
            let (held, attachment) = pair(ctx, txn, table, id)?;
            (held, Some(attachment.attachment))
        }
        (None, true) => (live::<TransitGatewayRouteTable>(ctx, txn, table)?, None),
    };
    Ok(((*held).clone(), TransitGatewayRoute { destination: destination(text)?, to }))
}

fn missing(table: &TransitGatewayRouteTable, destination: IpNet) -> ApiError {
    client(
        "InvalidRoute.NotFound",
        format!(
            "The static route {destination} does not exist in Transit Gateway Route Table {}.",
            table.table
        ),
    )
}

fn shown(ctx: &Context, txn: &Txn<'_>, route: TransitGatewayRoute) -> api_ec2::TransitGatewayRoute {
    let way = Way { destination: route.destination, to: route.to, origin: Origin::Static };
    render::route(txn.tables(), &ctx.region, &way)
}

pub fn create(
    ctx: &Context,
    request: &CreateTransitGatewayRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTransitGatewayRouteResult> {
    let wanted = (
        request.destination_cidr_block.as_str(),
        request.transit_gateway_attachment_id.as_deref(),
        request.blackhole,
    );
    let (mut table, route) = asked(ctx, txn, &request.transit_gateway_route_table_id, wanted)?;
    if table.routes.iter().any(|known| known.destination == route.destination) {
        return Err(client(
            "RouteAlreadyExists",
            format!(
                "Route {} already exists in Transit Gateway Route Table {}.",
                route.destination, table.table
            ),
        ));
    }
    if table.routes.len() >= MAX_ROUTES {
        return Err(client(
            "RouteLimitExceeded",
            format!("The maximum number of static routes in {} has been reached.", table.table),
        ));
    }
    table.routes.push(route);
    let shown = shown(ctx, txn, route);
    txn.put(&ctx.region, table);
    Ok(CreateTransitGatewayRouteResult { route: Some(shown) })
}

pub fn replace(
    ctx: &Context,
    request: &ReplaceTransitGatewayRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceTransitGatewayRouteResult> {
    let wanted = (
        request.destination_cidr_block.as_str(),
        request.transit_gateway_attachment_id.as_deref(),
        request.blackhole,
    );
    let (mut table, route) = asked(ctx, txn, &request.transit_gateway_route_table_id, wanted)?;
    let place = table.routes.iter().position(|known| known.destination == route.destination);
    let place = place.ok_or_else(|| missing(&table, route.destination))?;
    table.routes[place] = route;
    let shown = shown(ctx, txn, route);
    txn.put(&ctx.region, table);
    Ok(ReplaceTransitGatewayRouteResult { route: Some(shown) })
}

pub fn delete(
    ctx: &Context,
    request: &DeleteTransitGatewayRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTransitGatewayRouteResult> {
    let held = live::<TransitGatewayRouteTable>(ctx, txn, &request.transit_gateway_route_table_id)?;
    let mut table = TransitGatewayRouteTable::clone(&held);
    let net = destination(&request.destination_cidr_block)?;
    let place = table.routes.iter().position(|known| known.destination == net);
    let route = table.routes.remove(place.ok_or_else(|| missing(&held, net))?);
    let mut shown = shown(ctx, txn, route);
    shown.state = Some(TransitGatewayRouteState::Deleted);
    txn.put(&ctx.region, table);
    Ok(DeleteTransitGatewayRouteResult { route: Some(shown) })
}
