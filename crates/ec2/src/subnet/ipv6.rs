//! A subnet's IPv6 block: `AssociateSubnetCidrBlock` and `DisassociateSubnetCidrBlock`.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html#subnet-sizing-ipv6>
//! Differs: a block is a /64; an association is in force at once, and gone at once.

use crate::errors::{client, dependency_violation, missing_parameter};
use crate::noun::{hold, touched};
use crate::parameter::{ipv6_block, refuse};
use api_ec2::{
    self as api, AssociateSubnetCidrBlockRequest, AssociateSubnetCidrBlockResult,
    DisassociateSubnetCidrBlockRequest, DisassociateSubnetCidrBlockResult, SubnetCidrBlockStateCode,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::{IpNet, Ipv6Net};
use model::SubnetCidrAssociationId;
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{Subnet, SubnetCidrReservation, SubnetIpv6Cidr, Vpc};
use plan::net::ipv6;
use std::sync::Arc;

/// The block that a subnet of the VPC may have; `siblings` are its other subnets.
///
/// `InvalidSubnet.Range` for what is no /64 of the VPC's, `InvalidSubnet.Conflict` for another subnet's.
pub fn block(ctx: &Context, vpc: &Vpc, siblings: &[&Arc<Subnet>], text: &str) -> Result<SubnetIpv6Cidr> {
    let cidr: Ipv6Net = ipv6_block("ipv6CidrBlock", text)?.trunc();
    if cidr.prefix_len() != ipv6::SUBNET || !vpc.holds(IpNet::V6(cidr)) {
        return Err(client("InvalidSubnet.Range", format!("The CIDR '{text}' is invalid.")));
    }
    let taken = siblings.iter().find(|other| other.ipv6.as_ref().is_some_and(|own| own.cidr == cidr));
    if let Some(other) = taken {
        return Err(client(
            "InvalidSubnet.Conflict",
            format!("The CIDR '{cidr}' conflicts with another subnet: {}", other.subnet),
        ));
    }
    Ok(SubnetIpv6Cidr { association: SubnetCidrAssociationId::from_entropy(ctx.bits()), cidr })
}

pub fn associate_touches(
    ctx: &Context,
    request: &AssociateSubnetCidrBlockRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Subnet>(ctx, tables, [&request.subnet_id])
}

pub fn associate(
    ctx: &Context,
    request: &AssociateSubnetCidrBlockRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateSubnetCidrBlockResult> {
    refuse(&[
        ("Ipv6IpamPoolId", request.ipv6_ipam_pool_id.is_some()),
        ("Ipv6NetmaskLength", request.ipv6_netmask_length.is_some()),
    ])?;
    let mut subnet = Subnet::clone(&*hold::<Subnet>(ctx, txn, &request.subnet_id)?);
    let text = request.ipv6_cidr_block.as_deref().ok_or_else(|| missing_parameter("ipv6CidrBlock"))?;
    let vpc =
        txn.get::<Vpc>(&ctx.region, &subnet.vpc).ok_or_else(|| crate::errors::VPC.not_found(subnet.vpc))?;
    let siblings: Vec<_> = txn.tables().find::<Subnet>(&ctx.region, "vpc", subnet.vpc).collect();
    let block = block(ctx, &vpc, &siblings, text)?;
    if subnet.ipv6.is_some() {
        return Err(client(
            "CidrLimitExceeded",
            format!("This subnet '{}' has met its maximum number of allowed IPv6 CIDRs: 1", subnet.subnet),
        ));
    }
    let shown = render(&block, SubnetCidrBlockStateCode::Associating);
    subnet.ipv6 = Some(block);
    let id = subnet.subnet.to_string();
    txn.put(&ctx.region, subnet);
    Ok(AssociateSubnetCidrBlockResult { ipv6_cidr_block_association: Some(shown), subnet_id: Some(id) })
}

/// The caller's subnet with that association.
fn holder<'a>(ctx: &'a Context, tables: &'a Tables, text: &str) -> Option<&'a Arc<Subnet>> {
    let association = SubnetCidrAssociationId::parse(text).ok()?;
    let mut mine = tables.find::<Subnet>(&ctx.region, "account", ctx.account());
    mine.find(|subnet| subnet.ipv6.as_ref().is_some_and(|own| own.association == association))
}

pub fn disassociate_touches(
    ctx: &Context,
    request: &DisassociateSubnetCidrBlockRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let id = holder(ctx, tables, &request.association_id).map(|subnet| subnet.subnet.to_string());
    touched::<Subnet>(ctx, tables, &id)
}

/// Refused while an interface has an address of the block, or a reservation is a part of it, and where there is no other block.
pub fn disassociate(
    ctx: &Context,
    request: &DisassociateSubnetCidrBlockRequest,
    txn: &mut Txn<'_>,
) -> Result<DisassociateSubnetCidrBlockResult> {
    let shown: String = request.association_id.chars().take(64).collect();
    let missing = || {
        client(
            "InvalidSubnetCidrBlockAssociationID.NotFound",
            format!("The subnet CIDR block association ID '{shown}' does not exist"),
        )
    };
    let id = holder(ctx, txn.tables(), &request.association_id).ok_or_else(missing)?.subnet.to_string();
    let mut subnet = Subnet::clone(&*hold::<Subnet>(ctx, txn, &id)?);
    if subnet.is_ipv6_native() {
        return Err(client(
            "InvalidCidrBlock.InUse",
            format!(
                "The subnet IPv6 CIDR block with association ID {shown} may not be disassociated, because its \
                 subnet has assign-ipv6-address-on-creation set to true."
            ),
        ));
    }
    let block = subnet.ipv6.take().ok_or_else(missing)?;
    subnet.assign_ipv6 = false;
    let interfaces = txn.tables().find::<NetworkInterface>(&ctx.region, "subnet", subnet.subnet);
    let holders = interfaces
        .filter(|interface| interface.ipv6_places() > 0)
        .map(|interface| interface.interface.to_string());
    let reservations = txn.tables().find::<SubnetCidrReservation>(&ctx.region, "subnet", subnet.subnet);
    let reservations =
        reservations.filter(|r| matches!(r.cidr, IpNet::V6(_))).map(|r| r.reservation.to_string());
    let holders: Vec<String> = holders.chain(reservations).take(10).collect();
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "The CIDR block {} of '{id}' has dependencies and cannot be disassociated: {}",
            block.cidr,
            holders.join(", ")
        )));
    }
    txn.put(&ctx.region, subnet);
    Ok(DisassociateSubnetCidrBlockResult {
        ipv6_cidr_block_association: Some(render(&block, SubnetCidrBlockStateCode::Disassociating)),
        subnet_id: Some(id),
    })
}

pub fn render(
    block: &SubnetIpv6Cidr,
    state: SubnetCidrBlockStateCode,
) -> api::SubnetIpv6CidrBlockAssociation {
    api::SubnetIpv6CidrBlockAssociation {
        association_id: Some(block.association.to_string()),
        ipv6_cidr_block: Some(block.cidr.to_string()),
        ipv6_cidr_block_state: Some(api::SubnetCidrBlockState { state: Some(state), status_message: None }),
        ipv6_address_attribute: Some("public".into()),
        ip_source: Some("amazon".into()),
    }
}
