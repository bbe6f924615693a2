//! `CreateRouteTable`.

use super::{MAX_TABLES, render};
use crate::errors::client;
use crate::noun::{created, given_tags, hold, touched};
use api_ec2::{CreateRouteTableRequest, CreateRouteTableResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::RouteTableId;
use model::record::vpc::{RouteTable, Vpc};

pub fn touches(ctx: &Context, request: &CreateRouteTableRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "route-table")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateRouteTableResult> {
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    let tags = given_tags(request.tag_specifications.as_deref(), &["route-table"])?;
    if txn.tables().find::<RouteTable>(&ctx.region, "vpc", vpc).count() >= MAX_TABLES {
        return Err(client(
            "RouteTableLimitExceeded",
            format!("The maximum number of route tables in {vpc} has been reached."),
        ));
    }
    let table = RouteTable {
        table: RouteTableId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc,
        routes: Vec::new(),
        associations: Vec::new(),
        propagating: std::collections::BTreeSet::new(),
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::route_table(&ctx.region, txn.tables(), &table);
    txn.put(&ctx.region, table);
    Ok(CreateRouteTableResult { route_table: Some(shown), client_token: request.client_token.clone() })
}
