//! Edge associations: a table that leads what comes in by an internet gateway or a virtual private one.
//!
//! Such a table leads whole subnets, or the VPC's own blocks, to interfaces, and nothing else anywhere.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/userguide/gateway-route-tables.html>

use crate::errors::{client, invalid_parameter_value};
use crate::noun::hold;
use crate::transit_gateway::live;
use control::{Context, Result, Tables, Txn};
use ipnet::IpNet;
use model::record::vpc::{Destination, EdgeGateway, InternetGateway, RouteTable, RouteTarget, Subnet, Vpc};
use model::record::vpn::VpnGateway;
use model::{Region, VpcId};

/// The gateway that a request names, attached to the table's VPC. The table may be associated with it.
pub fn gateway(ctx: &Context, txn: &mut Txn<'_>, table: &RouteTable, id: &str) -> Result<EdgeGateway> {
    let (vpc, gateway) = if id.starts_with("vgw-") {
        let gateway = live::<VpnGateway>(ctx, txn, id)?;
        (gateway.vpc, EdgeGateway::Vpn(gateway.gateway))
    } else {
        let gateway = hold::<InternetGateway>(ctx, txn, id)?;
        (gateway.vpc, EdgeGateway::Internet(gateway.gateway))
    };
    match vpc {
        None => Err(client("Gateway.NotAttached", format!("resource {id} is not attached to any network"))),
        Some(vpc) if vpc != table.vpc => Err(invalid_parameter_value(format!(
            "Route table {} and network gateway {id} belong to different networks",
            table.table
        ))),
        Some(_) => Ok(gateway),
    }
}

/// Whether a table, as it is, can be a gateway's; `InvalidParameterValue` when not.
pub fn fits(ctx: &Context, tables: &Tables, table: &RouteTable) -> Result<()> {
    if table.is_main() {
        return Err(invalid_parameter_value(format!(
            "The main route table {} cannot be associated with a gateway",
            table.table
        )));
    }
    if !table.propagating.is_empty() {
        return Err(invalid_parameter_value(format!(
            "Route table {} cannot be associated with a gateway while route propagation is enabled for it",
            table.table
        )));
    }
    table.routes.iter().try_for_each(|route| admits(ctx, tables, table, route.destination, route.target))
}

/// Whether a gateway's table may have a route; `InvalidParameterValue` when not.
pub fn admits(
    ctx: &Context,
    tables: &Tables,
    table: &RouteTable,
    destination: Destination,
    target: RouteTarget,
) -> Result<()> {
    if !matches!(target, RouteTarget::Interface(_)) {
        return Err(invalid_parameter_value(format!(
            "Route table {} contains unsupported route target for destination {destination}. The routes of a \
             gateway's table can target only local, an interface or an instance.",
            table.table
        )));
    }
    match destination {
        Destination::Net(net) if is_own(&ctx.region, tables, table.vpc, net) => Ok(()),
        Destination::Net(_) | Destination::PrefixList(_) => Err(invalid_parameter_value(format!(
            "Route table {} contains unsupported route destination {destination}. The routes of a gateway's \
             table can be only for the VPC's CIDR blocks and for entire subnets of it.",
            table.table
        ))),
    }
}

/// Whether a range is a block of the VPC or a subnet's.
fn is_own(region: &Region, tables: &Tables, vpc: VpcId, net: IpNet) -> bool {
    let block = tables.get::<Vpc>(region, &vpc).is_some_and(|vpc| vpc.nets().any(|own| own == net));
    let mut subnets = tables.find::<Subnet>(region, "vpc", vpc);
    block || subnets.any(|subnet| subnet.nets().any(|own| own == net))
}
