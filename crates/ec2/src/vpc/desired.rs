//! What a host must know of a VPC to route, filter and translate for the interfaces that it carries.
//!
//! Derived from the records each time; nothing of it is stored. Pure: the same tables give the same answer, in the same
//! order, so that a host sees a change only when there is one.

use crate::prefix_list;
use control::Tables;
use control::view::ChangedKey;
use ipnet::IpNet;
use model::host::{NetworkAclDesired, RouteDesired, RouteTableDesired, SubnetDesired, VpcDesired};
use model::net::AclEntry;
use model::record::Record as _;
use model::record::flow_log::FlowLog;
use model::record::nat_gateway::NatGateway;
use model::record::prefix_list::PrefixList;
use model::record::traffic_mirror::{TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession};
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};
use model::record::vpc::{
    Destination, EdgeGateway, EgressOnlyInternetGateway, InternetGateway, NetworkAcl, Route, RouteTable,
    RouteTarget, Subnet, Vpc,
};
use model::record::vpc_endpoint::VpcEndpoint;
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::record::vpn::{VpnConnection, VpnGateway};
use model::{
    EgressOnlyInternetGatewayId, FlowLogId, InternetGatewayId, NatGatewayId, NetworkAclId, PrefixListId,
    Region, RouteTableId, SubnetId, TrafficMirrorFilterId, TrafficMirrorFilterRuleId, TrafficMirrorSessionId,
    TransitGatewayAttachmentId, TransitGatewayRouteTableId, VpcEndpointId, VpcEndpointServiceId, VpcId,
    VpcPeeringConnectionId, VpnConnectionId, VpnGatewayId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The VPC with its subnets, and the route tables and ACLs that are in force in them, or a VPN connection's own network. `None`: there is neither.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Option<VpcDesired> {
    let Some(vpc) = tables.get::<Vpc>(region, &vpc) else {
        return crate::vpn_connection::hub(tables, region, vpc);
    };
    let mut route_tables = BTreeMap::new();
    let mut acls = BTreeMap::new();
    let mut subnets = Vec::new();
    for subnet in tables.find::<Subnet>(region, "vpc", vpc.vpc) {
        // A subnet's VPC has a main table and its ACLs associate it: both are written with it.
        let (Some(table), Some(acl)) =
            (route_table_of(tables, region, subnet), network_acl_of(tables, region, subnet.subnet))
        else {
            continue;
        };
        subnets.push(SubnetDesired {
            ipv6_cidr: subnet.ipv6.as_ref().map(|own| own.cidr),
            subnet: subnet.subnet,
            cidr: subnet.cidr,
            route_table: table.table,
            network_acl: acl.acl,
        });
        route_tables.entry(table.table).or_insert(table);
        acls.entry(acl.acl).or_insert(acl);
    }
    let [at_gateway, at_vpn] = edge_tables(tables, region, vpc.vpc);
    for table in at_gateway.into_iter().chain(at_vpn) {
        route_tables.entry(table.table).or_insert(table);
    }
    Some(VpcDesired {
        gateway_table: at_gateway.map(|table| table.table),
        vpn_table: at_vpn.map(|table| table.table),
        ipv6_cidrs: vpc.ipv6_cidrs().collect(),
        vpc: vpc.vpc,
        account: vpc.account,
        region: region.clone(),
        cidrs: vpc.cidrs().collect(),
        dns_support: vpc.dns_support,
        subnets,
        route_tables: route_tables.into_values().map(|table| routes(tables, region, table)).collect(),
        peerings: crate::vpc_peering_connection::desired(tables, region, vpc.vpc),
        nat_gateways: crate::nat_gateway::desired(tables, region, vpc.vpc),
        transits: crate::transit_gateway::desired::desired(tables, region, vpc.vpc),
        vpns: crate::vpn_connection::desired(tables, region, vpc.vpc),
        endpoints: crate::vpc_endpoint::desired(tables, region, vpc),
        service_nodes: crate::vpc_endpoint_service::desired(tables, region, vpc.vpc),
        flow_logs: crate::flow_log::desired(tables, region, vpc.vpc),
        mirrors: crate::traffic_mirror::desired(tables, region, vpc.vpc),
        network_acls: acls.into_values().map(|acl| entries(acl)).collect(),
    })
}

/// The table in force in a subnet: its own, else its VPC's main one.
pub fn route_table_of<'a>(
    tables: &'a Tables,
    region: &'a Region,
    subnet: &Subnet,
) -> Option<&'a Arc<RouteTable>> {
    let own = tables.find::<RouteTable>(region, "subnet", subnet.subnet).next();
    own.or_else(|| tables.find::<RouteTable>(region, "vpc", subnet.vpc).find(|table| table.is_main()))
}

/// The tables that lead what comes in by the VPC's internet gateway, and by its virtual private one.
fn edge_tables<'a>(tables: &'a Tables, region: &'a Region, vpc: VpcId) -> [Option<&'a Arc<RouteTable>>; 2] {
    let internet = tables.find::<InternetGateway>(region, "vpc", vpc).next();
    let internet = internet.map(|gateway| EdgeGateway::Internet(gateway.gateway));
    let vpn =
        crate::vpn_gateway::of_vpc(tables, region, vpc).map(|gateway| EdgeGateway::Vpn(gateway.gateway));
    [internet, vpn].map(|gateway| tables.find::<RouteTable>(region, "gateway", gateway?).next())
}

/// The ACL in force in a subnet.
pub fn network_acl_of<'a>(
    tables: &'a Tables,
    region: &'a Region,
    subnet: SubnetId,
) -> Option<&'a Arc<NetworkAcl>> {
    tables.find::<NetworkAcl>(region, "subnet", subnet).next()
}

/// Whether traffic of the VPC can leave by the gateway.
pub fn attached(tables: &Tables, region: &Region, gateway: InternetGatewayId, vpc: VpcId) -> bool {
    tables.get::<InternetGateway>(region, &gateway).is_some_and(|gateway| gateway.vpc == Some(vpc))
}

fn routes(tables: &Tables, region: &Region, table: &RouteTable) -> RouteTableDesired {
    // What a route names itself goes before what a list brings, and of lists the one with the smallest id.
    let mut routes: BTreeMap<IpNet, model::host::RouteTarget> = BTreeMap::new();
    let mut ordered: Vec<&Route> = table.routes.iter().collect();
    ordered.sort_by_key(|route| match route.destination {
        Destination::Net(_) => (0, None),
        Destination::PrefixList(list) => (1, Some(list)),
    });
    for route in ordered {
        let nets = match route.destination {
            Destination::Net(net) => vec![net],
            // Within the VPC itself only machines take over from the local route.
            Destination::PrefixList(list) => {
                let mut nets = prefix_list::nets(tables, region, list);
                let vpc = tables.get::<Vpc>(region, &table.vpc);
                let local = |net| vpc.is_some_and(|vpc| vpc.holds(net));
                nets.retain(|net| matches!(route.target, RouteTarget::Interface(_)) || !local(*net));
                nets
            }
        };
        let target = match route.target {
            RouteTarget::InternetGateway(gateway) if attached(tables, region, gateway, table.vpc) => {
                model::host::RouteTarget::InternetGateway
            }
            RouteTarget::InternetGateway(_) => model::host::RouteTarget::Blackhole,
            RouteTarget::EgressOnly(id)
                if crate::egress_only_internet_gateway::serves(tables, region, id, table.vpc) =>
            {
                model::host::RouteTarget::EgressOnly
            }
            RouteTarget::EgressOnly(_) => model::host::RouteTarget::Blackhole,
            // The host itself knows whether it is there.
            RouteTarget::Interface(interface) => model::host::RouteTarget::Interface(interface),
            RouteTarget::Peering(id) if crate::vpc_peering_connection::is_open(tables, region, id) => {
                model::host::RouteTarget::Peering(id)
            }
            RouteTarget::NatGateway(id) if crate::nat_gateway::serves(tables, region, id) => {
                model::host::RouteTarget::NatGateway(id)
            }
            RouteTarget::TransitGateway(id)
                if crate::transit_gateway::serves(tables, region, id, table.vpc) =>
            {
                model::host::RouteTarget::TransitGateway(id)
            }
            RouteTarget::VpnGateway(id) if crate::vpn_gateway::serves(tables, region, id, table.vpc) => {
                model::host::RouteTarget::VpnGateway(id)
            }
            RouteTarget::Endpoint(id) if crate::vpc_endpoint::serves(tables, region, id) => {
                model::host::RouteTarget::GatewayEndpoint(id)
            }
            RouteTarget::Endpoint(_)
            | RouteTarget::Peering(_)
            | RouteTarget::NatGateway(_)
            | RouteTarget::TransitGateway(_)
            | RouteTarget::VpnGateway(_) => model::host::RouteTarget::Blackhole,
        };
        for net in nets {
            routes.entry(net).or_insert_with(|| target.clone());
        }
    }
    for (net, gateway) in crate::vpn_gateway::propagated(tables, region, table) {
        routes.entry(net).or_insert(model::host::RouteTarget::VpnGateway(gateway));
    }
    let routes = routes.into_iter().map(|(destination, target)| RouteDesired { destination, target });
    RouteTableDesired { route_table: table.table, routes: routes.collect() }
}

fn entries(acl: &NetworkAcl) -> NetworkAclDesired {
    let ordered = |entries: &[AclEntry]| {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|entry| entry.number);
        entries
    };
    NetworkAclDesired { network_acl: acl.acl, ingress: ordered(&acl.ingress), egress: ordered(&acl.egress) }
}

/// The VPCs whose [`desired`] a changed record may have changed.
///
/// A record that is gone names no VPC any more, and need not: a subnet goes in one transaction with a change of its ACL, a
/// gateway is detached before it is deleted (an egress-only one is deleted with a change of the tables that lead to it), a flow log and a mirror session with a rewriting of their VPC, a mirror filter's rule with one of the filter, peerings, NAT gateways, endpoints and what belongs to transit gateways and VPNs are shown long after their end, and tables and ACLs go only when no subnet uses them.
pub fn concerned_by(changed: &ChangedKey, tables: &Tables) -> Vec<VpcId> {
    let region = &changed.region;
    match changed.noun {
        Vpc::NOUN => {
            let vpc = VpcId::parse(&changed.id).ok();
            vpc.map_or_else(Vec::new, |vpc| crate::transit_gateway::desired::around(tables, region, vpc))
        }
        TransitGatewayAttachment::NOUN => {
            let id = TransitGatewayAttachmentId::parse(&changed.id).ok();
            let attachment = id.and_then(|id| tables.get::<TransitGatewayAttachment>(region, &id));
            attachment.map_or_else(Vec::new, |attachment| {
                crate::transit_gateway::desired::concerned(tables, region, attachment.gateway)
            })
        }
        TransitGatewayRouteTable::NOUN => {
            let id = TransitGatewayRouteTableId::parse(&changed.id).ok();
            let table = id.and_then(|id| tables.get::<TransitGatewayRouteTable>(region, &id));
            table.map_or_else(Vec::new, |table| {
                crate::transit_gateway::desired::concerned(tables, region, table.gateway)
            })
        }
        Subnet::NOUN => {
            let subnet = SubnetId::parse(&changed.id).ok().and_then(|id| tables.get::<Subnet>(region, &id));
            subnet.map(|s| s.vpc).into_iter().collect()
        }
        RouteTable::NOUN => {
            let table =
                RouteTableId::parse(&changed.id).ok().and_then(|id| tables.get::<RouteTable>(region, &id));
            table.map(|t| t.vpc).into_iter().collect()
        }
        NetworkAcl::NOUN => {
            let acl =
                NetworkAclId::parse(&changed.id).ok().and_then(|id| tables.get::<NetworkAcl>(region, &id));
            acl.map(|a| a.vpc).into_iter().collect()
        }
        InternetGateway::NOUN => {
            let id = InternetGatewayId::parse(&changed.id).ok();
            let gateway = id.and_then(|id| tables.get::<InternetGateway>(region, &id));
            gateway.map_or_else(Vec::new, |gateway| routed_to(tables, region, gateway))
        }
        EgressOnlyInternetGateway::NOUN => {
            let id = EgressOnlyInternetGatewayId::parse(&changed.id).ok();
            let gateway = id.and_then(|id| tables.get::<EgressOnlyInternetGateway>(region, &id));
            gateway.map(|gateway| gateway.vpc).into_iter().collect()
        }
        VpcPeeringConnection::NOUN => {
            let id = VpcPeeringConnectionId::parse(&changed.id).ok();
            let peering = id.and_then(|id| tables.get::<VpcPeeringConnection>(region, &id));
            peering.map_or_else(Vec::new, |peering| vec![peering.requester.vpc, peering.accepter.vpc])
        }
        FlowLog::NOUN => {
            let log = FlowLogId::parse(&changed.id).ok().and_then(|id| tables.get::<FlowLog>(region, &id));
            log.map(|log| log.vpc).into_iter().collect()
        }
        TrafficMirrorSession::NOUN => {
            let id = TrafficMirrorSessionId::parse(&changed.id).ok();
            let session = id.and_then(|id| tables.get::<TrafficMirrorSession>(region, &id));
            session.map(|session| session.vpc).into_iter().collect()
        }
        TrafficMirrorFilter::NOUN => {
            let filter = TrafficMirrorFilterId::parse(&changed.id).ok();
            filter.map_or_else(Vec::new, |filter| crate::traffic_mirror::filtered(tables, region, filter))
        }
        TrafficMirrorFilterRule::NOUN => {
            let id = TrafficMirrorFilterRuleId::parse(&changed.id).ok();
            let rule = id.and_then(|id| tables.get::<TrafficMirrorFilterRule>(region, &id));
            rule.map_or_else(Vec::new, |rule| crate::traffic_mirror::filtered(tables, region, rule.filter))
        }
        NatGateway::NOUN => {
            let id = NatGatewayId::parse(&changed.id).ok();
            let gateway = id.and_then(|id| tables.get::<NatGateway>(region, &id));
            gateway.map(|gateway| gateway.vpc).into_iter().collect()
        }
        VpcEndpoint::NOUN => {
            let id = VpcEndpointId::parse(&changed.id).ok();
            let endpoint = id.and_then(|id| tables.get::<VpcEndpoint>(region, &id));
            endpoint
                .map_or_else(Vec::new, |endpoint| crate::vpc_endpoint::concerned(tables, region, endpoint))
        }
        VpcEndpointService::NOUN => {
            let id = VpcEndpointServiceId::parse(&changed.id).ok();
            id.map_or_else(Vec::new, |id| crate::vpc_endpoint_service::concerned(tables, region, id))
        }
        VpnGateway::NOUN => {
            let id = VpnGatewayId::parse(&changed.id).ok();
            let gateway = id.and_then(|id| tables.get::<VpnGateway>(region, &id));
            gateway.map_or_else(Vec::new, |gateway| gateway.vpc.into_iter().chain(gateway.detached).collect())
        }
        VpnConnection::NOUN => {
            let id = VpnConnectionId::parse(&changed.id).ok();
            let connection = id.and_then(|id| tables.get::<VpnConnection>(region, &id));
            let gateways = connection.into_iter().flat_map(|own| [own.end.gateway(), own.left]);
            let gateways = gateways.flatten().filter_map(|id| tables.get::<VpnGateway>(region, &id));
            // Its own network too: it may have been of a transit gateway.
            gateways.filter_map(|gateway| gateway.vpc).chain(id.map(model::record::vpn::hub)).collect()
        }
        PrefixList::NOUN => {
            let list = PrefixListId::parse(&changed.id).ok();
            let routed = list.map(|list| tables.find::<RouteTable>(region, "prefix-list", list));
            let vpcs: BTreeSet<VpcId> = routed.into_iter().flatten().map(|table| table.vpc).collect();
            vpcs.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The VPC that a gateway is attached to, and those that still have routes to it.
fn routed_to(tables: &Tables, region: &Region, gateway: &InternetGateway) -> Vec<VpcId> {
    let target = RouteTarget::InternetGateway(gateway.gateway);
    let routed = tables.find::<RouteTable>(region, "account", gateway.account);
    let routed = routed.filter(|table| table.routes.iter().any(|route| route.target == target));
    let mut vpcs: Vec<VpcId> = routed.map(|table| table.vpc).chain(gateway.vpc).collect();
    vpcs.sort_unstable();
    vpcs.dedup();
    vpcs
}
