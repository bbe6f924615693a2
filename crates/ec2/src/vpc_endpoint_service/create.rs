//! `CreateVpcEndpointServiceConfiguration`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVpcEndpointServiceConfiguration.html>

use super::{MAX_SERVICES, render, target};
use crate::errors::{client, missing_parameter};
use crate::noun::{Noun, created, given_tags};
use crate::parameter::{refuse, unsupported};
use api_ec2::{CreateVpcEndpointServiceConfigurationRequest, CreateVpcEndpointServiceConfigurationResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::VpcEndpointServiceId;
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn touches(ctx: &Context, _: &CreateVpcEndpointServiceConfigurationRequest, _: &Tables) -> Vec<Touched> {
    vec![created(ctx, VpcEndpointService::RESOURCE_TYPE)]
}

/// IPv4 is what services have, from their own region.
pub fn supported(types: Option<&[String]>, regions: Option<&[String]>, ctx: &Context) -> Result<()> {
    if let Some(other) = types.unwrap_or_default().iter().find(|kind| *kind != "ipv4") {
        let shown: String = other.chars().take(64).collect();
        return Err(unsupported(&format!("The IP address type {shown} of an endpoint service")));
    }
    if let Some(other) = regions.unwrap_or_default().iter().find(|region| *region != ctx.region.as_str()) {
        let shown: String = other.chars().take(64).collect();
        return Err(unsupported(&format!("Endpoints in another region ({shown})")));
    }
    Ok(())
}

pub fn create(
    ctx: &Context,
    request: &CreateVpcEndpointServiceConfigurationRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateVpcEndpointServiceConfigurationResult> {
    refuse(&[
        ("PrivateDnsName", request.private_dns_name.is_some()),
        (
            "GatewayLoadBalancerArns",
            request.gateway_load_balancer_arns.as_ref().is_some_and(|arns| !arns.is_empty()),
        ),
    ])?;
    let types = request.supported_ip_address_types.as_deref();
    supported(types, request.supported_regions.as_deref(), ctx)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &[VpcEndpointService::RESOURCE_TYPE])?;
    let arns = request.network_load_balancer_arns.as_deref().unwrap_or_default();
    if VpcEndpointService::listed(ctx, txn.tables()).len() >= MAX_SERVICES {
        return Err(client(
            "VpcEndpointServiceLimitExceeded",
            format!("The maximum number of VPC endpoint services has been reached ({MAX_SERVICES})."),
        ));
    }
    let interfaces = target::interfaces(ctx, txn, arns)?;
    let first = interfaces.first().ok_or_else(|| missing_parameter("NetworkLoadBalancerArns"))?;
    let mut record = VpcEndpointService {
        service: VpcEndpointServiceId::from_entropy(ctx.bits()),
        account: ctx.account(),
        region: ctx.region.clone(),
        vpc: first.vpc,
        targets: Vec::new(),
        acceptance_required: request.acceptance_required != Some(false),
        allowed: Vec::new(),
        deleted_at: None,
        tags: tags.into_values().next().unwrap_or_default(),
    };
    target::add(ctx, txn, &mut record, &interfaces, &mut Vec::new())?;
    let shown = render::service(&record);
    txn.put(&ctx.region, record);
    Ok(CreateVpcEndpointServiceConfigurationResult {
        service_configuration: Some(shown),
        client_token: request.client_token.clone(),
    })
}
