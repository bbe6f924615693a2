//! `CreateTrafficMirrorFilterRule`, `ModifyTrafficMirrorFilterRule`, `DeleteTrafficMirrorFilterRule`.

use super::{description, outside, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{created, find, given_tags, hold, touched};
use crate::parameter::not_one_of;
use api_ec2::{
    CreateTrafficMirrorFilterRuleRequest, CreateTrafficMirrorFilterRuleResult,
    DeleteTrafficMirrorFilterRuleRequest, DeleteTrafficMirrorFilterRuleResult,
    ModifyTrafficMirrorFilterRuleRequest, ModifyTrafficMirrorFilterRuleResult, TrafficDirection,
    TrafficMirrorFilterRuleField, TrafficMirrorPortRangeRequest, TrafficMirrorRuleAction,
};
use control::{Context, Result, Tables, Touched, Txn};
use ipnet::IpNet;
use model::TrafficMirrorFilterRuleId;
use model::record::traffic_mirror::{TrafficMirrorFilter, TrafficMirrorFilterRule};
use model::traffic_mirror::{Action, Direction, MirrorRule, Ports};

pub const MAX_NUMBER: u16 = 32766;
/// How many rules a filter may have in each direction.
const MOST: usize = 10;
const TCP_AND_UDP: [u8; 2] = [6, 17];

pub fn create_touches(
    ctx: &Context,
    request: &CreateTrafficMirrorFilterRuleRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "traffic-mirror-filter-rule")];
    all.extend(touched::<TrafficMirrorFilter>(ctx, tables, [&request.traffic_mirror_filter_id]));
    all
}

/// A rule and its filter.
pub fn touches(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    let mut all = touched::<TrafficMirrorFilterRule>(ctx, tables, [id]);
    if let Ok(rule) = find::<TrafficMirrorFilterRule>(ctx, tables, id) {
        all.extend(touched::<TrafficMirrorFilter>(ctx, tables, [&rule.filter.to_string()]));
    }
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateTrafficMirrorFilterRuleRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateTrafficMirrorFilterRuleResult> {
    let rule = MirrorRule {
        number: number("RuleNumber", request.rule_number)?,
        action: action(&request.rule_action)?,
        protocol: request.protocol.map(protocol).transpose()?,
        source: block("SourceCidrBlock", &request.source_cidr_block)?,
        destination: block("DestinationCidrBlock", &request.destination_cidr_block)?,
        source_ports: ports("SourcePortRange", request.source_port_range.as_ref())?,
        destination_ports: ports("DestinationPortRange", request.destination_port_range.as_ref())?,
    };
    let direction = direction(&request.traffic_direction)?;
    let description = description(request.description.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["traffic-mirror-filter-rule"])?;
    let filter = hold::<TrafficMirrorFilter>(ctx, txn, &request.traffic_mirror_filter_id)?;
    let rule = TrafficMirrorFilterRule {
        id: TrafficMirrorFilterRuleId::from_entropy(ctx.bits()),
        account: ctx.account(),
        filter: filter.filter,
        direction,
        rule,
        description,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    check(ctx, txn.tables(), &rule)?;
    let rule = txn.put(&ctx.region, rule);
    Ok(CreateTrafficMirrorFilterRuleResult {
        traffic_mirror_filter_rule: Some(render::rule(&rule)),
        client_token: request.client_token.clone(),
    })
}

pub fn modify(
    ctx: &Context,
    request: &ModifyTrafficMirrorFilterRuleRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyTrafficMirrorFilterRuleResult> {
    let held = hold::<TrafficMirrorFilterRule>(ctx, txn, &request.traffic_mirror_filter_rule_id)?;
    let mut changed = TrafficMirrorFilterRule::clone(&held);
    let rule = &mut changed.rule;
    for field in request.remove_fields.as_deref().unwrap_or_default() {
        let given = match field {
            TrafficMirrorFilterRuleField::DestinationPortRange => {
                rule.destination_ports = None;
                request.destination_port_range.is_some()
            }
            TrafficMirrorFilterRuleField::SourcePortRange => {
                rule.source_ports = None;
                request.source_port_range.is_some()
            }
            TrafficMirrorFilterRuleField::Protocol => {
                rule.protocol = None;
                request.protocol.is_some()
            }
            TrafficMirrorFilterRuleField::Description => {
                changed.description = None;
                request.description.is_some()
            }
            TrafficMirrorFilterRuleField::Other(other) => {
                return Err(not_one_of(
                    "RemoveFields",
                    other,
                    "destination-port-range, source-port-range, protocol, description",
                ));
            }
        };
        not_both(field.as_str(), given)?;
    }
    if let Some(given) = request.rule_number {
        rule.number = number("RuleNumber", given)?;
    }
    if let Some(given) = &request.rule_action {
        rule.action = action(given)?;
    }
    if let Some(given) = request.protocol {
        rule.protocol = Some(protocol(given)?);
    }
    if let Some(given) = &request.source_cidr_block {
        rule.source = block("SourceCidrBlock", given)?;
    }
    if let Some(given) = &request.destination_cidr_block {
        rule.destination = block("DestinationCidrBlock", given)?;
    }
    if let Some(range) = ports("SourcePortRange", request.source_port_range.as_ref())? {
        rule.source_ports = Some(range);
    }
    if let Some(range) = ports("DestinationPortRange", request.destination_port_range.as_ref())? {
        rule.destination_ports = Some(range);
    }
    if let Some(given) = &request.traffic_direction {
        changed.direction = direction(given)?;
    }
    if request.description.is_some() {
        changed.description = description(request.description.as_deref())?;
    }
    check(ctx, txn.tables(), &changed)?;
    let rule = txn.put(&ctx.region, changed);
    Ok(ModifyTrafficMirrorFilterRuleResult { traffic_mirror_filter_rule: Some(render::rule(&rule)) })
}

pub fn delete(
    ctx: &Context,
    request: &DeleteTrafficMirrorFilterRuleRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteTrafficMirrorFilterRuleResult> {
    let rule = hold::<TrafficMirrorFilterRule>(ctx, txn, &request.traffic_mirror_filter_rule_id)?;
    txn.delete::<TrafficMirrorFilterRule>(&ctx.region, &rule.id);
    // A record that is gone names no filter: hosts hear of it by the filter's own.
    if let Some(filter) = txn.get::<TrafficMirrorFilter>(&ctx.region, &rule.filter) {
        txn.put(&ctx.region, TrafficMirrorFilter::clone(&filter));
    }
    Ok(DeleteTrafficMirrorFilterRuleResult { traffic_mirror_filter_rule_id: Some(rule.id.to_string()) })
}

/// What concerns more than one of its members, and the other rules of the filter.
fn check(ctx: &Context, tables: &Tables, rule: &TrafficMirrorFilterRule) -> Result<()> {
    let TrafficMirrorFilterRule { rule: said, filter, direction, .. } = rule;
    if matches!((said.source, said.destination), (IpNet::V4(_), IpNet::V6(_)) | (IpNet::V6(_), IpNet::V4(_)))
    {
        return Err(invalid_parameter_value(
            "SourceCidrBlock and DestinationCidrBlock must be of the same address family.",
        ));
    }
    let has_ports = said.source_ports.is_some() || said.destination_ports.is_some();
    if has_ports && !said.protocol.is_some_and(|protocol| TCP_AND_UDP.contains(&protocol)) {
        return Err(invalid_parameter_combination(
            "Port ranges can only be specified if the protocol is 6 (TCP) or 17 (UDP).",
        ));
    }
    let others = tables.find::<TrafficMirrorFilterRule>(&ctx.region, "filter", *filter);
    let others: Vec<u16> = others
        .filter(|other| other.id != rule.id && other.direction == *direction)
        .map(|other| other.rule.number)
        .collect();
    if others.contains(&said.number) {
        return Err(client(
            "TrafficMirrorFilterRuleAlreadyExists",
            format!(
                "{filter} already has an {} rule number {}.",
                render::direction(*direction).as_str(),
                said.number
            ),
        ));
    }
    if others.len() >= MOST {
        return Err(client(
            "TrafficMirrorFilterRuleLimitExceeded",
            "The maximum number of Traffic Mirror filter rules has been exceeded.",
        ));
    }
    Ok(())
}

/// A field that is given and removed.
pub fn not_both(field: &str, given: bool) -> Result<()> {
    if given {
        return Err(invalid_parameter_combination(format!(
            "The field {field} can't be specified and removed in the same request."
        )));
    }
    Ok(())
}

/// Of a rule or of a session.
pub fn number(parameter: &str, given: i32) -> Result<u16> {
    let number = u16::try_from(given).ok().filter(|number| (1..=MAX_NUMBER).contains(number));
    number.ok_or_else(|| outside(parameter, &given.to_string(), "be from 1 to 32766"))
}

fn action(given: &TrafficMirrorRuleAction) -> Result<Action> {
    match given {
        TrafficMirrorRuleAction::Accept => Ok(Action::Accept),
        TrafficMirrorRuleAction::Reject => Ok(Action::Reject),
        TrafficMirrorRuleAction::Other(other) => Err(not_one_of("RuleAction", other, "accept, reject")),
    }
}

fn direction(given: &TrafficDirection) -> Result<Direction> {
    match given {
        TrafficDirection::Ingress => Ok(Direction::Ingress),
        TrafficDirection::Egress => Ok(Direction::Egress),
        TrafficDirection::Other(other) => Err(not_one_of("TrafficDirection", other, "ingress, egress")),
    }
}

fn protocol(given: i32) -> Result<u8> {
    u8::try_from(given).map_err(|_| outside("Protocol", &given.to_string(), "be from 0 to 255"))
}

fn block(parameter: &str, text: &str) -> Result<IpNet> {
    let net: IpNet = text.parse().map_err(|_| outside(parameter, text, "be an IPv4 or IPv6 CIDR block"))?;
    Ok(net.trunc())
}

fn ports(parameter: &str, given: Option<&TrafficMirrorPortRangeRequest>) -> Result<Option<Ports>> {
    let Some(given) = given else { return Ok(None) };
    let end = |name: &str, port: Option<i32>| {
        let port = port.ok_or_else(|| missing_parameter(&format!("{parameter}.{name}")))?;
        u16::try_from(port)
            .map_err(|_| outside(&format!("{parameter}.{name}"), &port.to_string(), "be from 0 to 65535"))
    };
    let range = Ports { from: end("FromPort", given.from_port)?, to: end("ToPort", given.to_port)? };
    if range.from > range.to {
        let shown = format!("{}-{}", range.from, range.to);
        return Err(outside(parameter, &shown, "begin before its end"));
    }
    Ok(Some(range))
}
