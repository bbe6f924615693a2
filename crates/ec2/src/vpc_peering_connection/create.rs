//! `CreateVpcPeeringConnection`: a request to the owner of another VPC.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcPeeringConnection.html>

use super::{EXPIRES, render};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, created, given_tags, hold, touched};
use crate::parameter::unsupported;
use api_ec2::{CreateVpcPeeringConnectionRequest, CreateVpcPeeringConnectionResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::Vpc;
use model::record::vpc_peering_connection::{PeeringEnd, PeeringState, VpcPeeringConnection};
use model::{AccountId, VpcId, VpcPeeringConnectionId};

pub fn touches(ctx: &Context, request: &CreateVpcPeeringConnectionRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "vpc-peering-connection")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateVpcPeeringConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpcPeeringConnectionResult> {
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?;
    let peer = request.peer_vpc_id.as_deref().filter(|id| !id.is_empty());
    let peer: VpcId = Vpc::parse_id(peer.ok_or_else(|| missing_parameter("peerVpcId"))?)?;
    if let Some(region) = request.peer_region.as_deref().filter(|region| !region.is_empty())
        && region != ctx.region.as_str()
    {
        return Err(unsupported("A peering with another region"));
    }
    let account = match request.peer_owner_id.as_deref().filter(|id| !id.is_empty()) {
        None => ctx.account(),
        Some(text) => {
            let shown: String = text.chars().take(64).collect();
            let invalid =
                || invalid_parameter_value(format!("invalid value for parameter peerOwnerId: {shown}"));
            AccountId::parse(text).ok_or_else(invalid)?
        }
    };
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpc-peering-connection"])?;
    let mut present = txn.tables().find::<VpcPeeringConnection>(&ctx.region, "vpc", vpc.vpc);
    let open =
        |state: &PeeringState| matches!(state, PeeringState::PendingAcceptance { .. } | PeeringState::Active);
    if let Some(present) =
        present.find(|p| open(&p.state) && p.beyond(vpc.vpc).is_some_and(|end| end.vpc == peer))
    {
        return Err(client(
            "VpcPeeringConnectionAlreadyExists",
            format!("The VPC peering connection '{}' between these VPCs already exists", present.peering),
        ));
    }
    let found = txn.get::<Vpc>(&ctx.region, &peer).filter(|vpc| vpc.account == account);
    let cidrs: Vec<_> = found.iter().flat_map(|vpc| vpc.cidrs()).collect();
    let own: Vec<_> = vpc.cidrs().collect();
    let overlaps = super::settle::collide(&own, &cidrs);
    let state = if found.is_none() || overlaps || peer == vpc.vpc {
        PeeringState::Failed { at: ctx.now }
    } else {
        PeeringState::PendingAcceptance { expires_at: ctx.now + EXPIRES }
    };
    let end =
        |account, vpc, cidrs, ipv6_cidrs| PeeringEnd { account, vpc, cidrs, ipv6_cidrs, remote_dns: false };
    let ipv6: Vec<_> = found.iter().flat_map(|vpc| vpc.ipv6_cidrs()).collect();
    let peering = VpcPeeringConnection {
        peering: VpcPeeringConnectionId::from_entropy(ctx.bits()),
        requester: end(ctx.account(), vpc.vpc, own, vpc.ipv6_cidrs().collect()),
        accepter: end(account, peer, cidrs, ipv6),
        state,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::peering(&ctx.region, &peering);
    txn.put(&ctx.region, peering);
    Ok(CreateVpcPeeringConnectionResult { vpc_peering_connection: Some(shown) })
}
