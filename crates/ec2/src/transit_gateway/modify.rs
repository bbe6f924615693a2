//! `ModifyTransitGateway`: what new attachments get, and what is kept for show.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyTransitGateway.html>

use super::options::asn;
use super::{live, render, switch};
use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::touched;
use crate::parameter::refuse;
use api_ec2::{
    ModifyTransitGatewayOptions, ModifyTransitGatewayRequest, ModifyTransitGatewayResult, TransitGatewayState,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayOptions, TransitGatewayRouteTable};
use model::{TransitGatewayId, TransitGatewayRouteTableId};

pub fn touches(ctx: &Context, request: &ModifyTransitGatewayRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<TransitGateway>(ctx, tables, [&request.transit_gateway_id]);
    if let Some(options) = &request.options {
        let named = options.association_default_route_table_id.iter();
        let named = named.chain(&options.propagation_default_route_table_id);
        all.extend(touched::<TransitGatewayRouteTable>(ctx, tables, named));
    }
    all
}

pub fn modify(
    ctx: &Context,
    request: &ModifyTransitGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyTransitGatewayResult> {
    let held = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?;
    let mut gateway = TransitGateway::clone(&held);
    if request.description.is_none() && request.options.is_none() {
        return Err(invalid_parameter_combination("No attributes specified to modify."));
    }
    if let Some(description) = &request.description {
        gateway.description.clone_from(description);
    }
    if let Some(given) = &request.options {
        set(ctx, txn, gateway.gateway, &mut gateway.options, given)?;
    }
    let mut shown = render::gateway(ctx, &gateway);
    shown.state = Some(TransitGatewayState::Modifying);
    txn.put(&ctx.region, gateway);
    Ok(ModifyTransitGatewayResult { transit_gateway: Some(shown) })
}

fn set(
    ctx: &Context,
    txn: &mut Txn<'_>,
    gateway: TransitGatewayId,
    options: &mut TransitGatewayOptions,
    given: &ModifyTransitGatewayOptions,
) -> Result<()> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let groups = given.security_group_referencing_support.as_ref();
    refuse(&[
        (
            "SecurityGroupReferencingSupport",
            switch("Options.SecurityGroupReferencingSupport", groups)? == Some(true),
        ),
        (
            "EncryptionSupport",
            switch("Options.EncryptionSupport", given.encryption_support.as_ref())? == Some(true),
        ),
        ("AddTransitGatewayCidrBlocks", some(&given.add_transit_gateway_cidr_blocks)),
        ("RemoveTransitGatewayCidrBlocks", some(&given.remove_transit_gateway_cidr_blocks)),
    ])?;
    let or = |old: bool, new: Option<bool>| new.unwrap_or(old);
    options.amazon_side_asn = asn(given.amazon_side_asn)?.unwrap_or(options.amazon_side_asn);
    options.vpn_ecmp =
        or(options.vpn_ecmp, switch("Options.VpnEcmpSupport", given.vpn_ecmp_support.as_ref())?);
    options.dns = or(options.dns, switch("Options.DnsSupport", given.dns_support.as_ref())?);
    options.auto_accept_shared = or(
        options.auto_accept_shared,
        switch("Options.AutoAcceptSharedAttachments", given.auto_accept_shared_attachments.as_ref())?,
    );
    options.default_association = or(
        options.default_association,
        switch("Options.DefaultRouteTableAssociation", given.default_route_table_association.as_ref())?,
    );
    options.default_propagation = or(
        options.default_propagation,
        switch("Options.DefaultRouteTablePropagation", given.default_route_table_propagation.as_ref())?,
    );
    let association = table(ctx, txn, gateway, given.association_default_route_table_id.as_deref())?;
    options.association_table =
        default("Association", options.default_association, options.association_table, association)?;
    let propagation = table(ctx, txn, gateway, given.propagation_default_route_table_id.as_deref())?;
    options.propagation_table =
        default("Propagation", options.default_propagation, options.propagation_table, propagation)?;
    Ok(())
}

/// A table of the gateway.
fn table(
    ctx: &Context,
    txn: &mut Txn<'_>,
    gateway: TransitGatewayId,
    id: Option<&str>,
) -> Result<Option<TransitGatewayRouteTableId>> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let table = live::<TransitGatewayRouteTable>(ctx, txn, id)?;
    if table.gateway != gateway {
        return Err(invalid_parameter_value(format!("{id} is not a route table of {gateway}.")));
    }
    Ok(Some(table.table))
}

/// A default needs a table, and a table a default.
fn default(
    what: &str,
    on: bool,
    old: Option<TransitGatewayRouteTableId>,
    new: Option<TransitGatewayRouteTableId>,
) -> Result<Option<TransitGatewayRouteTableId>> {
    match (on, new.or(old)) {
        (true, None) => Err(invalid_parameter_combination(format!(
            "DefaultRouteTable{what} can only be enabled with {what}DefaultRouteTableId."
        ))),
        (true, table) => Ok(table),
        (false, _) if new.is_some() => Err(invalid_parameter_combination(format!(
            "{what}DefaultRouteTableId can only be set while DefaultRouteTable{what} is enabled."
        ))),
        (false, _) => Ok(None),
    }
}
