//! `DisassociateAddress`: a running instance that was launched with a public address gets one of the cloud's own again.

use super::part;
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::instance::give_public_address;
use crate::noun::Noun as _;
use api_ec2::{DisassociateAddressRequest, DisassociateAddressResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::AddressAssociationId;
use model::record::address::Address;
use model::record::instance::{Instance, Phase};
use model::record::network_interface::NetworkInterface;
use std::sync::Arc;

fn associated<'a>(ctx: &'a Context, tables: &'a Tables, id: &str) -> Option<&'a Arc<Address>> {
    let id = AddressAssociationId::parse(id).ok()?;
    let is_it = |a: &&Arc<Address>| a.association.as_ref().is_some_and(|a| a.association == id);
    tables.find::<Address>(&ctx.region, "account", ctx.account()).find(is_it)
}

pub(super) fn touches(ctx: &Context, request: &DisassociateAddressRequest, tables: &Tables) -> Vec<Touched> {
    let named = request.association_id.as_deref().and_then(|id| associated(ctx, tables, id));
    named.map(|address| Touched::new(address.arn(ctx)).tagged(&address.tags)).into_iter().collect()
}

pub(super) fn disassociate(
    ctx: &Context,
    request: &DisassociateAddressRequest,
    txn: &mut Txn<'_>,
) -> Result<DisassociateAddressResult> {
    let Some(id) = &request.association_id else {
        return Err(if request.public_ip.is_some() {
            invalid_parameter_value(
                "You must specify an association id when unmapping an address from a VPC instance",
            )
        } else {
            missing_parameter("AssociationId")
        });
    };
    let missing =
        || client("InvalidAssociationID.NotFound", format!("The association ID '{id}' does not exist"));
    let allocation = associated(ctx, txn.tables(), id).ok_or_else(missing)?.allocation;
    let address = txn.get::<Address>(&ctx.region, &allocation).ok_or_else(missing)?;
    clear(ctx, txn, &address)?;
    Ok(DisassociateAddressResult {})
}

/// Takes the association out of both records.
pub(super) fn clear(ctx: &Context, txn: &mut Txn<'_>, address: &Address) -> Result<()> {
    let Some(association) = &address.association else { return Ok(()) };
    if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &association.interface) {
        crate::network_interface::own(&interface)?;
    }
    part(txn, &ctx.region, address.allocation);
    let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &association.interface) else {
        return Ok(());
    };
    let mut interface = (*interface).clone();
    for private in interface.addresses.iter_mut().filter(|p| p.address == association.private) {
        private.public = None;
    }
    let attached = interface.attachment.as_ref().filter(|a| a.device_index == 0).map(|a| a.instance);
    let is_primary = interface.primary().is_some_and(|primary| primary.address == association.private);
    txn.put(&ctx.region, interface);
    if let Some(id) = attached
        && is_primary
        && let Some(instance) = txn.get::<Instance>(&ctx.region, &id)
        && instance.automatic_public_address
        && matches!(instance.phase, Phase::Pending | Phase::Running { .. })
    {
        give_public_address(ctx, txn, &instance)?;
    }
    Ok(())
}
