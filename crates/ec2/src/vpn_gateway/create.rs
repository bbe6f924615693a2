//! `CreateVpnGateway` and `DeleteVpnGateway`.

use super::{MAX_GATEWAYS, render};
use crate::customer_gateway::create::ipsec;
use crate::errors::{client, invalid_parameter_value};
use crate::noun::{created, given_tags};
use crate::parameter::zone;
use crate::transit_gateway::{incorrect_state, live};
use api_ec2::{
    CreateVpnGatewayRequest, CreateVpnGatewayResult, DeleteVpnGatewayRequest, DeleteVpnGatewayResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::VpnGatewayId;
use model::record::vpn::{VpnConnection, VpnGateway};

const DEFAULT_ASN: i64 = 64_512;

pub fn touches(ctx: &Context, _: &CreateVpnGatewayRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "vpn-gateway")]
}

pub fn create(
    ctx: &Context,
    request: &CreateVpnGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpnGatewayResult> {
    ipsec(&request.r#type)?;
    let zone = zone(ctx, request.availability_zone.as_deref(), None)?;
    let asn = request.amazon_side_asn.unwrap_or(DEFAULT_ASN);
    if !(64_512..=65_534).contains(&asn) && !(4_200_000_000..=4_294_967_294).contains(&asn) {
        return Err(invalid_parameter_value(format!(
            "Value ({asn}) for parameter amazonSideAsn is invalid. Use a private ASN."
        )));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpn-gateway"])?;
    let own = txn.tables().find::<VpnGateway>(&ctx.region, "account", ctx.account());
    if own.filter(|gateway| gateway.is_there()).count() >= MAX_GATEWAYS {
        return Err(client(
            "VpnGatewayLimitExceeded",
            format!("The maximum number of virtual private gateways in {} has been reached.", ctx.region),
        ));
    }
    let record = VpnGateway {
        gateway: VpnGatewayId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc: None,
        detached: None,
        asn,
        zone,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render(&record);
    txn.put(&ctx.region, record);
    Ok(CreateVpnGatewayResult { vpn_gateway: Some(shown) })
}

/// Refused while it is attached or a connection ends at it.
pub fn delete(
    ctx: &Context,
    request: &DeleteVpnGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpnGatewayResult> {
    let held = live::<VpnGateway>(ctx, txn, &request.vpn_gateway_id)?;
    let connections = txn.tables().find::<VpnConnection>(&ctx.region, "gateway", held.gateway);
    let users = connections.filter(|connection| connection.is_there()).map(|c| c.connection.to_string());
    let users: Vec<String> = held.vpc.iter().map(ToString::to_string).chain(users).take(10).collect();
    if !users.is_empty() {
        return Err(incorrect_state(format!(
            "The virtual private gateway {} is in use: {}.",
            held.gateway,
            users.join(", ")
        )));
    }
    txn.put(&ctx.region, VpnGateway { deleted_at: Some(ctx.now), ..(*held).clone() });
    Ok(DeleteVpnGatewayResult {})
}
