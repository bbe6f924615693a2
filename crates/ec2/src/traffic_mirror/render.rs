//! Targets, filters, rules and sessions as the API shows them.

use crate::noun::render_tags;
use api_ec2 as api;
use control::{Context, Tables};
use model::record::traffic_mirror::{
    TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
};
use model::traffic_mirror::{Action, Direction, Ports};

pub const fn direction(direction: Direction) -> api::TrafficDirection {
    match direction {
        Direction::Ingress => api::TrafficDirection::Ingress,
        Direction::Egress => api::TrafficDirection::Egress,
    }
}

pub const fn action(action: Action) -> api::TrafficMirrorRuleAction {
    match action {
        Action::Accept => api::TrafficMirrorRuleAction::Accept,
        Action::Reject => api::TrafficMirrorRuleAction::Reject,
    }
}

fn ports(range: Option<Ports>) -> Option<api::TrafficMirrorPortRange> {
    range.map(|range| api::TrafficMirrorPortRange {
        from_port: Some(range.from.into()),
        to_port: Some(range.to.into()),
    })
}

pub fn target(target: &TrafficMirrorTarget) -> api::TrafficMirrorTarget {
    api::TrafficMirrorTarget {
        traffic_mirror_target_id: Some(target.target.to_string()),
        network_interface_id: Some(target.interface.to_string()),
        r#type: Some(api::TrafficMirrorTargetType::NetworkInterface),
        description: target.description.clone(),
        owner_id: Some(target.account.to_string()),
        tags: render_tags(&target.tags),
        ..Default::default()
    }
}

/// With the rules that it has, by number.
pub fn filter(ctx: &Context, tables: &Tables, filter: &TrafficMirrorFilter) -> api::TrafficMirrorFilter {
    let mut rules: Vec<&TrafficMirrorFilterRule> = tables
        .find::<TrafficMirrorFilterRule>(&ctx.region, "filter", filter.filter)
        .map(AsRef::as_ref)
        .collect();
    rules.sort_by_key(|rule| rule.rule.number);
    let of = |direction| rules.iter().filter(|r| r.direction == direction).map(|r| self::rule(r)).collect();
    api::TrafficMirrorFilter {
        traffic_mirror_filter_id: Some(filter.filter.to_string()),
        ingress_filter_rules: Some(of(Direction::Ingress)),
        egress_filter_rules: Some(of(Direction::Egress)),
        network_services: Some(
            filter.dns.then_some(api::TrafficMirrorNetworkService::AmazonDns).into_iter().collect(),
        ),
        description: filter.description.clone(),
        tags: render_tags(&filter.tags),
    }
}

pub fn rule(rule: &TrafficMirrorFilterRule) -> api::TrafficMirrorFilterRule {
    api::TrafficMirrorFilterRule {
        traffic_mirror_filter_rule_id: Some(rule.id.to_string()),
        traffic_mirror_filter_id: Some(rule.filter.to_string()),
        traffic_direction: Some(direction(rule.direction)),
        rule_number: Some(rule.rule.number.into()),
        rule_action: Some(action(rule.rule.action)),
        protocol: rule.rule.protocol.map(i32::from),
        destination_port_range: ports(rule.rule.destination_ports),
        source_port_range: ports(rule.rule.source_ports),
        destination_cidr_block: Some(rule.rule.destination.to_string()),
        source_cidr_block: Some(rule.rule.source.to_string()),
        description: rule.description.clone(),
        tags: render_tags(&rule.tags),
    }
}

pub fn session(session: &TrafficMirrorSession) -> api::TrafficMirrorSession {
    api::TrafficMirrorSession {
        traffic_mirror_session_id: Some(session.session.to_string()),
        traffic_mirror_target_id: Some(session.target.to_string()),
        traffic_mirror_filter_id: Some(session.filter.to_string()),
        network_interface_id: Some(session.source.to_string()),
        owner_id: Some(session.account.to_string()),
        packet_length: session.length.map(i32::from),
        session_number: Some(session.number.into()),
        virtual_network_id: Some(session.network.cast_signed()),
        description: session.description.clone(),
        tags: render_tags(&session.tags),
    }
}
