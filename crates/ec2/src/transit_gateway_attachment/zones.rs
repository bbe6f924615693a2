//! The subnets of an attachment: of its VPC, one in each zone, with IPv4, and with IPv6 if it carries that.

use crate::errors::{client, invalid_parameter_value};
use crate::network_interface::allocate::block;
use crate::noun::hold;
use control::{Context, Result, Txn};
use model::record::vpc::Subnet;
use model::{SubnetId, VpcId, Zone};
use std::collections::{BTreeMap, BTreeSet};

/// What stands already and what a request adds, if they fit together: `DuplicateSubnetsInSameZone`, and
/// `InvalidParameterValue` for what is not the VPC's or lacks IPv4 or IPv6.
pub fn subnets<'a>(
    ctx: &Context,
    txn: &mut Txn<'_>,
    vpc: VpcId,
    ipv6: bool,
    ids: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeSet<SubnetId>> {
    let mut by_zone: BTreeMap<Zone, SubnetId> = BTreeMap::new();
    for id in ids {
        let subnet = hold::<Subnet>(ctx, txn, id)?;
        if subnet.vpc != vpc {
            return Err(invalid_parameter_value(format!("The subnet {id} is not in the VPC {vpc}.")));
        }
        block(&subnet)?;
        if ipv6 && subnet.ipv6.is_none() {
            return Err(invalid_parameter_value(format!(
                "The subnet {id} has no IPv6 CIDR block, which Ipv6Support requires."
            )));
        }
        if by_zone.insert(subnet.zone.clone(), subnet.subnet).is_some() {
            return Err(client("DuplicateSubnetsInSameZone", "Duplicate Subnets for same AZ"));
        }
    }
    if by_zone.is_empty() {
        return Err(invalid_parameter_value("A transit gateway attachment needs at least one subnet."));
    }
    Ok(by_zone.into_values().collect())
}
