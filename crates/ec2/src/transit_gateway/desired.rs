//! What transit gateways mean for their VPCs: what each table says, and what a host is told of a VPC's ends.

use super::attached;
use control::Tables;
use ipnet::IpNet;
use model::host::{TransitDesired, TransitPeerDesired, TransitRouteDesired};
use model::record::transit_gateway::{TransitGatewayAttachment, TransitGatewayRouteTable};
use model::record::vpc::{Subnet, Vpc};
use model::{Region, TransitGatewayAttachmentId, TransitGatewayId, VpcId, Zone};
use plan::net::transit::{Way, in_force};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The ranges that an attachment propagates: its VPC's own.
pub fn propagates(tables: &Tables, region: &Region, attachment: &TransitGatewayAttachment) -> Vec<IpNet> {
    let nets = tables.get::<Vpc>(region, &attachment.vpc).into_iter().flat_map(|vpc| vpc.nets());
    nets.filter(|net| matches!(net, IpNet::V4(_)) || attachment.ipv6).collect()
}

/// The routes of a table that are in force, those to what is no longer attached among them.
pub fn ways(tables: &Tables, region: &Region, table: &TransitGatewayRouteTable) -> Vec<Way> {
    let there = attached(tables, region, table.gateway);
    let propagating = there.iter().filter(|attachment| attachment.propagations.contains(&table.table));
    let nets = propagating.flat_map(|attachment| {
        propagates(tables, region, attachment).into_iter().map(|net| (attachment.attachment, net))
    });
    in_force(&table.routes, nets)
}

/// A VPC's ends at the gateways that it is attached to.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<TransitDesired> {
    let own = tables.find::<TransitGatewayAttachment>(region, "vpc", vpc);
    let own = own.filter(|attachment| attachment.deleted_at.is_none());
    own.filter_map(|attachment| end(tables, region, attachment)).collect()
}

fn end(tables: &Tables, region: &Region, own: &TransitGatewayAttachment) -> Option<TransitDesired> {
    let there = attached(tables, region, own.gateway);
    let leads = |from: &TransitGatewayAttachment| -> Vec<TransitRouteDesired> {
        let table = from.association.and_then(|id| tables.get::<TransitGatewayRouteTable>(region, &id));
        let ways = table.map(|table| ways(tables, region, table)).unwrap_or_default();
        let is_there = |to: &TransitGatewayAttachmentId| there.iter().any(|other| other.attachment == *to);
        let told = ways
            .into_iter()
            .map(|way| TransitRouteDesired { destination: way.destination, to: way.to.filter(is_there) });
        told.collect()
    };
    let routes = leads(own);
    let meets = |other: &TransitGatewayAttachment| {
        routes.iter().any(|route| route.to == Some(other.attachment))
            || leads(other).iter().any(|route| route.to == Some(own.attachment))
    };
    let others = there.iter().filter(|other| other.attachment != own.attachment);
    let peers = others
        .filter(|other| meets(other))
        .map(|other| TransitPeerDesired { attachment: other.attachment, vpc: other.vpc });
    let mut peers: Vec<TransitPeerDesired> = peers.collect();
    peers.sort_unstable();
    let by: Vec<&Arc<Subnet>> =
        own.subnets.iter().filter_map(|id| tables.get::<Subnet>(region, id)).collect();
    let zones: BTreeSet<&Zone> = by.iter().map(|subnet| &subnet.zone).collect();
    let served = tables.find::<Subnet>(region, "vpc", own.vpc).filter(|subnet| zones.contains(&subnet.zone));
    Some(TransitDesired {
        gateway: own.gateway,
        attachment: own.attachment,
        ipv6: own.ipv6,
        arrival: by.iter().min_by_key(|subnet| (&subnet.zone, subnet.subnet))?.subnet,
        served: served.map(|subnet| subnet.subnet).collect(),
        table: own.association,
        routes,
        peers,
    })
}

/// The VPCs that what a gateway's tables say may concern; those that were attached lately among them.
pub fn concerned(tables: &Tables, region: &Region, gateway: TransitGatewayId) -> Vec<VpcId> {
    let all = tables.find::<TransitGatewayAttachment>(region, "gateway", gateway);
    let vpcs: BTreeSet<VpcId> = all.map(|attachment| attachment.vpc).collect();
    vpcs.into_iter().collect()
}

/// A VPC, and those that may meet it at a gateway: they learn its ranges.
pub fn around(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<VpcId> {
    let own = tables.find::<TransitGatewayAttachment>(region, "vpc", vpc);
    let live = own.filter(|attachment| attachment.deleted_at.is_none());
    let met = live.flat_map(|attachment| concerned(tables, region, attachment.gateway));
    let vpcs: BTreeSet<VpcId> = met.chain([vpc]).collect();
    vpcs.into_iter().collect()
}
