//! Which table a subnet or a gateway uses: `AssociateRouteTable`, `DisassociateRouteTable`, `ReplaceRouteTableAssociation`.
//!
//! They run exclusively: a subnet or gateway has at most one association, a VPC exactly one main one, over all of its tables.

use super::{edge, holding, render};
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{hold, touched};
use crate::parameter::refuse;
use api_ec2::{
    AssociateRouteTableRequest, AssociateRouteTableResult, DisassociateRouteTableRequest,
    DisassociateRouteTableResult, ReplaceRouteTableAssociationRequest, ReplaceRouteTableAssociationResult,
};
use control::{Context, Result, Tables, Touched, Txn};
use model::RouteTableAssociationId;
use model::record::vpc::{InternetGateway, RouteTable, RouteTableAssociation, Subnet};
use model::record::vpn::VpnGateway;
use wire::ApiError;

pub fn associate_touches(
    ctx: &Context,
    request: &AssociateRouteTableRequest,
    tables: &Tables,
) -> Vec<Touched> {
    let mut all = touched::<RouteTable>(ctx, tables, [&request.route_table_id]);
    all.extend(touched::<Subnet>(ctx, tables, &request.subnet_id));
    all.extend(touched::<InternetGateway>(ctx, tables, &request.gateway_id));
    all.extend(touched::<VpnGateway>(ctx, tables, &request.gateway_id));
    all
}

pub fn associate(
    ctx: &Context,
    request: &AssociateRouteTableRequest,
    txn: &mut Txn<'_>,
) -> Result<AssociateRouteTableResult> {
    refuse(&[("PublicIpv4Pool", request.public_ipv4_pool.is_some())])?;
    let table = RouteTable::clone(&*hold::<RouteTable>(ctx, txn, &request.route_table_id)?);
    let association = match (request.subnet_id.as_deref(), request.gateway_id.as_deref()) {
        (Some(subnet), None) => with_subnet(ctx, txn, table, subnet)?,
        (None, Some(gateway)) => with_gateway(ctx, txn, table, gateway)?,
        (Some(_), Some(_)) => {
            return Err(invalid_parameter_combination(
                "The parameters subnetId and gatewayId cannot be used together",
            ));
        }
        (None, None) => return Err(missing_parameter("subnetId or gatewayId")),
    };
    Ok(AssociateRouteTableResult {
        association_id: Some(association.to_string()),
        association_state: Some(render::associated()),
    })
}

fn already(what: &str, table: &RouteTable) -> ApiError {
    client(
        "Resource.AlreadyAssociated",
        format!("The {what} is already associated with route table {}", table.table),
    )
}

fn with_gateway(
    ctx: &Context,
    txn: &mut Txn<'_>,
    mut table: RouteTable,
    gateway: &str,
) -> Result<RouteTableAssociationId> {
    let gateway = edge::gateway(ctx, txn, &table, gateway)?;
    if let Some(own) = txn.tables().find::<RouteTable>(&ctx.region, "gateway", gateway).next() {
        let same = own.associations.iter().find(|a| own.table == table.table && a.gateway == Some(gateway));
        return same.map(|a| a.association).ok_or_else(|| already(&format!("gateway {gateway}"), own));
    }
    edge::fits(ctx, txn.tables(), &table)?;
    let association = RouteTableAssociationId::from_entropy(ctx.bits());
    table.associations.push(RouteTableAssociation { association, subnet: None, gateway: Some(gateway) });
    txn.put(&ctx.region, table);
    Ok(association)
}

fn with_subnet(
    ctx: &Context,
    txn: &mut Txn<'_>,
    mut table: RouteTable,
    subnet: &str,
) -> Result<RouteTableAssociationId> {
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
            return Err(already(&format!("subnet {}", subnet.subnet), own));
        }
        // Asking again for what is already so gives the association there is.
        Some(own) => own.associations.iter().find(|a| a.subnet == Some(subnet.subnet)).map(|a| a.association),
        None => None,
    };
    let association = association.unwrap_or_else(|| {
        let association = RouteTableAssociationId::from_entropy(ctx.bits());
        table.associations.push(RouteTableAssociation {
            association,
            subnet: Some(subnet.subnet),
            gateway: None,
        });
        association
    });
    txn.put(&ctx.region, table);
    Ok(association)
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
    if table.associations.iter().any(|a| a.association == id && a.is_main()) {
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

/// Moves a subnet, a gateway, or the role of main table, to another table. The association gets a new id.
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
        let old = from.associations.iter().find(|a| a.association == id);
        let (subnet, gateway) = old.map_or((None, None), |a| (a.subnet, a.gateway));
        if gateway.is_some() {
            edge::fits(ctx, txn.tables(), &to)?;
        } else if subnet.is_none() && to.is_edge() {
            return Err(invalid_parameter_value(format!(
                "The gateway route table {} cannot be the main route table",
                to.table
            )));
        }
        from.associations.retain(|a| a.association != id);
        to.associations.push(RouteTableAssociation { association, subnet, gateway });
        txn.put(&ctx.region, from);
        txn.put(&ctx.region, to);
        association
    };
    Ok(ReplaceRouteTableAssociationResult {
        new_association_id: Some(association.to_string()),
        association_state: Some(render::associated()),
    })
}
