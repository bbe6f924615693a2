//! Reachability analyzer: paths are questions of who reaches whom, analyses their answers at one instant.
//!
//! An analysis reads the records as the reconciler does, derives what hosts are told ([`facts`]) and lets
//! `plan::net::packet` walk packets through it; what it found is kept, and rendered when somebody asks. So the answer is the
//! same whatever the host is made of.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/reachability/what-is-reachability-analyzer.html>
//! Differs: IPv6 as well; ends are instances, interfaces and internet gateways; a path counts as found when answers come back
//! too; no other accounts; it is done when it is asked for, and says `running` in that answer alone.

mod analysis;
mod endpoint;
mod explain;
mod facts;
mod path;
mod render;
mod transit;

use crate::errors::{self, IdErrors};
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, Values, maybe, one, shown};
use control::{Service, Tables, Touched};
use model::record::network_insights::{NetworkInsightsAnalysis, NetworkInsightsPath, PathFilter};

/// How many paths an account may have in a region.
const MAX_PATHS: usize = 100;
/// How many analyses an account may have in a region.
const MAX_ANALYSES: usize = 1000;

impl Noun for NetworkInsightsPath {
    const RESOURCE_TYPE: &'static str = "network-insights-path";
    const ERRORS: IdErrors = errors::NETWORK_INSIGHTS_PATH;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=100;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "destination", values: |p, _| maybe(p.destination.map(endpoint::id)) },
            FilterField {
                name: "filter-at-destination.destination-address",
                values: |p, _| of(p.filter_at_destination.as_ref(), |f| f.destination_address.map(text)),
            },
            FilterField {
                name: "filter-at-destination.destination-port-range",
                values: |p, _| of(p.filter_at_destination.as_ref(), |f| f.destination_ports.map(range)),
            },
            FilterField {
                name: "filter-at-destination.source-address",
                values: |p, _| of(p.filter_at_destination.as_ref(), |f| f.source_address.map(text)),
            },
            FilterField {
                name: "filter-at-destination.source-port-range",
                values: |p, _| of(p.filter_at_destination.as_ref(), |f| f.source_ports.map(range)),
            },
            FilterField {
                name: "filter-at-source.destination-address",
                values: |p, _| of(p.filter_at_source.as_ref(), |f| f.destination_address.map(text)),
            },
            FilterField {
                name: "filter-at-source.destination-port-range",
                values: |p, _| of(p.filter_at_source.as_ref(), |f| f.destination_ports.map(range)),
            },
            FilterField {
                name: "filter-at-source.source-address",
                values: |p, _| of(p.filter_at_source.as_ref(), |f| f.source_address.map(text)),
            },
            FilterField {
                name: "filter-at-source.source-port-range",
                values: |p, _| of(p.filter_at_source.as_ref(), |f| f.source_ports.map(range)),
            },
            FilterField {
                name: "protocol",
                values: |p, _| one(render::protocol(p.protocol).as_str().to_owned()),
            },
            FilterField { name: "source", values: |p, _| one(endpoint::id(p.source)) },
        ]
    }
}

fn of(filter: Option<&PathFilter>, fact: impl Fn(&PathFilter) -> Option<String>) -> Values<'_> {
    maybe(filter.and_then(fact))
}

fn text(address: std::net::IpAddr) -> String {
    address.to_string()
}

fn range((from, to): (u16, u16)) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

impl Noun for NetworkInsightsAnalysis {
    const RESOURCE_TYPE: &'static str = "network-insights-analysis";
    const ERRORS: IdErrors = errors::NETWORK_INSIGHTS_ANALYSIS;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=100;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "path-found", values: |a, _| shown(a.found) },
            FilterField { name: "status", values: |_, _| one("succeeded") },
        ]
    }
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateNetworkInsightsPath, path::create_touches, path::create)
        .exclusive(
            ops::DeleteNetworkInsightsPath,
            |ctx, request, tables| {
                touched::<NetworkInsightsPath>(ctx, tables, [&request.network_insights_path_id])
            },
            path::delete,
        )
        .read(ops::DescribeNetworkInsightsPaths, |_, _, _| Touched::anything(), path::describe)
        .write(ops::StartNetworkInsightsAnalysis, analysis::start_touches, analysis::start)
        .write(
            ops::DeleteNetworkInsightsAnalysis,
            |ctx, request, tables| {
                touched::<NetworkInsightsAnalysis>(ctx, tables, [&request.network_insights_analysis_id])
            },
            analysis::delete,
        )
        .read(ops::DescribeNetworkInsightsAnalyses, |_, _, _| Touched::anything(), analysis::describe);
}
