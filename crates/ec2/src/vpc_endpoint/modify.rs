//! `ModifyVpcEndpoint`: subnets, groups, private DNS, route tables and the policy.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyVpcEndpoint.html>

use super::interface::{
    Owner, add_subnets, addresses, addressing, enable_private_dns, follow, limit_groups, set_addressing,
    within_zones,
};
use super::{gateway, invalid_parameter, policy, there};
use crate::errors::invalid_parameter_combination;
use crate::network_interface::{self, member_groups};
use crate::noun::{hold, touched};
use api_ec2::{ModifyVpcEndpointRequest, ModifyVpcEndpointResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::vpc::{RouteTable, Subnet, Vpc};
use model::record::vpc_endpoint::{EndpointKind, InterfaceEndpoint, VpcEndpoint};
use model::record::vpc_endpoint_service::VpcEndpointService;

pub fn touches(ctx: &Context, request: &ModifyVpcEndpointRequest, tables: &Tables) -> Vec<Touched> {
    let subnets = request.add_subnet_ids.iter().chain(&request.remove_subnet_ids).flatten();
    let groups = request.add_security_group_ids.iter().chain(&request.remove_security_group_ids).flatten();
    let routed = request.add_route_table_ids.iter().chain(&request.remove_route_table_ids).flatten();
    let mut all = touched::<VpcEndpoint>(ctx, tables, [&request.vpc_endpoint_id]);
    all.extend(touched::<RouteTable>(ctx, tables, routed));
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
    let own = Owner { endpoint: endpoint.endpoint, vpc: endpoint.vpc };
    let given = request.policy_document.as_deref().filter(|text| !text.is_empty());
    if request.reset_policy == Some(true) && given.is_some() {
        return Err(invalid_parameter_combination(
            "A policy document cannot be given while the policy is reset.",
        ));
    }
    let shared = endpoint.shared();
    if shared.is_some() {
        policy::refuse(given.or_else(|| (request.reset_policy == Some(true)).then_some("")))?;
    }
    let given = match endpoint.kind {
        EndpointKind::Interface(_) => given.map(policy::parse),
        EndpointKind::Gateway { .. } => given.map(policy::full_access),
    };
    match given.transpose()? {
        Some(policy) => endpoint.policy = Some(policy),
        None if request.reset_policy == Some(true) => endpoint.policy = None,
        None => {}
    }
    match &mut endpoint.kind {
        EndpointKind::Interface(interfaces) => {
            with_interfaces(ctx, request, txn, own, interfaces)?;
            if let Some(service) = shared.and_then(|id| txn.get::<VpcEndpointService>(&ctx.region, &id)) {
                within_zones(&service, &interfaces.interfaces)?;
            }
        }
        EndpointKind::Gateway { service } => {
            gateway::refuse_others(&gateway::Others {
                subnets: &[&request.add_subnet_ids, &request.remove_subnet_ids],
                groups: &[&request.add_security_group_ids, &request.remove_security_group_ids],
                configurations: request.subnet_configurations.as_deref(),
                private_dns: request.private_dns_enabled,
                addressing: request.ip_address_type.as_ref(),
                names: request.dns_options.as_ref(),
            })?;
            let service = *service;
            let removed = request.remove_route_table_ids.as_deref().unwrap_or_default();
            gateway::leave(ctx, txn, &endpoint, removed)?;
            let added = request.add_route_table_ids.as_deref().unwrap_or_default();
            gateway::lead(ctx, txn, own, service, added)?;
        }
    }
    txn.put(&ctx.region, endpoint);
    Ok(ModifyVpcEndpointResult { r#return: Some(true) })
}

fn with_interfaces(
    ctx: &Context,
    request: &ModifyVpcEndpointRequest,
    txn: &mut Txn<'_>,
    own: Owner,
    endpoint: &mut InterfaceEndpoint,
) -> Result<()> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if some(&request.add_route_table_ids) || some(&request.remove_route_table_ids) {
        return Err(invalid_parameter("Route table IDs are only supported for Gateway type VPC Endpoint."));
    }
    let asked = addressing(request.ip_address_type.as_ref(), request.dns_options.as_ref())?;
    set_addressing(&ctx.region, endpoint, asked)?;
    match request.private_dns_enabled {
        Some(true) => {
            let vpc = hold::<Vpc>(ctx, txn, &own.vpc.to_string())?;
            enable_private_dns(ctx, txn.tables(), &vpc, &own, endpoint.service)?;
            endpoint.private_dns = true;
        }
        Some(false) => endpoint.private_dns = false,
        None => {}
    }
    groups(ctx, request, txn, own, endpoint)?;
    subnets(ctx, request, txn, own, endpoint)?;
    follow(ctx, txn, endpoint)?;
    for own in &endpoint.interfaces {
        if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &own.interface)
            && interface.groups != endpoint.groups
        {
            let groups = endpoint.groups.clone();
            txn.put(&ctx.region, NetworkInterface { groups, ..(*interface).clone() });
        }
    }
    Ok(())
}

fn groups(
    ctx: &Context,
    request: &ModifyVpcEndpointRequest,
    txn: &Txn<'_>,
    owner: Owner,
    endpoint: &mut InterfaceEndpoint,
) -> Result<()> {
    if let Some(added) = request.add_security_group_ids.as_deref().filter(|ids| !ids.is_empty()) {
        for group in member_groups(ctx, txn.tables(), owner.vpc, added)? {
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
                owner.endpoint
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
    owner: Owner,
    endpoint: &mut InterfaceEndpoint,
) -> Result<()> {
    for id in request.remove_subnet_ids.iter().flatten() {
        let subnet = crate::noun::find::<Subnet>(ctx, txn.tables(), id)?.subnet;
        let Some(place) = endpoint.interfaces.iter().position(|own| own.subnet == subnet) else {
            return Err(invalid_parameter(format!(
                "The subnet '{id}' is not associated with the endpoint {}.",
                owner.endpoint
            )));
        };
        let own = endpoint.interfaces.remove(place);
        if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &own.interface) {
            network_interface::remove(ctx, txn, &interface);
        }
    }
    let added = request.add_subnet_ids.as_deref().unwrap_or_default();
    let wanted = addresses(request.subnet_configurations.as_deref().unwrap_or_default(), added)?;
    add_subnets(ctx, txn, &owner, endpoint, added, &wanted)
}
