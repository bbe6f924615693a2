//! Traffic mirroring: targets, filters with their rules, and the sessions that copy an interface's packets.
//!
//! A session belongs to its source and goes with it; targets and filters stay while a session uses them. Hosts are told as
//! part of the source's VPC ([`desired`]); what is copied is decided in `plan::mirror`.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/mirroring/what-is-traffic-mirroring.html>
//! Differs: targets are interfaces, in the VPC of the source; no sharing of targets with other accounts; model packets of
//! hosts without networks are not copied; neither end may be of IPv6 alone, as copies go by IPv4.

mod describe;
mod filter;
mod noun;
mod render;
mod rule;
mod session;
mod target;

use crate::errors::invalid_parameter_value;
use crate::noun::touched;
use api_ec2::ops;
use control::{Result, Service, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::traffic_mirror::{
    TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
};
use model::record::vpc::Vpc;
use model::traffic_mirror::{Direction, MirrorDesired, MirrorFilter, MirrorRule};
use model::{NetworkInterfaceId, Region, TrafficMirrorFilterId, VpcId};
use wire::ApiError;

/// How many targets, filters and sessions an account may have in a region, of each.
const MOST: usize = 10_000;

/// What a host is told of a VPC's sessions: those whose target is there.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<MirrorDesired> {
    let sessions = tables.find::<TrafficMirrorSession>(region, "vpc", vpc);
    let told = sessions.filter_map(|session| {
        let source = tables.get::<NetworkInterface>(region, &session.source)?;
        let target = tables.get::<TrafficMirrorTarget>(region, &session.target)?;
        let target = tables.get::<NetworkInterface>(region, &target.interface)?;
        let filter = tables.get::<TrafficMirrorFilter>(region, &session.filter)?;
        let rules = |direction| rules(tables, region, filter.filter, direction);
        Some(MirrorDesired {
            session: session.session,
            number: session.number,
            source: source.interface,
            from: source.primary()?.address,
            to: target.primary()?.address,
            within_subnet: source.subnet == target.subnet,
            network: session.network,
            length: session.length,
            filter: MirrorFilter {
                ingress: rules(Direction::Ingress),
                egress: rules(Direction::Egress),
                dns: filter.dns,
            },
        })
    });
    told.collect()
}

/// A filter's rules of a direction, by number.
fn rules(
    tables: &Tables,
    region: &Region,
    filter: TrafficMirrorFilterId,
    direction: Direction,
) -> Vec<MirrorRule> {
    let rules = tables.find::<TrafficMirrorFilterRule>(region, "filter", filter);
    let mut rules: Vec<MirrorRule> =
        rules.filter(|rule| rule.direction == direction).map(|rule| rule.rule.clone()).collect();
    rules.sort_by_key(|rule| rule.number);
    rules
}

/// The VPCs of the sessions that use a filter.
pub fn filtered(tables: &Tables, region: &Region, filter: TrafficMirrorFilterId) -> Vec<VpcId> {
    let mut vpcs: Vec<VpcId> =
        tables.find::<TrafficMirrorSession>(region, "filter", filter).map(|session| session.vpc).collect();
    vpcs.sort_unstable();
    vpcs.dedup();
    vpcs
}

/// An interface goes: its sessions with it, and others copy to it no more.
pub fn part(txn: &mut Txn<'_>, region: &Region, interface: NetworkInterfaceId) {
    let tables = txn.tables();
    let own = tables.find::<TrafficMirrorSession>(region, "source", interface);
    for session in own {
        txn.delete::<TrafficMirrorSession>(region, &session.session);
        retell(txn, region, session.vpc);
    }
    for target in tables.find::<TrafficMirrorTarget>(region, "interface", interface) {
        for session in tables.find::<TrafficMirrorSession>(region, "target", target.target) {
            retell(txn, region, session.vpc);
        }
    }
}

/// A record that is gone names no VPC: its host hears of it by the VPC's own.
fn retell(txn: &mut Txn<'_>, region: &Region, vpc: VpcId) {
    if let Some(vpc) = txn.get::<Vpc>(region, &vpc) {
        txn.put(region, Vpc::clone(&vpc));
    }
}

/// A value that is not what its parameter `must` be.
fn outside(parameter: &str, given: &str, must: &str) -> ApiError {
    let shown: String = given.chars().take(64).collect();
    invalid_parameter_value(format!("Value ({shown}) for parameter {parameter} is invalid. It must {must}."))
}

/// At most 255 characters; an empty one is none.
fn description(text: Option<&str>) -> Result<Option<String>> {
    if text.is_some_and(|text| text.chars().count() > 255) {
        return Err(outside("Description", text.unwrap_or_default(), "have up to 255 characters"));
    }
    Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateTrafficMirrorTarget, target::touches, target::create)
        .exclusive(
            ops::DeleteTrafficMirrorTarget,
            |ctx, request, tables| {
                touched::<TrafficMirrorTarget>(ctx, tables, [&request.traffic_mirror_target_id])
            },
            target::delete,
        )
        .read(ops::DescribeTrafficMirrorTargets, |_, _, _| Touched::anything(), describe::targets)
        .exclusive(ops::CreateTrafficMirrorFilter, filter::touches, filter::create)
        .exclusive(
            ops::ModifyTrafficMirrorFilterNetworkServices,
            |ctx, request, tables| {
                touched::<TrafficMirrorFilter>(ctx, tables, [&request.traffic_mirror_filter_id])
            },
            filter::modify_services,
        )
        .exclusive(
            ops::DeleteTrafficMirrorFilter,
            |ctx, request, tables| {
                touched::<TrafficMirrorFilter>(ctx, tables, [&request.traffic_mirror_filter_id])
            },
            filter::delete,
        )
        .read(ops::DescribeTrafficMirrorFilters, |_, _, _| Touched::anything(), describe::filters)
        .exclusive(ops::CreateTrafficMirrorFilterRule, rule::create_touches, rule::create)
        .exclusive(
            ops::ModifyTrafficMirrorFilterRule,
            |ctx, request, tables| rule::touches(ctx, tables, &request.traffic_mirror_filter_rule_id),
            rule::modify,
        )
        .exclusive(
            ops::DeleteTrafficMirrorFilterRule,
            |ctx, request, tables| rule::touches(ctx, tables, &request.traffic_mirror_filter_rule_id),
            rule::delete,
        )
        .read(ops::DescribeTrafficMirrorFilterRules, |_, _, _| Touched::anything(), describe::rules)
        .exclusive(ops::CreateTrafficMirrorSession, session::create_touches, session::create)
        .exclusive(ops::ModifyTrafficMirrorSession, session::modify_touches, session::modify)
        .exclusive(
            ops::DeleteTrafficMirrorSession,
            |ctx, request, tables| {
                touched::<TrafficMirrorSession>(ctx, tables, [&request.traffic_mirror_session_id])
            },
            session::delete,
        )
        .read(ops::DescribeTrafficMirrorSessions, |_, _, _| Touched::anything(), describe::sessions);
}
