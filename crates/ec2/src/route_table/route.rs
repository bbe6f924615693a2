//! Single routes: `CreateRoute`, `ReplaceRoute`, `DeleteRoute`.

use super::target::{Named, target};
use super::{MAX_ROUTES, edge};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{find, hold, touched};
use crate::parameter::one_block;
use crate::prefix_list::usage;
use api_ec2::{
    CreateRouteRequest, CreateRouteResult, DeleteRouteRequest, DeleteRouteResult, ReplaceRouteRequest,
    ReplaceRouteResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::PrefixListId;
use model::record::instance::Instance;
use model::record::network_interface::NetworkInterface;
use model::record::prefix_list::{Family, PrefixList};
use model::record::transit_gateway::TransitGateway;
use model::record::vpc::{Destination, InternetGateway, Route, RouteTable, RouteTarget, Vpc};
use model::record::vpn::VpnGateway;

/// The targets that a request names: the same members in two shapes.
macro_rules! named {
    ($request:expr) => {
        Named {
            gateway: $request.gateway_id.as_deref(),
            instance: $request.instance_id.as_deref(),
            interface: $request.network_interface_id.as_deref(),
            peering: $request.vpc_peering_connection_id.as_deref(),
            nat: $request.nat_gateway_id.as_deref(),
            transit: $request.transit_gateway_id.as_deref(),
            egress_only: $request.egress_only_internet_gateway_id.as_deref(),
            others: [
                ("VpcEndpointId", &$request.vpc_endpoint_id),
                ("LocalGatewayId", &$request.local_gateway_id),
                ("CarrierGatewayId", &$request.carrier_gateway_id),
                ("CoreNetworkArn", &$request.core_network_arn),
                ("OdbNetworkArn", &$request.odb_network_arn),
            ],
        }
    };
}

pub fn create_touches(ctx: &Context, request: &CreateRouteRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<RouteTable>(ctx, tables, [&request.route_table_id]);
    all.extend(touched::<InternetGateway>(ctx, tables, &request.gateway_id));
    all.extend(touched::<VpnGateway>(ctx, tables, &request.gateway_id));
    all.extend(touched::<TransitGateway>(ctx, tables, &request.transit_gateway_id));
    all.extend(touched::<Instance>(ctx, tables, &request.instance_id));
    all.extend(touched::<NetworkInterface>(ctx, tables, &request.network_interface_id));
    all
}

pub fn create(ctx: &Context, request: &CreateRouteRequest, txn: &mut Txn<'_>) -> Result<CreateRouteResult> {
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    let destination = destination(
        ctx,
        txn.tables(),
        request.destination_cidr_block.as_deref(),
        request.destination_ipv6_cidr_block.as_deref(),
        request.destination_prefix_list_id.as_deref(),
    )?;
    let target = target(ctx, txn, &table, destination, &named!(request))?;
    if is_local(ctx, txn.tables(), &table, destination) {
        return Err(invalid_parameter_value(format!(
            "The destination CIDR block {destination} is the VPC's own, whose route is local in every table"
        )));
    }
    if table.is_edge() {
        edge::admits(ctx, txn.tables(), &table, destination, target)?;
    }
    match table.routes.iter().find(|route| route.destination == destination) {
        Some(route) if route.target == target => return Ok(CreateRouteResult { r#return: Some(true) }),
        Some(_) => {
            return Err(client(
                "RouteAlreadyExists",
                format!("The route identified by {destination} already exists."),
            ));
        }
        None => {}
    }
    table.routes.push(Route { destination, target });
    check_quota(&table, &|list| usage::weight(txn.tables(), &ctx.region, list))?;
    txn.put(&ctx.region, table);
    Ok(CreateRouteResult { r#return: Some(true) })
}

pub fn replace_touches(ctx: &Context, request: &ReplaceRouteRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<RouteTable>(ctx, tables, [&request.route_table_id]);
    all.extend(touched::<InternetGateway>(ctx, tables, &request.gateway_id));
    all.extend(touched::<VpnGateway>(ctx, tables, &request.gateway_id));
    all.extend(touched::<TransitGateway>(ctx, tables, &request.transit_gateway_id));
    all.extend(touched::<Instance>(ctx, tables, &request.instance_id));
    all.extend(touched::<NetworkInterface>(ctx, tables, &request.network_interface_id));
    all
}

pub fn replace(
    ctx: &Context,
    request: &ReplaceRouteRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceRouteResult> {
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    let destination = destination(
        ctx,
        txn.tables(),
        request.destination_cidr_block.as_deref(),
        request.destination_ipv6_cidr_block.as_deref(),
        request.destination_prefix_list_id.as_deref(),
    )?;
    not_an_endpoints(&table, destination, "modify")?;
    let local = is_local(ctx, txn.tables(), &table, destination);
    if request.local_target == Some(true) {
        return replace_by_local(ctx, txn, table, destination, local, &named!(request));
    }
    let target = target(ctx, txn, &table, destination, &named!(request))?;
    if table.is_edge() {
        edge::admits(ctx, txn.tables(), &table, destination, target)?;
    }
    if local {
        if !matches!(target, RouteTarget::Interface(_) | RouteTarget::NatGateway(_)) {
            return Err(invalid_parameter_value(format!(
                "The local route for {destination} can target only an interface, an instance or a NAT gateway."
            )));
        }
        table.routes.retain(|route| route.destination != destination);
        table.routes.push(Route { destination, target });
        check_quota(&table, &|list| usage::weight(txn.tables(), &ctx.region, list))?;
        txn.put(&ctx.region, table);
        return Ok(ReplaceRouteResult {});
    }
    let route = table.routes.iter_mut().find(|route| route.destination == destination);
    route
        .ok_or_else(|| {
            // ReplaceRoute has a code of its own for what DeleteRoute calls InvalidRoute.NotFound.
            invalid_parameter_value(format!(
                "There is no route defined for '{destination}' in the route table. Use CreateRoute instead."
            ))
        })?
        .target = target;
    txn.put(&ctx.region, table);
    Ok(ReplaceRouteResult {})
}

/// The local route as it was at first.
fn replace_by_local(
    ctx: &Context,
    txn: &mut Txn<'_>,
    mut table: RouteTable,
    destination: Destination,
    local: bool,
    named: &Named<'_>,
) -> Result<ReplaceRouteResult> {
    if named.count() > 0 {
        return Err(invalid_parameter_combination("A route has exactly one target"));
    }
    if !local {
        return Err(invalid_parameter_value(format!(
            "The route for {destination} in route table {} is not the local one",
            table.table
        )));
    }
    table.routes.retain(|route| route.destination != destination);
    txn.put(&ctx.region, table);
    Ok(ReplaceRouteResult {})
}

pub fn delete_touches(ctx: &Context, request: &DeleteRouteRequest, tables: &Tables) -> Vec<Touched> {
    touched::<RouteTable>(ctx, tables, [&request.route_table_id])
}

pub fn delete(ctx: &Context, request: &DeleteRouteRequest, txn: &mut Txn<'_>) -> Result<DeleteRouteResult> {
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    let destination = destination(
        ctx,
        txn.tables(),
        request.destination_cidr_block.as_deref(),
        request.destination_ipv6_cidr_block.as_deref(),
        request.destination_prefix_list_id.as_deref(),
    )?;
    if is_local(ctx, txn.tables(), &table, destination) {
        return Err(invalid_parameter_value(format!(
            "cannot remove local route {destination} in route table {}",
            table.table
        )));
    }
    not_an_endpoints(&table, destination, "remove")?;
    let before = table.routes.len();
    table.routes.retain(|route| route.destination != destination);
    if table.routes.len() == before {
        return Err(client(
            "InvalidRoute.NotFound",
            format!("no route with destination-cidr-block {destination} in route table {}", table.table),
        ));
    }
    txn.put(&ctx.region, table);
    Ok(DeleteRouteResult {})
}

/// Such routes come and go with their endpoint.
fn not_an_endpoints(table: &RouteTable, destination: Destination, done: &str) -> Result<()> {
    let is_it =
        |route: &Route| route.destination == destination && matches!(route.target, RouteTarget::Endpoint(_));
    if !table.routes.iter().any(is_it) {
        return Ok(());
    }
    Err(invalid_parameter_value(format!(
        "cannot {done} VPC endpoint route {destination} in route table {}",
        table.table
    )))
}

/// A route for a list counts as often as the list may have entries.
pub fn check_quota(table: &RouteTable, weigh: &dyn Fn(PrefixListId) -> (usize, Family)) -> Result<()> {
    let weights = table.routes.iter().map(|route| match route.destination {
        Destination::PrefixList(list) => weigh(list).0,
        Destination::Net(_) => 1,
    });
    if weights.sum::<usize>() > MAX_ROUTES {
        return Err(client(
            "RouteLimitExceeded",
            format!("The maximum number of routes in {} has been reached.", table.table),
        ));
    }
    Ok(())
}

fn destination(
    ctx: &Context,
    tables: &Tables,
    v4: Option<&str>,
    v6: Option<&str>,
    list: Option<&str>,
) -> Result<Destination> {
    let block = one_block(v4, v6, ["destinationCidrBlock", "destinationIpv6CidrBlock"])?;
    match (block, list) {
        (Some(net), None) => Ok(Destination::Net(net)),
        (None, Some(id)) => Ok(Destination::PrefixList(find::<PrefixList>(ctx, tables, id)?.list)),
        (Some(_), Some(_)) => Err(invalid_parameter_combination(
            "The parameters destinationPrefixListId and destinationCidrBlock cannot be used together",
        )),
        (None, None) => Err(missing_parameter(
            "destinationCidrBlock, destinationIpv6CidrBlock or destinationPrefixListId",
        )),
    }
}

fn is_local(ctx: &Context, tables: &Tables, table: &RouteTable, destination: Destination) -> bool {
    let Destination::Net(net) = destination else { return false };
    tables.get::<Vpc>(&ctx.region, &table.vpc).is_some_and(|vpc| vpc.nets().any(|own| own == net))
}
