//! Groups across the borders of VPCs: `DescribeSecurityGroupReferences`, `DescribeStaleSecurityGroups`,
//! `GetSecurityGroupsForVpc`.
//!
//! A rule is stale when the group that it names is gone, or the peering to its VPC is no longer active.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html>
//! Differs: of a group that is gone, a stale rule tells the id alone; groups are not shared between VPCs.

use super::render;
use crate::noun::{Noun as _, find, find_all, render_tags, touched};
use crate::vpc_peering_connection::meet;
use api_ec2 as api;
use control::filter::{FilterField, Filters, one, shown};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Touched};
use model::net::Peer;
use model::record::security_group::{Direction, SecurityGroup, SecurityGroupRule};
use model::record::vpc::Vpc;
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::{SecurityGroupId, VpcId};

pub fn references_touches(
    ctx: &Context,
    request: &api::DescribeSecurityGroupReferencesRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<SecurityGroup>(ctx, tables, &request.group_id)
}

/// The VPCs on the other side of a peering whose groups name these groups.
pub fn references(
    ctx: &Context,
    request: &api::DescribeSecurityGroupReferencesRequest,
    tables: &Tables,
) -> Result<api::DescribeSecurityGroupReferencesResult> {
    let mut set = Vec::new();
    for group in find_all::<SecurityGroup>(ctx, tables, &request.group_id)? {
        let referring = tables.find::<SecurityGroup>(&ctx.region, "references", group.group);
        let mut vpcs: Vec<VpcId> = referring.map(|other| other.vpc).filter(|vpc| *vpc != group.vpc).collect();
        vpcs.sort_unstable();
        vpcs.dedup();
        for vpc in vpcs {
            let Some(peering) = peering(ctx, tables, group.vpc, vpc) else { continue };
            set.push(api::SecurityGroupReference {
                group_id: Some(group.group.to_string()),
                referencing_vpc_id: Some(vpc.to_string()),
                vpc_peering_connection_id: Some(peering.peering.to_string()),
                transit_gateway_id: None,
            });
        }
    }
    Ok(api::DescribeSecurityGroupReferencesResult { security_group_reference_set: Some(set) })
}

/// The peering between two VPCs: the active one, else one that has ended.
fn peering<'a>(
    ctx: &'a Context,
    tables: &'a Tables,
    one: VpcId,
    other: VpcId,
) -> Option<&'a VpcPeeringConnection> {
    let all = tables.find::<VpcPeeringConnection>(&ctx.region, "vpc", one);
    let between = all.filter(|peering| peering.beyond(one).is_some_and(|end| end.vpc == other));
    between.max_by_key(|peering| peering.is_active()).map(|peering| &**peering)
}

pub fn stale_touches(
    ctx: &Context,
    request: &api::DescribeStaleSecurityGroupsRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

pub fn stale(
    ctx: &Context,
    request: &api::DescribeStaleSecurityGroupsRequest,
    tables: &Tables,
) -> Result<api::DescribeStaleSecurityGroupsResult> {
    let vpc = find::<Vpc>(ctx, tables, &request.vpc_id)?.vpc;
    let paging = Paging::<SecurityGroupId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=255,
        ByIds::Absent,
    )?;
    let groups = tables.find::<SecurityGroup>(&ctx.region, "vpc", vpc);
    let stale = groups.filter(|group| group.rules.iter().any(|rule| is_stale(ctx, tables, group, rule)));
    let (page, next_token) = page::cut(stale, &paging, |group| group.group);
    let shown = page.into_iter().map(|group| {
        let permissions = |direction| {
            let rules = group.allows(direction).filter(|rule| is_stale(ctx, tables, group, rule));
            rules.map(|rule| permission(ctx, tables, group, rule)).collect::<Vec<_>>()
        };
        api::StaleSecurityGroup {
            description: Some(group.description.clone()),
            group_id: Some(group.group.to_string()),
            group_name: Some(group.name.clone()),
            stale_ip_permissions: Some(permissions(Direction::Ingress)),
            stale_ip_permissions_egress: Some(permissions(Direction::Egress)),
            vpc_id: Some(vpc.to_string()),
        }
    });
    Ok(api::DescribeStaleSecurityGroupsResult { stale_security_group_set: Some(shown.collect()), next_token })
}

fn is_stale(ctx: &Context, tables: &Tables, group: &SecurityGroup, rule: &SecurityGroupRule) -> bool {
    let Peer::Group(named) = rule.allow.peer else { return false };
    tables
        .get::<SecurityGroup>(&ctx.region, &named)
        .is_none_or(|peer| peer.vpc != group.vpc && !meet(tables, &ctx.region, group.vpc, peer.vpc))
}

fn permission(
    ctx: &Context,
    tables: &Tables,
    group: &SecurityGroup,
    rule: &SecurityGroupRule,
) -> api::StaleIpPermission {
    let ports = render::ports(rule.allow.traffic);
    let pair = match rule.allow.peer {
        Peer::Group(named) => {
            let peer = tables.get::<SecurityGroup>(&ctx.region, &named);
            let peering = peer.and_then(|peer| peering(ctx, tables, group.vpc, peer.vpc));
            Some(api::UserIdGroupPair {
                description: rule.description.clone(),
                user_id: Some(group.account.to_string()),
                group_id: Some(named.to_string()),
                group_name: peer.map(|peer| peer.name.clone()),
                vpc_id: peer.map(|peer| peer.vpc.to_string()),
                vpc_peering_connection_id: peering.map(|peering| peering.peering.to_string()),
                peering_status: peering.map(|peering| peering.state.code().to_owned()),
            })
        }
        Peer::Net(_) | Peer::PrefixList(_) => None,
    };
    api::StaleIpPermission {
        from_port: ports.map(|ports| ports.from),
        to_port: ports.map(|ports| ports.to),
        ip_protocol: Some(render::protocol(rule.allow.traffic).into_owned()),
        ip_ranges: Some(Vec::new()),
        prefix_list_ids: Some(Vec::new()),
        user_id_group_pairs: Some(pair.into_iter().collect()),
    }
}

static FILTERS: &[FilterField<SecurityGroup, Tables>] = &[
    FilterField { name: "description", values: |g, _| one(g.description.as_str()) },
    FilterField { name: "group-id", values: |g, _| shown(g.group) },
    FilterField { name: "group-name", values: |g, _| one(g.name.as_str()) },
    FilterField { name: "owner-id", values: |g, _| shown(g.account) },
    FilterField { name: "primary-vpc-id", values: |g, _| shown(g.vpc) },
];

pub fn for_vpc_touches(
    ctx: &Context,
    request: &api::GetSecurityGroupsForVpcRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

/// The groups that interfaces in a VPC may have.
pub fn for_vpc(
    ctx: &Context,
    request: &api::GetSecurityGroupsForVpcRequest,
    tables: &Tables,
) -> Result<api::GetSecurityGroupsForVpcResult> {
    let vpc = find::<Vpc>(ctx, tables, &request.vpc_id)?.vpc;
    let paging = Paging::<SecurityGroupId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        5..=1000,
        ByIds::Absent,
    )?;
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let groups = tables.find::<SecurityGroup>(&ctx.region, "vpc", vpc);
    let matching = groups.filter(|group| group.visible_to(ctx) && filters.accept(group, &group.tags, tables));
    let (page, next_token) = page::cut(matching, &paging, |group| group.group);
    let shown = page.into_iter().map(|group| api::SecurityGroupForVpc {
        description: Some(group.description.clone()),
        group_name: Some(group.name.clone()),
        owner_id: Some(group.account.to_string()),
        group_id: Some(group.group.to_string()),
        tags: render_tags(&group.tags),
        primary_vpc_id: Some(group.vpc.to_string()),
    });
    Ok(api::GetSecurityGroupsForVpcResult { security_group_for_vpcs: Some(shown.collect()), next_token })
}
