//! `CreateTransitGatewayPeeringAttachment`: a request to the owner of another gateway.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateTransitGatewayPeeringAttachment.html>

use super::{MAX_PEERINGS, render};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, created, given_tags, touched};
use crate::parameter::{refuse, unsupported};
use crate::transit_gateway::{attached, live, switch};
use api_ec2::{
    CreateTransitGatewayPeeringAttachmentRequest, CreateTransitGatewayPeeringAttachmentResult,
    TransitGatewayAttachmentState,
};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched, Txn};
use model::record::transit_gateway::{
    AttachedPeering, AttachedResource, PeeringPhase, PeeringRole, TransitGateway, TransitGatewayAttachment,
};
use model::{AccountId, TransitGatewayAttachmentId, TransitGatewayId};

pub fn touches(
    ctx: &Context,
    request: &CreateTransitGatewayPeeringAttachmentRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "transit-gateway-attachment")];
    all.extend(touched::<TransitGateway>(ctx, tables, [&request.transit_gateway_id]));
    all
}

/// Who is asked: a gateway of this region, and its owner as the request says.
fn asked(
    ctx: &Context,
    request: &CreateTransitGatewayPeeringAttachmentRequest,
) -> Result<(TransitGatewayId, AccountId)> {
    for (name, value) in [
        ("PeerTransitGatewayId", &request.peer_transit_gateway_id),
        ("PeerAccountId", &request.peer_account_id),
        ("PeerRegion", &request.peer_region),
    ] {
        if value.is_empty() {
            return Err(missing_parameter(name));
        }
    }
    if request.peer_region != ctx.region.as_str() {
        return Err(unsupported("A peering with another region"));
    }
    let dynamic = request.options.as_ref().and_then(|options| options.dynamic_routing.as_ref());
    refuse(&[("DynamicRouting", switch("Options.DynamicRouting", dynamic)? == Some(true))])?;
    let account = AccountId::parse(&request.peer_account_id).ok_or_else(|| {
        let shown: String = request.peer_account_id.chars().take(64).collect();
        invalid_parameter_value(format!("Value ({shown}) for parameter PeerAccountId is invalid."))
    })?;
    Ok((TransitGateway::parse_id(&request.peer_transit_gateway_id)?, account))
}

pub fn create(
    ctx: &Context,
    request: &CreateTransitGatewayPeeringAttachmentRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTransitGatewayPeeringAttachmentResult> {
    let (peer, account) = asked(ctx, request)?;
    let gateway = live::<TransitGateway>(ctx, txn, &request.transit_gateway_id)?;
    if gateway.gateway == peer {
        return Err(invalid_parameter_value(format!("{peer} cannot be peered with itself.")));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["transit-gateway-attachment"])?;
    let present = attached(txn.tables(), &ctx.region, gateway.gateway);
    let peerings: Vec<_> = present.iter().filter_map(|attachment| attachment.peering()).collect();
    if peerings.iter().any(|known| known.gateway == peer) {
        return Err(client(
            "DuplicateTransitGatewayAttachment",
            format!("{} has a non-deleted peering attachment with {peer}.", gateway.gateway),
        ));
    }
    if peerings.len() >= MAX_PEERINGS {
        return Err(client(
            "TransitGatewayAttachmentLimitExceeded",
            format!("The maximum number of peering attachments of {} has been reached.", gateway.gateway),
        ));
    }
    let is_there = |known: &TransitGateway| known.account == account && known.deleted_at.is_none();
    let found = txn.get::<TransitGateway>(&ctx.region, &peer).is_some_and(|known| is_there(&known));
    let (near, far) = ((gateway.gateway, ctx.account()), (peer, account));
    let [own, other] = [0; 2].map(|_| TransitGatewayAttachmentId::from_entropy(ctx.bits()));
    let side = |id, (gateway, account), to: (_, _), attachment, role, tags| TransitGatewayAttachment {
        attachment: id,
        gateway,
        account,
        resource: AttachedResource::Peering {
            peering: AttachedPeering {
                gateway: to.0,
                account: to.1,
                attachment,
                role,
                phase: if found { PeeringPhase::PendingAcceptance } else { PeeringPhase::Failed },
            },
        },
        association: None,
        created_at: ctx.now,
        deleted_at: (!found).then_some(ctx.now),
        tags,
    };
    let tags = tags.into_values().next().unwrap_or_default();
    let requester = side(own, near, far, found.then_some(other), PeeringRole::Requester, tags);
    let shown = render(ctx, &requester, Some(TransitGatewayAttachmentState::InitiatingRequest));
    if found {
        let accepter = side(other, far, near, Some(own), PeeringRole::Accepter, Tags::default());
        txn.put(&ctx.region, accepter);
    }
    txn.put(&ctx.region, requester);
    Ok(CreateTransitGatewayPeeringAttachmentResult { transit_gateway_peering_attachment: shown })
}
