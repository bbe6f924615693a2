//! A peering as the API shows it.

use crate::noun::{render_tags, wire_time};
use api_ec2 as api;
use model::Region;
use model::record::vpc_peering_connection::{PeeringEnd, PeeringState, VpcPeeringConnection};

/// What is said of its state.
pub fn message(peering: &VpcPeeringConnection) -> String {
    match &peering.state {
        PeeringState::PendingAcceptance { .. } => {
            format!("Pending Acceptance by {}", peering.accepter.account)
        }
        PeeringState::Active => "Active".into(),
        PeeringState::Rejected { .. } => "Inactive".into(),
        PeeringState::Expired { .. } => "Expired".into(),
        PeeringState::Deleted { by, .. } => format!("Deleted by {by}"),
        PeeringState::Failed { .. } => {
            "Failed due to incorrect VPC-ID, Account ID, or overlapping CIDR range".into()
        }
    }
}

pub fn peering(region: &Region, peering: &VpcPeeringConnection) -> api::VpcPeeringConnection {
    let expiration_time = match peering.state {
        PeeringState::PendingAcceptance { expires_at } => Some(wire_time(expires_at)),
        _ => None,
    };
    api::VpcPeeringConnection {
        accepter_vpc_info: Some(end(region, peering, &peering.accepter)),
        requester_vpc_info: Some(end(region, peering, &peering.requester)),
        expiration_time,
        status: Some(api::VpcPeeringConnectionStateReason {
            code: Some(peering.state.code().into()),
            message: Some(message(peering)),
        }),
        tags: render_tags(&peering.tags),
        vpc_peering_connection_id: Some(peering.peering.to_string()),
    }
}

fn end(
    region: &Region,
    peering: &VpcPeeringConnection,
    end: &PeeringEnd,
) -> api::VpcPeeringConnectionVpcInfo {
    let blocks = end.cidrs.iter().map(|cidr| api::CidrBlock { cidr_block: Some(cidr.to_string()) });
    let ipv6 =
        end.ipv6_cidrs.iter().map(|cidr| api::Ipv6CidrBlock { ipv6_cidr_block: Some(cidr.to_string()) });
    let options = peering.is_active().then_some(api::VpcPeeringConnectionOptionsDescription {
        allow_dns_resolution_from_remote_vpc: Some(end.remote_dns),
        allow_egress_from_local_classic_link_to_remote_vpc: Some(false),
        allow_egress_from_local_vpc_to_remote_classic_link: Some(false),
    });
    api::VpcPeeringConnectionVpcInfo {
        cidr_block: end.cidrs.first().map(ToString::to_string),
        ipv6_cidr_block_set: (!end.ipv6_cidrs.is_empty()).then(|| ipv6.collect()),
        cidr_block_set: (!end.cidrs.is_empty()).then(|| blocks.collect()),
        owner_id: Some(end.account.to_string()),
        peering_options: options,
        vpc_id: Some(end.vpc.to_string()),
        region: Some(region.to_string()),
    }
}
