//! An attachment as the API shows it.

use crate::noun::{render_tags, wire_time};
use crate::transit_gateway::render::word;
use api_ec2 as api;
use model::record::transit_gateway::TransitGatewayAttachment;

pub fn state(attachment: &TransitGatewayAttachment) -> api::TransitGatewayAttachmentState {
    match attachment.deleted_at {
        None => api::TransitGatewayAttachmentState::Available,
        Some(_) => api::TransitGatewayAttachmentState::Deleted,
    }
}

pub fn vpc_attachment(attachment: &TransitGatewayAttachment) -> api::TransitGatewayVpcAttachment {
    let options = api::TransitGatewayVpcAttachmentOptions {
        dns_support: Some(word(attachment.dns).into()),
        security_group_referencing_support: Some(word(false).into()),
        ipv6_support: Some(word(attachment.ipv6).into()),
        appliance_mode_support: Some(word(false).into()),
    };
    api::TransitGatewayVpcAttachment {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        transit_gateway_id: Some(attachment.gateway.to_string()),
        vpc_id: Some(attachment.vpc.to_string()),
        vpc_owner_id: Some(attachment.account.to_string()),
        state: Some(state(attachment)),
        subnet_ids: Some(attachment.subnets.iter().map(ToString::to_string).collect()),
        creation_time: Some(wire_time(attachment.created_at)),
        options: Some(options),
        tags: render_tags(&attachment.tags),
    }
}

pub fn attachment(attachment: &TransitGatewayAttachment) -> api::TransitGatewayAttachment {
    let association = attachment.association.map(|table| api::TransitGatewayAttachmentAssociation {
        transit_gateway_route_table_id: Some(table.to_string()),
        state: Some(api::TransitGatewayAssociationState::Associated),
    });
    api::TransitGatewayAttachment {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        transit_gateway_id: Some(attachment.gateway.to_string()),
        transit_gateway_owner_id: Some(attachment.account.to_string()),
        resource_owner_id: Some(attachment.account.to_string()),
        resource_type: Some(api::TransitGatewayAttachmentResourceType::Vpc),
        resource_id: Some(attachment.vpc.to_string()),
        state: Some(state(attachment)),
        association,
        creation_time: Some(wire_time(attachment.created_at)),
        tags: render_tags(&attachment.tags),
    }
}
