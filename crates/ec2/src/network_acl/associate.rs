//! `ReplaceNetworkAclAssociation`: moves a subnet to another ACL of its VPC. The association gets a new id.

use crate::errors::{client, invalid_parameter_value};
use crate::noun::{hold, touched};
use api_ec2::{ReplaceNetworkAclAssociationRequest, ReplaceNetworkAclAssociationResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::{NetworkAcl, NetworkAclAssociation};
use model::{NetworkAclAssociationId, NetworkAclId};

fn holding(ctx: &Context, tables: &Tables, association: NetworkAclAssociationId) -> Option<NetworkAclId> {
    let mut mine = tables.find::<NetworkAcl>(&ctx.region, "account", ctx.account());
    mine.find(|acl| acl.associations.iter().any(|a| a.association == association)).map(|acl| acl.acl)
}

pub fn touches(
    ctx: &Context,
    request: &ReplaceNetworkAclAssociationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let association = NetworkAclAssociationId::parse(&request.association_id).ok();
    let from = association.and_then(|id| holding(ctx, tables, id)).map(|acl| acl.to_string());
    touched::<NetworkAcl>(ctx, tables, from.iter().chain([&request.network_acl_id]))
}

pub fn replace(
    ctx: &Context,
    request: &ReplaceNetworkAclAssociationRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceNetworkAclAssociationResult> {
    let not_found = || {
        client(
            "InvalidAssociationID.NotFound",
            format!("The association ID '{}' does not exist", request.association_id),
        )
    };
    let id = NetworkAclAssociationId::parse(&request.association_id).map_err(|_| not_found())?;
    let from = holding(ctx, txn.tables(), id).ok_or_else(not_found)?;
    let mut from = NetworkAcl::clone(&*hold::<NetworkAcl>(ctx, txn, &from.to_string())?);
    let mut to = NetworkAcl::clone(&*hold::<NetworkAcl>(ctx, txn, &request.network_acl_id)?);
    if from.vpc != to.vpc {
        return Err(invalid_parameter_value(format!(
            "Network ACLs {} and {} belong to different networks",
            from.acl, to.acl
        )));
    }
    let association = NetworkAclAssociationId::from_entropy(ctx.bits());
    let subnet =
        from.associations.iter().find(|a| a.association == id).map(|a| a.subnet).ok_or_else(not_found)?;
    if from.acl == to.acl {
        return Ok(ReplaceNetworkAclAssociationResult { new_association_id: Some(id.to_string()) });
    }
    from.associations.retain(|a| a.association != id);
    to.associations.push(NetworkAclAssociation { association, subnet });
    txn.put(&ctx.region, from);
    txn.put(&ctx.region, to);
    Ok(ReplaceNetworkAclAssociationResult { new_association_id: Some(association.to_string()) })
}
