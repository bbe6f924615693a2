//! `DeleteVpcEndpoints`: each with its interfaces or its routes; what is not there is told, and keeps nothing else from its end.

use super::{gateway, there};
use crate::network_interface as interfaces;
use crate::noun::{Noun as _, touched};
use api_ec2::{DeleteVpcEndpointsRequest, DeleteVpcEndpointsResult, UnsuccessfulItem, UnsuccessfulItemError};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc_endpoint::{EndpointKind, VpcEndpoint};

pub fn touches(ctx: &Context, request: &DeleteVpcEndpointsRequest, tables: &Tables) -> Vec<Touched> {
    touched::<VpcEndpoint>(ctx, tables, &request.vpc_endpoint_ids)
}

pub fn delete(
    ctx: &Context,
    request: &DeleteVpcEndpointsRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpcEndpointsResult> {
    for id in &request.vpc_endpoint_ids {
        VpcEndpoint::parse_id(id)?;
    }
    let mut ids = request.vpc_endpoint_ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let mut unsuccessful = Vec::new();
    for id in ids {
        let endpoint = match there(ctx, txn, &id) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let error = UnsuccessfulItemError {
                    code: Some(error.code().to_owned()),
                    message: Some(error.message().to_owned()),
                };
                unsuccessful.push(UnsuccessfulItem { error: Some(error), resource_id: Some(id) });
                continue;
            }
        };
        let mut ended = VpcEndpoint { deleted_at: Some(ctx.now), ..(*endpoint).clone() };
        match &mut ended.kind {
            EndpointKind::Interface(own) => {
                for own in std::mem::take(&mut own.interfaces) {
                    if let Some(interface) = txn.get::<NetworkInterface>(&ctx.region, &own.interface) {
                        interfaces::remove(ctx, txn, &interface);
                    }
                }
            }
            EndpointKind::Gateway { .. } => gateway::end(ctx, txn, &endpoint),
        }
        txn.put(&ctx.region, ended);
    }
    Ok(DeleteVpcEndpointsResult { unsuccessful: Some(unsuccessful) })
}
