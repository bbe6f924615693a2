//! `CreateVpc` and `CreateDefaultVpc`.

use super::{MAX_VPCS, default_of, ipv6, render};
use crate::defaults::{self, Standing};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{created, given_tags};
use crate::parameter::{ipv4_block, refuse, unsupported};
use api_ec2::{
    CreateDefaultVpcRequest, CreateDefaultVpcResult, CreateVpcRequest, CreateVpcResult, Tenancy, VpcState,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::Ipv4Net;
use model::record::vpc::Vpc;
use plan::net::overlap;
use std::net::Ipv4Addr;

/// Blocks that no VPC may overlap: "this network", loopback, link-local (its services live there), multicast and beyond.
const FORBIDDEN: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
];

pub fn touches(ctx: &Context, _: &CreateVpcRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "vpc")]
}

pub fn create(ctx: &Context, request: &CreateVpcRequest, txn: &mut Txn<'_>) -> Result<CreateVpcResult> {
    refuse(&[
        ("Ipv4IpamPoolId", request.ipv4_ipam_pool_id.is_some()),
        ("Ipv4NetmaskLength", request.ipv4_netmask_length.is_some()),
        ("Ipv6Pool", request.ipv6_pool.is_some()),
        ("Ipv6CidrBlock", request.ipv6_cidr_block.is_some()),
        ("Ipv6IpamPoolId", request.ipv6_ipam_pool_id.is_some()),
        ("Ipv6NetmaskLength", request.ipv6_netmask_length.is_some()),
        ("VpcEncryptionControl", request.vpc_encryption_control.is_some()),
    ])?;
    match &request.instance_tenancy {
        None | Some(Tenancy::Default) => {}
        Some(Tenancy::Dedicated | Tenancy::Host) => return Err(unsupported("A tenancy other than default")),
        Some(Tenancy::Other(text)) => {
            return Err(invalid_parameter_value(format!(
                "Value ({text}) for parameter instanceTenancy is invalid."
            )));
        }
    }
    let text = request.cidr_block.as_deref().ok_or_else(|| missing_parameter("cidrBlock"))?;
    let cidr = block(text)?;
    ipv6::check_border_group(ctx, request.ipv6_cidr_block_network_border_group.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["vpc"])?.remove("vpc").unwrap_or_default();
    check_quota(ctx, txn.tables())?;

    let options = defaults::default_dhcp_options(ctx, txn);
    let made = defaults::make_vpc(ctx, txn, cidr, options, Standing::Custom);
    let mut vpc = written(ctx, txn, made.vpc);
    vpc.tags = tags;
    if request.amazon_provided_ipv6_cidr_block == Some(true) {
        ipv6::associate(ctx, txn, &mut vpc)?;
        made.open_to_ipv6(ctx, txn);
    }
    let shown = render::vpc(&ctx.region, &vpc, VpcState::Pending);
    txn.put(&ctx.region, vpc);
    Ok(CreateVpcResult { vpc: Some(shown) })
}

/// The block of a new VPC: /16 to /28, host bits cut off.
pub(super) fn block(text: &str) -> Result<Ipv4Net> {
    let cidr = ipv4_block("cidrBlock", text)?.trunc();
    let reserved = FORBIDDEN.iter().any(|forbidden| overlap(*forbidden, cidr));
    if !(16..=28).contains(&cidr.prefix_len()) || reserved {
        return Err(client("InvalidVpc.Range", format!("The CIDR '{text}' is invalid.")));
    }
    Ok(cidr)
}

pub fn default_touches(ctx: &Context, _: &CreateDefaultVpcRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "vpc")]
}

pub fn create_default(
    ctx: &Context,
    _: &CreateDefaultVpcRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateDefaultVpcResult> {
    if let Some(existing) = default_of(ctx, txn.tables()) {
        return Err(client(
            "DefaultVpcAlreadyExists",
            format!("{} is already the default VPC of this account in this region.", existing.vpc),
        ));
    }
    check_quota(ctx, txn.tables())?;
    let made = defaults::make_default_vpc(ctx, txn);
    let vpc = written(ctx, txn, made);
    Ok(CreateDefaultVpcResult { vpc: Some(render::vpc(&ctx.region, &vpc, VpcState::Pending)) })
}

fn check_quota(ctx: &Context, tables: &Tables) -> Result<()> {
    if tables.find::<Vpc>(&ctx.region, "account", ctx.account()).count() >= MAX_VPCS {
        return Err(client("VpcLimitExceeded", "The maximum number of VPCs has been reached."));
    }
    Ok(())
}

fn written(ctx: &Context, txn: &mut Txn<'_>, vpc: model::VpcId) -> Vpc {
    let vpc = txn.get::<Vpc>(&ctx.region, &vpc).expect("it was put into this transaction just now");
    Vpc::clone(&vpc)
}
