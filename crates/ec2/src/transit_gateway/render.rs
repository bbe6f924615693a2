//! A transit gateway as the API shows it.

use crate::noun::{Noun as _, render_tags, wire_time};
use api_ec2 as api;
use control::Context;
use model::record::transit_gateway::TransitGateway;

/// A switch on the wire.
pub const fn word(on: bool) -> &'static str {
    if on { "enable" } else { "disable" }
}

pub fn state(gateway: &TransitGateway) -> api::TransitGatewayState {
    match gateway.deleted_at {
        None => api::TransitGatewayState::Available,
        Some(_) => api::TransitGatewayState::Deleted,
    }
}

pub fn gateway(ctx: &Context, gateway: &TransitGateway) -> api::TransitGateway {
    let options = &gateway.options;
    let shown = api::TransitGatewayOptions {
        amazon_side_asn: Some(options.amazon_side_asn),
        auto_accept_shared_attachments: Some(word(options.auto_accept_shared).into()),
        default_route_table_association: Some(word(options.default_association).into()),
        association_default_route_table_id: options.association_table.map(|table| table.to_string()),
        default_route_table_propagation: Some(word(options.default_propagation).into()),
        propagation_default_route_table_id: options.propagation_table.map(|table| table.to_string()),
        vpn_ecmp_support: Some(word(options.vpn_ecmp).into()),
        dns_support: Some(word(options.dns).into()),
        security_group_referencing_support: Some(word(false).into()),
        multicast_support: Some(word(false).into()),
        ..Default::default()
    };
    api::TransitGateway {
        transit_gateway_id: Some(gateway.gateway.to_string()),
        transit_gateway_arn: Some(gateway.arn(ctx).to_string()),
        state: Some(state(gateway)),
        owner_id: Some(gateway.account.to_string()),
        description: Some(gateway.description.clone()),
        creation_time: Some(wire_time(gateway.created_at)),
        options: Some(shown),
        tags: render_tags(&gateway.tags),
    }
}
