//! Security groups: what may reach and leave the interfaces that are members, statefully.
//!
//! A group belongs to a VPC; its name is unique there, whatever the case. Each pair of traffic and peer is a rule of its own
//! with an id, a description and tags; `DescribeSecurityGroups` shows them grouped by protocol and ports.
//! Called by dispatch; [`desired`] by the reconciler that tells hosts a group's rules.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html>
//! Differs: no references into other accounts.

mod authorize;
mod create;
mod delete;
mod describe;
mod descriptions;
mod filters;
mod near;
pub mod permission;
pub mod render;
mod revoke;
mod rules;

pub use authorize::check_quota;
pub use filters::arn;
pub use rules::rule_of;

use crate::errors::{self, client, invalid_parameter_combination, missing_parameter};
use crate::noun::{Noun, find};
use crate::prefix_list;
use crate::vpc;
use api_ec2::ops;
use control::{Context, Result, Service, Tables, Touched};
use model::host::SecurityGroupDesired;
use model::net::{Allow, Peer};
use model::record::security_group::{Direction, SecurityGroup};
use model::{Region, SecurityGroupId, VpcId};
use std::sync::Arc;

/// How many groups an account may have in a region.
pub const MAX_GROUPS: usize = 2500;
/// How many rules a group may have in one direction, counted for IPv4 and IPv6 apart.
pub const MAX_RULES: usize = 60;

/// The group that a request names by id, or by name in the default VPC.
pub fn target<'a>(
    ctx: &Context,
    tables: &'a Tables,
    id: Option<&str>,
    name: Option<&str>,
) -> Result<&'a Arc<SecurityGroup>> {
    match (id, name) {
        (Some(_), Some(_)) => Err(invalid_parameter_combination(
            "The parameter groupName may not be used in combination with groupId",
        )),
        (Some(id), None) => find::<SecurityGroup>(ctx, tables, id),
        (None, Some(name)) => named_in_default_vpc(ctx, tables, name),
        (None, None) => Err(missing_parameter("groupName or groupId")),
    }
}

/// The group of that name in the default VPC; `InvalidGroup.NotFound` when there is none.
pub fn named_in_default_vpc<'a>(
    ctx: &Context,
    tables: &'a Tables,
    name: &str,
) -> Result<&'a Arc<SecurityGroup>> {
    let vpc = vpc::default_of(ctx, tables)
        .ok_or_else(|| client("VPCIdNotSpecified", "This account has no default VPC in this region."))?;
    named(ctx, tables, vpc.vpc, name).ok_or_else(|| {
        client(
            errors::SECURITY_GROUP.not_found,
            format!("The security group '{name}' does not exist in default VPC '{}'", vpc.vpc),
        )
    })
}

/// The group of that name in a VPC.
pub fn named<'a>(
    ctx: &Context,
    tables: &'a Tables,
    vpc: VpcId,
    name: &str,
) -> Option<&'a Arc<SecurityGroup>> {
    let claim = crate::defaults::group_name_claim(vpc, name);
    let holder = tables.claimed(&ctx.region, &claim)?;
    let group = tables.get::<SecurityGroup>(&ctx.region, &SecurityGroupId::parse(holder).ok()?)?;
    group.visible_to(ctx).then_some(group)
}

/// What an operation on one group touches; a group that is not there is left to the operation.
fn touched_target(ctx: &Context, tables: &Tables, id: Option<&str>, name: Option<&str>) -> Vec<Touched> {
    let group = target(ctx, tables, id, name).ok();
    group.map(|group| Touched::new(group.arn(ctx)).tagged(&group.tags)).into_iter().collect()
}

/// A group's rules as a host needs them. `None`: there is no such group.
pub fn desired(tables: &Tables, region: &Region, group: SecurityGroupId) -> Option<SecurityGroupDesired> {
    let group = tables.get::<SecurityGroup>(region, &group)?;
    let ordered = |direction| {
        let mut allows: Vec<Allow> = Vec::new();
        for Allow { traffic, peer } in group.allows(direction).map(|rule| rule.allow) {
            match peer {
                Peer::PrefixList(list) => {
                    let nets = prefix_list::nets(tables, region, list).into_iter();
                    allows.extend(nets.map(|net| Allow { traffic, peer: Peer::Net(net) }));
                }
                Peer::Net(_) | Peer::Group(_) => allows.push(Allow { traffic, peer }),
            }
        }
        allows.sort_unstable();
        allows.dedup();
        allows
    };
    Some(SecurityGroupDesired {
        group: group.group,
        vpc: group.vpc,
        ingress: ordered(Direction::Ingress),
        egress: ordered(Direction::Egress),
    })
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateSecurityGroup, create::touches, create::create)
        .exclusive(ops::DeleteSecurityGroup, delete::touches, delete::delete)
        .read(ops::DescribeSecurityGroups, describe::touches, describe::describe)
        .write(ops::AuthorizeSecurityGroupIngress, authorize::ingress_touches, authorize::ingress)
        .write(ops::AuthorizeSecurityGroupEgress, authorize::egress_touches, authorize::egress)
        .write(ops::RevokeSecurityGroupIngress, revoke::ingress_touches, revoke::ingress)
        .write(ops::RevokeSecurityGroupEgress, revoke::egress_touches, revoke::egress)
        .read(ops::DescribeSecurityGroupReferences, near::references_touches, near::references)
        .read(ops::DescribeStaleSecurityGroups, near::stale_touches, near::stale)
        .read(ops::GetSecurityGroupsForVpc, near::for_vpc_touches, near::for_vpc)
        .read(ops::DescribeSecurityGroupRules, rules::describe_touches, rules::describe)
        .write(ops::ModifySecurityGroupRules, rules::modify_touches, rules::modify)
        .write(
            ops::UpdateSecurityGroupRuleDescriptionsIngress,
            descriptions::ingress_touches,
            descriptions::ingress,
        )
        .write(
            ops::UpdateSecurityGroupRuleDescriptionsEgress,
            descriptions::egress_touches,
            descriptions::egress,
        );
}
