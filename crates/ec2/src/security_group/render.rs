//! Security groups and their rules as the API shows them.

use super::arn;
use crate::noun::{Noun as _, render_tags};
use api_ec2 as api;
use control::Context;
use ipnet::IpNet;
use model::net::{Peer, Traffic};
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use std::borrow::Cow;

/// Two numbers that mean ports, or an ICMP type and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub from: i32,
    pub to: i32,
}

/// The protocol's name where the API has one, else its number.
pub fn protocol(traffic: Traffic) -> Cow<'static, str> {
    match traffic {
        Traffic::All => "-1".into(),
        Traffic::Tcp { .. } => "tcp".into(),
        Traffic::Udp { .. } => "udp".into(),
        Traffic::Icmp { .. } => "icmp".into(),
        Traffic::Icmpv6 { .. } => "icmpv6".into(),
        Traffic::Protocol(number) => number.to_string().into(),
    }
}

/// The ports or ICMP numbers of protocols that have them.
pub fn ports(traffic: Traffic) -> Option<Ports> {
    let or_any = |value: Option<u8>| value.map_or(-1, i32::from);
    match traffic {
        Traffic::Tcp { from, to } | Traffic::Udp { from, to } => {
            Some(Ports { from: from.into(), to: to.into() })
        }
        Traffic::Icmp { kind, code } | Traffic::Icmpv6 { kind, code } => {
            Some(Ports { from: or_any(kind), to: or_any(code) })
        }
        Traffic::All | Traffic::Protocol(_) => None,
    }
}

pub fn security_group(ctx: &Context, group: &SecurityGroup) -> api::SecurityGroup {
    api::SecurityGroup {
        group_id: Some(group.group.to_string()),
        ip_permissions_egress: Some(permissions(group, Direction::Egress)),
        tags: render_tags(&group.tags),
        vpc_id: Some(group.vpc.to_string()),
        security_group_arn: Some(group.arn(ctx).to_string()),
        owner_id: Some(group.account.to_string()),
        group_name: Some(group.name.clone()),
        description: Some(group.description.clone()),
        ip_permissions: Some(permissions(group, Direction::Ingress)),
    }
}

/// One permission per protocol and ports, with all its peers.
fn permissions(group: &SecurityGroup, direction: Direction) -> Vec<api::IpPermission> {
    let mut out: Vec<(Traffic, api::IpPermission)> = Vec::new();
    for rule in group.allows(direction) {
        let traffic = rule.allow.traffic;
        let index = out.iter().position(|(known, _)| *known == traffic).unwrap_or_else(|| {
            out.push((traffic, empty_permission(traffic)));
            out.len() - 1
        });
        add_peer(&mut out[index].1, group, rule);
    }
    out.into_iter().map(|(_, permission)| permission).collect()
}

/// A rule as a permission of its own, as in `unknownIpPermissions`.
pub fn permission(group: &SecurityGroup, rule: &SecurityGroupRule) -> api::IpPermission {
    let mut permission = empty_permission(rule.allow.traffic);
    add_peer(&mut permission, group, rule);
    permission
}

fn empty_permission(traffic: Traffic) -> api::IpPermission {
    let ports = ports(traffic);
    api::IpPermission {
        ip_protocol: Some(protocol(traffic).into_owned()),
        from_port: ports.map(|p| p.from),
        to_port: ports.map(|p| p.to),
        user_id_group_pairs: Some(Vec::new()),
        ip_ranges: Some(Vec::new()),
        ipv6_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
    }
}

fn add_peer(permission: &mut api::IpPermission, group: &SecurityGroup, rule: &SecurityGroupRule) {
    let description = rule.description.clone();
    match rule.allow.peer {
        Peer::Net(IpNet::V4(net)) => {
            let range = api::IpRange { description, cidr_ip: Some(net.to_string()) };
            permission.ip_ranges.get_or_insert_default().push(range);
        }
        Peer::Net(IpNet::V6(net)) => {
            let range = api::Ipv6Range { description, cidr_ipv6: Some(net.to_string()) };
            permission.ipv6_ranges.get_or_insert_default().push(range);
        }
        Peer::Group(peer) => {
            let pair = api::UserIdGroupPair {
                description,
                user_id: Some(group.account.to_string()),
                group_id: Some(peer.to_string()),
                ..Default::default()
            };
            permission.user_id_group_pairs.get_or_insert_default().push(pair);
        }
        Peer::PrefixList(list) => {
            let list = api::PrefixListId { description, prefix_list_id: Some(list.to_string()) };
            permission.prefix_list_ids.get_or_insert_default().push(list);
        }
    }
}

pub fn rule(ctx: &Context, group: &SecurityGroup, rule: &SecurityGroupRule) -> api::SecurityGroupRule {
    // Unlike in a permission, protocols without ports show -1 here.
    let ports = ports(rule.allow.traffic).unwrap_or(Ports { from: -1, to: -1 });
    let (cidr_ipv4, cidr_ipv6) = nets(rule.allow.peer);
    let referenced_group_info = peer(rule.allow.peer).map(|peer| api::ReferencedSecurityGroup {
        group_id: Some(peer),
        user_id: Some(group.account.to_string()),
        ..Default::default()
    });
    api::SecurityGroupRule {
        security_group_rule_id: Some(rule.rule.to_string()),
        group_id: Some(group.group.to_string()),
        group_owner_id: Some(group.account.to_string()),
        is_egress: Some(rule.direction == Direction::Egress),
        ip_protocol: Some(protocol(rule.allow.traffic).into_owned()),
        from_port: Some(ports.from),
        to_port: Some(ports.to),
        cidr_ipv4,
        cidr_ipv6,
        prefix_list_id: list(rule.allow.peer),
        referenced_group_info,
        description: rule.description.clone(),
        tags: render_tags(&rule.tags),
        security_group_rule_arn: Some(arn(ctx, group, rule).to_string()),
    }
}

pub fn revoked(group: &SecurityGroup, rule: &SecurityGroupRule) -> api::RevokedSecurityGroupRule {
    let ports = ports(rule.allow.traffic).unwrap_or(Ports { from: -1, to: -1 });
    let (cidr_ipv4, cidr_ipv6) = nets(rule.allow.peer);
    api::RevokedSecurityGroupRule {
        security_group_rule_id: Some(rule.rule.to_string()),
        group_id: Some(group.group.to_string()),
        is_egress: Some(rule.direction == Direction::Egress),
        ip_protocol: Some(protocol(rule.allow.traffic).into_owned()),
        from_port: Some(ports.from),
        to_port: Some(ports.to),
        cidr_ipv4,
        cidr_ipv6,
        prefix_list_id: list(rule.allow.peer),
        referenced_group_id: peer(rule.allow.peer),
        description: rule.description.clone(),
    }
}

fn nets(peer: Peer) -> (Option<String>, Option<String>) {
    match peer {
        Peer::Net(net @ IpNet::V4(_)) => (Some(net.to_string()), None),
        Peer::Net(net @ IpNet::V6(_)) => (None, Some(net.to_string())),
        Peer::Group(_) | Peer::PrefixList(_) => (None, None),
    }
}

fn list(peer: Peer) -> Option<String> {
    match peer {
        Peer::PrefixList(list) => Some(list.to_string()),
        Peer::Net(_) | Peer::Group(_) => None,
    }
}

fn peer(peer: Peer) -> Option<String> {
    match peer {
        Peer::Group(group) => Some(group.to_string()),
        Peer::Net(_) | Peer::PrefixList(_) => None,
    }
}
