//! A security group as a noun: its ids, tags and filters.

use super::render::{self, Ports};
use crate::errors::{self, IdErrors};
use crate::noun::Noun;
use control::filter::{FilterField, Values, one, shown};
use control::{Arn, Context, Tables};
use model::SecurityGroupId;
use model::net::Peer;
use model::record::security_group::Direction::{self, Egress, Ingress};
use model::record::security_group::{SecurityGroup, SecurityGroupRule};
use std::borrow::Cow;

impl Noun for SecurityGroup {
    const RESOURCE_TYPE: &'static str = "security-group";
    const ERRORS: IdErrors = errors::SECURITY_GROUP;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "description", values: |g, _| one(g.description.as_str()) },
            FilterField { name: "egress.ip-permission.cidr", values: |g, _| cidrs(g, Egress) },
            FilterField {
                name: "egress.ip-permission.from-port",
                values: |g, _| ports(g, Egress, |p| p.from),
            },
            FilterField { name: "egress.ip-permission.group-id", values: |g, _| group_ids(g, Egress) },
            FilterField { name: "egress.ip-permission.group-name", values: |g, t| group_names(g, t, Egress) },
            FilterField { name: "egress.ip-permission.ipv6-cidr", values: |g, _| ipv6_cidrs(g, Egress) },
            FilterField { name: "egress.ip-permission.prefix-list-id", values: |g, _| lists(g, Egress) },
            FilterField { name: "egress.ip-permission.protocol", values: |g, _| protocols(g, Egress) },
            FilterField { name: "egress.ip-permission.to-port", values: |g, _| ports(g, Egress, |p| p.to) },
            FilterField { name: "egress.ip-permission.user-id", values: |g, _| user_ids(g, Egress) },
            FilterField { name: "group-id", values: |g, _| shown(g.group) },
            FilterField { name: "group-name", values: |g, _| one(g.name.as_str()) },
            FilterField { name: "ip-permission.cidr", values: |g, _| cidrs(g, Ingress) },
            FilterField { name: "ip-permission.from-port", values: |g, _| ports(g, Ingress, |p| p.from) },
            FilterField { name: "ip-permission.group-id", values: |g, _| group_ids(g, Ingress) },
            FilterField { name: "ip-permission.group-name", values: |g, t| group_names(g, t, Ingress) },
            FilterField { name: "ip-permission.ipv6-cidr", values: |g, _| ipv6_cidrs(g, Ingress) },
            FilterField { name: "ip-permission.prefix-list-id", values: |g, _| lists(g, Ingress) },
            FilterField { name: "ip-permission.protocol", values: |g, _| protocols(g, Ingress) },
            FilterField { name: "ip-permission.to-port", values: |g, _| ports(g, Ingress, |p| p.to) },
            FilterField { name: "ip-permission.user-id", values: |g, _| user_ids(g, Ingress) },
            FilterField { name: "owner-id", values: |g, _| shown(g.account) },
            FilterField { name: "vpc-id", values: |g, _| shown(g.vpc) },
        ]
    }
}

/// The ARN of one rule.
pub fn arn(ctx: &Context, group: &SecurityGroup, rule: &SecurityGroupRule) -> Arn {
    Arn::new("ec2", &ctx.region, group.account, "security-group-rule", rule.rule)
}

fn cidrs(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    let nets = group.allows(direction).filter_map(|rule| match rule.allow.peer {
        Peer::Net(net @ ipnet::IpNet::V4(_)) => Some(Cow::Owned(net.to_string())),
        Peer::Net(ipnet::IpNet::V6(_)) | Peer::Group(_) | Peer::PrefixList(_) => None,
    });
    nets.collect()
}

fn ipv6_cidrs(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    let nets = group.allows(direction).filter_map(|rule| match rule.allow.peer {
        Peer::Net(net @ ipnet::IpNet::V6(_)) => Some(Cow::Owned(net.to_string())),
        Peer::Net(ipnet::IpNet::V4(_)) | Peer::Group(_) | Peer::PrefixList(_) => None,
    });
    nets.collect()
}

fn lists(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    let lists = group.allows(direction).filter_map(|rule| match rule.allow.peer {
        Peer::PrefixList(list) => Some(Cow::Owned(list.to_string())),
        Peer::Net(_) | Peer::Group(_) => None,
    });
    lists.collect()
}

fn protocols(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    group.allows(direction).map(|rule| render::protocol(rule.allow.traffic)).collect()
}

fn ports(group: &SecurityGroup, direction: Direction, end: fn(Ports) -> i32) -> Values<'_> {
    let ports = group.allows(direction).filter_map(|rule| render::ports(rule.allow.traffic));
    ports.map(|ports| Cow::Owned(end(ports).to_string())).collect()
}

fn peers(group: &SecurityGroup, direction: Direction) -> impl Iterator<Item = SecurityGroupId> {
    group.allows(direction).filter_map(|rule| match rule.allow.peer {
        Peer::Group(peer) => Some(peer),
        Peer::Net(_) | Peer::PrefixList(_) => None,
    })
}

fn group_ids(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    peers(group, direction).map(|peer| Cow::Owned(peer.to_string())).collect()
}

/// Records do not know their region, so the names of other groups are looked for in all of them; ids are unique.
fn group_names<'a>(group: &'a SecurityGroup, tables: &'a Tables, direction: Direction) -> Values<'a> {
    let others = peers(group, direction).filter_map(|peer| {
        let mut everywhere = tables.everywhere::<SecurityGroup>();
        everywhere.find(|(_, other)| other.group == peer).map(|(_, other)| Cow::Borrowed(other.name.as_str()))
    });
    others.collect()
}

/// References stay within the account.
fn user_ids(group: &SecurityGroup, direction: Direction) -> Values<'_> {
    peers(group, direction).map(|_| Cow::Owned(group.account.to_string())).collect()
}
