//! Paths, analyses and the parts of a way as the API shows them.

use super::{endpoint, explain, transit};
use crate::noun::{Noun, render_tags, wire_time};
use crate::security_group::render as group;
use crate::transit_gateway::desired::Asked;
use api_ec2 as api;
use control::{Arn, Context, Tables};
use model::host::RouteTarget;
use model::net::{AclAction, AclEntry, Allow, Peer, Traffic};
use model::packet::{Component, End, Lead, Packet, Step, Transport, Walk};
use model::record::instance::Instance;
use model::record::nat_gateway::NatGateway;
use model::record::network_insights::{
    NetworkInsightsAnalysis, NetworkInsightsPath, PathFilter, PathProtocol,
};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::{Direction, SecurityGroup};
use model::record::vpc::{EgressOnlyInternetGateway, InternetGateway, NetworkAcl, RouteTable, Subnet, Vpc};
use model::record::vpc_endpoint::VpcEndpoint;
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::record::vpn::{VpnConnection, VpnGateway};
use model::{NetworkInterfaceId, RouteTableId, SecurityGroupId, VpcId};
use std::net::IpAddr;

pub const fn protocol(protocol: PathProtocol) -> api::Protocol {
    match protocol {
        PathProtocol::Tcp => api::Protocol::Tcp,
        PathProtocol::Udp => api::Protocol::Udp,
    }
}

pub fn path(ctx: &Context, path: &NetworkInsightsPath) -> api::NetworkInsightsPath {
    let arn = |end| endpoint::arn(ctx, path.account, end);
    api::NetworkInsightsPath {
        network_insights_path_id: Some(path.path.to_string()),
        network_insights_path_arn: Some(path.arn(ctx).to_string()),
        created_date: Some(wire_time(path.created_at)),
        source: Some(endpoint::id(path.source)),
        destination: path.destination.map(endpoint::id),
        source_arn: Some(arn(path.source)),
        destination_arn: path.destination.map(arn),
        source_ip: path.source_ip.map(|ip| ip.to_string()),
        destination_ip: path.destination_ip.map(|ip| ip.to_string()),
        protocol: Some(protocol(path.protocol)),
        destination_port: path.destination_port.map(i32::from),
        tags: render_tags(&path.tags),
        filter_at_source: path.filter_at_source.as_ref().map(filter),
        filter_at_destination: path.filter_at_destination.as_ref().map(filter),
    }
}

fn filter(filter: &PathFilter) -> api::PathFilter {
    let ports = |range: Option<(u16, u16)>| {
        range
            .map(|(from, to)| api::FilterPortRange { from_port: Some(from.into()), to_port: Some(to.into()) })
    };
    api::PathFilter {
        source_address: filter.source_address.map(|address| address.to_string()),
        source_port_range: ports(filter.source_ports),
        destination_address: filter.destination_address.map(|address| address.to_string()),
        destination_port_range: ports(filter.destination_ports),
    }
}

pub fn analysis(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
) -> api::NetworkInsightsAnalysis {
    let parts = |walk: &Walk| components(ctx, tables, analysis, walk);
    let back = analysis.back.as_ref().filter(|_| analysis.found);
    let listed = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
    api::NetworkInsightsAnalysis {
        network_insights_analysis_id: Some(analysis.analysis.to_string()),
        network_insights_analysis_arn: Some(analysis.arn(ctx).to_string()),
        network_insights_path_id: Some(analysis.path.to_string()),
        filter_in_arns: listed(&analysis.filter_in),
        filter_out_arns: listed(&analysis.filter_out),
        start_date: Some(wire_time(analysis.started_at)),
        status: Some(api::AnalysisStatus::Succeeded),
        network_path_found: Some(analysis.found),
        forward_path_components: Some(parts(&analysis.there)),
        return_path_components: Some(back.map(parts).unwrap_or_default()),
        explanations: (!analysis.found).then(|| explain::explanations(ctx, tables, analysis)),
        tags: render_tags(&analysis.tags),
        ..Default::default()
    }
}

/// The interfaces on a way.
pub fn interfaces(walk: &Walk) -> impl Iterator<Item = NetworkInterfaceId> + '_ {
    walk.steps.iter().filter_map(|step| match step.component {
        Component::Interface(id) => Some(id),
        _ => None,
    })
}

/// The way as a list of parts. Instances stand before the interface that a packet leaves by and behind the one that it
/// arrives at.
pub fn components(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
    walk: &Walk,
) -> Vec<api::PathComponent> {
    let mut parts = Vec::new();
    let last = walk.steps.len().saturating_sub(1);
    for (at, step) in walk.steps.iter().enumerate() {
        let instance = match step.component {
            Component::Interface(id) => analysis.instances.iter().find(|(interface, _)| *interface == id),
            _ => None,
        };
        let instance = instance.map(|(_, instance)| api::PathComponent {
            component: Some(named::<Instance>(ctx, tables, *instance)),
            ..Default::default()
        });
        let arrives = at == last && matches!(walk.end, Some(End::Interface(_)));
        let before = !arrives;
        parts.extend(instance.clone().filter(|_| before));
        parts.extend(part(ctx, tables, analysis, step, arrives));
        parts.extend(instance.filter(|_| !before));
    }
    for (at, part) in parts.iter_mut().enumerate() {
        part.sequence_number = Some(at as i32 + 1);
    }
    parts
}

fn part(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
    step: &Step,
    arrives: bool,
) -> Vec<api::PathComponent> {
    let vpc = named::<Vpc>(ctx, tables, step.vpc);
    let whole = api::PathComponent { vpc: Some(vpc.clone()), ..Default::default() };
    let header = Some(header(step.packet));
    let part = match &step.component {
        Component::Interface(id) => {
            let record = tables.get::<NetworkInterface>(&ctx.region, id);
            let instance = analysis.instances.iter().find(|(interface, _)| interface == id);
            api::PathComponent {
                component: Some(named::<NetworkInterface>(ctx, tables, *id)),
                attached_to: instance.map(|(_, instance)| named::<Instance>(ctx, tables, *instance)),
                subnet: record.map(|record| named::<Subnet>(ctx, tables, record.subnet)),
                outbound_header: header.clone().filter(|_| !arrives),
                inbound_header: header.filter(|_| arrives),
                ..whole
            }
        }
        Component::SecurityGroup { group, direction, rule, .. } => api::PathComponent {
            component: Some(security_group(ctx, tables, *group)),
            security_group_rule: Some(group_rule(*direction, rule)),
            vpc: None,
            ..whole
        },
        Component::NetworkAcl { acl, direction, rule, subnet } => api::PathComponent {
            component: Some(named::<NetworkAcl>(ctx, tables, *acl)),
            acl_rule: Some(acl_rule(*direction, rule)),
            subnet: Some(named::<Subnet>(ctx, tables, *subnet)),
            vpc: None,
            ..whole
        },
        Component::Route { table, destination, target, .. } => api::PathComponent {
            component: Some(named::<RouteTable>(ctx, tables, *table)),
            route_table_route: Some(route(
                ctx,
                tables,
                analysis,
                *table,
                (step.vpc, &destination.to_string(), target),
            )),
            ..whole
        },
        Component::NatGateway(id) => {
            let subnet = tables.get::<NatGateway>(&ctx.region, id).map(|gateway| gateway.subnet);
            api::PathComponent {
                component: Some(named::<NatGateway>(ctx, tables, *id)),
                subnet: subnet.map(|subnet| named::<Subnet>(ctx, tables, subnet)),
                inbound_header: header,
                ..whole
            }
        }
        Component::VpnGateway { gateway, connection } => api::PathComponent {
            component: Some(named::<VpnGateway>(ctx, tables, *gateway)),
            attached_to: Some(named::<VpnConnection>(ctx, tables, *connection)),
            inbound_header: header,
            ..whole
        },
        Component::GatewayEndpoint(id) => api::PathComponent {
            component: Some(named::<VpcEndpoint>(ctx, tables, *id)),
            inbound_header: header,
            ..whole
        },
        Component::InternetGateway => api::PathComponent {
            component: internet_gateway(ctx, tables, analysis, step.vpc),
            attached_to: Some(vpc),
            inbound_header: header,
            vpc: None,
            ..whole
        },
        Component::EgressOnlyInternetGateway => {
            let id = analysis.gateways.iter().find(|(vpc, ..)| *vpc == step.vpc).and_then(|(_, _, id)| *id);
            api::PathComponent {
                component: id.map(|id| named::<EgressOnlyInternetGateway>(ctx, tables, id)),
                attached_to: Some(vpc),
                inbound_header: header,
                vpc: None,
                ..whole
            }
        }
        Component::Peering(id) => {
            let peering = tables.get::<VpcPeeringConnection>(&ctx.region, id);
            let beyond = peering.and_then(|peering| peering.beyond(step.vpc));
            api::PathComponent {
                component: Some(named::<VpcPeeringConnection>(ctx, tables, *id)),
                source_vpc: Some(vpc),
                destination_vpc: beyond.map(|end| named::<Vpc>(ctx, tables, end.vpc)),
                vpc: None,
                ..whole
            }
        }
        Component::TransitGateway { gateway, attachment, table, destination, to } => {
            let (gateway, attachment) = (*gateway, *attachment);
            let first = Asked { gateway, attachment, table: Some(*table), way: None };
            let passed = transit::parts(ctx, tables, first, *table, (*destination, *to));
            return passed
                .into_iter()
                .map(|part| api::PathComponent { vpc: Some(vpc.clone()), ..part })
                .collect();
        }
    };
    vec![part]
}

/// A resource: its id and ARN, and its name as long as it is there.
pub fn named<R: Noun>(ctx: &Context, tables: &Tables, id: R::Id) -> api::AnalysisComponent {
    let record = tables.get::<R>(&ctx.region, &id);
    let owner = record.map_or(ctx.account(), |record| record.account());
    api::AnalysisComponent {
        arn: Some(Arn::new("ec2", &ctx.region, owner, R::RESOURCE_TYPE, &id).to_string()),
        id: Some(id.to_string()),
        name: record.and_then(|record| record.tags().get("Name").cloned()),
    }
}

pub fn security_group(ctx: &Context, tables: &Tables, id: SecurityGroupId) -> api::AnalysisComponent {
    let name = tables.get::<SecurityGroup>(&ctx.region, &id).map(|group| group.name.clone());
    api::AnalysisComponent { name, ..named::<SecurityGroup>(ctx, tables, id) }
}

pub fn internet_gateway(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
    vpc: VpcId,
) -> Option<api::AnalysisComponent> {
    let id = analysis.gateways.iter().find(|(known, ..)| *known == vpc).and_then(|(_, id, _)| *id);
    id.map(|id| named::<InternetGateway>(ctx, tables, id))
}

fn header(packet: Packet) -> api::AnalysisPacketHeader {
    let address = |address: IpAddr| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Some(vec![format!("{address}/{bits}")])
    };
    let ports = |port: u16| Some(vec![range(port, port)]);
    let (from, to) = packet.ports();
    let has = matches!(packet.transport, Transport::Tcp { .. } | Transport::Udp { .. });
    api::AnalysisPacketHeader {
        destination_addresses: address(packet.dst),
        destination_port_ranges: ports(to).filter(|_| has),
        protocol: Some(packet.protocol().to_string()),
        source_addresses: address(packet.src),
        source_port_ranges: ports(from).filter(|_| has),
    }
}

pub fn range(from: u16, to: u16) -> api::PortRange {
    api::PortRange { from: Some(from.into()), to: Some(to.into()) }
}

fn ports(traffic: Traffic) -> Option<api::PortRange> {
    group::ports(traffic).map(|ports| api::PortRange { from: Some(ports.from), to: Some(ports.to) })
}

fn protocol_name(traffic: Traffic) -> String {
    match traffic {
        Traffic::All => "all".to_owned(),
        other => group::protocol(other).into_owned(),
    }
}

pub const fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn group_rule(way: Direction, rule: &Allow) -> api::AnalysisSecurityGroupRule {
    let (cidr, group, list) = match rule.peer {
        Peer::Net(net) => (Some(net.to_string()), None, None),
        Peer::Group(group) => (None, Some(group.to_string()), None),
        Peer::PrefixList(list) => (None, None, Some(list.to_string())),
    };
    api::AnalysisSecurityGroupRule {
        cidr,
        direction: Some(direction(way).to_owned()),
        security_group_id: group,
        port_range: ports(rule.traffic),
        prefix_list_id: list,
        protocol: Some(protocol_name(rule.traffic)),
    }
}

pub fn acl_rule(way: Direction, rule: &AclEntry) -> api::AnalysisAclRule {
    api::AnalysisAclRule {
        cidr: Some(rule.net.to_string()),
        egress: Some(way == Direction::Egress),
        port_range: ports(rule.traffic),
        protocol: Some(protocol_name(rule.traffic)),
        rule_action: Some(match rule.action {
            AclAction::Allow => "allow".into(),
            AclAction::Deny => "deny".into(),
        }),
        rule_number: Some(rule.number.into()),
    }
}

/// A route, out of its VPC, its destination and where it leads.
pub fn route(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
    table: RouteTableId,
    (vpc, destination, lead): (VpcId, &str, &Lead),
) -> api::AnalysisRouteTableRoute {
    let gateways = analysis.gateways.iter().find(|(known, ..)| *known == vpc);
    let shown = api::AnalysisRouteTableRoute {
        destination_cidr: Some(destination.to_owned()),
        origin: Some("createroute".into()),
        state: Some("active".into()),
        ..Default::default()
    };
    match lead {
        Lead::Local => api::AnalysisRouteTableRoute {
            gateway_id: Some("local".into()),
            origin: Some("createroutetable".into()),
            ..shown
        },
        Lead::Target(RouteTarget::InternetGateway) => api::AnalysisRouteTableRoute {
            gateway_id: gateways.and_then(|(_, id, _)| *id).map(|id| id.to_string()),
            ..shown
        },
        Lead::Target(RouteTarget::EgressOnly) => api::AnalysisRouteTableRoute {
            egress_only_internet_gateway_id: gateways.and_then(|(.., id)| *id).map(|id| id.to_string()),
            ..shown
        },
        Lead::Target(RouteTarget::Interface(id)) => {
            api::AnalysisRouteTableRoute { network_interface_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::Peering(id)) => {
            api::AnalysisRouteTableRoute { vpc_peering_connection_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::NatGateway(id)) => {
            api::AnalysisRouteTableRoute { nat_gateway_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::VpnGateway(id)) => {
            api::AnalysisRouteTableRoute { gateway_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::GatewayEndpoint(id)) => {
            api::AnalysisRouteTableRoute { gateway_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::TransitGateway(id)) => {
            api::AnalysisRouteTableRoute { transit_gateway_id: Some(id.to_string()), ..shown }
        }
        Lead::Target(RouteTarget::Blackhole) => {
            let table = tables.get::<RouteTable>(&ctx.region, &table);
            let asked = table.and_then(|table| {
                table.routes.iter().find(|route| route.destination.to_string() == destination)
            });
            let asked =
                asked.map(|route| crate::route_table::render_target(&ctx.region, tables, route.target));
            let asked = asked.unwrap_or_default();
            api::AnalysisRouteTableRoute {
                state: Some("blackhole".into()),
                gateway_id: asked.gateway_id,
                egress_only_internet_gateway_id: asked.egress_only_internet_gateway_id,
                nat_gateway_id: asked.nat_gateway_id,
                network_interface_id: asked.network_interface_id,
                instance_id: asked.instance_id,
                vpc_peering_connection_id: asked.vpc_peering_connection_id,
                transit_gateway_id: asked.transit_gateway_id,
                ..shown
            }
        }
    }
}
