//! A VPC's IPv6 blocks: each a /56 of the cloud's own pool, which stands for Amazon's.
//!
//! A block belongs to who holds the claim on it (`ipv6-block/CIDR` in no region), so no two VPCs have the same one.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html#vpc-sizing-ipv6>
//! Differs: an association is in force at once, and gone at once; no pools of an account's own.

use super::block::MAX_BLOCKS;
use crate::errors::{client, dependency_violation, invalid_parameter_value};
use api_ec2 as api;
use control::{Context, Result, Tables, Txn};
use ipnet::Ipv6Net;
use model::record::vpc::{Subnet, Vpc, VpcIpv6Cidr};
use model::{Region, VpcCidrAssociationId, VpcId};
use plan::net::ipv6;

/// The name of the one pool.
pub const POOL: &str = "Amazon";
const FOLDER: &str = "ipv6-block/";
/// How often a block is guessed before all are gone through.
const GUESSES: u64 = 24;

/// A free block; `InsufficientCapacity` when none is left.
pub fn claim(ctx: &Context, txn: &mut Txn<'_>, vpc: VpcId) -> Result<VpcIpv6Cidr> {
    let pool = ctx.cloud.settings.ipv6_pool;
    let (first, last) = ipv6::blocks(pool).into_inner();
    let size = last - first + 1;
    let guesses = (0..GUESSES).map(|_| ctx.bits() as u64 % size);
    let start = ctx.bits() as u64 % size;
    let tried = guesses.chain((0..size.min(1 << 20)).map(|step| (start + step) % size));
    let blocks = tried.map(|at| ipv6::block(pool, first + at));
    let cidr = txn.claim_first(&Region::global(), FOLDER, blocks, &vpc.to_string()).ok_or_else(|| {
        client("InsufficientCapacity", "No IPv6 block of the cloud's pool is free for this request.")
    })?;
    Ok(VpcIpv6Cidr { association: VpcCidrAssociationId::from_entropy(ctx.bits()), cidr })
}

pub fn release(txn: &mut Txn<'_>, cidr: Ipv6Net) {
    txn.release(&Region::global(), &format!("{FOLDER}{cidr}"));
}

/// The border group of a block, if a request names one: a region has no other than itself.
pub fn check_border_group(ctx: &Context, given: Option<&str>) -> Result<()> {
    match given.filter(|group| !group.is_empty() && *group != ctx.region.as_str()) {
        None => Ok(()),
        Some(group) => {
            let shown: String = group.chars().take(64).collect();
            Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter ipv6CidrBlockNetworkBorderGroup is invalid."
            )))
        }
    }
}

/// Gives a VPC one more block.
pub fn associate(ctx: &Context, txn: &mut Txn<'_>, vpc: &mut Vpc) -> Result<VpcIpv6Cidr> {
    if vpc.ipv6.len() >= MAX_BLOCKS {
        return Err(client(
            "CidrLimitExceeded",
            format!("This network '{}' has met its maximum number of allowed CIDRs: {MAX_BLOCKS}", vpc.vpc),
        ));
    }
    let block = claim(ctx, txn, vpc.vpc)?;
    vpc.ipv6.push(block.clone());
    Ok(block)
}

/// Takes a block from a VPC; refused while a subnet lies in it.
pub fn disassociate(ctx: &Context, txn: &mut Txn<'_>, vpc: &mut Vpc, at: usize) -> Result<VpcIpv6Cidr> {
    let block = vpc.ipv6.remove(at);
    let holders = holders(ctx, txn.tables(), vpc.vpc, block.cidr);
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "The CIDR block {} of '{}' has dependencies and cannot be disassociated: {}",
            block.cidr,
            vpc.vpc,
            holders.join(", ")
        )));
    }
    release(txn, block.cidr);
    Ok(block)
}

fn holders(ctx: &Context, tables: &Tables, vpc: VpcId, cidr: Ipv6Net) -> Vec<String> {
    let subnets = tables.find::<Subnet>(&ctx.region, "vpc", vpc);
    let within = subnets.filter(|s| s.ipv6.as_ref().is_some_and(|own| cidr.contains(&own.cidr)));
    within.take(10).map(|subnet| subnet.subnet.to_string()).collect()
}

pub fn render(
    region: &Region,
    block: &VpcIpv6Cidr,
    state: api::VpcCidrBlockStateCode,
) -> api::VpcIpv6CidrBlockAssociation {
    api::VpcIpv6CidrBlockAssociation {
        association_id: Some(block.association.to_string()),
        ipv6_cidr_block: Some(block.cidr.to_string()),
        ipv6_cidr_block_state: Some(api::VpcCidrBlockState { state: Some(state), status_message: None }),
        network_border_group: Some(region.to_string()),
        ipv6_pool: Some(POOL.into()),
        ipv6_address_attribute: Some("public".into()),
        ip_source: Some("amazon".into()),
    }
}
