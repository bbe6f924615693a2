//! `ModifyTransitGatewayVpcAttachment`: its zones, and what it carries.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyTransitGatewayVpcAttachment.html>

use super::{of_vpc, render, zones};
use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::{Noun as _, touched};
use crate::parameter::refuse;
use crate::transit_gateway::switch;
use api_ec2::{
    ModifyTransitGatewayVpcAttachmentRequest, ModifyTransitGatewayVpcAttachmentResult,
    TransitGatewayAttachmentState,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transit_gateway::{AttachedResource, TransitGatewayAttachment};
use model::record::vpc::Subnet;

pub fn touches(
    ctx: &Context,
    request: &ModifyTransitGatewayVpcAttachmentRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<TransitGatewayAttachment>(ctx, tables, [&request.transit_gateway_attachment_id]);
    let subnets = request.add_subnet_ids.iter().chain(&request.remove_subnet_ids).flatten();
    all.extend(touched::<Subnet>(ctx, tables, subnets));
    all
}

pub fn modify(
    ctx: &Context,
    request: &ModifyTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyTransitGatewayVpcAttachmentResult> {
    let (held, mut changed) = of_vpc(ctx, txn, &request.transit_gateway_attachment_id)?;
    let (add, remove) = (
        request.add_subnet_ids.as_deref().unwrap_or_default(),
        request.remove_subnet_ids.as_deref().unwrap_or_default(),
    );
    if add.is_empty() && remove.is_empty() && request.options.is_none() {
        return Err(invalid_parameter_combination("No attributes specified to modify."));
    }
    if let Some(options) = &request.options {
        let groups = options.security_group_referencing_support.as_ref();
        let appliance = options.appliance_mode_support.as_ref();
        refuse(&[
            (
                "SecurityGroupReferencingSupport",
                switch("Options.SecurityGroupReferencingSupport", groups)? == Some(true),
            ),
            ("ApplianceModeSupport", switch("Options.ApplianceModeSupport", appliance)? == Some(true)),
        ])?;
        changed.dns = switch("Options.DnsSupport", options.dns_support.as_ref())?.unwrap_or(changed.dns);
        changed.ipv6 = switch("Options.Ipv6Support", options.ipv6_support.as_ref())?.unwrap_or(changed.ipv6);
    }
    for id in remove {
        let subnet = Subnet::parse_id(id)?;
        if !changed.subnets.remove(&subnet) {
            return Err(invalid_parameter_value(format!(
                "The subnet {id} is not associated with {}.",
                held.attachment
            )));
        }
    }
    let standing: Vec<String> = changed.subnets.iter().map(ToString::to_string).collect();
    changed.subnets = zones::subnets(ctx, txn, changed.vpc, changed.ipv6, standing.iter().chain(add))?;
    let resource = AttachedResource::Vpc(changed);
    let changed = TransitGatewayAttachment { resource, ..(*held).clone() };
    let shown = render::vpc_attachment(&changed, Some(TransitGatewayAttachmentState::Modifying));
    txn.put(&ctx.region, changed);
    Ok(ModifyTransitGatewayVpcAttachmentResult { transit_gateway_vpc_attachment: shown })
}
