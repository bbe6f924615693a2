//! `DeleteNetworkInterface`: refused while it is attached; its addresses are free again with it.

use super::allocate::{release_private, release_public};
use crate::address;
use crate::errors::invalid_parameter_value;
use crate::noun::{hold, touched};
use crate::{traffic_mirror, vpc_endpoint_service};
use api_ec2::{DeleteNetworkInterfaceRequest, DeleteNetworkInterfaceResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::{Manager, NetworkInterface, PublicAddress};

pub fn touches(ctx: &Context, request: &DeleteNetworkInterfaceRequest, tables: &Tables) -> Vec<Touched> {
    touched::<NetworkInterface>(ctx, tables, [&request.network_interface_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteNetworkInterfaceRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteNetworkInterfaceResult> {
    let interface = hold::<NetworkInterface>(ctx, txn, &request.network_interface_id)?;
    if let Some(attachment) = &interface.attachment {
        return Err(invalid_parameter_value(format!(
            "Network interface '{}' is currently in use by {}.",
            interface.interface, attachment.instance
        )));
    }
    let manager = interface.manager().map(|manager| match manager {
        Manager::NatGateway(gateway) => gateway.to_string(),
        Manager::VpcEndpoint(endpoint) => endpoint.to_string(),
        Manager::EndpointService(service) => service.to_string(),
    });
    if let Some(manager) = manager {
        return Err(invalid_parameter_value(format!(
            "Network interface '{}' is currently in use by {manager}.",
            interface.interface
        )));
    }
    remove(ctx, txn, &interface);
    Ok(DeleteNetworkInterfaceResult {})
}

/// It goes, and gives back what it had.
pub fn remove(ctx: &Context, txn: &mut Txn<'_>, interface: &NetworkInterface) {
    for held in &interface.addresses {
        release_private(ctx, txn, interface.subnet, held.address);
        match &held.public {
            Some(PublicAddress::Automatic(public)) => release_public(txn, *public),
            Some(PublicAddress::Elastic { allocation, .. }) => address::part(txn, &ctx.region, *allocation),
            None => {}
        }
    }
    for prefix in &interface.ipv4_prefixes {
        super::prefix::release(ctx, txn, interface.subnet, *prefix);
    }
    for prefix in &interface.ipv6_prefixes {
        super::ipv6_prefix::release(ctx, txn, interface.subnet, *prefix);
    }
    for address in &interface.ipv6 {
        super::ipv6::release(ctx, txn, interface.subnet, *address);
    }
    traffic_mirror::part(txn, &ctx.region, interface.interface);
    vpc_endpoint_service::part(txn, &ctx.region, interface.interface);
    txn.delete::<NetworkInterface>(&ctx.region, &interface.interface);
}
