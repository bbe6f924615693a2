//! `RevokeSecurityGroupIngress` and `…Egress`: by permissions or by rule ids.
//!
//! A permission that the group does not have is an error and nothing is revoked; in the default VPC the others are revoked
//! and the answer lists it as unknown.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RevokeSecurityGroupIngress.html>

use super::permission::{Flat, wanted};
use super::{render, target, touched_target};
use crate::errors::{SECURITY_GROUP_RULE, client, invalid_parameter_combination};
use crate::noun::hold;
use api_ec2::{
    IpPermission, RevokeSecurityGroupEgressRequest, RevokeSecurityGroupEgressResult,
    RevokeSecurityGroupIngressRequest, RevokeSecurityGroupIngressResult, RevokedSecurityGroupRule,
};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched, Txn};
use model::SecurityGroupRuleId;
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use model::record::vpc::Vpc;

pub fn ingress_touches(
    ctx: &Context,
    request: &RevokeSecurityGroupIngressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())
}

pub fn ingress(
    ctx: &Context,
    request: &RevokeSecurityGroupIngressRequest,
    txn: &mut Txn<'_>,
) -> Result<RevokeSecurityGroupIngressResult> {
    let group = target(ctx, txn.tables(), request.group_id.as_deref(), request.group_name.as_deref())?;
    let group = hold::<SecurityGroup>(ctx, txn, &group.group.to_string())?;
    let flat = Flat {
        protocol: request.ip_protocol.as_deref(),
        from: request.from_port,
        to: request.to_port,
        cidr: request.cidr_ip.as_deref(),
        group_name: request.source_security_group_name.as_deref(),
        group_owner: request.source_security_group_owner_id.as_deref(),
    };
    let rules = request.security_group_rule_ids.as_deref();
    let which = Which { permissions: request.ip_permissions.as_deref(), flat, rules };
    let done = revoke(ctx, txn, &group, Direction::Ingress, which)?;
    Ok(RevokeSecurityGroupIngressResult {
        r#return: Some(true),
        unknown_ip_permissions: Some(done.unknown),
        revoked_security_group_rules: Some(done.revoked),
    })
}

pub fn egress_touches(
    ctx: &Context,
    request: &RevokeSecurityGroupEgressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, Some(&request.group_id), None)
}

pub fn egress(
    ctx: &Context,
    request: &RevokeSecurityGroupEgressRequest,
    txn: &mut Txn<'_>,
) -> Result<RevokeSecurityGroupEgressResult> {
    let group = hold::<SecurityGroup>(ctx, txn, &request.group_id)?;
    let flat = Flat {
        protocol: request.ip_protocol.as_deref(),
        from: request.from_port,
        to: request.to_port,
        cidr: request.cidr_ip.as_deref(),
        group_name: request.source_security_group_name.as_deref(),
        group_owner: request.source_security_group_owner_id.as_deref(),
    };
    let rules = request.security_group_rule_ids.as_deref();
    let which = Which { permissions: request.ip_permissions.as_deref(), flat, rules };
    let done = revoke(ctx, txn, &group, Direction::Egress, which)?;
    Ok(RevokeSecurityGroupEgressResult {
        r#return: Some(true),
        unknown_ip_permissions: Some(done.unknown),
        revoked_security_group_rules: Some(done.revoked),
    })
}

/// The rules that a request means.
struct Which<'a> {
    permissions: Option<&'a [IpPermission]>,
    flat: Flat<'a>,
    rules: Option<&'a [String]>,
}

struct Done {
    unknown: Vec<IpPermission>,
    revoked: Vec<RevokedSecurityGroupRule>,
}

fn revoke(
    ctx: &Context,
    txn: &mut Txn<'_>,
    group: &SecurityGroup,
    direction: Direction,
    which: Which<'_>,
) -> Result<Done> {
    let mut unknown = Vec::new();
    let ids = if let Some(ids) = which.rules.filter(|ids| !ids.is_empty()) {
        if which.permissions.is_some_and(|p| !p.is_empty()) {
            return Err(invalid_parameter_combination(
                "The parameter ipPermissions may not be used in combination with securityGroupRuleIds",
            ));
        }
        ids.iter().map(|id| Ok(rule_in(group, direction, id)?.rule)).collect::<Result<Vec<_>>>()?
    } else {
        let wanted = wanted(ctx, txn.tables(), group, which.permissions, which.flat)?;
        let mut found = Vec::new();
        for one in wanted {
            match group.allows(direction).find(|rule| rule.allow == one.allow) {
                Some(rule) => found.push(rule.rule),
                None => unknown.push(SecurityGroupRule {
                    rule: SecurityGroupRuleId::from_entropy(0),
                    direction,
                    allow: one.allow,
                    description: one.description,
                    tags: Tags::default(),
                }),
            }
        }
        found
    };
    let forgiving = txn.tables().get::<Vpc>(&ctx.region, &group.vpc).is_some_and(|vpc| vpc.is_default);
    if !unknown.is_empty() && !forgiving {
        return Err(not_found());
    }
    let revoked = group.rules.iter().filter(|rule| ids.contains(&rule.rule));
    let revoked = revoked.map(|rule| render::revoked(group, rule)).collect();
    if !ids.is_empty() {
        let mut left = SecurityGroup::clone(group);
        left.rules.retain(|rule| !ids.contains(&rule.rule));
        txn.put(&ctx.region, left);
    }
    let unknown = unknown.iter().map(|rule| render::permission(group, rule)).collect();
    Ok(Done { unknown, revoked })
}

pub fn not_found() -> wire::ApiError {
    client("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
}

/// The rule of a group and direction that an id names.
pub fn rule_in<'a>(
    group: &'a SecurityGroup,
    direction: Direction,
    id: &str,
) -> Result<&'a SecurityGroupRule> {
    let parsed = SecurityGroupRuleId::parse(id).map_err(|_| SECURITY_GROUP_RULE.malformed(id))?;
    group.allows(direction).find(|rule| rule.rule == parsed).ok_or_else(|| SECURITY_GROUP_RULE.not_found(id))
}
