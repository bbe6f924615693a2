//! `AttachVpnGateway` and `DetachVpnGateway`.

use super::of_vpc;
use crate::errors::{client, dependency_violation};
use crate::noun::{hold, touched};
use crate::transit_gateway::live;
use api_ec2::{
    AttachVpnGatewayRequest, AttachVpnGatewayResult, AttachmentStatus, DetachVpnGatewayRequest,
    DetachVpnGatewayResult, VpcAttachment,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::{EdgeGateway, RouteTable, Vpc};
use model::record::vpn::VpnGateway;

pub fn attach_touches(ctx: &Context, request: &AttachVpnGatewayRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<VpnGateway>(ctx, tables, [&request.vpn_gateway_id]);
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn attach(
    ctx: &Context,
    request: &AttachVpnGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<AttachVpnGatewayResult> {
    let gateway = live::<VpnGateway>(ctx, txn, &request.vpn_gateway_id)?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    let answer = |state| AttachVpnGatewayResult {
        vpc_attachment: Some(VpcAttachment { vpc_id: Some(vpc.to_string()), state: Some(state) }),
    };
    match (gateway.vpc, of_vpc(txn.tables(), &ctx.region, vpc)) {
        (Some(attached), _) if attached == vpc => return Ok(answer(AttachmentStatus::Attached)),
        (Some(attached), _) => {
            return Err(client(
                "VpnGatewayAttachmentLimitExceeded",
                format!("The vpnGateway {} is already attached to {attached}.", gateway.gateway),
            ));
        }
        (None, Some(other)) => {
            return Err(client(
                "VpnGatewayAttachmentLimitExceeded",
                format!("Network {vpc} already has a virtual private gateway attached: {}", other.gateway),
            ));
        }
        (None, None) => {}
    }
    txn.put(&ctx.region, VpnGateway { vpc: Some(vpc), detached: None, ..(*gateway).clone() });
    Ok(answer(AttachmentStatus::Attaching))
}

pub fn detach_touches(ctx: &Context, request: &DetachVpnGatewayRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<VpnGateway>(ctx, tables, [&request.vpn_gateway_id]);
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

/// Its connections stay and carry nothing. Routes to it stay and drop; tables take over nothing from it any more.
pub fn detach(
    ctx: &Context,
    request: &DetachVpnGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DetachVpnGatewayResult> {
    let gateway = live::<VpnGateway>(ctx, txn, &request.vpn_gateway_id)?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    if gateway.vpc != Some(vpc) {
        return Err(client(
            "InvalidVpnGatewayAttachment.NotFound",
            format!(
                "The attachment with vpn gateway ID '{}' and vpc ID '{vpc}' does not exist",
                gateway.gateway
            ),
        ));
    }
    let edge = EdgeGateway::Vpn(gateway.gateway);
    if let Some(table) = txn.tables().find::<RouteTable>(&ctx.region, "gateway", edge).next() {
        return Err(dependency_violation(format!(
            "The gateway '{}' has dependencies and cannot be detached: {}",
            gateway.gateway, table.table
        )));
    }
    let tables = txn.tables().find::<RouteTable>(&ctx.region, "vpc", vpc);
    for table in tables.filter(|table| table.propagating.contains(&gateway.gateway)) {
        let mut table = RouteTable::clone(table);
        table.propagating.remove(&gateway.gateway);
        txn.put(&ctx.region, table);
    }
    txn.put(&ctx.region, VpnGateway { vpc: None, detached: Some(vpc), ..(*gateway).clone() });
    Ok(DetachVpnGatewayResult {})
}
