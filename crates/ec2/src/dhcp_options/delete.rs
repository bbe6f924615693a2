//! `DeleteDhcpOptions`: refused while a VPC uses them.

use crate::errors::dependency_violation;
use crate::noun::{hold, touched};
use api_ec2::{DeleteDhcpOptionsRequest, DeleteDhcpOptionsResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::{DhcpOptions, Vpc};

pub fn touches(ctx: &Context, request: &DeleteDhcpOptionsRequest, tables: &Tables) -> Vec<Touched> {
    touched::<DhcpOptions>(ctx, tables, [&request.dhcp_options_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteDhcpOptionsRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteDhcpOptionsResult> {
    let options = hold::<DhcpOptions>(ctx, txn, &request.dhcp_options_id)?.options;
    let mut vpcs = txn.tables().find::<Vpc>(&ctx.region, "account", ctx.account());
    if let Some(vpc) = vpcs.find(|vpc| vpc.dhcp_options == options) {
        return Err(dependency_violation(format!(
            "The dhcpOptions '{options}' has dependencies and cannot be deleted: {}",
            vpc.vpc
        )));
    }
    txn.delete::<DhcpOptions>(&ctx.region, &options);
    Ok(DeleteDhcpOptionsResult {})
}
