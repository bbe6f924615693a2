//! `SearchTransitGatewayRoutes`: the routes in force, static and propagated.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_SearchTransitGatewayRoutes.html>

use super::render;
use crate::errors::{invalid_parameter_value, missing_parameter};
use crate::noun::find;
use crate::transit_gateway::desired::ways;
use crate::transit_gateway_attachment::render::{resource, resource_type};
use api_ec2::{Filter, SearchTransitGatewayRoutesRequest, SearchTransitGatewayRoutesResult};
use control::filter::{FilterField, Filters, maybe, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables};
use ipnet::IpNet;
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};
use plan::net::transit::{Origin, Way};
use std::net::IpAddr;
use std::sync::Arc;

/// A route, and what it leads by.
struct Found {
    way: Way,
    /// The attachment that it leads by, while packets may pass by it.
    by: Option<Arc<TransitGatewayAttachment>>,
}

static FIELDS: [FilterField<Found, ()>; 6] = [
    FilterField {
        name: "attachment.transit-gateway-attachment-id",
        values: |found, ()| maybe(found.way.to.map(|id| id.to_string())),
    },
    FilterField {
        name: "attachment.resource-id",
        values: |found, ()| maybe(found.by.as_deref().map(resource)),
    },
    FilterField {
        name: "attachment.resource-type",
        values: |found, ()| maybe(found.by.as_ref().map(|by| resource_type(by).as_str().to_owned())),
    },
    FilterField { name: "prefix-list-id", values: |_, ()| Vec::new() },
    FilterField {
        name: "state",
        values: |found, ()| one(if found.by.is_some() { "active" } else { "blackhole" }),
    },
    FilterField {
        name: "type",
        values: |found, ()| {
            one(match found.way.origin {
                Origin::Static => "static",
                Origin::Propagated => "propagated",
            })
        },
    },
];

/// How a range that a filter names picks routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Exact,
    LongestPrefix,
    SubnetOf,
    SupernetOf,
}

impl Search {
    fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix("route-search.")? {
            "exact-match" => Some(Self::Exact),
            "longest-prefix-match" => Some(Self::LongestPrefix),
            "subnet-of-match" => Some(Self::SubnetOf),
            "supernet-of-match" => Some(Self::SupernetOf),
            _ => None,
        }
    }

    fn picks(self, net: IpNet, all: &[Way]) -> Vec<IpNet> {
        let nets = all.iter().map(|way| way.destination);
        match self {
            Self::Exact => nets.filter(|known| *known == net).collect(),
            Self::SubnetOf => nets.filter(|known| net.contains(known)).collect(),
            Self::SupernetOf => nets.filter(|known| known.contains(&net)).collect(),
            Self::LongestPrefix => {
                let covering = nets.filter(|known| known.contains(&net));
                covering.max_by_key(IpNet::prefix_len).into_iter().collect()
            }
        }
    }
}

/// A range, or a single address.
fn range(text: &str) -> Result<IpNet> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok());
    let shown: String = text.chars().take(64).collect();
    let invalid =
        || invalid_parameter_value(format!("The filter value '{shown}' is not a valid CIDR block."));
    Ok(net.ok_or_else(invalid)?.trunc())
}

pub fn search(
    ctx: &Context,
    request: &SearchTransitGatewayRoutesRequest,
    tables: &Tables,
) -> Result<SearchTransitGatewayRoutesResult> {
    let table = find::<TransitGatewayRouteTable>(ctx, tables, &request.transit_gateway_route_table_id)?;
    if request.filters.is_empty() {
        return Err(missing_parameter("Filters"));
    }
    let paging =
        Paging::<IpNet>::parse(request.max_results, request.next_token.as_deref(), 5..=1000, ByIds::Absent)?;
    let all = if table.deleted_at.is_some() { Vec::new() } else { ways(tables, &ctx.region, table) };
    let searches = |filter: &&Filter| filter.name.as_deref().and_then(Search::parse).is_some();
    let mut picked: Vec<Vec<IpNet>> = Vec::new();
    for filter in request.filters.iter().filter(searches) {
        let Some(search) = filter.name.as_deref().and_then(Search::parse) else { continue };
        let values = filter.values.as_deref().unwrap_or_default();
        if values.is_empty() {
            return Err(invalid_parameter_value("A filter must have a value."));
        }
        let nets = values.iter().map(|text| Ok(search.picks(range(text)?, &all)));
        picked.push(nets.collect::<Result<Vec<_>>>()?.concat());
    }
    let others = request.filters.iter().filter(|filter| !searches(filter));
    let filters = Filters::parse(others.map(|f| (f.name.as_deref(), f.values.as_deref())), &FIELDS)?;
    let none = Tags::default();
    let fitting = all.iter().filter(|way| picked.iter().all(|nets| nets.contains(&way.destination)));
    let fitting = fitting.filter(|way| {
        let by = render::leads(tables, &ctx.region, way).cloned();
        filters.accept(&Found { way: **way, by }, &none, &())
    });
    let (page, next_token) = page::cut(fitting, &paging, |way| way.destination);
    let routes = page.into_iter().map(|way| render::route(tables, &ctx.region, way)).collect();
    Ok(SearchTransitGatewayRoutesResult {
        routes: Some(routes),
        additional_routes_available: Some(next_token.is_some()),
        next_token,
    })
}
