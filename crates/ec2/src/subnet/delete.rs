//! `DeleteSubnet`: refused while an interface or an attachment of a transit gateway stands in it; its associations and reservations go with it.

use crate::errors::dependency_violation;
use crate::noun::{hold, touched};
use api_ec2::{DeleteSubnetRequest, DeleteSubnetResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::network_interface::NetworkInterface;
use model::record::vpc::{NetworkAcl, RouteTable, Subnet, SubnetCidrReservation};

pub fn touches(ctx: &Context, request: &DeleteSubnetRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Subnet>(ctx, tables, [&request.subnet_id])
}

pub fn delete(ctx: &Context, request: &DeleteSubnetRequest, txn: &mut Txn<'_>) -> Result<DeleteSubnetResult> {
    let subnet = hold::<Subnet>(ctx, txn, &request.subnet_id)?.subnet;
    let (region, tables) = (&ctx.region, txn.tables());
    let holders = tables.find::<NetworkInterface>(region, "subnet", subnet);
    let transits = crate::transit_gateway_attachment::of_subnet(tables, region, subnet);
    let holders = holders.map(|i| i.interface.to_string()).chain(transits);
    let holders: Vec<String> = holders.take(10).collect();
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "The subnet '{subnet}' has dependencies and cannot be deleted: {}",
            holders.join(", ")
        )));
    }
    for reservation in tables.find::<SubnetCidrReservation>(region, "subnet", subnet) {
        txn.delete::<SubnetCidrReservation>(region, &reservation.reservation);
    }
    for table in tables.find::<RouteTable>(region, "subnet", subnet) {
        let mut table = RouteTable::clone(table);
        table.associations.retain(|a| a.subnet != Some(subnet));
        txn.put(region, table);
    }
    for acl in tables.find::<NetworkAcl>(region, "subnet", subnet) {
        let mut acl = NetworkAcl::clone(acl);
        acl.associations.retain(|a| a.subnet != subnet);
        txn.put(region, acl);
    }
    txn.delete::<Subnet>(region, &subnet);
    Ok(DeleteSubnetResult {})
}
