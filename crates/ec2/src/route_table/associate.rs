//! Which table a subnet uses: `AssociateRouteTable`, `DisassociateRouteTable`, `ReplaceRouteTableAssociation`.
//!
//! They run exclusively: a subnet has at most one association, a VPC exactly one main one, over all of its tables.

use super::{holding, render};
use crate::errors::{client, invalid_parameter_value, missing_parameter};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    AssociateRouteTableRequest, AssociateRouteTableResult, DisassociateRouteTableRequest,
    DisassociateRouteTableResult, ReplaceRouteTableAssociationRequest, ReplaceRouteTableAssociationResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::RouteTableAssociationId;
use model::record::vpc::{RouteTable, RouteTableAssociation, Subnet};

pub fn associate_touches(
    ctx: &Context,
    request: &AssociateRouteTableRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<RouteTable>(ctx, tables, [&request.route_table_id]);
    all.extend(touched::<Subnet>(ctx, tables, &request.subnet_id));
    all
}

pub fn associate(
    ctx: &Context,
    request: &AssociateRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateRouteTableResult> {
    refuse(&[
        ("GatewayId", request.gateway_id.is_some()),
        ("PublicIpv4Pool", request.public_ipv4_pool.is_some()),
    ])?;
    let mut table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    let subnet = request.subnet_id.as_deref().ok_or_else(|| missing_parameter("subnetId"))?;
    let subnet = hold::<Subnet>(ctx, txn, subnet)?;
    if subnet.vpc != table.vpc {
        return Err(invalid_parameter_value(format!(
            "Route table {} and subnet {} belong to different networks",
            table.table, subnet.subnet
        )));
    }
    let own = txn.tables().find::<RouteTable>(&ctx.region, "subnet", subnet.subnet).next();
    let association = match own {
        Some(own) if own.table != table.table => {
            return Err(client(
                "Resource.AlreadyAssociated",
                format!("The subnet {} is already associated with route table {}", subnet.subnet, own.table),
            ));
        }
        // Asking again for what is already so gives the association there is.
        Some(own) => own.associations.iter().find(|a| a.subnet == Some(subnet.subnet)).map(|a| a.association),
        None => None,
    };
    let association = association.unwrap_or_else(|| {
        let association = RouteTableAssociationId::from_entropy(ctx.bits());
        table.associations.push(RouteTableAssociation { association, subnet: Some(subnet.subnet) });
        association
    });
    txn.put(&ctx.region, table);
    Ok(AssociateRouteTableResult {
        association_id: Some(association.to_string()),
        association_state: Some(render::associated()),
    })
}

fn touched_by_association(ctx: &Context, tables: &Tables, association: &str) -> Vec<Touched> {
    let Ok(id) = RouteTableAssociationId::parse(association) else { return Vec::new() };
    let mut mine = tables.find::<RouteTable>(&ctx.region, "account", ctx.account());
    let table = mine.find(|table| table.associations.iter().any(|a| a.association == id));
    touched::<RouteTable>(ctx, tables, table.map(|table| table.table.to_string()).as_ref())
}

pub fn disassociate_touches(
    ctx: &Context,
    request: &DisassociateRouteTableRequest,
    tables: &Tables,
) -> Vec<Touched> {
    touched_by_association(ctx, tables, &request.association_id)
}

pub fn disassociate(
    ctx: &Context,
    request: &DisassociateRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<DisassociateRouteTableResult> {
    let (table, id) = holding(ctx, txn, &request.association_id)?;
    let mut table = RouteTable::clone(&table);
    if table.associations.iter().any(|a| a.association == id && a.subnet.is_none()) {
        return Err(invalid_parameter_value(format!(
            "cannot disassociate the main route table association {id}"
        )));
    }
    table.associations.retain(|a| a.association != id);
    txn.put(&ctx.region, table);
    Ok(DisassociateRouteTableResult {})
}

pub fn replace_touches(
    ctx: &Context,
    request: &ReplaceRouteTableAssociationRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched_by_association(ctx, tables, &request.association_id);
    all.extend(touched::<RouteTable>(ctx, tables, [&request.route_table_id]));
    all
}

/// Moves a subnet, or the role of main table, to another table. The association gets a new id.
pub fn replace(
    ctx: &Context,
    request: &ReplaceRouteTableAssociationRequest,
    txn: &mut Txn<'_>,
) -> Result<ReplaceRouteTableAssociationResult> {
    let (from, id) = holding(ctx, txn, &request.association_id)?;
    let to = hold::<RouteTable>(ctx, txn, &request.route_table_id)?;
    if from.vpc != to.vpc {
        return Err(invalid_parameter_value(format!(
            "Route tables {} and {} belong to different networks",
            from.table, to.table
        )));
    }
    let association = if from.table == to.table {
        id
    } else {
        let mut from = RouteTable::clone(&from);
        let mut to = RouteTable::clone(&to);
        let association = RouteTableAssociationId::from_entropy(ctx.bits());
        let subnet = from.associations.iter().find(|a| a.association == id).and_then(|a| a.subnet);
        from.associations.retain(|a| a.association != id);
        to.associations.push(RouteTableAssociation { association, subnet });
        txn.put(&ctx.region, from);
        txn.put(&ctx.region, to);
        association
    };
    Ok(ReplaceRouteTableAssociationResult {
        new_association_id: Some(association.to_string()),
        association_state: Some(render::associated()),
    })
}
