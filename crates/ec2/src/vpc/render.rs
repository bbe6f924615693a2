//! A VPC as the API shows it.

use crate::noun::render_tags;
use api_ec2 as api;
use ipnet::Ipv4Net;
use model::record::vpc::Vpc;
use model::{Region, VpcCidrAssociationId};

pub fn block(
    association: VpcCidrAssociationId,
    cidr: Ipv4Net,
    state: api::VpcCidrBlockStateCode,
) -> api::VpcCidrBlockAssociation {
    api::VpcCidrBlockAssociation {
        association_id: Some(association.to_string()),
        cidr_block: Some(cidr.to_string()),
        cidr_block_state: Some(api::VpcCidrBlockState { state: Some(state), status_message: None }),
    }
}

pub fn vpc(region: &Region, vpc: &Vpc, state: api::VpcState) -> api::Vpc {
    let ipv6 = vpc.ipv6.iter().map(|block| {
        // As EC2 answers while it makes a VPC.
        let state = match state {
            api::VpcState::Pending => api::VpcCidrBlockStateCode::Associating,
            _ => api::VpcCidrBlockStateCode::Associated,
        };
        super::ipv6::render(region, block, state)
    });
    let blocks = vpc.blocks().map(|(id, cidr)| block(id, cidr, api::VpcCidrBlockStateCode::Associated));
    api::Vpc {
        owner_id: Some(vpc.account.to_string()),
        instance_tenancy: Some(api::Tenancy::Default),
        cidr_block_association_set: Some(blocks.collect()),
        ipv6_cidr_block_association_set: (!vpc.ipv6.is_empty()).then(|| ipv6.collect()),
        is_default: Some(vpc.is_default),
        tags: render_tags(&vpc.tags),
        block_public_access_states: Some(api::BlockPublicAccessStates {
            internet_gateway_block_mode: Some(api::BlockPublicAccessMode::Off),
        }),
        vpc_id: Some(vpc.vpc.to_string()),
        state: Some(state),
        cidr_block: Some(vpc.cidr.to_string()),
        dhcp_options_id: Some(vpc.dhcp_options.to_string()),
        ..Default::default()
    }
}
