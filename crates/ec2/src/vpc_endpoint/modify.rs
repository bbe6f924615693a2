//! `ModifyVpcEndpoint`: subnets, groups, private DNS and the policy.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpoint.html>

use super::create::{add_subnets, addresses, addressing, enable_private_dns, limit_groups, policy};
use super::{invalid_parameter, there};
use crate::errors::invalid_parameter_combination;
use crate::network_interface::{self, member_groups};
use crate::noun::{hold, touched};
use api_ec2::{ModifyVpcEndpointRequest, ModifyVpcEndpointResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::vpc::{Subnet, Vpc};
use model::record::vpc_endpoint::VpcEndpoint;

pub fn touches(ctx: &Context, request: &ModifyVpcEndpointRequest, tables: &Tables) -> Vec<Touched> {
    let subnets = request.add_subnet_ids.iter().chain(&request.remove_subnet_ids).flatten();
    let groups = request.add_security_group_ids.iter().chain(&request.remove_security_group_ids).flatten();
    let mut all = touched::<VpcEndpoint>(ctx, tables, [&request.vpc_endpoint_id]);
    all.extend(touched::<Subnet>(ctx, tables, subnets));
    all.extend(touched::<SecurityGroup>(ctx, tables, groups));
    all
}

pub fn modify(
    ctx: &Context,
    request: &ModifyVpcEndpointRequest,
    txn: &mut Txn<'_>,
) -> Result<ModifyVpcEndpointResult> {
    let mut endpoint = (*there(ctx, txn, &request.vpc_endpoint_id)?).clone();
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if some(&request.add_route_table_ids) || some(&request.remove_route_table_ids) {
        return Err(invalid_parameter("Route table IDs are only supported for Gateway type VPC Endpoint."));
    }
    addressing(request.ip_address_type.as_ref(), request.dns_options.as_ref())?;
    let given = request.policy_document.as_deref().filter(|text| !text.is_empty());
    match (request.reset_policy, given) {
        (Some(true), Some(_)) => {
            return Err(invalid_parameter_combination(
                "A policy document cannot be given while the policy is reset.",
            ));
        }
        (Some(true), None) => endpoint.policy = None,
        (_, Some(text)) => endpoint.policy = Some(policy(text)?),
        (_, None) => {}
    }
    match request.private_dns_enabled {
        Some(true) => {
            let vpc = hold::<Vpc>(ctx, txn, &endpoint.vpc.to_string())?;
            enable_private_dns(txn.tables(), &vpc, &endpoint)?;
            endpoint.private_dns = true;
        }
        Some(false) => endpoint.private_dns = false,
        None => {}
    }
    groups(ctx, request, txn, &mut endpoint)?;
    subnets(ctx, request, txn, &mut endpoint)?;
    for own in &endpoint.interfaces {
        if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &own.interface)
            && interface.groups != endpoint.groups
        {
            let groups = endpoint.groups.clone();
            txn.put(&ctx.region, NetworkInterface { groups, ..(*interface).clone() });
        }
    }
    txn.put(&ctx.region, endpoint);
    Ok(ModifyVpcEndpointResult { r#return: Some(true) })
}

fn groups(
    ctx: &Context,
    request: &ModifyVpcEndpointRequest,
    txn: &Txn<'_>,
    endpoint: &mut VpcEndpoint,
) -> Result<()> {
    if let Some(added) = request.add_security_group_ids.as_deref().filter(|ids| !ids.is_empty()) {
        for group in member_groups(ctx, txn.tables(), endpoint.vpc, added)? {
            if !endpoint.groups.contains(&group) {
                endpoint.groups.push(group);
            }
        }
    }
    for id in request.remove_security_group_ids.iter().flatten() {
        let group = crate::noun::find::<SecurityGroup>(ctx, txn.tables(), id)?.group;
        if !endpoint.groups.contains(&group) {
            return Err(invalid_parameter(format!(
                "The security group '{id}' is not associated with the endpoint {}.",
                endpoint.endpoint
            )));
        }
        endpoint.groups.retain(|own| *own != group);
    }
    limit_groups(&endpoint.groups)
}

fn subnets(
    ctx: &Context,
    request: &ModifyVpcEndpointRequest,
    txn: &mut Txn<'_>,
    endpoint: &mut VpcEndpoint,
) -> Result<()> {
    for id in request.remove_subnet_ids.iter().flatten() {
        let subnet = crate::noun::find::<Subnet>(ctx, txn.tables(), id)?.subnet;
        let Some(place) = endpoint.interfaces.iter().position(|own| own.subnet == subnet) else {
            return Err(invalid_parameter(format!(
                "The subnet '{id}' is not associated with the endpoint {}.",
                endpoint.endpoint
            )));
        };
        let own = endpoint.interfaces.remove(place);
        if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &own.interface) {
            network_interface::remove(ctx, txn, &interface);
        }
    }
    let added = request.add_subnet_ids.as_deref().unwrap_or_default();
    let wanted = addresses(request.subnet_configurations.as_deref().unwrap_or_default(), added)?;
    add_subnets(ctx, txn, endpoint, added, &wanted)
}
