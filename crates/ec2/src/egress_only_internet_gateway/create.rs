//! `CreateEgressOnlyInternetGateway` and `DeleteEgressOnlyInternetGateway`.

use super::{MAX_GATEWAYS, render};
use crate::errors::client;
use crate::noun::{created, given_tags, hold, touched};
use api_ec2::{
    CreateEgressOnlyInternetGatewayRequest, CreateEgressOnlyInternetGatewayResult,
    DeleteEgressOnlyInternetGatewayRequest, DeleteEgressOnlyInternetGatewayResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::EgressOnlyInternetGatewayId;
use model::record::vpc::{EgressOnlyInternetGateway, RouteTable, RouteTarget, Vpc};

pub fn touches(
    ctx: &Context,
    request: &CreateEgressOnlyInternetGatewayRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "egress-only-internet-gateway")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateEgressOnlyInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateEgressOnlyInternetGatewayResult> {
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    let tags = given_tags(request.tag_specifications.as_deref(), &["egress-only-internet-gateway"])?;
    let existing = txn.tables().find::<EgressOnlyInternetGateway>(&ctx.region, "account", ctx.account());
    if existing.count() >= MAX_GATEWAYS {
        return Err(client(
            "EgressOnlyInternetGatewayLimitExceeded",
            "The maximum number of egress-only internet gateways has been reached.",
        ));
    }
    let gateway = EgressOnlyInternetGateway {
        gateway: EgressOnlyInternetGatewayId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render(&gateway);
    txn.put(&ctx.region, gateway);
    Ok(CreateEgressOnlyInternetGatewayResult {
        client_token: request.client_token.clone(),
        egress_only_internet_gateway: Some(shown),
    })
}

pub fn delete_touches(
    ctx: &Context,
    request: &DeleteEgressOnlyInternetGatewayRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<EgressOnlyInternetGateway>(ctx, tables, [&request.egress_only_internet_gateway_id])
}

/// Routes that led to it are black holes from then on.
pub fn delete(
    ctx: &Context,
    request: &DeleteEgressOnlyInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteEgressOnlyInternetGatewayResult> {
    let gateway = hold::<EgressOnlyInternetGateway>(ctx, txn, &request.egress_only_internet_gateway_id)?;
    // Whoever derives what hosts hold sees the change by the tables that lead to it.
    let target = RouteTarget::EgressOnly(gateway.gateway);
    let tables: Vec<RouteTable> = txn
        .tables()
        .find::<RouteTable>(&ctx.region, "vpc", gateway.vpc)
        .filter(|table| table.routes.iter().any(|route| route.target == target))
        .map(|table| RouteTable::clone(table))
        .collect();
    for table in tables {
        txn.put(&ctx.region, table);
    }
    txn.delete::<EgressOnlyInternetGateway>(&ctx.region, &gateway.gateway);
    Ok(DeleteEgressOnlyInternetGatewayResult { return_code: Some(true) })
}
