//! A route table as the API shows it.

use super::target::leads;
use crate::noun::render_tags;
use api_ec2 as api;
use control::Tables;
use ipnet::IpNet;
use model::Region;
use model::record::vpc::{Destination, Route, RouteTable, Vpc};

pub fn route_table(region: &Region, tables: &Tables, table: &RouteTable) -> api::RouteTable {
    let blocks = tables.get::<Vpc>(region, &table.vpc).into_iter().flat_map(|vpc| vpc.nets());
    let blocks: Vec<IpNet> = blocks.collect();
    let local = blocks.iter().map(|net| {
        let replaced = table.routes.iter().find(|route| route.destination == Destination::Net(*net));
        let shown = replaced.map_or_else(
            || api::Route {
                destination_cidr_block: matches!(net, IpNet::V4(_)).then(|| net.to_string()),
                destination_ipv6_cidr_block: matches!(net, IpNet::V6(_)).then(|| net.to_string()),
                gateway_id: Some("local".into()),
                state: Some(api::RouteState::Active),
                ..Default::default()
            },
            |replaced| route(region, tables, table, replaced),
        );
        api::Route { origin: Some(api::RouteOrigin::CreateRouteTable), ..shown }
    });
    let is_block = |to: Destination| blocks.iter().any(|net| to == Destination::Net(*net));
    let routes = table.routes.iter().filter(|route| !is_block(route.destination));
    let routes = routes.map(|r| route(region, tables, table, r));
    let associations = table.associations.iter().map(|association| api::RouteTableAssociation {
        main: Some(association.is_main()),
        route_table_association_id: Some(association.association.to_string()),
        route_table_id: Some(table.table.to_string()),
        subnet_id: association.subnet.map(|subnet| subnet.to_string()),
        gateway_id: association.gateway.map(|gateway| gateway.to_string()),
        association_state: Some(associated()),
        ..Default::default()
    });
    let taken = crate::vpn_gateway::propagated(tables, region, table).into_iter();
    let taken = taken.map(|(net, gateway)| api::Route {
        destination_cidr_block: Some(net.to_string()),
        gateway_id: Some(gateway.to_string()),
        origin: Some(api::RouteOrigin::EnableVgwRoutePropagation),
        state: Some(api::RouteState::Active),
        ..Default::default()
    });
    let propagating =
        table.propagating.iter().map(|gateway| api::PropagatingVgw { gateway_id: Some(gateway.to_string()) });
    api::RouteTable {
        associations: Some(associations.collect()),
        propagating_vgws: Some(propagating.collect()),
        route_table_id: Some(table.table.to_string()),
        routes: Some(local.chain(routes).chain(taken).collect()),
        tags: render_tags(&table.tags),
        vpc_id: Some(table.vpc.to_string()),
        owner_id: Some(table.account.to_string()),
    }
}

fn route(region: &Region, tables: &Tables, table: &RouteTable, route: &Route) -> api::Route {
    let shown = Some(route.destination.to_string());
    let shown = match route.destination {
        Destination::Net(IpNet::V4(_)) => api::Route { destination_cidr_block: shown, ..Default::default() },
        Destination::Net(IpNet::V6(_)) => {
            api::Route { destination_ipv6_cidr_block: shown, ..Default::default() }
        }
        Destination::PrefixList(_) => api::Route { destination_prefix_list_id: shown, ..Default::default() },
    };
    let active = leads(region, tables, table, route);
    api::Route {
        destination_cidr_block: shown.destination_cidr_block,
        destination_ipv6_cidr_block: shown.destination_ipv6_cidr_block,
        destination_prefix_list_id: shown.destination_prefix_list_id,
        origin: Some(api::RouteOrigin::CreateRoute),
        state: Some(if active { api::RouteState::Active } else { api::RouteState::Blackhole }),
        ..super::target::render(region, tables, route.target)
    }
}

pub fn associated() -> api::RouteTableAssociationState {
    api::RouteTableAssociationState {
        state: Some(api::RouteTableAssociationStateCode::Associated),
        status_message: None,
    }
}
