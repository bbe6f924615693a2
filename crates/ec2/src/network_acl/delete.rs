//! `DeleteNetworkAcl`: refused for the default one and while a subnet uses it.

use crate::errors::{dependency_violation, invalid_parameter_value};
use crate::noun::{hold, touched};
use api_ec2::{DeleteNetworkAclRequest, DeleteNetworkAclResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::NetworkAcl;

pub fn touches(ctx: &Context, request: &DeleteNetworkAclRequest, tables: &Tables) -> Vec<Touched> {
    touched::<NetworkAcl>(ctx, tables, [&request.network_acl_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteNetworkAclRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNetworkAclResult> {
    let acl = hold::<NetworkAcl>(ctx, txn, &request.network_acl_id)?;
    if acl.is_default {
        return Err(invalid_parameter_value(format!("cannot delete default network ACL {}", acl.acl)));
    }
    if !acl.associations.is_empty() {
        let holders = acl.associations.iter().map(|a| a.subnet.to_string());
        return Err(dependency_violation(format!(
            "The networkAcl '{}' has dependencies and cannot be deleted: {}",
            acl.acl,
            holders.take(10).collect::<Vec<_>>().join(", ")
        )));
    }
    txn.delete::<NetworkAcl>(&ctx.region, &acl.acl);
    Ok(DeleteNetworkAclResult {})
}
