//! Where routes lead: what a request names, whether it is there, and how it is shown.

use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{Noun as _, find};
use crate::parameter::unsupported;
use crate::vpc::attached;
use api_ec2 as api;
use control::{Context, Result, Tables, Txn};
use ipnet::IpNet;
use model::record::instance::Instance;
use model::record::nat_gateway::NatGateway;
use model::record::network_interface::NetworkInterface;
use model::record::transit_gateway::TransitGateway;
use model::record::vpc::{
    Destination, EgressOnlyInternetGateway, InternetGateway, Route, RouteTable, RouteTarget, Subnet, Vpc,
};
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::record::vpn::VpnGateway;
use model::{NetworkInterfaceId, Region};
use wire::ApiError;

/// The targets that a request may name, each by its parameter.
pub struct Named<'a> {
    pub gateway: Option<&'a str>,
    pub instance: Option<&'a str>,
    pub interface: Option<&'a str>,
    pub peering: Option<&'a str>,
    pub nat: Option<&'a str>,
    pub transit: Option<&'a str>,
    pub egress_only: Option<&'a str>,
    /// Those that are not built.
    pub others: [(&'static str, &'a Option<String>); 5],
}

impl Named<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        let built = [
            self.gateway,
            self.instance,
            self.interface,
            self.peering,
            self.nat,
            self.transit,
            self.egress_only,
        ];
        built.iter().flatten().count() + self.others.iter().filter(|(_, value)| value.is_some()).count()
    }
}

/// Where a route to `destination` shall lead: a gateway or interface of the table's VPC.
pub fn target(
    ctx: &Context,
    txn: &Txn<'_>,
    table: &RouteTable,
    destination: Destination,
    named: &Named<'_>,
) -> Result<RouteTarget> {
    let mut other = named.others.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name);
    match (named.count(), other.next()) {
        (0, _) => return Err(missing_parameter("gatewayId")),
        (1, Some(name)) => return Err(unsupported(&format!("A route to the target {name}"))),
        (1, None) => {}
        _ => return Err(invalid_parameter_combination("A route has exactly one target")),
    }
    let tables = txn.tables();
    let target = if let Some(id) = named.gateway {
        internet_gateway(ctx, tables, table, id)?
    } else if let Some(id) = named.interface {
        let interface = find::<NetworkInterface>(ctx, tables, id)?;
        own_network(table, interface)?;
        RouteTarget::Interface(interface.interface)
    } else if let Some(id) = named.peering {
        let peering = find::<VpcPeeringConnection>(ctx, tables, id)?;
        if peering.beyond(table.vpc).is_none() {
            return Err(foreign(table, "peering connection", id));
        }
        RouteTarget::Peering(peering.peering)
    } else if let Some(id) = named.nat {
        let gateway = find::<NatGateway>(ctx, tables, id)?;
        if gateway.vpc != table.vpc {
            return Err(foreign(table, "NAT gateway", id));
        }
        RouteTarget::NatGateway(gateway.gateway)
    } else if let Some(id) = named.transit {
        transit_gateway(ctx, tables, table, id)?
    } else if let Some(id) = named.egress_only {
        let gateway = find::<EgressOnlyInternetGateway>(ctx, tables, id)?;
        if gateway.vpc != table.vpc {
            return Err(foreign(table, "egress-only gateway", id));
        }
        RouteTarget::EgressOnly(gateway.gateway)
    } else {
        let id = named.instance.unwrap_or_default();
        let instance = find::<Instance>(ctx, tables, id)?;
        let [only] = instance.interfaces.as_slice() else {
            return Err(client(
                "InvalidInstanceID",
                format!(
                    "There are multiple interfaces attached to instance '{id}'. Please specify an interface ID for the operation instead."
                ),
            ));
        };
        let interface = find::<NetworkInterface>(ctx, tables, &only.to_string())?;
        own_network(table, interface)?;
        RouteTarget::Interface(interface.interface)
    };
    let nets = match destination {
        Destination::Net(net) => vec![net],
        Destination::PrefixList(list) => crate::prefix_list::nets(tables, &ctx.region, list),
    };
    for net in nets {
        // None of them carries the other family.
        let fits = match (net, target) {
            (IpNet::V4(_), RouteTarget::EgressOnly(_))
            | (IpNet::V6(_), RouteTarget::NatGateway(_) | RouteTarget::VpnGateway(_)) => false,
            (IpNet::V4(_) | IpNet::V6(_), _) => true,
        };
        if !fits {
            return Err(invalid_parameter_value(format!(
                "The destination CIDR block {net} cannot be routed to this kind of gateway."
            )));
        }
        within(ctx, tables, table, net, target)?;
    }
    Ok(target)
}

fn own_network(table: &RouteTable, interface: &NetworkInterface) -> Result<()> {
    if interface.vpc == table.vpc {
        return Ok(());
    }
    Err(foreign(table, "interface", &interface.interface.to_string()))
}

fn foreign(table: &RouteTable, what: &str, id: &str) -> ApiError {
    invalid_parameter_value(format!(
        "route table {} and {what} {id} belong to different networks",
        table.table
    ))
}

fn internet_gateway(ctx: &Context, tables: &Tables, table: &RouteTable, id: &str) -> Result<RouteTarget> {
    if let Some((kind, _)) = id.split_once('-')
        && matches!(kind, "vpce" | "lgw" | "cagw" | "eigw")
    {
        return Err(unsupported(&format!("A route to the target {kind} (GatewayId {id})")));
    }
    if id.starts_with("tgw-") {
        return transit_gateway(ctx, tables, table, id);
    }
    if id.starts_with("vgw-") {
        let gateway = find::<VpnGateway>(ctx, tables, id)?;
        if gateway.vpc != Some(table.vpc) {
            return Err(foreign(table, "network gateway", id));
        }
        return Ok(RouteTarget::VpnGateway(gateway.gateway));
    }
    let gateway = find::<InternetGateway>(ctx, tables, id)?;
    if gateway.vpc != Some(table.vpc) {
        return Err(foreign(table, "network gateway", id));
    }
    Ok(RouteTarget::InternetGateway(gateway.gateway))
}

/// One that the VPC is attached to; for others EC2 says that they do not exist.
fn transit_gateway(ctx: &Context, tables: &Tables, table: &RouteTable, id: &str) -> Result<RouteTarget> {
    let gateway = find::<TransitGateway>(ctx, tables, id)?.gateway;
    if crate::transit_gateway::serves(tables, &ctx.region, gateway, table.vpc) {
        Ok(RouteTarget::TransitGateway(gateway))
    } else {
        Err(TransitGateway::ERRORS.not_found(id))
    }
}

/// Within the VPC's own blocks a route may lead whole subnets through an appliance, and nothing else.
fn within(
    ctx: &Context,
    tables: &Tables,
    table: &RouteTable,
    destination: IpNet,
    target: RouteTarget,
) -> Result<()> {
    let Some(vpc) = tables.get::<Vpc>(&ctx.region, &table.vpc) else { return Ok(()) };
    if !vpc.holds(destination) || vpc.nets().any(|own| own == destination) {
        return Ok(());
    }
    match target {
        RouteTarget::Interface(_) | RouteTarget::NatGateway(_) => {
            let mut subnets = tables.find::<Subnet>(&ctx.region, "vpc", table.vpc);
            if subnets.any(|subnet| subnet.nets().any(|own| own == destination)) {
                return Ok(());
            }
            Err(invalid_parameter_value(format!(
                "The destination CIDR block {destination} is more specific than the VPC's and no subnet's block."
            )))
        }
        RouteTarget::InternetGateway(_)
        | RouteTarget::EgressOnly(_)
        | RouteTarget::Peering(_)
        | RouteTarget::TransitGateway(_)
        | RouteTarget::VpnGateway(_)
        | RouteTarget::Endpoint(_) => Err(invalid_parameter_value(format!(
            "The destination CIDR block {destination} is equal to or more specific than one of this VPC's CIDR \
             blocks. This route can target only an interface or an instance."
        ))),
    }
}

/// Whether a route's target is there.
pub fn leads(region: &Region, tables: &Tables, table: &RouteTable, route: &Route) -> bool {
    match route.target {
        RouteTarget::InternetGateway(gateway) => attached(tables, region, gateway, table.vpc),
        RouteTarget::EgressOnly(id) => {
            crate::egress_only_internet_gateway::serves(tables, region, id, table.vpc)
        }
        RouteTarget::Peering(id) => crate::vpc_peering_connection::is_open(tables, region, id),
        RouteTarget::NatGateway(id) => crate::nat_gateway::serves(tables, region, id),
        RouteTarget::TransitGateway(id) => crate::transit_gateway::serves(tables, region, id, table.vpc),
        RouteTarget::VpnGateway(id) => crate::vpn_gateway::serves(tables, region, id, table.vpc),
        RouteTarget::Endpoint(id) => crate::vpc_endpoint::serves(tables, region, id),
        RouteTarget::Interface(id) => user(region, tables, id).is_some_and(|i| i.phase.occupies_host()),
    }
}

/// The instance that has the interface.
pub fn user<'a>(region: &Region, tables: &'a Tables, id: NetworkInterfaceId) -> Option<&'a Instance> {
    let attachment = tables.get::<NetworkInterface>(region, &id)?.attachment.as_ref()?;
    tables.get::<Instance>(region, &attachment.instance).map(|instance| &**instance)
}

/// The target's members of a route as the API shows it.
pub fn render(region: &Region, tables: &Tables, target: RouteTarget) -> api::Route {
    match target {
        RouteTarget::InternetGateway(gateway) => {
            api::Route { gateway_id: Some(gateway.to_string()), ..Default::default() }
        }
        RouteTarget::VpnGateway(gateway) => {
            api::Route { gateway_id: Some(gateway.to_string()), ..Default::default() }
        }
        RouteTarget::Endpoint(endpoint) => {
            api::Route { gateway_id: Some(endpoint.to_string()), ..Default::default() }
        }
        RouteTarget::EgressOnly(gateway) => {
            api::Route { egress_only_internet_gateway_id: Some(gateway.to_string()), ..Default::default() }
        }
        RouteTarget::Peering(peering) => {
            api::Route { vpc_peering_connection_id: Some(peering.to_string()), ..Default::default() }
        }
        RouteTarget::NatGateway(gateway) => {
            api::Route { nat_gateway_id: Some(gateway.to_string()), ..Default::default() }
        }
        RouteTarget::TransitGateway(gateway) => {
            api::Route { transit_gateway_id: Some(gateway.to_string()), ..Default::default() }
        }
        RouteTarget::Interface(interface) => {
            let instance = user(region, tables, interface);
            api::Route {
                network_interface_id: Some(interface.to_string()),
                instance_id: instance.map(|i| i.instance.to_string()),
                instance_owner_id: instance.map(|i| i.account.to_string()),
                ..Default::default()
            }
        }
    }
}
