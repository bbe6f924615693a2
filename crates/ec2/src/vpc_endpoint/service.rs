//! The services that endpoints lead to, the cloud's own, those that its operator has beside it and those of accounts, and
//! `DescribeVpcEndpointServices`.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>

use crate::errors::{client, invalid_parameter_value};
use crate::noun::render_tags;
use crate::vpc_endpoint_service::{self, permission::is_offered};
use api_ec2::{
    DescribeVpcEndpointServicesRequest, DescribeVpcEndpointServicesResult, PrivateDnsDetails, ServiceDetail,
    ServiceType, ServiceTypeDetail, VpcEndpointType,
};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched};
use model::record::vpc_endpoint::{ApiService, EndpointKind, EndpointService, VpcEndpoint};
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::{GatewayService, Region};
use plan::net::gateway_service::full_name;
use std::borrow::Cow;
use std::sync::Arc;

/// A service of a region, with the kind of endpoint that leads to it.
#[derive(Debug, Clone)]
pub enum Offered {
    /// One of the cloud's own.
    Interface(ApiService),
    /// One beside the cloud.
    Gateway(GatewayService),
    /// An account's.
    Shared(Arc<VpcEndpointService>),
}

impl Offered {
    pub const fn endpoint_type(&self) -> VpcEndpointType {
        match self {
            Self::Interface(_) | Self::Shared(_) => VpcEndpointType::Interface,
            Self::Gateway(_) => VpcEndpointType::Gateway,
        }
    }

    /// All that is offered to the caller, in the order of their names.
    fn all(ctx: &Context, tables: &Tables) -> Vec<Self> {
        let beside = ctx.cloud.settings.gateway_services.iter().map(|ranges| Self::Gateway(ranges.service));
        let shared = tables.all::<VpcEndpointService>(&ctx.region);
        let shared = shared.filter(|service| is_offered(service, &ctx.caller));
        let shared = shared.map(|service| Self::Shared(Arc::clone(service)));
        let own = ApiService::ALL.into_iter().map(Self::Interface);
        let mut all: Vec<Self> = own.chain(beside).chain(shared).collect();
        all.sort_by_cached_key(|service| service.name(&ctx.region));
        all
    }

    /// Its whole name.
    pub fn name(&self, region: &Region) -> String {
        match self {
            Self::Interface(service) => full_name(region, service.as_str()),
            Self::Gateway(service) => full_name(region, service.as_str()),
            Self::Shared(service) => vpc_endpoint_service::name(region, service.service),
        }
    }

    /// Always the same for a service of a region.
    fn id(&self, region: &Region) -> String {
        if let Self::Shared(service) = self {
            return service.service.to_string();
        }
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.name(region).bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        format!("vpce-svc-0{hash:016x}")
    }

    /// Of addresses by which it is reached.
    const fn versions(&self) -> &'static [&'static str] {
        match self {
            Self::Interface(_) => &["ipv4", "ipv6"],
            Self::Gateway(_) | Self::Shared(_) => &["ipv4"],
        }
    }

    fn owner(&self) -> String {
        match self {
            Self::Interface(_) | Self::Gateway(_) => "amazon".into(),
            Self::Shared(service) => service.account.to_string(),
        }
    }

    fn render(&self, ctx: &Context) -> ServiceDetail {
        let region = &ctx.region;
        let zones = ctx.cloud.settings.region(region).map(|r| r.zones.as_slice()).unwrap_or_default();
        let kind = match self {
            Self::Interface(_) | Self::Shared(_) => ServiceType::Interface,
            Self::Gateway(_) => ServiceType::Gateway,
        };
        let shown = ServiceDetail {
            service_name: Some(self.name(region)),
            service_id: Some(self.id(region)),
            service_region: Some(region.to_string()),
            service_type: Some(vec![ServiceTypeDetail { service_type: Some(kind) }]),
            availability_zone_ids: Some(zones.iter().map(model::Zone::id).collect()),
            availability_zones: Some(zones.iter().map(ToString::to_string).collect()),
            owner: Some(self.owner()),
            vpc_endpoint_policy_supported: Some(true),
            acceptance_required: Some(false),
            manages_vpc_endpoints: Some(false),
            supported_ip_address_types: Some(self.versions().iter().map(|v| (*v).into()).collect()),
            ..Default::default()
        };
        match self {
            Self::Interface(service) => {
                let private = private_name(region, *service);
                ServiceDetail {
                    base_endpoint_dns_names: Some(vec![base_name(region, EndpointService::Api(*service))]),
                    private_dns_name: Some(private.clone()),
                    private_dns_names: Some(vec![PrivateDnsDetails { private_dns_name: Some(private) }]),
                    private_dns_name_verification_state: Some("verified".into()),
                    ..shown
                }
            }
            Self::Gateway(service) => ServiceDetail {
                base_endpoint_dns_names: Some(vec![format!("{service}.{region}.{}", suffix(region))]),
                ..shown
            },
            Self::Shared(service) => {
                let zones = || service.targets.iter().map(|target| &target.zone);
                ServiceDetail {
                    availability_zone_ids: Some(zones().map(model::Zone::id).collect()),
                    availability_zones: Some(zones().map(ToString::to_string).collect()),
                    base_endpoint_dns_names: Some(vec![base_name(
                        region,
                        EndpointService::Shared(service.service),
                    )]),
                    vpc_endpoint_policy_supported: Some(false),
                    acceptance_required: Some(service.acceptance_required),
                    tags: render_tags(&service.tags),
                    ..shown
                }
            }
        }
    }
}

fn suffix(region: &Region) -> &'static str {
    if region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// The name by which clients call one of the cloud's own, `SERVICE.REGION.amazonaws.com`.
pub fn private_name(region: &Region, service: ApiService) -> String {
    format!("{}.{region}.{}", service.as_str(), suffix(region))
}

/// The domain of the names of endpoints, `SERVICE.REGION.vpce.amazonaws.com`.
pub fn base_name(region: &Region, service: EndpointService) -> String {
    let called = match service {
        EndpointService::Api(service) => service.as_str().to_owned(),
        EndpointService::Shared(service) => service.to_string(),
    };
    format!("{called}.{region}.vpce.{}", suffix(region))
}

/// The whole name of what an endpoint leads to.
pub fn name_behind(endpoint: &VpcEndpoint) -> String {
    match &endpoint.kind {
        EndpointKind::Interface(own) => match own.service {
            EndpointService::Api(service) => full_name(&endpoint.region, service.as_str()),
            EndpointService::Shared(service) => vpc_endpoint_service::name(&endpoint.region, service),
        },
        EndpointKind::Gateway { service } => full_name(&endpoint.region, service.as_str()),
    }
}

/// The service behind a name; `InvalidServiceName` for what this cloud does not have or does not offer to the caller.
pub fn named(ctx: &Context, tables: &Tables, name: &str) -> Result<Offered> {
    let mut all = Offered::all(ctx, tables).into_iter();
    all.find(|service| service.name(&ctx.region) == name).ok_or_else(|| {
        let shown: String = name.chars().take(128).collect();
        client("InvalidServiceName", format!("The Vpc Endpoint Service '{shown}' does not exist"))
    })
}

/// A service as its filters see it.
struct Listed {
    region: Region,
    service: Offered,
}

static FILTERS: &[FilterField<Listed, ()>] = &[
    FilterField { name: "owner", values: |l, ()| one(l.service.owner()) },
    FilterField { name: "service-name", values: |l, ()| one(l.service.name(&l.region)) },
    FilterField { name: "service-region", values: |l, ()| one(l.region.to_string()) },
    FilterField { name: "service-type", values: |l, ()| one(l.service.endpoint_type().as_str().to_owned()) },
    FilterField {
        name: "supported-ip-address-types",
        values: |l, ()| l.service.versions().iter().map(|version| Cow::Borrowed(*version)).collect(),
    },
];

pub fn touches(_: &Context, _: &DescribeVpcEndpointServicesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointServicesRequest,
    tables: &Tables,
) -> Result<DescribeVpcEndpointServicesResult> {
    let given = request.filters.as_deref().unwrap_or_default();
    let filters = Filters::parse(given.iter().map(|f| (f.name.as_deref(), f.values.as_deref())), FILTERS)?;
    // As AWS does, names and a page go together.
    let paging: Paging<String> =
        Paging::parse(request.max_results, request.next_token.as_deref(), 1..=1000, ByIds::Absent)?;
    let regions = request.service_regions.as_deref().unwrap_or_default();
    if let Some(other) = regions.iter().find(|region| ctx.region.as_str() != region.as_str()) {
        let shown: String = other.chars().take(64).collect();
        return Err(invalid_parameter_value(format!(
            "Value ({shown}) for parameter ServiceRegion is invalid. Services are reached from their own region."
        )));
    }
    let names = request.service_names.as_deref().unwrap_or_default();
    let named = names.iter().map(|name| named(ctx, tables, name).map(|found| found.name(&ctx.region)));
    let named = named.collect::<Result<Vec<_>>>()?;
    let nothing = Tags::default();
    let services = Offered::all(ctx, tables).into_iter();
    let services = services.map(|service| Listed { region: ctx.region.clone(), service });
    let name = |listed: &Listed| listed.service.name(&listed.region);
    let services = services.filter(|listed| named.is_empty() || named.contains(&name(listed)));
    let services = services.filter(|listed| {
        let tags = match &listed.service {
            Offered::Shared(service) => &service.tags,
            Offered::Interface(_) | Offered::Gateway(_) => &nothing,
        };
        filters.accept(listed, tags, &())
    });
    let (page, next_token) = page::cut(services, &paging, name);
    Ok(DescribeVpcEndpointServicesResult {
        service_names: Some(page.iter().map(name).collect()),
        service_details: Some(page.iter().map(|listed| listed.service.render(ctx)).collect()),
        next_token,
    })
}
