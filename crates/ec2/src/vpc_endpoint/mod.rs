//! VPC endpoints: ways from a VPC to services.
//!
//! A gateway endpoint leads to a service beside the cloud: a route for the service's prefix list in each of its tables
//! ([`gateway`]), and on the host a link that lets out what takes those routes.
//!
//! An interface endpoint is the cloud's own API at addresses of a VPC, behind security groups and a policy. It owns a network interface in each of its subnets, at most one a zone, made and deleted with it, which nobody
//! else may change. The host carries such an interface as a port like any other, with a namespace in a machine's place
//! that hands what connects to the server; so groups, ACLs and routes judge it as they judge all packets. What comes by an
//! endpoint is judged by its policy beside everything else ([`control::passage`]). One to an account's service
//! ([`crate::vpc_endpoint_service`]) is made of the same, and leads on to the service's own interfaces.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html>
//! Differs: they are there at once; a gateway endpoint's policy lets everybody do everything, as nobody here sees
//! its requests.

mod create;
mod delete;
mod describe;
mod gateway;
mod interface;
mod modify;
mod policy;
pub mod render;
pub mod service;

use crate::errors::{self, IdErrors, client};
use crate::instance::desired::interface as told_interface;
use crate::noun::{Noun, hold};
use crate::vpc_endpoint_service;
use api_ec2::ops;
use control::filter::{FilterField, one, shown};
use control::{Cloud, Context, Result, Service, Tables, Touched, Txn};
use model::host::{EndpointDesired, EndpointLead, EndpointName};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::Vpc;
use model::record::vpc_endpoint::{EndpointService, InterfaceEndpoint, VpcEndpoint};
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::{NetworkInterfaceId, Region, VpcEndpointId, VpcId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::ApiError;

/// How long a deleted one is described.
const SHOWN: Duration = Duration::from_mins(10);
/// How many endpoints a VPC may have.
const MAX_ENDPOINTS: usize = 50;

impl Noun for VpcEndpoint {
    const RESOURCE_TYPE: &'static str = "vpc-endpoint";
    const ERRORS: IdErrors = errors::VPC_ENDPOINT;
    const PAGE: std::ops::RangeInclusive<i32> = 1..=1000;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        &[
            FilterField {
                name: "ip-address-type",
                values: |e, _| e.interface().map(|own| own.addressing.as_str().into()).into_iter().collect(),
            },
            FilterField { name: "service-name", values: |e, _| one(service::name_behind(e)) },
            FilterField { name: "service-region", values: |e, _| shown(&e.region) },
            FilterField { name: "vpc-endpoint-id", values: |e, _| shown(e.endpoint) },
            FilterField { name: "vpc-endpoint-state", values: |e, _| one(render::state(e)) },
            FilterField {
                name: "vpc-endpoint-type",
                values: |e, _| one(render::kind(e).as_str().to_owned()),
            },
            FilterField { name: "vpc-id", values: |e, _| shown(e.vpc) },
        ]
    }
}

/// As EC2 says it of endpoints.
fn invalid_parameter(message: impl Into<String>) -> ApiError {
    client("InvalidParameter", message)
}

/// An endpoint that is not deleted, held until the commit.
fn there(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<VpcEndpoint>> {
    let endpoint = hold::<VpcEndpoint>(ctx, txn, id)?;
    if endpoint.is_there() { Ok(endpoint) } else { Err(VpcEndpoint::ERRORS.not_found(id)) }
}

/// What a host is told of a VPC's endpoints.
pub fn desired(tables: &Tables, region: &Region, vpc: &Vpc) -> Vec<EndpointDesired> {
    let there = tables.find::<VpcEndpoint>(region, "vpc", vpc.vpc).filter(|endpoint| endpoint.is_there());
    there.filter_map(|endpoint| Some(told(tables, region, vpc, (endpoint, endpoint.interface()?)))).collect()
}

fn told(
    tables: &Tables,
    region: &Region,
    vpc: &Vpc,
    (endpoint, own): (&VpcEndpoint, &InterfaceEndpoint),
) -> EndpointDesired {
    let records = own.interfaces.iter();
    let records = records.filter_map(|own| tables.get::<NetworkInterface>(region, &own.interface));
    let interfaces: Vec<_> =
        records.filter_map(|record| told_interface(tables, region, record, "")).collect();
    let addresses = |only: Option<NetworkInterfaceId>| {
        let meant = interfaces.iter().filter(|i| only.is_none_or(|only| i.interface == only));
        let v4 = meant.clone().filter(|_| own.named.has_ipv4()).flat_map(|i| &i.addresses);
        let v6 = meant.filter(|_| own.named.has_ipv6()).flat_map(|i| &i.ipv6);
        v4.map(|address| IpAddr::V4(address.private)).chain(v6.copied().map(IpAddr::V6)).collect()
    };
    let all = render::names(endpoint, own);
    let all = all.map(|(name, only)| EndpointName { name, addresses: addresses(only), private: false });
    let mut names: Vec<EndpointName> = all.collect();
    if own.private_dns
        && vpc.dns_hostnames
        && let EndpointService::Api(service) = own.service
    {
        let name = service::private_name(region, service);
        names.push(EndpointName { name, addresses: addresses(None), private: true });
    }
    names.retain(|name| !name.addresses.is_empty());
    let lead = match own.service {
        EndpointService::Api(_) => EndpointLead::Api,
        EndpointService::Shared(service) => {
            EndpointLead::Service(vpc_endpoint_service::nodes(tables, region, own, service))
        }
    };
    EndpointDesired { endpoint: endpoint.endpoint, interfaces, names, lead }
}

/// The VPCs in which a changed endpoint says something else: its own, and its service's.
pub fn concerned(tables: &Tables, region: &Region, endpoint: &VpcEndpoint) -> Vec<VpcId> {
    let service = endpoint.shared().and_then(|id| tables.get::<VpcEndpointService>(region, &id));
    std::iter::once(endpoint.vpc).chain(service.map(|service| service.vpc)).collect()
}

/// Whether a route to an endpoint leads anywhere.
pub fn serves(tables: &Tables, region: &Region, endpoint: VpcEndpointId) -> bool {
    tables.get::<VpcEndpoint>(region, &endpoint).is_some_and(|endpoint| endpoint.is_there())
}

/// The endpoints of a VPC that are not deleted.
pub fn any_in(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<String> {
    let there = tables.find::<VpcEndpoint>(region, "vpc", vpc).filter(|endpoint| endpoint.is_there());
    there.map(|endpoint| endpoint.endpoint.to_string()).collect()
}

/// Removes those that were deleted long enough ago.
pub async fn sweep(cloud: &Arc<Cloud>) -> Result<()> {
    let over = |endpoint: &VpcEndpoint, now: model::Timestamp| {
        endpoint.deleted_at.is_some_and(|at| now.since(at) >= SHOWN)
    };
    crate::sweep::remove::<VpcEndpoint>(cloud, over).await
}

pub fn register(service: &mut Service) {
    service
        .exclusive(ops::CreateVpcEndpoint, create::touches, create::create)
        .exclusive(ops::ModifyVpcEndpoint, modify::touches, modify::modify)
        .exclusive(ops::DeleteVpcEndpoints, delete::touches, delete::delete)
        .read(ops::DescribeVpcEndpoints, |_, _, _| Touched::anything(), describe::describe)
        .read(ops::DescribeVpcEndpointServices, service::touches, service::describe);
}
