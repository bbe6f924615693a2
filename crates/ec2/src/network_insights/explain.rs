//! What stops a path, in the codes of the analyzer.
//!
//! AWS: <https://docs.aws.amazon.com/vpc/latest/reachability/explanation-codes.html>

use super::render::{acl_rule, direction, internet_gateway, named, route, security_group};
use super::{endpoint, transit};
use crate::transit_gateway::desired::Asked;
use api_ec2 as api;
use api_ec2::Explanation;
use control::{Context, Tables};
use model::packet::{End, Lead, Obstacle};
use model::record::instance::Instance;
use model::record::nat_gateway::NatGateway;
use model::record::network_insights::{Endpoint, NetworkInsightsAnalysis};
use model::record::network_interface::NetworkInterface;
use model::record::security_group::Direction;
use model::record::transit_gateway::{TransitGateway, TransitGatewayAttachment};
use model::record::vpc::{InternetGateway, NetworkAcl, RouteTable, Subnet, Vpc};
use model::record::vpc_endpoint::VpcEndpoint;
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::record::vpn::{VpnConnection, VpnGateway};

pub fn explanations(ctx: &Context, tables: &Tables, analysis: &NetworkInsightsAnalysis) -> Vec<Explanation> {
    let missing = analysis.missing.iter().map(|end| Explanation {
        component: Some(match *end {
            Endpoint::Instance(id) => named::<Instance>(ctx, tables, id),
            Endpoint::Interface(id) => named::<NetworkInterface>(ctx, tables, id),
            Endpoint::InternetGateway(id) => named::<InternetGateway>(ctx, tables, id),
        }),
        missing_component: Some(
            match end {
                Endpoint::Instance(_) => "network-interface",
                Endpoint::Interface(_) | Endpoint::InternetGateway(_) => "vpc",
            }
            .into(),
        ),
        ..coded("BAD_STATE")
    });
    let restricted = analysis.restricted.iter().map(|arn| Explanation {
        component: Some(api::AnalysisComponent {
            id: arn.rsplit_once('/').map(|(_, id)| id.to_owned()),
            arn: Some(arn.clone()),
            name: None,
        }),
        ..coded("COMPONENT_FILTER_RESTRICTION")
    });
    let back = analysis.back.iter().flat_map(|walk| &walk.obstacles);
    let obstacles = analysis.there.obstacles.iter().chain(back);
    let obstacles = obstacles.map(|obstacle| explanation(ctx, tables, analysis, obstacle));
    missing.chain(obstacles).chain(restricted).collect()
}

pub fn coded(code: &str) -> Explanation {
    Explanation { explanation_code: Some(code.to_owned()), ..Default::default() }
}

fn explanation(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
    obstacle: &Obstacle,
) -> Explanation {
    let in_vpc = |vpc| Some(named::<Vpc>(ctx, tables, vpc));
    let gateway = |vpc| internet_gateway(ctx, tables, analysis, vpc);
    match obstacle {
        Obstacle::SecurityGroups { interface, groups, direction: way } => {
            let record = tables.get::<NetworkInterface>(&ctx.region, interface);
            let shown: Vec<_> = groups.iter().map(|group| security_group(ctx, tables, *group)).collect();
            Explanation {
                direction: Some(direction(*way).to_owned()),
                component: Some(named::<NetworkInterface>(ctx, tables, *interface)),
                network_interface: Some(named::<NetworkInterface>(ctx, tables, *interface)),
                security_group: if let [only] = shown.as_slice() { Some(only.clone()) } else { None },
                security_groups: Some(shown),
                subnet: record.map(|record| named::<Subnet>(ctx, tables, record.subnet)),
                vpc: record.and_then(|record| in_vpc(record.vpc)),
                ..coded("ENI_SG_RULES_MISMATCH")
            }
        }
        Obstacle::NetworkAcl { acl, subnet, direction: way, rule } => {
            let vpc = tables.get::<NetworkAcl>(&ctx.region, acl).map(|acl| acl.vpc);
            Explanation {
                acl: Some(named::<NetworkAcl>(ctx, tables, *acl)),
                acl_rule: rule.map(|rule| acl_rule(*way, &rule)),
                direction: Some(direction(*way).to_owned()),
                subnet: Some(named::<Subnet>(ctx, tables, *subnet)),
                vpc: vpc.and_then(in_vpc),
                ..coded("SUBNET_ACL_RESTRICTION")
            }
        }
        Obstacle::NoRoute { table, subnet } => {
            let vpc = tables.get::<RouteTable>(&ctx.region, table).map(|table| table.vpc);
            let destination = destination(ctx, tables, analysis);
            Explanation {
                route_table: Some(named::<RouteTable>(ctx, tables, *table)),
                subnet: Some(named::<Subnet>(ctx, tables, *subnet)),
                vpc: vpc.and_then(in_vpc),
                destination,
                ..coded("NO_ROUTE_TO_DESTINATION")
            }
        }
        Obstacle::Blackhole { table, subnet, destination, target } => {
            let vpc = tables.get::<RouteTable>(&ctx.region, table).map(|table| table.vpc);
            let lead = Lead::Target(target.clone());
            let shown = vpc.map(|vpc| {
                let mut shown = route(ctx, tables, analysis, *table, (vpc, &destination.to_string(), &lead));
                shown.state = Some("blackhole".into());
                shown
            });
            Explanation {
                route_table: Some(named::<RouteTable>(ctx, tables, *table)),
                route_table_route: shown,
                subnet: Some(named::<Subnet>(ctx, tables, *subnet)),
                state: Some("blackhole".into()),
                vpc: vpc.and_then(in_vpc),
                ..coded("BAD_STATE_ROUTE")
            }
        }
        Obstacle::SourceDestinationCheck { interface, direction: way } => Explanation {
            component: Some(named::<NetworkInterface>(ctx, tables, *interface)),
            network_interface: Some(named::<NetworkInterface>(ctx, tables, *interface)),
            direction: Some(direction(*way).to_owned()),
            packet_field: Some(if *way == Direction::Egress { "source" } else { "destination" }.into()),
            ..coded("ENI_SOURCE_DEST_CHECK_RESTRICTION")
        },
        Obstacle::Nobody { vpc, address } | Obstacle::Kept { vpc, address } => Explanation {
            address: Some(address.to_string()),
            vpc: in_vpc(*vpc),
            ..coded("NO_POSSIBLE_DESTINATION")
        },
        Obstacle::NoPublicAddress { vpc, address } => Explanation {
            address: Some(address.to_string()),
            internet_gateway: gateway(*vpc),
            vpc: in_vpc(*vpc),
            ..coded("IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS")
        },
        Obstacle::NotPublic { vpc, address } => Explanation {
            address: Some(address.to_string()),
            internet_gateway: gateway(*vpc),
            vpc: in_vpc(*vpc),
            ..coded("IGW_PRIVATE_IP_ASSOCIATION_FOR_INGRESS")
        },
        Obstacle::Forged { vpc, peering } => Explanation {
            internet_gateway: gateway(*vpc).filter(|_| peering.is_none()),
            vpc_peering_connection: peering.map(|id| named::<VpcPeeringConnection>(ctx, tables, id)),
            vpc: in_vpc(*vpc),
            ..coded("GATEWAY_REJECTS_SPOOFED_TRAFFIC")
        },
        Obstacle::PeeringRange { peering } => Explanation {
            vpc_peering_connection: Some(named::<VpcPeeringConnection>(ctx, tables, *peering)),
            ..coded("PCX_REQUIRES_ADDRESS_IN_VPC_CIDR")
        },
        Obstacle::NoTransit { gateway, attachment, table, blackhole } => {
            let first = Asked { gateway: *gateway, attachment: *attachment, table: *table, way: None };
            transit::refusal(ctx, tables, first, *blackhole)
        }
        Obstacle::TransitZone { gateway, attachment, subnet } => Explanation {
            transit_gateway: Some(named::<TransitGateway>(ctx, tables, *gateway)),
            transit_gateway_attachment: Some(named::<TransitGatewayAttachment>(ctx, tables, *attachment)),
            subnet: Some(named::<Subnet>(ctx, tables, *subnet)),
            availability_zones: tables
                .get::<Subnet>(&ctx.region, subnet)
                .map(|subnet| vec![subnet.zone.to_string()]),
            ..coded("TGW_ROUTE_AZ_RESTRICTION")
        },
        Obstacle::TransitForged { gateway, attachment } => Explanation {
            transit_gateway: Some(named::<TransitGateway>(ctx, tables, *gateway)),
            transit_gateway_attachment: Some(named::<TransitGatewayAttachment>(ctx, tables, *attachment)),
            ..coded("GATEWAY_REJECTS_SPOOFED_TRAFFIC")
        },
        Obstacle::VpnRange { gateway, .. } => Explanation {
            component: Some(named::<VpnGateway>(ctx, tables, *gateway)),
            ..coded("GATEWAY_REJECTS_SPOOFED_TRAFFIC")
        },
        Obstacle::GatewayEndpoint { endpoint } => Explanation {
            component: Some(named::<VpcEndpoint>(ctx, tables, *endpoint)),
            ..coded("GATEWAY_REJECTS_SPOOFED_TRAFFIC")
        },
        Obstacle::NatGateway { gateway } => Explanation {
            nat_gateway: Some(named::<NatGateway>(ctx, tables, *gateway)),
            ..coded("NGW_REQUIRES_SOURCE_IN_VPC")
        },
        Obstacle::Elsewhere { end } => {
            let component = match *end {
                End::Interface(id) => Some(named::<NetworkInterface>(ctx, tables, id)),
                End::Outside(vpc) => gateway(vpc),
                End::Customer(_, connection) => Some(named::<VpnConnection>(ctx, tables, connection)),
                End::Service(_, endpoint) => Some(named::<VpcEndpoint>(ctx, tables, endpoint)),
                End::Router(vpc) => in_vpc(vpc),
            };
            Explanation {
                component,
                destination: destination(ctx, tables, analysis),
                ..coded("NO_POSSIBLE_DESTINATION")
            }
        }
        Obstacle::Loop { vpc } => Explanation { vpc: in_vpc(*vpc), ..coded("NO_POSSIBLE_DESTINATION") },
    }
}

/// What the path was to lead to.
fn destination(
    ctx: &Context,
    tables: &Tables,
    analysis: &NetworkInsightsAnalysis,
) -> Option<api::AnalysisComponent> {
    let path =
        tables.get::<model::record::network_insights::NetworkInsightsPath>(&ctx.region, &analysis.path);
    let end = path?.destination?;
    Some(api::AnalysisComponent {
        id: Some(endpoint::id(end)),
        arn: Some(endpoint::arn(ctx, analysis.account, end)),
        name: None,
    })
}
