//! `CreateTransitGatewayVpcAttachment`: associated and propagating as its gateway's defaults say.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTransitGatewayVpcAttachment.html>

use super::{MAX_ATTACHMENTS, render, zones};
use crate::errors::client;
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use crate::transit_gateway::{attached, live, switch};
use api_ec2::{
    CreateTransitGatewayVpcAttachmentRequest, CreateTransitGatewayVpcAttachmentResult,
    TransitGatewayAttachmentState,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::TransitGatewayAttachmentId;
use model::record::transit_gateway::{
    AttachedResource, AttachedVpc, TransitGateway, TransitGatewayAttachment,
};
use model::record::vpc::{Subnet, Vpc};

pub fn touches(
    ctx: &Context,
    request: &CreateTransitGatewayVpcAttachmentRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "transit-gateway-attachment")];
    all.extend(touched::<TransitGateway>(ctx, tables, [&request.transit_gateway_id]));
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all.extend(touched::<Subnet>(ctx, tables, &request.subnet_ids));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateTransitGatewayVpcAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTransitGatewayVpcAttachmentResult> {
    let (mut dns, mut ipv6) = (true, false);
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
        dns = switch("Options.DnsSupport", options.dns_support.as_ref())?.unwrap_or(dns);
        ipv6 = switch("Options.Ipv6Support", options.ipv6_support.as_ref())?.unwrap_or(ipv6);
    }
    let gateway = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    let subnets = zones::subnets(ctx, txn, vpc, ipv6, &request.subnet_ids)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["transit-gateway-attachment"])?;
    let present = attached(txn.tables(), &ctx.region, gateway.gateway);
    if present.iter().any(|attachment| attachment.vpc().is_some_and(|known| known.vpc == vpc)) {
        return Err(client(
            "DuplicateTransitGatewayAttachment",
            format!("{} has non-deleted Transit Gateway Attachments with same VPC ID.", gateway.gateway),
        ));
    }
    if present.iter().filter(|attachment| attachment.vpc().is_some()).count() >= MAX_ATTACHMENTS {
        return Err(client(
            "TransitGatewayAttachmentLimitExceeded",
            format!("The maximum number of attachments of {} has been reached.", gateway.gateway),
        ));
    }
    let record = TransitGatewayAttachment {
        attachment: TransitGatewayAttachmentId::from_entropy(ctx.bits()),
        gateway: gateway.gateway,
        account: ctx.account(),
        resource: AttachedResource::Vpc(AttachedVpc {
            vpc,
            subnets,
            dns,
            ipv6,
            propagations: gateway.options.propagation_table.into_iter().collect(),
        }),
        association: gateway.options.association_table,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    // As EC2 answers while it makes one; a describe says `available`.
    let shown = render::vpc_attachment(&record, Some(TransitGatewayAttachmentState::Pending));
    txn.put(&ctx.region, record);
    Ok(CreateTransitGatewayVpcAttachmentResult { transit_gateway_vpc_attachment: shown })
}
