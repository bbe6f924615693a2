//! A peering as the API shows it, from either of its sides.

use crate::noun::{render_tags, wire_time};
use crate::transit_gateway_attachment::render::state;
use api_ec2 as api;
use control::Context;
use model::record::transit_gateway::{PeeringPhase, PeeringRole, TransitGatewayAttachment};
use model::{AccountId, TransitGatewayId};

/// None: it is of no peering. A state is given while EC2 would be at work.
pub fn render(
    ctx: &Context,
    attachment: &TransitGatewayAttachment,
    at_work: Option<api::TransitGatewayAttachmentState>,
) -> Option<api::TransitGatewayPeeringAttachment> {
    let peering = attachment.peering()?;
    let info = |gateway: TransitGatewayId, account: AccountId| api::PeeringTgwInfo {
        transit_gateway_id: Some(gateway.to_string()),
        owner_id: Some(account.to_string()),
        region: Some(ctx.region.to_string()),
        ..Default::default()
    };
    let near = info(attachment.gateway, attachment.account);
    let far = info(peering.gateway, peering.account);
    let (requester, accepter, accepting) = match peering.role {
        PeeringRole::Requester => (near, far, peering.attachment),
        PeeringRole::Accepter => (far, near, Some(attachment.attachment)),
    };
    let state = at_work.unwrap_or_else(|| state(attachment));
    let message = match peering.phase {
        PeeringPhase::PendingAcceptance => {
            format!("Pending acceptance by {}", accepter.owner_id.as_deref().unwrap_or_default())
        }
        PeeringPhase::Available => "Available".to_owned(),
        PeeringPhase::Rejected => "Rejected".to_owned(),
        PeeringPhase::Deleted => "Deleted".to_owned(),
        PeeringPhase::Failed => "Failed due to incorrect transit gateway ID or account ID".to_owned(),
    };
    Some(api::TransitGatewayPeeringAttachment {
        transit_gateway_attachment_id: Some(attachment.attachment.to_string()),
        accepter_transit_gateway_attachment_id: accepting.map(|id| id.to_string()),
        requester_tgw_info: Some(requester),
        accepter_tgw_info: Some(accepter),
        options: Some(api::TransitGatewayPeeringAttachmentOptions {
            dynamic_routing: Some(api::DynamicRoutingValue::Disable),
        }),
        status: Some(api::PeeringAttachmentStatus {
            code: Some(state.as_str().to_owned()),
            message: Some(message),
        }),
        state: Some(state),
        creation_time: Some(wire_time(attachment.created_at)),
        tags: render_tags(&attachment.tags),
    })
}
