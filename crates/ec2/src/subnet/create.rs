//! `CreateSubnet` and `CreateDefaultSubnet`. Both run exclusively: they decide upon no other subnet holding the block.

use super::{MAX_SUBNETS, render};
use crate::defaults::{self, DEFAULT_SUBNET_PREFIX};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::{self, ipv4_block, refuse};
use crate::vpc;
use api_ec2::{
    CreateDefaultSubnetRequest, CreateDefaultSubnetResult, CreateSubnetRequest, CreateSubnetResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::{IpNet, Ipv4Net};
use model::record::vpc::{NetworkAcl, NetworkAclAssociation, Subnet, Vpc};
use model::{NetworkAclAssociationId, SubnetId, VpcId, Zone};
use plan::net::{ipv6, overlap};
use std::sync::Arc;

pub fn touches(ctx: &Context, request: &CreateSubnetRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "subnet")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn create(ctx: &Context, request: &CreateSubnetRequest, txn: &mut Txn<'_>) -> Result<CreateSubnetResult> {
    refuse(&[
        ("OutpostArn", request.outpost_arn.is_some()),
        ("Ipv4IpamPoolId", request.ipv4_ipam_pool_id.is_some()),
        ("Ipv4NetmaskLength", request.ipv4_netmask_length.is_some()),
        ("Ipv6IpamPoolId", request.ipv6_ipam_pool_id.is_some()),
        ("Ipv6NetmaskLength", request.ipv6_netmask_length.is_some()),
    ])?;
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?;
    let text = request.cidr_block.as_deref().filter(|text| !text.is_empty());
    let ipv6 = request.ipv6_cidr_block.as_deref().filter(|text| !text.is_empty());
    let native = request.ipv6_native == Some(true);
    match (text, ipv6) {
        (_, None) if native => {
            return Err(client(
                "MissingParameter",
                "Either 'ipv6CidrBlock' or 'ipv6IpamPoolId' should be provided.",
            ));
        }
        (Some(_), _) if native => {
            return Err(invalid_parameter_combination(
                "When specifying ipv4 parameters, cidrBlock or ipv4IpamPoolId, you cannot set ipv6Native to true.",
            ));
        }
        (None, _) if !native => return Err(missing_parameter("cidrBlock")),
        _ => {}
    }
    let zone =
        parameter::zone(ctx, request.availability_zone.as_deref(), request.availability_zone_id.as_deref())?;
    let tags =
        given_tags(request.tag_specifications.as_deref(), &["subnet"])?.remove("subnet").unwrap_or_default();
    let siblings: Vec<_> = txn.tables().find::<Subnet>(&ctx.region, "vpc", vpc.vpc).collect();
    let cidr = text.map(|text| block(&vpc, &siblings, text)).transpose()?;
    let ipv6 = ipv6.map(|text| super::ipv6::block(ctx, &vpc, &siblings, text)).transpose()?;
    if siblings.len() >= MAX_SUBNETS {
        return Err(client(
            "SubnetLimitExceeded",
            format!("The maximum number of subnets in {} has been reached.", vpc.vpc),
        ));
    }
    let zone = zone
        .or_else(|| emptiest_zone(ctx, &siblings))
        .ok_or_else(|| missing_parameter("availabilityZone"))?;
    let subnet = Subnet {
        subnet: SubnetId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc: vpc.vpc,
        zone,
        cidr,
        default_for_zone: false,
        map_public_ip: false,
        ipv6,
        assign_ipv6: native,
        tags,
    };
    associate_with_default_acl(ctx, txn, vpc.vpc, subnet.subnet);
    let shown = render::subnet(&subnet, txn.tables());
    txn.put(&ctx.region, subnet);
    Ok(CreateSubnetResult { subnet: Some(shown) })
}

/// The IPv4 block that a subnet of the VPC may have; `siblings` are its other subnets.
///
/// `InvalidSubnet.Range` for what is none of the VPC's, `InvalidSubnet.Conflict` for another subnet's.
fn block(vpc: &Vpc, siblings: &[&Arc<Subnet>], text: &str) -> Result<Ipv4Net> {
    let cidr = ipv4_block("cidrBlock", text)?.trunc();
    if !(16..=28).contains(&cidr.prefix_len()) || !vpc.holds(IpNet::V4(cidr)) {
        return Err(client("InvalidSubnet.Range", format!("The CIDR '{text}' is invalid.")));
    }
    let mut taken = siblings.iter().filter_map(|other| Some((other.subnet, other.cidr?)));
    match taken.find(|(_, own)| overlap(*own, cidr)) {
        None => Ok(cidr),
        Some((other, own)) => Err(client(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{cidr}' conflicts with another subnet: {other} has {own}"),
        )),
    }
}

/// Where a subnet goes when the caller leaves it open: the zone with the fewest of the VPC's subnets.
fn emptiest_zone(ctx: &Context, siblings: &[&Arc<Subnet>]) -> Option<Zone> {
    let zones = &ctx.cloud.settings.region(&ctx.region)?.zones;
    zones.iter().min_by_key(|zone| siblings.iter().filter(|s| s.zone == **zone).count()).cloned()
}

fn associate_with_default_acl(ctx: &Context, txn: &mut Txn<'_>, vpc: VpcId, subnet: SubnetId) {
    let default = txn.tables().find::<NetworkAcl>(&ctx.region, "vpc", vpc).find(|acl| acl.is_default);
    // Written with the VPC and deleted with it.
    let Some(default) = default.and_then(|acl| txn.get::<NetworkAcl>(&ctx.region, &acl.acl)) else { return };
    let mut acl = NetworkAcl::clone(&default);
    let association = NetworkAclAssociationId::from_entropy(ctx.bits());
    acl.associations.push(NetworkAclAssociation { association, subnet });
    txn.put(&ctx.region, acl);
}

pub fn default_touches(ctx: &Context, _: &CreateDefaultSubnetRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "subnet")]
}

pub fn create_default(
    ctx: &Context,
    request: &CreateDefaultSubnetRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateDefaultSubnetResult> {
    let zone =
        parameter::zone(ctx, request.availability_zone.as_deref(), request.availability_zone_id.as_deref())?
            .ok_or_else(|| missing_parameter("availabilityZone"))?;
    let vpc = vpc::default_of(ctx, txn.tables()).ok_or_else(|| {
        client("DefaultVpcDoesNotExist", "This account has no default VPC in this region. Create one first.")
    })?;
    let siblings: Vec<_> = txn.tables().find::<Subnet>(&ctx.region, "vpc", vpc.vpc).collect();
    if let Some(existing) = siblings.iter().find(|s| s.default_for_zone && s.zone == zone) {
        return Err(client(
            "DefaultSubnetAlreadyExistsInAvailabilityZone",
            format!("'{}' is already the default subnet in {zone}.", existing.subnet),
        ));
    }
    let is_free = |block: IpNet| !siblings.iter().any(|s| s.nets().any(|own| overlap(own, block)));
    let blocks = if request.ipv6_native == Some(true) {
        let first = vpc
            .ipv6_cidrs()
            .next()
            .ok_or_else(|| invalid_parameter_value(format!("The VPC {} has no IPv6 CIDR block.", vpc.vpc)))?;
        IpNet::V6(first).subnets(ipv6::SUBNET)
    } else {
        IpNet::V4(vpc.cidr).subnets(DEFAULT_SUBNET_PREFIX)
    };
    let block = blocks.into_iter().flatten().find(|block| is_free(*block)).ok_or_else(|| {
        client("InvalidSubnet.Conflict", "The default VPC has no block that is free and large enough.")
    })?;
    let made = defaults::make_default_subnet(ctx, txn, vpc.vpc, zone, block);
    associate_with_default_acl(ctx, txn, vpc.vpc, made);
    let subnet = txn.get::<Subnet>(&ctx.region, &made).expect("it was put into this transaction just now");
    Ok(CreateDefaultSubnetResult { subnet: Some(render::subnet(&subnet, txn.tables())) })
}
