//! `DeleteSecurityGroup`: refused while an interface is a member or another group's rule in the VPC refers to it. Rules of
//! peers that refer to it become stale.

use super::{target, touched_target};
use crate::defaults::group_name_claim;
use crate::errors::{client, dependency_violation};
use api_ec2::{DeleteSecurityGroupRequest, DeleteSecurityGroupResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;

pub fn touches(ctx: &Context, request: &DeleteSecurityGroupRequest, tables: &Tables) -> Vec<Touched> {
    touched_target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())
}

pub fn delete(
    ctx: &Context,
    request: &DeleteSecurityGroupRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteSecurityGroupResult> {
    let (region, tables) = (&ctx.region, txn.tables());
    let group = target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())?;
    let id = group.group;
    if group.name == "default" {
        return Err(client(
            "CannotDelete",
            format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user"),
        ));
    }
    let members = tables.find::<NetworkInterface>(region, "group", id).map(|i| i.interface.to_string());
    let referring = tables.find::<SecurityGroup>(region, "references", id).filter(|g| g.vpc == group.vpc);
    let referring = referring.map(|g| g.group.to_string());
    let holders: Vec<String> = members.chain(referring).take(10).collect();
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "resource {id} has a dependent object: {}",
            holders.join(", ")
        )));
    }
    txn.release(region, &group_name_claim(group.vpc, &group.name));
    txn.delete::<SecurityGroup>(region, &id);
    Ok(DeleteSecurityGroupResult { r#return: Some(true), group_id: Some(id.to_string()) })
}
