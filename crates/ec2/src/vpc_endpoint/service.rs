//! The services that endpoints lead to, the cloud's own and those that its operator has beside it, and
//! `DescribeVpcEndpointServices`.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html>

use crate::errors::{client, invalid_parameter_value};
use api_ec2::{
    DescribeVpcEndpointServicesRequest, DescribeVpcEndpointServicesResult, PrivateDnsDetails, ServiceDetail,
    ServiceType, ServiceTypeDetail, VpcEndpointType,
};
use control::filter::{FilterField, Filters, one};
use control::page::{self, ByIds, Paging};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched};
use model::record::vpc_endpoint::ApiService;
use model::{GatewayService, Region};
use plan::net::gateway_service::full_name;

/// A service, with the kind of endpoint that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// One of the cloud's own.
    Interface(ApiService),
    /// One beside the cloud.
    Gateway(GatewayService),
}

impl Offered {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interface(service) => service.as_str(),
            Self::Gateway(service) => service.as_str(),
        }
    }

    pub const fn endpoint_type(self) -> VpcEndpointType {
        match self {
            Self::Interface(_) => VpcEndpointType::Interface,
            Self::Gateway(_) => VpcEndpointType::Gateway,
        }
    }

    /// All that this cloud offers, in the order of their names.
    fn all(ctx: &Context) -> Vec<Self> {
        let beside = ctx.cloud.settings.gateway_services.iter().map(|ranges| Self::Gateway(ranges.service));
        let mut all: Vec<Self> = ApiService::ALL.into_iter().map(Self::Interface).chain(beside).collect();
        all.sort_unstable_by_key(|service| service.as_str());
        all
    }
}

/// A service of a region.
#[derive(Debug, Clone)]
pub struct Endpointed {
    pub region: Region,
    pub service: Offered,
}

fn suffix(region: &Region) -> &'static str {
    if region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// The name by which clients call the service, `SERVICE.REGION.amazonaws.com`.
pub fn private_name(region: &Region, service: ApiService) -> String {
    format!("{}.{region}.{}", service.as_str(), suffix(region))
}

/// The domain of the names of endpoints, `SERVICE.REGION.vpce.amazonaws.com`.
pub fn base_name(region: &Region, service: ApiService) -> String {
    format!("{}.{region}.vpce.{}", service.as_str(), suffix(region))
}

/// The service behind a name; `InvalidServiceName` for what this cloud does not have.
pub fn named(ctx: &Context, name: &str) -> Result<Offered> {
    let mut all = Offered::all(ctx).into_iter();
    all.find(|service| full_name(&ctx.region, service.as_str()) == name).ok_or_else(|| {
        let shown: String = name.chars().take(128).collect();
        client("InvalidServiceName", format!("The Vpc Endpoint Service '{shown}' does not exist"))
    })
}

impl Endpointed {
    fn name(&self) -> String {
        full_name(&self.region, self.service.as_str())
    }

    /// Always the same for a service of a region.
    fn id(&self) -> String {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.name().bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        format!("vpce-svc-0{hash:016x}")
    }

    fn render(&self, ctx: &Context) -> ServiceDetail {
        let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
        let shown = ServiceDetail {
            service_name: Some(self.name()),
            service_id: Some(self.id()),
            service_region: Some(self.region.to_string()),
            availability_zone_ids: Some(zones.iter().map(model::Zone::id).collect()),
            availability_zones: Some(zones.iter().map(ToString::to_string).collect()),
            owner: Some("amazon".into()),
            vpc_endpoint_policy_supported: Some(true),
            acceptance_required: Some(false),
            manages_vpc_endpoints: Some(false),
            supported_ip_address_types: Some(vec!["ipv4".into()]),
            ..Default::default()
        };
        let kind = |kind| Some(vec![ServiceTypeDetail { service_type: Some(kind) }]);
        match self.service {
            Offered::Interface(service) => {
                let private = private_name(&self.region, service);
                ServiceDetail {
                    service_type: kind(ServiceType::Interface),
                    base_endpoint_dns_names: Some(vec![base_name(&self.region, service)]),
                    private_dns_name: Some(private.clone()),
                    private_dns_names: Some(vec![PrivateDnsDetails { private_dns_name: Some(private) }]),
                    private_dns_name_verification_state: Some("verified".into()),
                    ..shown
                }
            }
            Offered::Gateway(service) => ServiceDetail {
                service_type: kind(ServiceType::Gateway),
                base_endpoint_dns_names: Some(vec![format!(
                    "{service}.{}.{}",
                    self.region,
                    suffix(&self.region)
                )]),
                ..shown
            },
        }
    }
}

static FILTERS: &[FilterField<Endpointed, ()>] = &[
    FilterField { name: "owner", values: |_, ()| one("amazon") },
    FilterField { name: "service-name", values: |s, ()| one(s.name()) },
    FilterField { name: "service-region", values: |s, ()| one(s.region.to_string()) },
    FilterField { name: "service-type", values: |s, ()| one(s.service.endpoint_type().as_str().to_owned()) },
    FilterField { name: "supported-ip-address-types", values: |_, ()| one("ipv4") },
];

pub fn touches(_: &Context, _: &DescribeVpcEndpointServicesRequest, _: &Tables) -> Vec<Touched> {
    Touched::anything()
}

pub fn describe(
    ctx: &Context,
    request: &DescribeVpcEndpointServicesRequest,
    _: &Tables,
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
    let named = names.iter().map(|name| named(ctx, name)).collect::<Result<Vec<_>>>()?;
    let services =
        Offered::all(ctx).into_iter().filter(|service| named.is_empty() || named.contains(service));
    let services = services.map(|service| Endpointed { region: ctx.region.clone(), service });
    let services = services.filter(|service| filters.accept(service, &Tags::default(), &()));
    let (page, next_token) = page::cut(services, &paging, Endpointed::name);
    Ok(DescribeVpcEndpointServicesResult {
        service_names: Some(page.iter().map(Endpointed::name).collect()),
        service_details: Some(page.iter().map(|service| service.render(ctx)).collect()),
        next_token,
    })
}
