//! `ModifyVpcEndpointServiceConfiguration` and `ModifyVpcEndpointServicePayerResponsibility`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpointServiceConfiguration.html>

use super::create::supported;
use super::target;
use crate::errors::{invalid_parameter_combination, invalid_parameter_value};
use crate::noun::hold;
use crate::parameter::{refuse, unsupported};
use api_ec2::{
    ModifyVpcEndpointServiceConfigurationRequest, ModifyVpcEndpointServiceConfigurationResult,
    ModifyVpcEndpointServicePayerResponsibilityRequest, ModifyVpcEndpointServicePayerResponsibilityResult,
};
use control::{Context, Result, Txn};
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn modify(
    ctx: &Context,
    request: &ModifyVpcEndpointServiceConfigurationRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcEndpointServiceConfigurationResult> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    refuse(&[
        ("PrivateDnsName", request.private_dns_name.is_some()),
        ("RemovePrivateDnsName", request.remove_private_dns_name == Some(true)),
        ("AddGatewayLoadBalancerArns", some(&request.add_gateway_load_balancer_arns)),
        ("RemoveGatewayLoadBalancerArns", some(&request.remove_gateway_load_balancer_arns)),
    ])?;
    let types = request.add_supported_ip_address_types.as_deref();
    supported(types, request.add_supported_regions.as_deref(), ctx)?;
    if some(&request.remove_supported_ip_address_types) || some(&request.remove_supported_regions) {
        return Err(invalid_parameter_combination(
            "The only IP address type and the only region of a service cannot be removed.",
        ));
    }
    let held = hold::<VpcEndpointService>(ctx, txn, &request.service_id)?;
    let mut service = VpcEndpointService::clone(&held);
    if let Some(required) = request.acceptance_required {
        service.acceptance_required = required;
    }
    let removed = request.remove_network_load_balancer_arns.as_deref().unwrap_or_default();
    let mut left = target::leave(&mut service, removed)?;
    let added = request.add_network_load_balancer_arns.as_deref().unwrap_or_default();
    let added = target::interfaces(ctx, txn, added)?;
    target::add(ctx, txn, &mut service, &added, &mut left)?;
    target::clear(ctx, txn, service.service, &left)?;
    if service.targets.is_empty() {
        return Err(invalid_parameter_value("An endpoint service needs a target."));
    }
    txn.put(&ctx.region, service);
    Ok(ModifyVpcEndpointServiceConfigurationResult { r#return: Some(true) })
}

/// Nobody pays for endpoints here, and whoever would is not remembered.
pub fn payer(
    ctx: &Context,
    request: &ModifyVpcEndpointServicePayerResponsibilityRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcEndpointServicePayerResponsibilityResult> {
    hold::<VpcEndpointService>(ctx, txn, &request.service_id)?;
    Err(unsupported("A service whose owner pays for its endpoints"))
}
