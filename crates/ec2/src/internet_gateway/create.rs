//! `CreateInternetGateway` and `DeleteInternetGateway`.

use super::{MAX_GATEWAYS, render};
use crate::errors::{client, dependency_violation};
use crate::noun::{created, given_tags, hold, touched};
use api_ec2::{
    CreateInternetGatewayRequest, CreateInternetGatewayResult, DeleteInternetGatewayRequest,
    DeleteInternetGatewayResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::InternetGatewayId;
use model::record::vpc::InternetGateway;

pub fn touches(ctx: &Context, _: &CreateInternetGatewayRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "internet-gateway")]
}

pub fn create(
    ctx: &Context,
    request: &CreateInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateInternetGatewayResult> {
    let tags = given_tags(request.tag_specifications.as_deref(), &["internet-gateway"])?;
    let tags = tags.into_values().next().unwrap_or_default();
    let existing = txn.tables().find::<InternetGateway>(&ctx.region, "account", ctx.account());
    if existing.count() >= MAX_GATEWAYS {
        return Err(client(
            "InternetGatewayLimitExceeded",
            "The maximum number of internet gateways has been reached.",
        ));
    }
    let gateway = InternetGateway {
        gateway: InternetGatewayId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc: None,
        tags,
    };
    let shown = render::internet_gateway(&gateway);
    txn.put(&ctx.region, gateway);
    Ok(CreateInternetGatewayResult { internet_gateway: Some(shown) })
}

pub fn delete_touches(
    ctx: &Context,
    request: &DeleteInternetGatewayRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<InternetGateway>(ctx, tables, [&request.internet_gateway_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteInternetGatewayResult> {
    let gateway = hold::<InternetGateway>(ctx, txn, &request.internet_gateway_id)?;
    if let Some(vpc) = gateway.vpc {
        return Err(dependency_violation(format!(
            "The internetGateway '{}' has dependencies and cannot be deleted: it is attached to {vpc}",
            gateway.gateway
        )));
    }
    txn.delete::<InternetGateway>(&ctx.region, &gateway.gateway);
    Ok(DeleteInternetGatewayResult {})
}
