//! `AttachInternetGateway` and `DetachInternetGateway`.

use crate::errors::{client, dependency_violation};
use crate::noun::{hold, touched};
use api_ec2::{
    AttachInternetGatewayRequest, AttachInternetGatewayResult, DetachInternetGatewayRequest,
    DetachInternetGatewayResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{EdgeGateway, InternetGateway, RouteTable, Vpc};

pub fn attach_touches(
    ctx: &Context,
    request: &AttachInternetGatewayRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<InternetGateway>(ctx, tables, [&request.internet_gateway_id]);
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn attach(
    ctx: &Context,
    request: &AttachInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<AttachInternetGatewayResult> {
    let gateway = hold::<InternetGateway>(ctx, txn, &request.internet_gateway_id)?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    if let Some(attached) = gateway.vpc {
        return Err(client(
            "Resource.AlreadyAssociated",
            format!("resource {} is already attached to network {attached}", gateway.gateway),
        ));
    }
    if let Some(other) = txn.tables().find::<InternetGateway>(&ctx.region, "vpc", vpc).next() {
        return Err(client(
            "InvalidParameterValue",
            format!("Network {vpc} already has an internet gateway attached: {}", other.gateway),
        ));
    }
    let mut gateway = InternetGateway::clone(&gateway);
    gateway.vpc = Some(vpc);
    txn.put(&ctx.region, gateway);
    Ok(AttachInternetGatewayResult {})
}

pub fn detach_touches(
    ctx: &Context,
    request: &DetachInternetGatewayRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<InternetGateway>(ctx, tables, [&request.internet_gateway_id]);
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

/// Refused while an address of the VPC is translated to a public one, and while a route table is associated with it.
pub fn detach(
    ctx: &Context,
    request: &DetachInternetGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DetachInternetGatewayResult> {
    let gateway = hold::<InternetGateway>(ctx, txn, &request.internet_gateway_id)?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    if gateway.vpc != Some(vpc) {
        return Err(client(
            "Gateway.NotAttached",
            format!("resource {} is not attached to network {vpc}", gateway.gateway),
        ));
    }
    let mut interfaces = txn.tables().find::<NetworkInterface>(&ctx.region, "vpc", vpc);
    if let Some(mapped) = interfaces.find(|i| i.addresses.iter().any(|a| a.public.is_some())) {
        return Err(dependency_violation(format!(
            "Network {vpc} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway: {}",
            mapped.interface
        )));
    }
    if let Some(table) =
        txn.tables().find::<RouteTable>(&ctx.region, "gateway", EdgeGateway::Internet(gateway.gateway)).next()
    {
        return Err(dependency_violation(format!(
            "The gateway '{}' has dependencies and cannot be detached: {}",
            gateway.gateway, table.table
        )));
    }
    let mut gateway = InternetGateway::clone(&gateway);
    gateway.vpc = None;
    txn.put(&ctx.region, gateway);
    Ok(DetachInternetGatewayResult {})
}
