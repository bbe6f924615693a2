//! `UpdateSecurityGroupRuleDescriptionsIngress` and `…Egress`. A description that is left out is removed.

use super::permission::{Flat, description, wanted};
use super::revoke::{not_found, rule_in};
use super::{target, touched_target};
use crate::errors::{invalid_parameter_combination, missing_parameter};
use crate::noun::hold;
use api_ec2::{
    IpPermission, SecurityGroupRuleDescription, UpdateSecurityGroupRuleDescriptionsEgressRequest,
    UpdateSecurityGroupRuleDescriptionsEgressResult, UpdateSecurityGroupRuleDescriptionsIngressRequest,
    UpdateSecurityGroupRuleDescriptionsIngressResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::SecurityGroupRuleId;
use model::record::security_group::{Direction, SecurityGroup};

pub fn ingress_touches(
    ctx: &Context,
    request: &UpdateSecurityGroupRuleDescriptionsIngressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())
}

pub fn ingress(
    ctx: &Context,
    request: &UpdateSecurityGroupRuleDescriptionsIngressRequest,
    txn: &mut Txn<'_>,
) -> Result<UpdateSecurityGroupRuleDescriptionsIngressResult> {
    let group = target(ctx, txn.tables(), request.group_id.as_deref(), request.group_name.as_deref())?;
    let id = group.group.to_string();
    let rules = request.security_group_rule_descriptions.as_deref();
    update(ctx, txn, &id, Direction::Ingress, request.ip_permissions.as_deref(), rules)?;
    Ok(UpdateSecurityGroupRuleDescriptionsIngressResult { r#return: Some(true) })
}

pub fn egress_touches(
    ctx: &Context,
    request: &UpdateSecurityGroupRuleDescriptionsEgressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())
}

pub fn egress(
    ctx: &Context,
    request: &UpdateSecurityGroupRuleDescriptionsEgressRequest,
    txn: &mut Txn<'_>,
) -> Result<UpdateSecurityGroupRuleDescriptionsEgressResult> {
    let group = target(ctx, txn.tables(), request.group_id.as_deref(), request.group_name.as_deref())?;
    let id = group.group.to_string();
    let rules = request.security_group_rule_descriptions.as_deref();
    update(ctx, txn, &id, Direction::Egress, request.ip_permissions.as_deref(), rules)?;
    Ok(UpdateSecurityGroupRuleDescriptionsEgressResult { r#return: Some(true) })
}

fn update(
    ctx: &Context,
    txn: &mut Txn<'_>,
    group: &str,
    direction: Direction,
    permissions: Option<&[IpPermission]>,
    rules: Option<&[SecurityGroupRuleDescription]>,
) -> Result<()> {
    let mut group = SecurityGroup::clone(&*hold::<SecurityGroup>(ctx, txn, group)?);
    let (permissions, rules) = (permissions.unwrap_or_default(), rules.unwrap_or_default());
    let changes: Vec<(SecurityGroupRuleId, Option<String>)> = match (permissions.is_empty(), rules.is_empty())
    {
        (true, true) => return Err(missing_parameter("ipPermissions or securityGroupRuleDescriptions")),
        (false, false) => {
            return Err(invalid_parameter_combination(
                "The parameter ipPermissions may not be used in combination with securityGroupRuleDescriptions",
            ));
        }
        (true, false) => {
            let change = |update: &SecurityGroupRuleDescription| {
                let id = update.security_group_rule_id.as_deref();
                let id = id.ok_or_else(|| missing_parameter("SecurityGroupRuleId"))?;
                let text = update.description.as_deref().map(description).transpose()?.flatten();
                Ok((rule_in(&group, direction, id)?.rule, text))
            };
            rules.iter().map(change).collect::<Result<_>>()?
        }
        (false, true) => {
            let wanted = wanted(ctx, txn.tables(), &group, Some(permissions), Flat::default())?;
            let change = |one: super::permission::Wanted| {
                let rule = group.allows(direction).find(|rule| rule.allow == one.allow);
                Ok((rule.ok_or_else(not_found)?.rule, one.description))
            };
            wanted.into_iter().map(change).collect::<Result<_>>()?
        }
    };
    for (id, text) in changes {
        if let Some(rule) = group.rules.iter_mut().find(|rule| rule.rule == id) {
            rule.description = text;
        }
    }
    txn.put(&ctx.region, group);
    Ok(())
}
