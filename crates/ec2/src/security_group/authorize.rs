//! `AuthorizeSecurityGroupIngress` and `…Egress`: all the rules of a request are added, or none.

use super::permission::{Flat, Wanted, wanted};
use super::{MAX_RULES, render, target, touched_target};
use crate::errors::client;
use crate::noun::{given_tags, hold};
use crate::prefix_list::usage;
use api_ec2::{
    AuthorizeSecurityGroupEgressRequest, AuthorizeSecurityGroupEgressResult,
    AuthorizeSecurityGroupIngressRequest, AuthorizeSecurityGroupIngressResult, TagSpecification,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::IpNet;
use model::net::{Allow, Peer};
use model::record::prefix_list::Family;
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use model::{PrefixListId, SecurityGroupRuleId};

pub fn ingress_touches(
    ctx: &Context,
    request: &AuthorizeSecurityGroupIngressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, request.group_id.as_deref(), request.group_name.as_deref())
}

pub fn ingress(
    ctx: &Context,
    request: &AuthorizeSecurityGroupIngressRequest,
    txn: &mut Txn<'_>,
) -> Result<AuthorizeSecurityGroupIngressResult> {
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
    let wanted = wanted(ctx, txn.tables(), &group, request.ip_permissions.as_deref(), flat)?;
    let rules = add(ctx, txn, &group, Direction::Ingress, wanted, request.tag_specifications.as_deref())?;
    Ok(AuthorizeSecurityGroupIngressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

pub fn egress_touches(
    ctx: &Context,
    request: &AuthorizeSecurityGroupEgressRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_target(ctx, tables, Some(&request.group_id), None)
}

pub fn egress(
    ctx: &Context,
    request: &AuthorizeSecurityGroupEgressRequest,
    txn: &mut Txn<'_>,
) -> Result<AuthorizeSecurityGroupEgressResult> {
    let group = hold::<SecurityGroup>(ctx, txn, &request.group_id)?;
    let flat = Flat {
        protocol: request.ip_protocol.as_deref(),
        from: request.from_port,
        to: request.to_port,
        cidr: request.cidr_ip.as_deref(),
        group_name: request.source_security_group_name.as_deref(),
        group_owner: request.source_security_group_owner_id.as_deref(),
    };
    let wanted = wanted(ctx, txn.tables(), &group, request.ip_permissions.as_deref(), flat)?;
    let rules = add(ctx, txn, &group, Direction::Egress, wanted, request.tag_specifications.as_deref())?;
    Ok(AuthorizeSecurityGroupEgressResult { r#return: Some(true), security_group_rules: Some(rules) })
}

fn add(
    ctx: &Context,
    txn: &mut Txn<'_>,
    group: &SecurityGroup,
    direction: Direction,
    wanted: Vec<Wanted>,
    tags: Option<&[TagSpecification]>,
) -> Result<Vec<api_ec2::SecurityGroupRule>> {
    let tags = given_tags(tags, &["security-group-rule"])?.into_values().next().unwrap_or_default();
    let mut group = SecurityGroup::clone(group);
    let before = group.rules.len();
    for Wanted { allow, description } in wanted {
        if group.allows(direction).any(|rule| rule.allow == allow) {
            return Err(duplicate(allow));
        }
        let rule = SecurityGroupRuleId::from_entropy(ctx.bits());
        group.rules.push(SecurityGroupRule { rule, direction, allow, description, tags: tags.clone() });
    }
    check_quota(&group, direction, &|list| usage::weight(txn.tables(), &ctx.region, list))?;
    let shown = group.rules[before..].iter().map(|rule| render::rule(ctx, &group, rule)).collect();
    txn.put(&ctx.region, group);
    Ok(shown)
}

pub fn duplicate(allow: Allow) -> wire::ApiError {
    let peer = match allow.peer {
        Peer::Net(net) => net.to_string(),
        Peer::Group(group) => group.to_string(),
        Peer::PrefixList(list) => list.to_string(),
    };
    let protocol = render::protocol(allow.traffic).to_ascii_uppercase();
    let protocol = if protocol == "-1" { "ALL".to_owned() } else { protocol };
    let ports = render::ports(allow.traffic)
        .map_or_else(String::new, |ports| format!(", from port: {}, to port: {}", ports.from, ports.to));
    client(
        "InvalidPermission.Duplicate",
        format!("the specified rule \"peer: {peer}, {protocol}{ports}, ALLOW\" already exists"),
    )
}

/// Rules for one family count against its quota alone, rules for groups against both, rules for a list as often as it may
/// have entries.
pub fn check_quota(
    group: &SecurityGroup,
    direction: Direction,
    weigh: &dyn Fn(PrefixListId) -> (usize, Family),
) -> Result<()> {
    let (mut v4, mut v6) = (0, 0);
    for rule in group.allows(direction) {
        match rule.allow.peer {
            Peer::Net(IpNet::V4(_)) => v4 += 1,
            Peer::Net(IpNet::V6(_)) => v6 += 1,
            Peer::Group(_) => {
                v4 += 1;
                v6 += 1;
            }
            Peer::PrefixList(list) => match weigh(list) {
                (weight, Family::Ipv4) => v4 += weight,
                (weight, Family::Ipv6) => v6 += weight,
            },
        }
    }
    if v4.max(v6) > MAX_RULES {
        return Err(client(
            "RulesPerSecurityGroupLimitExceeded",
            format!("The maximum number of rules per security group ({MAX_RULES}) has been reached."),
        ));
    }
    Ok(())
}
