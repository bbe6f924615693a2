//! `CreateNetworkInsightsPath`, `DeleteNetworkInsightsPath`, `DescribeNetworkInsightsPaths`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkInsightsPath.html>

use super::{MAX_PATHS, endpoint, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{Query, created, given_tags, hold, select};
use api_ec2::{
    CreateNetworkInsightsPathRequest, CreateNetworkInsightsPathResult, DeleteNetworkInsightsPathRequest,
    DeleteNetworkInsightsPathResult, DescribeNetworkInsightsPathsRequest, DescribeNetworkInsightsPathsResult,
    PathRequestFilter, Protocol, RequestFilterPortRange,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::NetworkInsightsPathId;
use model::record::network_insights::{
    NetworkInsightsAnalysis, NetworkInsightsPath, PathFilter, PathProtocol,
};
use std::net::IpAddr;

pub fn create_touches(ctx: &Context, _: &CreateNetworkInsightsPathRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, "network-insights-path")]
}

pub fn create(
    ctx: &Context,
    request: &CreateNetworkInsightsPathRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateNetworkInsightsPathResult> {
    if request.source.is_empty() {
        return Err(missing_parameter("Source"));
    }
    let tables = txn.tables();
    let source = endpoint::parse(ctx, tables, "Source", &request.source)?;
    let destination = request.destination.as_deref().filter(|end| !end.is_empty());
    let destination = destination.map(|end| endpoint::parse(ctx, tables, "Destination", end)).transpose()?;
    let protocol = match &request.protocol {
        Protocol::Tcp => PathProtocol::Tcp,
        Protocol::Udp => PathProtocol::Udp,
        Protocol::Other(other) => {
            let shown: String = other.chars().take(64).collect();
            return Err(invalid_parameter_value(format!(
                "Value ({shown}) for parameter Protocol is invalid. Use tcp or udp."
            )));
        }
    };
    let source_ip = address("SourceIp", request.source_ip.as_deref())?;
    let destination_ip = address("DestinationIp", request.destination_ip.as_deref())?;
    let destination_port =
        request.destination_port.map(|number| port("DestinationPort", number)).transpose()?;
    let filter_at_source = filter("FilterAtSource", request.filter_at_source.as_ref())?;
    let filter_at_destination = filter("FilterAtDestination", request.filter_at_destination.as_ref())?;
    let filtered = filter_at_source.is_some() || filter_at_destination.is_some();
    if filtered && (source_ip.is_some() || destination_ip.is_some() || destination_port.is_some()) {
        return Err(invalid_parameter_combination(
            "SourceIp, DestinationIp and DestinationPort cannot be used together with path filters.",
        ));
    }
    if destination == Some(source) {
        return Err(invalid_parameter_value("The source and the destination of a path must differ."));
    }
    let at_source = filter_at_source.as_ref();
    let named = destination_ip.or_else(|| at_source.and_then(|filter| filter.destination_address));
    if destination.is_none() && named.is_none() {
        return Err(missing_parameter("Destination"));
    }
    let from = source_ip.or_else(|| at_source.and_then(|filter| filter.source_address));
    if let (Some(from), Some(to)) = (from, named)
        && from.is_ipv4() != to.is_ipv4()
    {
        return Err(invalid_parameter_combination("The addresses of a path must be of one family."));
    }
    let tags = given_tags(request.tag_specifications.as_deref(), &["network-insights-path"])?;
    if tables.find::<NetworkInsightsPath>(&ctx.region, "account", ctx.account()).count() >= MAX_PATHS {
        return Err(client(
            "LimitExceeded",
            "The maximum number of network insights paths has been reached.",
        ));
    }
    let path = NetworkInsightsPath {
        path: NetworkInsightsPathId::from_entropy(ctx.bits()),
        account: ctx.account(),
        created_at: ctx.now,
        source,
        destination,
        source_ip,
        destination_ip,
        protocol,
        destination_port,
        filter_at_source,
        filter_at_destination,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::path(ctx, &path);
    txn.put(&ctx.region, path);
    Ok(CreateNetworkInsightsPathResult { network_insights_path: Some(shown) })
}

fn address(parameter: &str, text: Option<&str>) -> Result<Option<IpAddr>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    // AWS takes a range as long as it is one address.
    let bare = text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(text);
    let parsed = bare.parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        invalid_parameter_value(format!("Value ({shown}) for parameter {parameter} is invalid."))
    });
    parsed.map(Some)
}

fn port(parameter: &str, number: i32) -> Result<u16> {
    u16::try_from(number).map_err(|_| {
        invalid_parameter_value(format!("Value ({number}) for parameter {parameter} is invalid."))
    })
}

fn filter(parameter: &str, given: Option<&PathRequestFilter>) -> Result<Option<PathFilter>> {
    let Some(given) = given else { return Ok(None) };
    let ports = |name: &str, range: Option<&RequestFilterPortRange>| -> Result<Option<(u16, u16)>> {
        let Some(range) = range else { return Ok(None) };
        let name = format!("{parameter}.{name}");
        let from = port(&name, range.from_port.unwrap_or(0))?;
        let to = port(&name, range.to_port.unwrap_or(i32::from(u16::MAX)))?;
        if from > to {
            return Err(invalid_parameter_value(format!("The range of {name} is empty: {from}-{to}.")));
        }
        Ok(Some((from, to)))
    };
    let filter = PathFilter {
        source_address: address(&format!("{parameter}.SourceAddress"), given.source_address.as_deref())?,
        source_ports: ports("SourcePortRange", given.source_port_range.as_ref())?,
        destination_address: address(
            &format!("{parameter}.DestinationAddress"),
            given.destination_address.as_deref(),
        )?,
        destination_ports: ports("DestinationPortRange", given.destination_port_range.as_ref())?,
    };
    Ok((filter != PathFilter::default()).then_some(filter))
}

pub fn delete(
    ctx: &Context,
    request: &DeleteNetworkInsightsPathRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNetworkInsightsPathResult> {
    let path = hold::<NetworkInsightsPath>(ctx, txn, &request.network_insights_path_id)?;
    if txn.tables().find::<NetworkInsightsAnalysis>(&ctx.region, "path", path.path).next().is_some() {
        return Err(client(
            "AnalysisExistsForNetworkInsightsPath",
            format!("The network insights path '{}' has analyses and cannot be deleted.", path.path),
        ));
    }
    txn.delete::<NetworkInsightsPath>(&ctx.region, &path.path);
    Ok(DeleteNetworkInsightsPathResult { network_insights_path_id: Some(path.path.to_string()) })
}

pub fn describe(
    ctx: &Context,
    request: &DescribeNetworkInsightsPathsRequest,
    tables: &Tables,
) -> Result<DescribeNetworkInsightsPathsResult> {
    let query = Query {
        ids: &request.network_insights_path_ids,
        filters: &request.filters,
        max_results: request.max_results,
        next_token: request.next_token.as_deref(),
    };
    let (page, next_token) = select::<NetworkInsightsPath>(ctx, tables, &query)?;
    let shown = page.into_iter().map(|path| render::path(ctx, path)).collect();
    Ok(DescribeNetworkInsightsPathsResult { network_insights_paths: Some(shown), next_token })
}
