//! The endpoints of a service: `DescribeVpcEndpointConnections`, `AcceptVpcEndpointConnections`,
//! `RejectVpcEndpointConnections`.
//!
//! A rejected endpoint keeps its interfaces, which lead nowhere; what was open over it ends. It may be accepted again.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/configure-endpoint-service.html#accept-reject-connection-requests>

use super::delete::unsuccessful;
use super::render::arns;
use crate::noun::{Noun, hold, render_tags, wire_time};
use crate::vpc_endpoint::render as endpoint;
use api_ec2::{
    AcceptVpcEndpointConnectionsRequest, AcceptVpcEndpointConnectionsResult,
    DescribeVpcEndpointConnectionsRequest, DescribeVpcEndpointConnectionsResult,
    RejectVpcEndpointConnectionsRequest, RejectVpcEndpointConnectionsResult, UnsuccessfulItem,
    VpcEndpointConnection,
};
use control::filter::{FilterField, Filters, one, shown};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables, Txn};
use model::VpcEndpointId;
use model::record::vpc_endpoint::{Connection, EndpointKind, VpcEndpoint};
use model::record::vpc_endpoint_service::VpcEndpointService;
use std::sync::Arc;

/// An endpoint and the service that it leads to.
struct Connected {
    service: Arc<VpcEndpointService>,
    endpoint: Arc<VpcEndpoint>,
}

static FILTERS: &[FilterField<Connected, ()>] = &[
    FilterField { name: "ip-address-type", values: |_, ()| one("ipv4") },
    FilterField { name: "service-id", values: |c, ()| shown(c.service.service) },
    FilterField { name: "vpc-endpoint-id", values: |c, ()| shown(c.endpoint.endpoint) },
    FilterField { name: "vpc-endpoint-owner", values: |c, ()| shown(c.endpoint.account) },
    FilterField { name: "vpc-endpoint-region", values: |c, ()| shown(&c.endpoint.region) },
    FilterField { name: "vpc-endpoint-state", values: |c, ()| one(endpoint::state(&c.endpoint)) },
];

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointConnectionsRequest,
    tables: &Tables,
) -> Result<DescribeVpcEndpointConnectionsResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    let paging: Paging<VpcEndpointId> =
        Paging::parse(request.max_results, request.next_token.as_deref(), 1..=1000, ByIds::Absent)?;
    let services = VpcEndpointService::listed(ctx, tables).into_iter();
    let connected = services.flat_map(|service| {
        let endpoints = tables.find::<VpcEndpoint>(&ctx.region, "service", service.service);
        let service = Arc::clone(service);
        endpoints
            .map(move |endpoint| Connected { service: Arc::clone(&service), endpoint: Arc::clone(endpoint) })
    });
    let mut matching: Vec<_> = connected.filter(|c| filters.accept(c, &Tags::default(), &())).collect();
    matching.sort_by_key(|connected| connected.endpoint.endpoint);
    let (page, next_token) = page::cut(matching, &paging, |c| c.endpoint.endpoint);
    let shown = page.into_iter().map(|c| VpcEndpointConnection {
        service_id: Some(c.service.service.to_string()),
        vpc_endpoint_id: Some(c.endpoint.endpoint.to_string()),
        vpc_endpoint_owner: Some(c.endpoint.account.to_string()),
        vpc_endpoint_state: Some(endpoint::state(&c.endpoint).into()),
        creation_timestamp: Some(wire_time(c.endpoint.created_at)),
        dns_entries: Some(endpoint::own_names(&c.endpoint)),
        network_load_balancer_arns: Some(arns(&c.service)),
        ip_address_type: Some("ipv4".into()),
        tags: render_tags(&Tags::default()),
        vpc_endpoint_region: Some(c.endpoint.region.to_string()),
        ..Default::default()
    });
    Ok(DescribeVpcEndpointConnectionsResult { vpc_endpoint_connections: Some(shown.collect()), next_token })
}

pub fn accept(
    ctx: &Context,
    request: &AcceptVpcEndpointConnectionsRequest,
    txn: &mut Txn<'_>,
) -> Result<AcceptVpcEndpointConnectionsResult> {
    let left = settle(ctx, txn, &request.service_id, &request.vpc_endpoint_ids, Connection::Available)?;
    Ok(AcceptVpcEndpointConnectionsResult { unsuccessful: Some(left) })
}

pub fn reject(
    ctx: &Context,
    request: &RejectVpcEndpointConnectionsRequest,
    txn: &mut Txn<'_>,
) -> Result<RejectVpcEndpointConnectionsResult> {
    let left = settle(ctx, txn, &request.service_id, &request.vpc_endpoint_ids, Connection::Rejected)?;
    Ok(RejectVpcEndpointConnectionsResult { unsuccessful: Some(left) })
}

fn settle(
    ctx: &Context,
    txn: &mut Txn<'_>,
    service: &str,
    ids: &[String],
    word: Connection,
) -> Result<Vec<UnsuccessfulItem>> {
    let service = hold::<VpcEndpointService>(ctx, txn, service)?;
    let ids = ids.iter().map(|id| Ok((id, VpcEndpoint::parse_id(id)?))).collect::<Result<Vec<_>>>()?;
    let mut left = Vec::new();
    for (text, id) in ids {
        let endpoint = txn.get::<VpcEndpoint>(&ctx.region, &id);
        let own = endpoint.filter(|e| e.is_there() && e.shared() == Some(service.service));
        let Some(endpoint) = own else {
            left.push(unsuccessful(text.clone(), &VpcEndpoint::ERRORS.not_found(text)));
            continue;
        };
        let mut settled = VpcEndpoint::clone(&endpoint);
        if let EndpointKind::Interface(own) = &mut settled.kind {
            own.connection = word;
        }
        txn.put(&ctx.region, settled);
    }
    Ok(left)
}
