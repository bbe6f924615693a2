//! What transit gateways mean for their VPCs: what each table says, and what a host is told of a VPC's ends.

use super::attached;
use control::Tables;
use ipnet::IpNet;
use model::host::{TransitDesired, TransitPeerDesired, TransitRouteDesired};
use model::record::transit_gateway::{
    AttachedResource, AttachedVpc, TransitGatewayAttachment, TransitGatewayRouteTable,
};
use model::record::vpc::{Subnet, Vpc};
use model::{
    Region, SubnetId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId, VpcId, Zone,
};
use plan::net::transit::mesh::{Behind, Mesh, deciding};
use plan::net::transit::{Way, in_force};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ranges that an attachment propagates: its VPC's own.
pub fn propagates(tables: &Tables, region: &Region, attached: &AttachedVpc) -> Vec<IpNet> {
    let nets = tables.get::<Vpc>(region, &attached.vpc).into_iter().flat_map(|vpc| vpc.nets());
    nets.filter(|net| matches!(net, IpNet::V4(_)) || attached.ipv6).collect()
}

/// The routes of a table that are in force, those to what is no longer attached among them.
pub fn ways(tables: &Tables, region: &Region, table: &TransitGatewayRouteTable) -> Vec<Way> {
    let there = attached(tables, region, table.gateway);
    let propagating = there.iter().filter(|attachment| attachment.propagates_to(table.table));
    let nets = propagating.flat_map(|attachment| {
        let nets = attachment.vpc().into_iter().flat_map(|vpc| propagates(tables, region, vpc));
        nets.map(|net| (attachment.attachment, net))
    });
    in_force(&table.routes, nets)
}

/// A VPC's ends at the gateways that it is attached to.
pub fn desired(tables: &Tables, region: &Region, vpc: VpcId) -> Vec<TransitDesired> {
    let own = tables.find::<TransitGatewayAttachment>(region, "vpc", vpc);
    let own = own.filter(|attachment| attachment.deleted_at.is_none());
    own.filter_map(|attachment| end(tables, region, attachment)).collect()
}

/// An attachment's end, of a VPN connection's network too; none: it has ended.
pub fn of_attachment(
    tables: &Tables,
    region: &Region,
    id: TransitGatewayAttachmentId,
) -> Option<TransitDesired> {
    let own = tables.get::<TransitGatewayAttachment>(region, &id)?;
    end(tables, region, own).filter(|_| own.deleted_at.is_none())
}

/// A gateway and all that peerings join with it, one by one; `counts` says which peerings do.
fn joined(
    tables: &Tables,
    region: &Region,
    gateway: TransitGatewayId,
    counts: fn(&TransitGatewayAttachment) -> bool,
) -> BTreeSet<TransitGatewayId> {
    let mut found = BTreeSet::from([gateway]);
    let mut next = vec![gateway];
    while let Some(gateway) = next.pop() {
        let ends = tables.find::<TransitGatewayAttachment>(region, "gateway", gateway);
        let beyond = ends.filter(|end| counts(end)).filter_map(|end| end.peering());
        next.extend(beyond.map(|peering| peering.gateway).filter(|gateway| found.insert(*gateway)));
    }
    found
}

/// The table that is asked beyond a peering: the association of its other end.
fn beyond(
    tables: &Tables,
    region: &Region,
    end: Option<TransitGatewayAttachmentId>,
) -> Option<TransitGatewayRouteTableId> {
    tables.get::<TransitGatewayAttachment>(region, &end?)?.association
}

/// What the tables of these gateways say, and what is open at them.
fn mesh(
    tables: &Tables,
    region: &Region,
    gateways: &BTreeSet<TransitGatewayId>,
    open: &[&Arc<TransitGatewayAttachment>],
) -> Mesh {
    let of = gateways.iter().flat_map(|id| tables.find::<TransitGatewayRouteTable>(region, "gateway", *id));
    let of = of.filter(|table| table.deleted_at.is_none());
    let behind = open.iter().map(|attachment| {
        let behind = match &attachment.resource {
            AttachedResource::Vpc(_) | AttachedResource::Vpn { .. } => Behind::Vpc,
            AttachedResource::Peering { peering } => {
                Behind::Gateway(peering.gateway, beyond(tables, region, peering.attachment))
            }
        };
        (attachment.attachment, behind)
    });
    Mesh {
        tables: of.map(|table| (table.table, ways(tables, region, table))).collect(),
        behind: behind.collect(),
    }
}

fn end(tables: &Tables, region: &Region, own: &TransitGatewayAttachment) -> Option<TransitDesired> {
    let place = own.place()?;
    let gateways = joined(tables, region, own.gateway, TransitGatewayAttachment::is_open);
    let open = gateways.iter().flat_map(|gateway| attached(tables, region, *gateway));
    let open: Vec<&Arc<TransitGatewayAttachment>> = open.filter(|attachment| attachment.is_open()).collect();
    let mesh = mesh(tables, region, &gateways, &open);
    let mut told: BTreeMap<TransitGatewayRouteTableId, Vec<TransitRouteDesired>> = BTreeMap::new();
    for attachment in open.iter().filter(|attachment| attachment.place().is_some()) {
        if let Some(table) = attachment.association {
            told.entry(table).or_insert_with(|| mesh.unfold(attachment.gateway, table));
        }
    }
    let leads = |from: &TransitGatewayAttachment, to: TransitGatewayAttachmentId| {
        let routes = from.association.and_then(|table| told.get(&table));
        routes.is_some_and(|routes| routes.iter().any(|route| route.to == Some(to)))
    };
    // By another gateway to the VPC itself: that is its own end as well.
    let others = open.iter().filter_map(|other| Some((other, other.place()?)));
    let (others, again): (Vec<_>, Vec<_>) = others
        .filter(|(other, _)| other.attachment != own.attachment)
        .partition(|(_, beyond)| *beyond != place);
    let mut routes = own.association.and_then(|table| told.get(&table)).cloned().unwrap_or_default();
    for route in &mut routes {
        route.to = route.to.filter(|to| !again.iter().any(|(other, _)| other.attachment == *to));
    }
    let met =
        others.into_iter().filter(|(other, _)| leads(own, other.attachment) || leads(other, own.attachment));
    let mut peers: Vec<TransitPeerDesired> =
        met.map(|(other, vpc)| TransitPeerDesired { attachment: other.attachment, vpc }).collect();
    peers.sort_unstable();
    let (ipv6, arrival, served) = match (&own.resource, plan_hub(own)) {
        (AttachedResource::Vpc(vpc), _) => {
            let (arrival, served) = zones(tables, region, vpc)?;
            (vpc.ipv6, arrival, served)
        }
        (_, Some(hub)) => (false, hub.outward, vec![hub.inward]),
        (_, None) => return None,
    };
    Some(TransitDesired {
        gateway: own.gateway,
        attachment: own.attachment,
        ipv6,
        arrival,
        served,
        table: own.association,
        routes,
        peers,
    })
}

fn plan_hub(own: &TransitGatewayAttachment) -> Option<plan::net::vpn::Hub> {
    own.vpn().map(|vpn| plan::net::vpn::hub_of(vpn.connection))
}

/// The subnet whose table is asked for what comes to a VPC, and those whose packets may leave.
fn zones(tables: &Tables, region: &Region, vpc: &AttachedVpc) -> Option<(SubnetId, Vec<SubnetId>)> {
    let by: Vec<&Arc<Subnet>> =
        vpc.subnets.iter().filter_map(|id| tables.get::<Subnet>(region, id)).collect();
    let zones: BTreeSet<&Zone> = by.iter().map(|subnet| &subnet.zone).collect();
    let served = tables.find::<Subnet>(region, "vpc", vpc.vpc).filter(|subnet| zones.contains(&subnet.zone));
    let arrival = by.iter().min_by_key(|subnet| (&subnet.zone, subnet.subnet))?.subnet;
    Some((arrival, served.map(|subnet| subnet.subnet).collect()))
}

/// One gateway on a packet's way: where it came in, the table that was asked, and the route that decided.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub gateway: TransitGatewayId,
    pub attachment: TransitGatewayAttachmentId,
    pub table: Option<TransitGatewayRouteTableId>,
    pub way: Option<Way>,
}

/// The gateways that what is for a range passes from an attachment on, as far as peerings lead; one at least. The range is
/// one that the unfolded table tells, so that each table decides alike for all of it.
pub fn trace(tables: &Tables, region: &Region, from: &TransitGatewayAttachment, range: IpNet) -> Vec<Asked> {
    let mut passed: Vec<Asked> = Vec::new();
    let mut at = Some(from);
    while let Some(end) = at.filter(|end| !passed.iter().any(|asked| asked.gateway == end.gateway)) {
        let table = end.association.and_then(|id| tables.get::<TransitGatewayRouteTable>(region, &id));
        let ways = table.map(|table| ways(tables, region, table)).unwrap_or_default();
        let way = deciding(&ways, range).copied();
        passed.push(Asked { gateway: end.gateway, attachment: end.attachment, table: end.association, way });
        let by =
            way.and_then(|way| way.to).and_then(|to| tables.get::<TransitGatewayAttachment>(region, &to));
        let peering = by.filter(|by| by.is_open()).and_then(|by| by.peering());
        let far = peering.and_then(|peering| peering.attachment);
        at = far.and_then(|far| tables.get::<TransitGatewayAttachment>(region, &far)).map(|far| &**far);
    }
    passed
}

/// The VPCs that what a gateway's tables say may concern, at it and at those that it is peered with; what was attached or
/// peered lately among them.
pub fn concerned(tables: &Tables, region: &Region, gateway: TransitGatewayId) -> Vec<VpcId> {
    let gateways = joined(tables, region, gateway, |_| true);
    let all = gateways.iter().flat_map(|id| tables.find::<TransitGatewayAttachment>(region, "gateway", *id));
    let vpcs: BTreeSet<VpcId> = all.filter_map(|attachment| attachment.place()).collect();
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
