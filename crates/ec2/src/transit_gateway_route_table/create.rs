//! `CreateTransitGatewayRouteTable`: empty, and nobody's default.

use super::{MAX_TABLES, render};
use crate::errors::client;
use crate::noun::{created, given_tags, touched};
use crate::transit_gateway::live;
use api_ec2::{
    CreateTransitGatewayRouteTableRequest, CreateTransitGatewayRouteTableResult,
    TransitGatewayRouteTableState,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::TransitGatewayRouteTableId;
use model::record::transit_gateway::{TransitGateway, TransitGatewayRouteTable};

pub fn touches(
    ctx: &Context,
    request: &CreateTransitGatewayRouteTableRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "transit-gateway-route-table")];
    all.extend(touched::<TransitGateway>(ctx, tables, [&request.transit_gateway_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateTransitGatewayRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTransitGatewayRouteTableResult> {
    let gateway = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?.gateway;
    let tags = given_tags(request.tag_specifications.as_deref(), &["transit-gateway-route-table"])?;
    let present = txn.tables().find::<TransitGatewayRouteTable>(&ctx.region, "gateway", gateway);
    if present.filter(|table| table.deleted_at.is_none()).count() >= MAX_TABLES {
        return Err(client(
            "TransitGatewayRouteTableLimitExceeded",
            format!("The maximum number of route tables of {gateway} has been reached."),
        ));
    }
    let record = TransitGatewayRouteTable {
        table: TransitGatewayRouteTableId::from_entropy(ctx.bits()),
        gateway,
        account: ctx.account(),
        routes: Vec::new(),
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let mut shown = render::table(txn.tables(), &record);
    shown.state = Some(TransitGatewayRouteTableState::Pending);
    txn.put(&ctx.region, record);
    Ok(CreateTransitGatewayRouteTableResult { transit_gateway_route_table: Some(shown) })
}
