//! `DeleteRouteTable`: refused for the main table and while a subnet is associated.

use crate::errors::dependency_violation;
use crate::noun::{hold, touched};
use api_ec2::{DeleteRouteTableRequest, DeleteRouteTableResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::vpc::RouteTable;

pub fn touches(ctx: &Context, request: &DeleteRouteTableRequest, tables: &Tables) -> Vec<Touched> {
    touched::<RouteTable>(ctx, tables, [&request.route_table_id])
}

pub fn delete(
    ctx: &Context,
    request: &DeleteRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<DeleteRouteTableResult> {
    let table = hold::<RouteTable>(ctx, txn, &request.route_table_id)?;
    if !table.associations.is_empty() {
        let holders = table.associations.iter().map(|a| a.association.to_string());
        return Err(dependency_violation(format!(
            "The routeTable '{}' has dependencies and cannot be deleted: {}",
            table.table,
            holders.take(10).collect::<Vec<_>>().join(", ")
        )));
    }
    txn.delete::<RouteTable>(&ctx.region, &table.table);
    Ok(DeleteRouteTableResult {})
}
