//! `AssociateAddress`: an address that stood for something else moves, unless the caller forbids it.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html>

use super::{by_number, disassociate, join};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::network_interface::release_public;
use crate::noun::{find, hold, touched};
use api_ec2::{AssociateAddressRequest, AssociateAddressResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::address::{Address, Association};
use model::record::instance::{Instance, Phase};
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::vpc::InternetGateway;
use model::{AddressAssociationId, NetworkInterfaceId, VpcId};
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(super) fn touches(ctx: &Context, request: &AssociateAddressRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Address>(ctx, tables, &request.allocation_id);
    all.extend(touched::<Instance>(ctx, tables, &request.instance_id));
    all.extend(touched::<NetworkInterface>(ctx, tables, &request.network_interface_id));
    all
}

pub(super) fn associate(
    ctx: &Context,
    request: &AssociateAddressRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateAddressResult> {
    let address = wanted(ctx, request, txn)?;
    let interface = target(ctx, request, txn)?;
    let interface = hold::<NetworkInterface>(ctx, txn, &interface.to_string())?;
    crate::network_interface::own(&interface)?;
    let private = private(request, &interface)?;
    reachable(ctx, txn.tables(), interface.vpc)?;

    let old = interface.addresses.iter().find(|a| a.address == private).and_then(|a| a.public.clone());
    if let Some(PublicAddress::Elastic { allocation, association, .. }) = &old {
        // Asked for what is so already.
        if *allocation == address.allocation {
            return Ok(AssociateAddressResult { association_id: Some(association.to_string()) });
        }
        if request.allow_reassociation == Some(false) {
            return Err(already(interface.interface, association));
        }
    }
    if let Some(present) = &address.association {
        if request.allow_reassociation == Some(false) {
            return Err(already(address.allocation, &present.association));
        }
        disassociate::clear(ctx, txn, &address)?;
    }
    match old {
        Some(PublicAddress::Automatic(public)) => release_public(txn, public),
        Some(PublicAddress::Elastic { allocation, .. }) => super::part(txn, &ctx.region, allocation),
        None => {}
    }
    let association = AddressAssociationId::from_entropy(ctx.bits());
    let joined = Association { association, interface: interface.interface, private };
    join(txn, &ctx.region, &address, joined);
    Ok(AssociateAddressResult { association_id: Some(association.to_string()) })
}

fn already(what: impl std::fmt::Display, association: &AddressAssociationId) -> wire::ApiError {
    client(
        "Resource.AlreadyAssociated",
        format!("resource {what} is already associated with associate-id {association}"),
    )
}

fn wanted(ctx: &Context, request: &AssociateAddressRequest, txn: &mut Txn<'_>) -> Result<Arc<Address>> {
    match (&request.allocation_id, &request.public_ip) {
        (Some(_), Some(_)) => Err(invalid_parameter_combination(
            "You may specify public IP or allocation id, but not both in the same call",
        )),
        (Some(id), None) => hold::<Address>(ctx, txn, id),
        (None, Some(number)) => {
            let id = by_number(ctx, txn.tables(), number)?;
            hold::<Address>(ctx, txn, &id.to_string())
        }
        (None, None) => Err(missing_parameter("AllocationId")),
    }
}

/// The interface that is meant: named, or the only one of the instance.
fn target(ctx: &Context, request: &AssociateAddressRequest, txn: &mut Txn<'_>) -> Result<NetworkInterfaceId> {
    let Some(id) = &request.instance_id else {
        let named = request.network_interface_id.as_ref();
        let named = named.ok_or_else(|| missing_parameter("either instanceId or networkInterfaceId"))?;
        return Ok(find::<NetworkInterface>(ctx, txn.tables(), named)?.interface);
    };
    let instance = hold::<Instance>(ctx, txn, id)?;
    match instance.phase {
        Phase::Running { .. } | Phase::Stopping { .. } | Phase::Stopped => {}
        Phase::Pending => {
            return Err(client(
                "InvalidInstanceID",
                format!("The pending instance '{id}' is not in a valid state for this operation."),
            ));
        }
        Phase::ShuttingDown { .. } | Phase::Terminated { .. } => {
            return Err(client(
                "IncorrectInstanceState",
                format!("The instance '{id}' is not in a valid state for this operation."),
            ));
        }
    }
    if let Some(named) = &request.network_interface_id {
        let named = find::<NetworkInterface>(ctx, txn.tables(), named)?.interface;
        return if instance.interfaces.contains(&named) {
            Ok(named)
        } else {
            Err(invalid_parameter_combination(format!("Interface {named} is not attached to instance {id}")))
        };
    }
    match instance.interfaces.as_slice() {
        [only] => Ok(*only),
        [] => Err(client("InvalidInstanceID", format!("The instance '{id}' has no network interface."))),
        _ => Err(client(
            "InvalidInstanceID",
            format!(
                "There are multiple interfaces attached to instance '{id}'. Please specify an interface ID for the operation instead."
            ),
        )),
    }
}

fn private(request: &AssociateAddressRequest, interface: &NetworkInterface) -> Result<Ipv4Addr> {
    let Some(text) = &request.private_ip_address else {
        return interface.primary().map(|primary| primary.address).ok_or_else(|| {
            invalid_parameter_value(format!(
                "Network interface '{}' is in an IPv6-only subnet and has no private IPv4 address.",
                interface.interface
            ))
        });
    };
    let parsed: Option<Ipv4Addr> = text.parse().ok();
    parsed.filter(|wanted| interface.addresses.iter().any(|a| a.address == *wanted)).ok_or_else(|| {
        invalid_parameter_value(format!(
            "Network interface '{}' does not have the private IP address {text}",
            interface.interface
        ))
    })
}

fn reachable(ctx: &Context, tables: &Tables, vpc: VpcId) -> Result<()> {
    match tables.find::<InternetGateway>(&ctx.region, "vpc", vpc).next() {
        Some(_) => Ok(()),
        None => Err(client(
            "Gateway.NotAttached",
            format!("Network {vpc} is not attached to any internet gateway"),
        )),
    }
}
