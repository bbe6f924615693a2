//! `StartNetworkInsightsAnalysis`, `DeleteNetworkInsightsAnalysis`, `DescribeNetworkInsightsAnalyses`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StartNetworkInsightsAnalysis.html>

use super::{MAX_ANALYSES, facts, render};
use crate::errors::client;
use crate::noun::{Noun as _, created, find, find_all, given_tags, hold, parse_filters, touched};
use crate::parameter::refuse;
use api_ec2::{
    AnalysisStatus, DeleteNetworkInsightsAnalysisRequest, DeleteNetworkInsightsAnalysisResult,
    DescribeNetworkInsightsAnalysesRequest, DescribeNetworkInsightsAnalysesResult,
    StartNetworkInsightsAnalysisRequest, StartNetworkInsightsAnalysisResult,
};
use control::page::{self, ByIds, Paging};
use control::{Context, Result, Tables, Touched, Txn};
use model::packet::Walk;
use model::record::instance::Instance;
use model::record::network_insights::{
    Endpoint, NetworkInsightsAnalysis, NetworkInsightsPath, PathFilter, PathProtocol,
};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{EgressOnlyInternetGateway, InternetGateway};
use model::{NetworkInsightsAnalysisId, Region, VpcId};
use plan::net::packet::reach::{Found, Header, Place, Protocol, Question};
use std::collections::BTreeSet;
use std::net::IpAddr;

pub fn start_touches(
    ctx: &Context,
    request: &StartNetworkInsightsAnalysisRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = vec![created(ctx, "network-insights-analysis")];
    all.extend(touched::<NetworkInsightsPath>(ctx, tables, [&request.network_insights_path_id]));
    all
}

pub fn start(
    ctx: &Context,
    request: &StartNetworkInsightsAnalysisRequest,
    txn: &mut Txn<'_>,
) -> Result<StartNetworkInsightsAnalysisResult> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[("AdditionalAccounts", some(&request.additional_accounts))])?;
    let path = hold::<NetworkInsightsPath>(ctx, txn, &request.network_insights_path_id)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["network-insights-analysis"])?;
    let tables = txn.tables();
    let of_account = tables.find::<NetworkInsightsAnalysis>(&ctx.region, "account", ctx.account());
    if of_account.count() >= MAX_ANALYSES {
        return Err(client(
            "LimitExceeded",
            "The maximum number of network insights analyses has been reached.",
        ));
    }
    let analysis = NetworkInsightsAnalysis {
        filter_in: request.filter_in_arns.clone().unwrap_or_default(),
        filter_out: request.filter_out_arns.clone().unwrap_or_default(),
        tags: tags.into_values().next().unwrap_or_default(),
        ..analyze(ctx, tables, &path)
    };
    let analysis = restrict(ctx, tables, analysis);
    let mut shown = render::analysis(ctx, tables, &analysis);
    // As EC2 answers while it works; a describe says what was found.
    shown.status = Some(AnalysisStatus::Running);
    shown.network_path_found = None;
    shown.forward_path_components = None;
    shown.return_path_components = None;
    shown.explanations = None;
    txn.put(&ctx.region, analysis);
    Ok(StartNetworkInsightsAnalysisResult { network_insights_analysis: Some(shown) })
}

/// Walks the packets of a path through what hosts are told at this moment.
fn analyze(ctx: &Context, tables: &Tables, path: &NetworkInsightsPath) -> NetworkInsightsAnalysis {
    let region = &ctx.region;
    let header = |filter: Option<&PathFilter>| {
        let filter = filter.cloned().unwrap_or_default();
        Header {
            src: filter.source_address,
            dst: filter.destination_address,
            from_ports: filter.source_ports.map(|(from, to)| from..=to),
            to_ports: filter.destination_ports.map(|(from, to)| from..=to),
        }
    };
    let mut leaving = header(path.filter_at_source.as_ref());
    leaving.src = leaving.src.or(path.source_ip);
    leaving.dst = leaving.dst.or(path.destination_ip);
    leaving.to_ports = leaving.to_ports.or_else(|| path.destination_port.map(|port| port..=port));
    let from = place(tables, region, path.source, leaving.src);
    let to = path.destination.map(|end| place(tables, region, end, leaving.dst));
    let ends = [Some(path.source).filter(|_| from.is_none()), path.destination.filter(|_| to == Some(None))];
    let mut analysis = NetworkInsightsAnalysis {
        analysis: NetworkInsightsAnalysisId::from_entropy(ctx.bits()),
        account: path.account,
        path: path.path,
        started_at: ctx.now,
        filter_in: Vec::new(),
        filter_out: Vec::new(),
        found: false,
        there: Walk::default(),
        back: None,
        missing: ends.into_iter().flatten().collect(),
        restricted: Vec::new(),
        instances: Vec::new(),
        gateways: Vec::new(),
        tags: control::tag::Tags::default(),
    };
    let Some(from) = from.filter(|_| analysis.missing.is_empty()) else { return analysis };
    let vpcs = [Some(from), to.flatten()].into_iter().flatten().filter_map(|end| vpc(tables, region, end));
    let around = facts::around(tables, region, vpcs);
    let network = facts::network(tables, region, &around);
    let protocol = match path.protocol {
        PathProtocol::Tcp => Protocol::Tcp,
        PathProtocol::Udp => Protocol::Udp,
    };
    let arriving = header(path.filter_at_destination.as_ref());
    let question = Question { from, to: to.flatten(), protocol, leaving, arriving };
    let Found { reaches, there, back } = network.reach(&question);
    analysis.found = reaches;
    analysis.instances = render::interfaces(&there)
        .filter_map(|id| {
            let attachment = tables.get::<NetworkInterface>(region, &id)?.attachment.as_ref()?;
            Some((id, attachment.instance))
        })
        .collect();
    let passed: BTreeSet<VpcId> = around.into_iter().collect();
    analysis.gateways = passed
        .into_iter()
        .map(|vpc| {
            let gateway = tables.find::<InternetGateway>(region, "vpc", vpc).next().map(|g| g.gateway);
            let only = tables.find::<EgressOnlyInternetGateway>(region, "vpc", vpc).next().map(|g| g.gateway);
            (vpc, gateway, only)
        })
        .collect();
    analysis.there = there;
    analysis.back = back;
    analysis
}

/// Where packets of an end come from or go to; none: nowhere, as it has no interface or VPC.
fn place(tables: &Tables, region: &Region, end: Endpoint, address: Option<IpAddr>) -> Option<Place> {
    match end {
        Endpoint::Interface(id) => tables.get::<NetworkInterface>(region, &id).map(|_| Place::Interface(id)),
        Endpoint::InternetGateway(id) => tables.get::<InternetGateway>(region, &id)?.vpc.map(Place::Gateway),
        Endpoint::Instance(id) => {
            let instance = tables.get::<Instance>(region, &id)?;
            let mut all: Vec<_> = crate::instance::render::interfaces(tables, instance).collect();
            all.sort_by_key(|n| n.attachment.as_ref().map_or(0, |attachment| attachment.device_index));
            let has = |interface: &&NetworkInterface| match address {
                Some(IpAddr::V4(v4)) => {
                    interface.ipv4_prefixes.iter().any(|prefix| prefix.contains(&v4))
                        || interface.addresses.iter().any(|own| {
                            own.address == v4
                                || own.public.as_ref().is_some_and(|public| public.address() == v4)
                        })
                }
                Some(IpAddr::V6(v6)) => {
                    interface.ipv6.contains(&v6)
                        || interface.ipv6_prefixes.iter().any(|prefix| prefix.contains(&v6))
                }
                None => false,
            };
            let all: Vec<&NetworkInterface> = all.into_iter().map(|n| &**n).collect();
            let chosen = all.iter().copied().find(has).or_else(|| all.first().copied())?;
            Some(Place::Interface(chosen.interface))
        }
    }
}

fn vpc(tables: &Tables, region: &Region, place: Place) -> Option<VpcId> {
    match place {
        Place::Interface(id) => tables.get::<NetworkInterface>(region, &id).map(|interface| interface.vpc),
        Place::Gateway(vpc) => Some(vpc),
    }
}

/// Holds what was found against the components that the way must pass, and those that it must not.
fn restrict(
    ctx: &Context,
    tables: &Tables,
    mut analysis: NetworkInsightsAnalysis,
) -> NetworkInsightsAnalysis {
    let passed: Vec<String> = render::components(ctx, tables, &analysis, &analysis.there)
        .into_iter()
        .filter_map(|part| part.component?.arn)
        .collect();
    let missed = analysis.filter_in.iter().filter(|arn| !passed.contains(arn));
    let met = analysis.filter_out.iter().filter(|arn| passed.contains(arn));
    analysis.restricted = missed.chain(met).cloned().collect();
    analysis.found &= analysis.restricted.is_empty();
    analysis
}

pub fn delete(
    ctx: &Context,
    request: &DeleteNetworkInsightsAnalysisRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNetworkInsightsAnalysisResult> {
    let analysis = hold::<NetworkInsightsAnalysis>(ctx, txn, &request.network_insights_analysis_id)?;
    txn.delete::<NetworkInsightsAnalysis>(&ctx.region, &analysis.analysis);
    let id = Some(analysis.analysis.to_string());
    Ok(DeleteNetworkInsightsAnalysisResult { network_insights_analysis_id: id })
}

pub fn describe(
    ctx: &Context,
    request: &DescribeNetworkInsightsAnalysesRequest,
    tables: &Tables,
) -> Result<DescribeNetworkInsightsAnalysesResult> {
    let path = request.network_insights_path_id.as_deref().filter(|id| !id.is_empty());
    let path = path.map(|id| find::<NetworkInsightsPath>(ctx, tables, id)).transpose()?;
    let (after, before) = (request.analysis_start_time, request.analysis_end_time);
    let wanted = |analysis: &NetworkInsightsAnalysis| {
        let at = crate::noun::wire_time(analysis.started_at).millis();
        path.is_none_or(|path| path.path == analysis.path)
            && after.is_none_or(|after| after.millis() <= at)
            && before.is_none_or(|before| at <= before.millis())
    };
    let ids = &request.network_insights_analysis_ids;
    let paging = Paging::<NetworkInsightsAnalysisId>::parse(
        request.max_results,
        request.next_token.as_deref(),
        NetworkInsightsAnalysis::PAGE,
        ByIds::from(ids),
    )?;
    let filters = parse_filters::<NetworkInsightsAnalysis>(request.filters.as_deref())?;
    let mut candidates = match ids.as_deref() {
        Some(ids) if !ids.is_empty() => find_all::<NetworkInsightsAnalysis>(ctx, tables, ids)?,
        _ => NetworkInsightsAnalysis::listed(ctx, tables),
    };
    candidates.sort_unstable_by_key(|analysis| analysis.analysis);
    candidates.dedup_by_key(|analysis| analysis.analysis);
    let matching = candidates.into_iter().filter(|a| wanted(a) && filters.accept(a, &a.tags, tables));
    let (page, next_token) = page::cut(matching, &paging, |analysis| analysis.analysis);
    let shown = page.into_iter().map(|analysis| render::analysis(ctx, tables, analysis)).collect();
    Ok(DescribeNetworkInsightsAnalysesResult { network_insights_analyses: Some(shown), next_token })
}
