//! VPC endpoint services: what an account offers to VPCs that its own is not joined with, behind interface endpoints there.
//!
//! ```text
//! consumer's VPC ─ endpoint's interface ═ node ─ owner's VPC ─ target
//! ```
//! A service has a target in each of its zones and there an interface of its own, its node: what comes by an endpoint goes to the
//! target with the node's address, whatever ranges the two VPCs have. So the target's security groups let in (or not) the
//! node's address, and who is behind it stays unknown to them. Whether anybody may make an endpoint is [`permission`]'s to say, and
//! whether one is connected its owner's ([`connection`]), where the service asks for that.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-share-your-services.html>
//! Differs: what answers is named by the ARN of a network interface in the place of a network load balancer's
//! (`NetworkLoadBalancerArns`), one a zone, all in one VPC, all its TCP and UDP ports; while endpoints are attached a target may be
//! exchanged for another of its zone. IPv4 alone, one region, no private DNS name, no Gateway Load Balancers, no notifications.

mod connection;
mod create;
mod delete;
mod describe;
mod modify;
pub mod permission;
mod render;
mod target;

use crate::errors::{self, IdErrors, client};
use crate::instance::desired::interface as told_interface;
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Cloud, Context, Result, Service, Tables, Touched, Txn};
use model::host::{NodeLink, ServiceClient, ServiceNodeDesired};
use model::record::network_interface::NetworkInterface;
use model::record::vpc_endpoint::{Connection, InterfaceEndpoint, VpcEndpoint};
use model::record::vpc_endpoint_service::{ServiceTarget, VpcEndpointService};
use model::{NetworkInterfaceId, Region, VpcEndpointServiceId, VpcId, Zone};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use wire::ApiError;

/// How many services an account may have in a region.
const MAX_SERVICES: usize = 20;
/// How long the record of a deleted one stays, which nobody sees.
const KEPT: Duration = Duration::from_mins(10);

impl Noun for VpcEndpointService {
    const RESOURCE_TYPE: &'static str = "vpc-endpoint-service";
    const ERRORS: IdErrors = errors::VPC_ENDPOINT_SERVICE;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

    fn visible_to(&self, ctx: &Context) -> bool {
        self.is_there() && self.account == ctx.account()
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let own = tables.find::<Self>(&ctx.region, "account", ctx.account());
        own.filter(|service| service.is_there()).collect()
    }

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField { name: "service-id", values: |s, _| shown(s.service) },
            FilterField { name: "service-name", values: |s, _| one(name(&s.region, s.service)) },
            FilterField { name: "service-state", values: |_, _| one("Available") },
            FilterField { name: "supported-ip-address-types", values: |_, _| one("ipv4") },
        ]
    }
}

/// By which endpoints are made, `com.amazonaws.vpce.REGION.vpce-svc-ID`.
pub fn name(region: &Region, service: VpcEndpointServiceId) -> String {
    let country = if region.as_str().starts_with("cn-") { "cn." } else { "" };
    format!("{country}com.amazonaws.vpce.{region}.{service}")
}

/// Endpoints stand in the way.
fn connected(service: VpcEndpointServiceId) -> ApiError {
    client(
        "ExistingVpcEndpointConnections",
        format!("Service {service} has existing active VPC Endpoint connections!"),
    )
}

/// The endpoints that lead to a service, or wait to.
fn attached<'a>(
    tables: &'a Tables,
    region: &'a Region,
    service: VpcEndpointServiceId,
) -> impl Iterator<Item = (&'a VpcEndpoint, &'a InterfaceEndpoint)> {
    let endpoints = tables.find::<VpcEndpoint>(region, "service", service);
    let own = endpoints.filter_map(|endpoint| Some((endpoint.as_ref(), endpoint.interface()?)));
    own.filter(|(endpoint, own)| endpoint.is_there() && own.connection != Connection::Rejected)
}

/// Whether an endpoint is attached in a zone, or in any.
fn is_attached(tables: &Tables, region: &Region, service: VpcEndpointServiceId, zone: Option<&Zone>) -> bool {
    let is_there = |own: &InterfaceEndpoint| match zone {
        None => true,
        Some(zone) => own.interfaces.iter().any(|interface| interface.zone == *zone),
    };
    attached(tables, region, service).any(|(_, own)| is_there(own))
}

/// What a host is told of the services in a VPC: their nodes.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<ServiceNodeDesired> {
    let services = tables.find::<VpcEndpointService>(region, "vpc", vpc);
    let services = services.filter(|service| service.is_there());
    let nodes = services.flat_map(|service| service.targets.iter().map(move |target| (service, target)));
    nodes.filter_map(|(service, target)| node(tables, region, service, target)).collect()
}

fn node(
    tables: &Tables,
    region: &Region,
    service: &VpcEndpointService,
    target: &ServiceTarget,
) -> Option<ServiceNodeDesired> {
    let own = tables.get::<NetworkInterface>(region, &target.node)?;
    let open =
        attached(tables, region, service.service).filter(|(_, own)| own.connection == Connection::Available);
    let clients = open.flat_map(|(endpoint, own)| {
        let here = own.interfaces.iter().filter(|interface| interface.zone == target.zone);
        here.map(|interface| ServiceClient { interface: interface.interface, vpc: endpoint.vpc })
    });
    Some(ServiceNodeDesired {
        service: service.service,
        interface: told_interface(tables, region, own, "")?,
        target: target.address,
        clients: clients.collect(),
    })
}

/// The nodes that an endpoint's interfaces lead to; none while it is not connected.
pub fn nodes(
    tables: &Tables,
    region: &Region,
    endpoint: &InterfaceEndpoint,
    service: VpcEndpointServiceId,
) -> Vec<NodeLink> {
    let service = tables.get::<VpcEndpointService>(region, &service);
    let service = service.filter(|s| s.is_there() && endpoint.connection == Connection::Available);
    let links = endpoint.interfaces.iter().filter_map(|own| {
        let (service, target) = (service?, service?.in_zone(&own.zone)?);
        Some(NodeLink { interface: own.interface, vpc: service.vpc, node: target.node })
    });
    links.collect()
}

/// The VPCs in which a changed service says something else: its own, and those of its endpoints.
pub fn concerned(tables: &Tables, region: &Region, service: VpcEndpointServiceId) -> Vec<VpcId> {
    let own = tables.get::<VpcEndpointService>(region, &service).map(|service| service.vpc);
    let endpoints = tables.find::<VpcEndpoint>(region, "service", service);
    let vpcs: BTreeSet<VpcId> = endpoints.map(|endpoint| endpoint.vpc).chain(own).collect();
    vpcs.into_iter().collect()
}

/// An interface goes: services that lead to it lead nowhere in its zone.
pub fn part(txn: &mut Txn<'_>, region: &Region, interface: NetworkInterfaceId) {
    let led: Vec<VpcEndpointServiceId> =
        txn.tables().find::<VpcEndpointService>(region, "target", interface).map(|s| s.service).collect();
    for id in led {
        let Some(service) = txn.get::<VpcEndpointService>(region, &id) else { continue };
        let mut service = VpcEndpointService::clone(&service);
        for target in service.targets.iter_mut().filter(|target| target.interface == interface) {
            target.address = None;
        }
        txn.put(region, service);
    }
}

/// Removes those that were deleted long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let over = |service: &VpcEndpointService, now: model::Timestamp| {
        service.deleted_at.is_some_and(|at| now.since(at) >= KEPT)
    };
    crate::sweep::remove::<VpcEndpointService>(cloud, over).await
}

fn of_service(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<VpcEndpointService>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateVpcEndpointServiceConfiguration, create::touches, create::create)
        .exclusive(
            ops::ModifyVpcEndpointServiceConfiguration,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            modify::modify,
        )
        .exclusive(
            ops::DeleteVpcEndpointServiceConfigurations,
            |ctx, request, tables| touched::<VpcEndpointService>(ctx, tables, &request.service_ids),
            delete::delete,
        )
        .read(
            ops::DescribeVpcEndpointServiceConfigurations,
            |_, _, _| Touched::anything(),
            describe::describe,
        )
        .write(
            ops::ModifyVpcEndpointServicePermissions,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            permission::modify,
        )
        .read(
            ops::DescribeVpcEndpointServicePermissions,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            permission::describe,
        )
        .write(
            ops::ModifyVpcEndpointServicePayerResponsibility,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            modify::payer,
        )
        .read(ops::DescribeVpcEndpointConnections, |_, _, _| Touched::anything(), connection::describe)
        .write(
            ops::AcceptVpcEndpointConnections,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            connection::accept,
        )
        .write(
            ops::RejectVpcEndpointConnections,
            |ctx, request, tables| of_service(ctx, tables, &request.service_id),
            connection::reject,
        );
}
