//! Rules by their own ids: `DescribeSecurityGroupRules` and `ModifySecurityGroupRules`.

use super::authorize::{check_quota, duplicate};
use super::permission::{Wanted, replacement};
use super::{arn, render, touched_target};
use crate::errors::{SECURITY_GROUP_RULE, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, hold};
use crate::prefix_list::usage;
use api_ec2::{
    DescribeSecurityGroupRulesRequest, DescribeSecurityGroupRulesResult, ModifySecurityGroupRulesRequest,
    ModifySecurityGroupRulesResult,
};
use control::filter::{FilterField, Filters, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Touched, Txn};
use model::SecurityGroupRuleId;
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use std::sync::Arc;

static FILTERS: &[FilterField<SecurityGroupRule, SecurityGroup>] = &[
    FilterField { name: "group-id", values: |_, group| shown(group.group) },
    FilterField { name: "security-group-rule-id", values: |rule, _| shown(rule.rule) },
];

/// The rule with this id and its group, if the caller may see it.
pub fn rule_of<'a>(
    ctx: &Context,
    tables: &'a Tables,
    id: SecurityGroupRuleId,
) -> Option<(&'a Arc<SecurityGroup>, &'a SecurityGroupRule)> {
    // The iterator would borrow the context for as long as the tables: the id leads back to them.
    let group = tables.find::<SecurityGroup>(&ctx.region, "rule", id).next()?.group;
    let group = tables.get::<SecurityGroup>(&ctx.region, &group).filter(|group| group.visible_to(ctx))?;
    group.rules.iter().find(|rule| rule.rule == id).map(|rule| (group, rule))
}

pub fn describe_touches(
    ctx: &Context,
    request: &DescribeSecurityGroupRulesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let ids = request.security_group_rule_ids.as_deref().unwrap_or_default();
    if ids.is_empty() {
        return Touched::anything();
    }
    let parsed = ids.iter().filter_map(|id| SecurityGroupRuleId::parse(id).ok());
    let rules = parsed.filter_map(|id| rule_of(ctx, tables, id));
    rules.map(|(group, rule)| Touched::new(arn(ctx, group, rule)).tagged(&rule.tags)).collect()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeSecurityGroupRulesRequest,
    tables: &Tables,
) -> Result<DescribeSecurityGroupRulesResult> {
    let ids = ByIds::from(&request.security_group_rule_ids);
    let paging = Paging::<SecurityGroupRuleId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ids,
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let mut candidates = if let (ByIds::Given, Some(ids)) = (ids, request.security_group_rule_ids.as_deref())
    {
        named(ctx, tables, ids)?
    } else {
        let groups = tables.find::<SecurityGroup>(&ctx.region, "account", ctx.account());
        groups.flat_map(|group| group.rules.iter().map(move |rule| (group, rule))).collect()
    };
    candidates.sort_by_key(|(_, rule)| rule.rule);
    candidates.dedup_by_key(|(_, rule)| rule.rule);
    let matching = candidates.into_iter().filter(|(group, rule)| filters.accept(rule, &rule.tags, group));
    let (page, next_token) = page::cut(matching, &paging, |(_, rule)| rule.rule);
    let rules = page.into_iter().map(|(group, rule)| render::rule(ctx, group, rule)).collect();
    Ok(DescribeSecurityGroupRulesResult { security_group_rules: Some(rules), next_token })
}

type Listed<'a> = Vec<(&'a Arc<SecurityGroup>, &'a SecurityGroupRule)>;

fn named<'a>(ctx: &Context, tables: &'a Tables, ids: &[String]) -> Result<Listed<'a>> {
    let parse = |id: &String| SecurityGroupRuleId::parse(id).map_err(|_| SECURITY_GROUP_RULE.malformed(id));
    let parsed = ids.iter().map(parse).collect::<Result<Vec<_>>>()?;
    let missing: Vec<String> =
        parsed.iter().filter(|id| rule_of(ctx, tables, **id).is_none()).map(ToString::to_string).collect();
    if !missing.is_empty() {
        return Err(SECURITY_GROUP_RULE.none_found(&missing));
    }
    Ok(parsed.into_iter().filter_map(|id| rule_of(ctx, tables, id)).collect())
}

pub fn modify_touches(
    ctx: &Context,
    request: &ModifySecurityGroupRulesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched_target(ctx, tables, Some(&request.group_id), None);
    let ids = request.security_group_rules.iter();
    let parsed = ids.filter_map(|update| SecurityGroupRuleId::parse(&update.security_group_rule_id).ok());
    let rules = parsed.filter_map(|id| rule_of(ctx, tables, id));
    all.extend(rules.map(|(group, rule)| Touched::new(arn(ctx, group, rule)).tagged(&rule.tags)));
    all
}

/// Puts whole rules in the place of others, which keep their ids, directions and tags.
pub fn modify(
    ctx: &Context,
    request: &ModifySecurityGroupRulesRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifySecurityGroupRulesResult> {
    let mut group = SecurityGroup::clone(&*hold::<SecurityGroup>(ctx, txn, &request.group_id)?);
    if request.security_group_rules.is_empty() {
        return Err(missing_parameter("SecurityGroupRule"));
    }
    let mut changed = Vec::new();
    for update in &request.security_group_rules {
        let id = &update.security_group_rule_id;
        let parsed = SecurityGroupRuleId::parse(id).map_err(|_| SECURITY_GROUP_RULE.malformed(id))?;
        let new =
            update.security_group_rule.as_ref().ok_or_else(|| missing_parameter("SecurityGroupRule"))?;
        let Wanted { allow, description } = replacement(ctx, txn.tables(), &group, new)?;
        if changed.contains(&parsed) {
            return Err(invalid_parameter_value(format!("The rule {id} must not appear multiple times")));
        }
        let rule = group.rules.iter_mut().find(|rule| rule.rule == parsed);
        let rule = rule.ok_or_else(|| SECURITY_GROUP_RULE.not_found(id))?;
        rule.allow = allow;
        rule.description = description;
        changed.push(parsed);
    }
    for (index, rule) in group.rules.iter().enumerate() {
        let same = |other: &SecurityGroupRule| other.direction == rule.direction && other.allow == rule.allow;
        if group.rules[..index].iter().any(same) {
            return Err(duplicate(rule.allow));
        }
    }
    for direction in [Direction::Ingress, Direction::Egress] {
        check_quota(&group, direction, &|list| usage::weight(txn.tables(), &ctx.region, list))?;
    }
    txn.put(&ctx.region, group);
    Ok(ModifySecurityGroupRulesResult { r#return: Some(true) })
}
