//! A service as its owner sees it.

use super::{name, target};
use crate::noun::render_tags;
use crate::vpc_endpoint::service::base_name;
use api_ec2 as api;
use model::record::vpc_endpoint::EndpointService;
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn service(service: &VpcEndpointService) -> api::ServiceConfiguration {
    let zones = || service.targets.iter().map(|target| &target.zone);
    let kind = api::ServiceTypeDetail { service_type: Some(api::ServiceType::Interface) };
    let region = api::SupportedRegionDetail {
        region: Some(service.region.to_string()),
        service_state: Some("Available".into()),
    };
    api::ServiceConfiguration {
        service_type: Some(vec![kind]),
        service_id: Some(service.service.to_string()),
        service_name: Some(name(&service.region, service.service)),
        service_state: Some(api::ServiceState::Available),
        availability_zone_ids: Some(zones().map(model::Zone::id).collect()),
        availability_zones: Some(zones().map(ToString::to_string).collect()),
        acceptance_required: Some(service.acceptance_required),
        manages_vpc_endpoints: Some(false),
        network_load_balancer_arns: Some(arns(service)),
        supported_ip_address_types: Some(vec!["ipv4".into()]),
        base_endpoint_dns_names: Some(vec![base_name(
            &service.region,
            EndpointService::Shared(service.service),
        )]),
        tags: render_tags(&service.tags),
        supported_regions: Some(vec![region]),
        remote_access_enabled: Some(false),
        ..Default::default()
    }
}

/// What answers, by zone.
pub fn arns(service: &VpcEndpointService) -> Vec<String> {
    service.targets.iter().map(|target| target::arn(service, target.interface)).collect()
}
