//! `CreateTransitGateway`, and its default route table.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTransitGateway.html>

use super::options::asn;
use super::{MAX_GATEWAYS, at_work, render, switch};
use crate::errors::client;
use crate::noun::{created, given_tags};
use crate::parameter::refuse;
use api_ec2::{CreateTransitGatewayRequest, CreateTransitGatewayResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transit_gateway::{TransitGateway, TransitGatewayOptions, TransitGatewayRouteTable};
use model::{TransitGatewayId, TransitGatewayRouteTableId};

pub fn touches(ctx: &Context, _: &CreateTransitGatewayRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "transit-gateway")]
}

pub fn create(
    ctx: &Context,
    request: &CreateTransitGatewayRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTransitGatewayResult> {
    let mut options = TransitGatewayOptions {
        amazon_side_asn: 64_512,
        auto_accept_shared: false,
        default_association: true,
        association_table: None,
        default_propagation: true,
        propagation_table: None,
        vpn_ecmp: true,
        dns: true,
    };
    if let Some(given) = &request.options {
        let on = |name, value| Ok::<_, wire::ApiError>((name, value == Some(true)));
        let groups = given.security_group_referencing_support.as_ref();
        refuse(&[
            on(
                "SecurityGroupReferencingSupport",
                switch("Options.SecurityGroupReferencingSupport", groups)?,
            )?,
            on("MulticastSupport", switch("Options.MulticastSupport", given.multicast_support.as_ref())?)?,
            (
                "TransitGatewayCidrBlocks",
                given.transit_gateway_cidr_blocks.as_ref().is_some_and(|blocks| !blocks.is_empty()),
            ),
        ])?;
        let set = |place: &mut bool, value: Option<bool>| *place = value.unwrap_or(*place);
        options.amazon_side_asn = asn(given.amazon_side_asn)?.unwrap_or(options.amazon_side_asn);
        set(
            &mut options.auto_accept_shared,
            switch("Options.AutoAcceptSharedAttachments", given.auto_accept_shared_attachments.as_ref())?,
        );
        set(
            &mut options.default_association,
            switch("Options.DefaultRouteTableAssociation", given.default_route_table_association.as_ref())?,
        );
        set(
            &mut options.default_propagation,
            switch("Options.DefaultRouteTablePropagation", given.default_route_table_propagation.as_ref())?,
        );
        set(&mut options.vpn_ecmp, switch("Options.VpnEcmpSupport", given.vpn_ecmp_support.as_ref())?);
        set(&mut options.dns, switch("Options.DnsSupport", given.dns_support.as_ref())?);
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["transit-gateway"])?;
    let of_account = txn.tables().find::<TransitGateway>(&ctx.region, "account", ctx.account());
    if of_account.filter(|gateway| gateway.deleted_at.is_none()).count() >= MAX_GATEWAYS {
        return Err(client(
            "TransitGatewayLimitExceeded",
            format!("The maximum number of transit gateways in {} has been reached.", ctx.region),
        ));
    }
    let gateway = TransitGatewayId::from_entropy(ctx.bits());
    if options.default_association || options.default_propagation {
        let table = TransitGatewayRouteTableId::from_entropy(ctx.bits());
        options.association_table = options.default_association.then_some(table);
        options.propagation_table = options.default_propagation.then_some(table);
        let table = TransitGatewayRouteTable {
            table,
            gateway,
            account: ctx.account(),
            routes: Vec::new(),
            created_at: ctx.now,
            deleted_at: None,
            tags: control::tag::Tags::default(),
        };
        txn.put(&ctx.region, table);
    }
    let record = TransitGateway {
        gateway,
        account: ctx.account(),
        description: request.description.clone().unwrap_or_default(),
        options,
        created_at: ctx.now,
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let mut shown = render::gateway(ctx, &record);
    shown.state = Some(at_work(false));
    txn.put(&ctx.region, record);
    Ok(CreateTransitGatewayResult { transit_gateway: Some(shown) })
}
