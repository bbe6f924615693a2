//! `DeleteVpc`: refused while anything stands in the VPC that its owner made; what came with it goes with it.

use crate::defaults::group_name_claim;
use crate::errors::dependency_violation;
use crate::noun::{hold, touched};
use api_ec2::{DeleteVpcRequest, DeleteVpcResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::VpcId;
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::record::transit_gateway::TransitGatewayAttachment;
use model::record::vpc::{EgressOnlyInternetGateway, InternetGateway, NetworkAcl, RouteTable, Subnet, Vpc};

pub fn touches(ctx: &Context, request: &DeleteVpcRequest, tables: &Tables) -> Vec<Touched> {
    touched::<Vpc>(ctx, tables, [&request.vpc_id])
}

pub fn delete(ctx: &Context, request: &DeleteVpcRequest, txn: &mut Txn<'_>) -> Result<DeleteVpcResult> {
    let held = hold::<Vpc>(ctx, txn, &request.vpc_id)?;
    let vpc = held.vpc;
    let (region, tables) = (&ctx.region, txn.tables());
    let holders = holders(ctx, tables, vpc);
    if !holders.is_empty() {
        return Err(dependency_violation(format!(
            "The vpc '{vpc}' has dependencies and cannot be deleted: {}",
            holders.join(", ")
        )));
    }
    for table in tables.find::<RouteTable>(region, "vpc", vpc) {
        txn.delete::<RouteTable>(region, &table.table);
    }
    for acl in tables.find::<NetworkAcl>(region, "vpc", vpc) {
        txn.delete::<NetworkAcl>(region, &acl.acl);
    }
    for group in tables.find::<SecurityGroup>(region, "vpc", vpc) {
        txn.release(region, &group_name_claim(vpc, &group.name));
        txn.delete::<SecurityGroup>(region, &group.group);
    }
    for cidr in held.ipv6_cidrs() {
        super::ipv6::release(txn, cidr);
    }
    crate::vpc_peering_connection::end_all(ctx, txn, vpc);
    txn.delete::<Vpc>(region, &vpc);
    Ok(DeleteVpcResult {})
}

/// What keeps a VPC from being deleted.
fn holders(ctx: &Context, tables: &Tables, vpc: VpcId) -> Vec<String> {
    let region = &ctx.region;
    let interfaces = tables.find::<NetworkInterface>(region, "vpc", vpc).map(|i| i.interface.to_string());
    let subnets = tables.find::<Subnet>(region, "vpc", vpc).map(|s| s.subnet.to_string());
    let gateways = tables.find::<InternetGateway>(region, "vpc", vpc).map(|g| g.gateway.to_string());
    let egress_only = tables.find::<EgressOnlyInternetGateway>(region, "vpc", vpc);
    let gateways = gateways.chain(egress_only.map(|g| g.gateway.to_string()));
    let tables_ = tables.find::<RouteTable>(region, "vpc", vpc);
    let route_tables = tables_.filter(|t| !t.is_main()).map(|t| t.table.to_string());
    let acls = tables.find::<NetworkAcl>(region, "vpc", vpc).filter(|a| !a.is_default);
    let acls = acls.map(|a| a.acl.to_string());
    let groups = tables.find::<SecurityGroup>(region, "vpc", vpc).filter(|g| g.name != "default");
    let groups = groups.map(|g| g.group.to_string());
    let transits = tables.find::<TransitGatewayAttachment>(region, "vpc", vpc);
    let transits = transits.filter(|a| a.deleted_at.is_none()).map(|a| a.attachment.to_string());
    subnets
        .chain(interfaces)
        .chain(crate::vpc_endpoint::any_in(tables, region, vpc))
        .chain(gateways)
        .chain(crate::vpn_gateway::of_vpc(tables, region, vpc).map(|g| g.gateway.to_string()))
        .chain(transits)
        .chain(route_tables)
        .chain(acls)
        .chain(groups)
        .take(10)
        .collect()
}
