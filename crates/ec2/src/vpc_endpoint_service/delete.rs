//! `DeleteVpcEndpointServiceConfigurations`: each that no endpoint is attached to, with its nodes.

use super::{connected, is_attached, target};
use crate::noun::{Noun as _, hold};
use api_ec2::{
    DeleteVpcEndpointServiceConfigurationsRequest, DeleteVpcEndpointServiceConfigurationsResult,
    UnsuccessfulItem, UnsuccessfulItemError,
};
use control::{Context, Result, Txn};
use model::record::vpc_endpoint_service::VpcEndpointService;
use wire::ApiError;

/// What could not be done with one of several.
pub fn unsuccessful(id: String, error: &ApiError) -> UnsuccessfulItem {
    let error = UnsuccessfulItemError {
        code: Some(error.code().to_owned()),
        message: Some(error.message().to_owned()),
    };
    UnsuccessfulItem { error: Some(error), resource_id: Some(id) }
}

pub fn delete(
    ctx: &Context,
    request: &DeleteVpcEndpointServiceConfigurationsRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpcEndpointServiceConfigurationsResult> {
    for id in &request.service_ids {
        VpcEndpointService::parse_id(id)?;
    }
    let mut ids = request.service_ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let mut left = Vec::new();
    for id in ids {
        if let Err(error) = end(ctx, txn, &id) {
            left.push(unsuccessful(id, &error));
        }
    }
    Ok(DeleteVpcEndpointServiceConfigurationsResult { unsuccessful: Some(left) })
}

fn end(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<()> {
    let service = hold::<VpcEndpointService>(ctx, txn, id)?;
    if is_attached(txn.tables(), &ctx.region, service.service, None) {
        return Err(connected(service.service));
    }
    target::clear(ctx, txn, service.service, &service.targets)?;
    let ended = VpcEndpointService { deleted_at: Some(ctx.now), targets: Vec::new(), ..(*service).clone() };
    txn.put(&ctx.region, ended);
    Ok(())
}
