//! Further blocks of a VPC: `AssociateVpcCidrBlock` and `DisassociateVpcCidrBlock`.
//!
//! The primary block stays as long as the VPC. Peers are told of each change in the same transaction.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#vpc-resize>
//! Differs: an association is in force at once, and gone at once.

use super::create::block;
use super::{ipv6, render};
use crate::defaults;
use crate::errors::{
    client, dependency_violation, invalid_parameter_combination, missing_parameter, operation_not_permitted,
};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    AssociateVpcCidrBlockRequest, AssociateVpcCidrBlockResult, DisassociateVpcCidrBlockRequest,
    DisassociateVpcCidrBlockResult, VpcCidrBlockStateCode,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::{IpNet, Ipv4Net};
use model::VpcCidrAssociationId;
use model::record::vpc::{Destination, RouteTable, Subnet, Vpc, VpcCidr};
use model::record::vpc_peering_connection::VpcPeeringConnection;
use plan::net::overlap;
use std::net::Ipv4Addr;
use wire::ApiError;

/// How many blocks a VPC may have.
pub const MAX_BLOCKS: usize = 5;

const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];
/// Used by AWS itself.
const KEPT: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 19, 0, 0), 16);

pub fn associate_touches(
    ctx: &Context,
    request: &AssociateVpcCidrBlockRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

pub fn associate(
    ctx: &Context,
    request: &AssociateVpcCidrBlockRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateVpcCidrBlockResult> {
    refuse(&[
        ("Ipv6Pool", request.ipv6_pool.is_some()),
        ("Ipv6CidrBlock", request.ipv6_cidr_block.is_some()),
        ("Ipv4IpamPoolId", request.ipv4_ipam_pool_id.is_some()),
        ("Ipv4NetmaskLength", request.ipv4_netmask_length.is_some()),
        ("Ipv6IpamPoolId", request.ipv6_ipam_pool_id.is_some()),
        ("Ipv6NetmaskLength", request.ipv6_netmask_length.is_some()),
    ])?;
    let mut vpc = Vpc::clone(&*hold::<Vpc>(ctx, txn, &request.vpc_id)?);
    ipv6::check_border_group(ctx, request.ipv6_cidr_block_network_border_group.as_deref())?;
    if request.amazon_provided_ipv6_cidr_block == Some(true) {
        if request.cidr_block.is_some() {
            return Err(invalid_parameter_combination(
                "The parameters amazonProvidedIpv6CidrBlock and cidrBlock cannot be used together",
            ));
        }
        let is_first = vpc.ipv6.is_empty();
        let made = ipv6::associate(ctx, txn, &mut vpc)?;
        tell_peers(ctx, txn, &vpc);
        let id = vpc.vpc;
        txn.put(&ctx.region, vpc);
        if is_first {
            defaults::open_to_ipv6(ctx, txn, id);
        }
        let shown = ipv6::render(&ctx.region, &made, VpcCidrBlockStateCode::Associating);
        return Ok(AssociateVpcCidrBlockResult {
            ipv6_cidr_block_association: Some(shown),
            vpc_id: Some(id.to_string()),
            ..Default::default()
        });
    }
    let text = request.cidr_block.as_deref().ok_or_else(|| missing_parameter("cidrBlock"))?;
    let cidr = block(text)?;
    check(ctx, txn.tables(), &vpc, cidr)?;
    if vpc.cidrs().count() >= MAX_BLOCKS {
        return Err(client(
            "CidrLimitExceeded",
            format!("This network '{}' has met its maximum number of allowed CIDRs: {MAX_BLOCKS}", vpc.vpc),
        ));
    }
    let association = VpcCidrAssociationId::from_entropy(ctx.bits());
    vpc.further.push(VpcCidr { association, cidr });
    tell_peers(ctx, txn, &vpc);
    let id = vpc.vpc.to_string();
    txn.put(&ctx.region, vpc);
    Ok(AssociateVpcCidrBlockResult {
        cidr_block_association: Some(render::block(association, cidr, VpcCidrBlockStateCode::Associating)),
        vpc_id: Some(id),
        ..Default::default()
    })
}

/// Whether the VPC may have the block: beside what it has, its peers and its routes, and of a range that goes with its
/// primary one.
fn check(ctx: &Context, tables: &Tables, vpc: &Vpc, cidr: Ipv4Net) -> Result<()> {
    let range = |why: String| -> ApiError {
        client("InvalidVpc.Range", format!("The CIDR '{cidr}' is invalid: {why}"))
    };
    if let Some(other) = vpc.cidrs().find(|other| overlap(*other, cidr)) {
        return Err(range(format!("it overlaps {other} of the VPC.")));
    }
    let class = |net: Ipv4Net| PRIVATE.iter().position(|range| range.contains(&net));
    if overlap(KEPT, cidr) || class(cidr).is_some_and(|private| class(vpc.cidr) != Some(private)) {
        return Err(range(format!("its range is restricted for VPCs with the primary block {}.", vpc.cidr)));
    }
    let peerings = tables.find::<VpcPeeringConnection>(&ctx.region, "vpc", vpc.vpc);
    for peering in peerings.filter(|peering| peering.is_active()) {
        let Some(beyond) = peering.beyond(vpc.vpc) else { continue };
        if beyond.cidrs.iter().any(|other| overlap(*other, cidr)) {
            return Err(range(format!("it overlaps a block of the peer {}.", beyond.vpc)));
        }
    }
    let routes = tables.find::<RouteTable>(&ctx.region, "vpc", vpc.vpc);
    for route in routes.flat_map(|table| &table.routes) {
        if let Destination::Net(IpNet::V4(net)) = route.destination
            && cidr.contains(&net)
        {
            return Err(range(format!("a route of the VPC has the destination {net}.")));
        }
    }
    Ok(())
}

/// The blocks that active peerings show are the current ones.
fn tell_peers(ctx: &Context, txn: &mut Txn<'_>, vpc: &Vpc) {
    let peerings = txn.tables().find::<VpcPeeringConnection>(&ctx.region, "vpc", vpc.vpc);
    for peering in peerings.filter(|peering| peering.is_active()) {
        let mut peering = VpcPeeringConnection::clone(peering);
        for end in [&mut peering.requester, &mut peering.accepter] {
            if end.vpc == vpc.vpc {
                end.cidrs = vpc.cidrs().collect();
                end.ipv6_cidrs = vpc.ipv6_cidrs().collect();
            }
        }
        txn.put(&ctx.region, peering);
    }
}

/// The caller's VPC with that association.
fn holder(ctx: &Context, tables: &Tables, text: &str) -> Option<(Vpc, VpcCidrAssociationId)> {
    let association = VpcCidrAssociationId::parse(text).ok()?;
    let mut mine = tables.find::<Vpc>(&ctx.region, "account", ctx.account());
    let has = |vpc: &&std::sync::Arc<Vpc>| {
        let mut all = vpc.blocks().map(|(id, _)| id).chain(vpc.ipv6.iter().map(|block| block.association));
        all.any(|id| id == association)
    };
    let vpc = mine.find(has)?;
    Some((Vpc::clone(vpc), association))
}

pub fn disassociate_touches(
    ctx: &Context,
    request: &DisassociateVpcCidrBlockRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let vpc = holder(ctx, tables, &request.association_id).map(|(vpc, _)| vpc.vpc.to_string());
    touched::<Vpc>(ctx, tables, &vpc)
}

/// Refused for the primary block, and while a subnet lies in the block.
pub fn disassociate(
    ctx: &Context,
    request: &DisassociateVpcCidrBlockRequest,
    txn: &mut Txn<'_>,
) -> Result<DisassociateVpcCidrBlockResult> {
    let id = &request.association_id;
    let found = holder(ctx, txn.tables(), id);
    let (vpc, association) = found.ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        client(
            "InvalidVpcCidrBlockAssociationID.NotFound",
            format!("The vpc CIDR block association ID '{shown}' does not exist"),
        )
    })?;
    let mut vpc = Vpc::clone(&*hold::<Vpc>(ctx, txn, &vpc.vpc.to_string())?);
    if let Some(at) = vpc.ipv6.iter().position(|block| block.association == association) {
        let gone = ipv6::disassociate(ctx, txn, &mut vpc, at)?;
        tell_peers(ctx, txn, &vpc);
        let vpc_id = Some(vpc.vpc.to_string());
        txn.put(&ctx.region, vpc);
        let shown = ipv6::render(&ctx.region, &gone, VpcCidrBlockStateCode::Disassociating);
        return Ok(DisassociateVpcCidrBlockResult {
            ipv6_cidr_block_association: Some(shown),
            vpc_id,
            ..Default::default()
        });
    }
    let Some(at) = vpc.further.iter().position(|block| block.association == association) else {
        return Err(operation_not_permitted(format!(
            "The vpc CIDR block with association ID {association} may not be disassociated. It is the primary \
             IPv4 CIDR block of the VPC"
        )));
    };
    let VpcCidr { cidr, .. } = vpc.further.remove(at);
    let subnets = txn.tables().find::<Subnet>(&ctx.region, "vpc", vpc.vpc);
    let holders: Vec<String> = subnets
        .filter(|subnet| subnet.cidr.is_some_and(|own| cidr.contains(&own)))
        .take(10)
        .map(|subnet| subnet.subnet.to_string())
        .collect();
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "The CIDR block {cidr} of '{}' has dependencies and cannot be disassociated: {}",
            vpc.vpc,
            holders.join(", ")
        )));
    }
    tell_peers(ctx, txn, &vpc);
    let vpc_id = Some(vpc.vpc.to_string());
    txn.put(&ctx.region, vpc);
    let shown = render::block(association, cidr, VpcCidrBlockStateCode::Disassociating);
    Ok(DisassociateVpcCidrBlockResult { cidr_block_association: Some(shown), vpc_id, ..Default::default() })
}
