//! `DescribeTrafficMirrorTargets`, `…Filters`, `…FilterRules`, `…Sessions`.

use super::render;
use crate::noun::{Query, find, select};
use api_ec2 as api;
use control::{Context, Result, Tables};
use model::record::traffic_mirror::{
    TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
};

pub fn targets(
    ctx: &Context,
    request: &api::DescribeTrafficMirrorTargetsRequest,
    tables: &Tables,
) -> Result<api::DescribeTrafficMirrorTargetsResult> {
    let query = Query {
        ids: &request.traffic_mirror_target_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TrafficMirrorTarget>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|target| render::target(target)).collect();
    Ok(api::DescribeTrafficMirrorTargetsResult { traffic_mirror_targets: Some(shown), next_token })
}

pub fn filters(
    ctx: &Context,
    request: &api::DescribeTrafficMirrorFiltersRequest,
    tables: &Tables,
) -> Result<api::DescribeTrafficMirrorFiltersResult> {
    let query = Query {
        ids: &request.traffic_mirror_filter_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TrafficMirrorFilter>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|filter| render::filter(ctx, tables, filter)).collect();
    Ok(api::DescribeTrafficMirrorFiltersResult { traffic_mirror_filters: Some(shown), next_token })
}

pub fn rules(
    ctx: &Context,
    request: &api::DescribeTrafficMirrorFilterRulesRequest,
    tables: &Tables,
) -> Result<api::DescribeTrafficMirrorFilterRulesResult> {
    let mut filters = request.filters.clone();
    if let Some(id) = &request.traffic_mirror_filter_id {
        let filter = find::<TrafficMirrorFilter>(ctx, tables, id)?.filter;
        filters.get_or_insert_default().push(api::Filter {
            name: Some("traffic-mirror-filter-id".into()),
            values: Some(vec![filter.to_string()]),
        });
    }
    let query = Query {
        ids: &request.traffic_mirror_filter_rule_ids,
        filters: &filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TrafficMirrorFilterRule>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|rule| render::rule(rule)).collect();
    Ok(api::DescribeTrafficMirrorFilterRulesResult { traffic_mirror_filter_rules: Some(shown), next_token })
}

pub fn sessions(
    ctx: &Context,
    request: &api::DescribeTrafficMirrorSessionsRequest,
    tables: &Tables,
) -> Result<api::DescribeTrafficMirrorSessionsResult> {
    let query = Query {
        ids: &request.traffic_mirror_session_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<TrafficMirrorSession>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|session| render::session(session)).collect();
    Ok(api::DescribeTrafficMirrorSessionsResult { traffic_mirror_sessions: Some(shown), next_token })
}
