//! An attachment as the API shows it.

use crate::noun::{render_tags, wire_time};
use crate::transit_gateway::render::word;
use api_ec2 as api;
use model::AccountId;
use model::record::transit_gateway::{AttachedResource, PeeringPhase, TransitGatewayAttachment};

pub fn state(attachment: &TransitGatewayAttachment) -> api::TransitGatewayAttachmentState {
    match attachment.peering().map(|peering| peering.phase) {
        None if attachment.deleted_at.is_some() => api::TransitGatewayAttachmentState::Deleted,
        None | Some(PeeringPhase::Available) => api::TransitGatewayAttachmentState::Available,
        Some(PeeringPhase::PendingAcceptance) => api::TransitGatewayAttachmentState::PendingAcceptance,
        Some(PeeringPhase::Rejected) => api::TransitGatewayAttachmentState::Rejected,
        Some(PeeringPhase::Deleted) => api::TransitGatewayAttachmentState::Deleted,
        Some(PeeringPhase::Failed) => api::TransitGatewayAttachmentState::Failed,
    }
}

/// The id of what is attached: a VPC, a VPN connection, or the gateway beyond a peering.
pub fn resource(attachment: &TransitGatewayAttachment) -> String {
    match &attachment.resource {
        AttachedResource::Vpc(vpc) => vpc.vpc.to_string(),
        AttachedResource::Peering { peering } => peering.gateway.to_string(),
        AttachedResource::Vpn { vpn } => vpn.connection.to_string(),
    }
}

pub const fn resource_type(
    attachment: &TransitGatewayAttachment,
) -> api::TransitGatewayAttachmentResourceType {
    match attachment.resource {
        AttachedResource::Vpc(_) => api::TransitGatewayAttachmentResourceType::Vpc,
        AttachedResource::Peering { .. } => api::TransitGatewayAttachmentResourceType::Peering,
        AttachedResource::Vpn { .. } => api::TransitGatewayAttachmentResourceType::Vpn,
    }
}

pub fn resource_owner(attachment: &TransitGatewayAttachment) -> AccountId {
    attachment.peering().map_or(attachment.account, |peering| peering.account)
}

/// None: it is not of a VPC. A state is given while EC2 would be at work.
pub fn vpc_attachment(
    attachment: &TransitGatewayAttachment,
    at_work: Option<api::TransitGatewayAttachmentState>,
) -> Option<api::TransitGatewayVpcAttachment> {
    let vpc = attachment.vpc()?;
    let options = api::TransitGatewayVpcAttachmentOptions {
        dns_support: Some(word(vpc.dns).into()),
        security_group_referencing_support: Some(word(false).into()),
        ipv6_support: Some(word(vpc.ipv6).into()),
        appliance_mode_support: Some(word(false).into()),
    };
    Some(api::TransitGatewayVpcAttachment {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        transit_gateway_id: Some(attachment.gateway.to_string()),
        vpc_id: Some(vpc.vpc.to_string()),
        vpc_owner_id: Some(attachment.account.to_string()),
        state: at_work.or_else(|| Some(state(attachment))),
        subnet_ids: Some(vpc.subnets.iter().map(ToString::to_string).collect()),
        creation_time: Some(wire_time(attachment.created_at)),
        options: Some(options),
        tags: render_tags(&attachment.tags),
    })
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
        resource_owner_id: Some(resource_owner(attachment).to_string()),
        resource_type: Some(resource_type(attachment)),
        resource_id: Some(resource(attachment)),
        state: Some(state(attachment)),
        association,
        creation_time: Some(wire_time(attachment.created_at)),
        tags: render_tags(&attachment.tags),
    }
}
