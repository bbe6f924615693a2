//! `DeleteVpnConnection`: its addresses go back to the pool, its attachment to a transit gateway ends with it; routes to its gateway stay and drop what was its own.

use super::end;
use crate::network_interface::allocate::release_public;
use crate::transit_gateway::live;
use api_ec2::{DeleteVpnConnectionRequest, DeleteVpnConnectionResult};
use control::{Context, Result, Txn};
use model::record::vpn::VpnConnection;

pub fn delete(
    ctx: &Context,
    request: &DeleteVpnConnectionRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteVpnConnectionResult> {
    let held = live::<VpnConnection>(ctx, txn, &request.vpn_connection_id)?;
    for tunnel in &held.tunnels {
        release_public(txn, tunnel.outside);
    }
    end::detach(ctx, txn, held.end);
    let mut ended = VpnConnection { deleted_at: Some(ctx.now), ..(*held).clone() };
    for tunnel in &mut ended.tunnels {
        tunnel.sealed = Vec::new().into();
    }
    txn.put(&ctx.region, ended);
    Ok(DeleteVpnConnectionResult {})
}
