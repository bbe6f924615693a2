//! Transit gateways: what their route tables say, and what that makes of the routes of the VPCs that they join.
//!
//! No router stands for a gateway. Two VPCs that a table joins have a link, as peers have; a VPC's route to the gateway
//! becomes, for each range that the gateway's table tells apart, a route over the link that the table means. So packets
//! take one hop, and whose table decides is the sender's association. A gateway's route counts only where the VPC's own
//! routes leave it the word: what is local or has a more specific route never gets to the gateway.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/how-transit-gateways-work.html#tgw-route-evaluation-overview>
//! Differs: a table's way back into the VPC that a packet comes from drops it.
//!
//! Where gateways are peered, [`mesh`] first unfolds what the other gateway's table says into this one's.

use super::names::{peering_link, transit_link};
use super::routes::locals;
use ipnet::IpNet;
use model::host::{RouteTableDesired, RouteTarget, TransitDesired, TransitRouteDesired, VpcDesired};
use model::record::transit_gateway::TransitGatewayRoute;
use model::{Mac, TransitGatewayAttachmentId, VpcId};
use std::collections::BTreeMap;

pub mod mesh;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Static,
    Propagated,
}

/// A route of a gateway's table that is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    pub destination: IpNet,
    /// None: a blackhole.
    pub to: Option<TransitGatewayAttachmentId>,
    pub origin: Origin,
}

/// What a table says: its static routes, and for destinations without one what attachments propagate. Of two that propagate
/// the same the first counts. In the order of destinations.
pub fn in_force(
    statics: &[TransitGatewayRoute],
    propagated: impl IntoIterator<Item = (TransitGatewayAttachmentId, IpNet)>,
) -> Vec<Way> {
    let mut ways = BTreeMap::new();
    for route in statics {
        let destination = route.destination.trunc();
        ways.insert(destination, Way { destination, to: route.to, origin: Origin::Static });
    }
    for (attachment, net) in propagated {
        let destination = net.trunc();
        let way = Way { destination, to: Some(attachment), origin: Origin::Propagated };
        ways.entry(destination).or_insert(way);
    }
    ways.into_values().collect()
}

/// The route of a gateway's table for all of a range; more specific ones within it are not looked at.
pub fn deciding(transit: &TransitDesired, net: IpNet) -> Option<&TransitRouteDesired> {
    let covering = transit.routes.iter().filter(|route| route.destination.contains(&net));
    covering.max_by_key(|route| route.destination.prefix_len())
}

/// What a VPC's route to a gateway becomes: ranges, and the two attachments of the link that each leads over. None: packets
/// are dropped.
pub fn through(
    vpc: &VpcDesired,
    table: &RouteTableDesired,
    destination: IpNet,
    transit: &TransitDesired,
) -> Vec<(IpNet, Option<[TransitGatewayAttachmentId; 2]>)> {
    let destination = destination.trunc();
    if matches!(destination, IpNet::V6(_)) && !transit.ipv6 {
        return vec![(destination, None)];
    }
    let lead = |route: &TransitRouteDesired| {
        route.to.filter(|to| *to != transit.attachment).map(|to| [transit.attachment, to])
    };
    let ways: Vec<_> = transit.routes.iter().map(|route| (route.destination, lead(route))).collect();
    divide(vpc, table, destination, &ways)
}

/// What a VPC's route to a gateway becomes that has ways of its own: the parts of the destination that those tell apart, as
/// far as neither the VPC nor its table knows them better, and then the destination itself.
pub(super) fn divide<T: Copy>(
    vpc: &VpcDesired,
    table: &RouteTableDesired,
    destination: IpNet,
    ways: &[(IpNet, Option<T>)],
) -> Vec<(IpNet, Option<T>)> {
    let within = |outer: IpNet, inner: IpNet| outer != inner && outer.contains(&inner);
    let others = table.routes.iter().map(|route| route.destination.trunc());
    let before: Vec<IpNet> = locals(vpc).chain(others.filter(|other| within(destination, *other))).collect();
    let parts = ways
        .iter()
        .filter(|(net, _)| within(destination, *net) && !before.iter().any(|other| other.contains(net)));
    let covering = ways.iter().filter(|(net, _)| net.contains(&destination));
    let whole = covering.max_by_key(|(net, _)| net.prefix_len()).and_then(|(_, to)| *to);
    parts.copied().chain([(destination, whole)]).collect()
}

/// The VPC's end at a gateway.
pub fn end(vpc: &VpcDesired, gateway: model::TransitGatewayId) -> Option<&TransitDesired> {
    vpc.transits.iter().find(|transit| transit.gateway == gateway)
}

/// Where a route table leads some range to a gateway, if its most specific route for all of it does.
pub fn asked(table: &RouteTableDesired, net: IpNet) -> Option<(IpNet, RouteTarget)> {
    let covering = table.routes.iter().filter(|route| route.destination.trunc().contains(&net));
    let route = covering.max_by_key(|route| route.destination.prefix_len())?;
    Some((route.destination.trunc(), route.target.clone()))
}

/// A link to another VPC, which stands while both VPCs ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    pub link: String,
    pub peer: VpcId,
    /// Of both ends.
    pub mac: Mac,
}

/// The links that a VPC asks for, of peerings and of transit gateways.
pub fn meetings(vpc: &VpcDesired) -> Vec<Meeting> {
    let mac = |kind: u8, bits: u128| {
        let bits = bits.to_be_bytes();
        Mac([0x02, kind, bits[12], bits[13], bits[14], bits[15]])
    };
    let peerings = vpc.peerings.iter().map(|peering| Meeting {
        link: peering_link(peering.peering),
        peer: peering.peer,
        mac: mac(0xeb, peering.peering.bits()),
    });
    let ends = vpc.transits.iter().flat_map(|transit| transit.peers.iter().map(|p| (transit.attachment, p)));
    let transits = ends.map(|(own, peer)| Meeting {
        link: transit_link([own, peer.attachment]),
        peer: peer.vpc,
        mac: mac(0xec, own.bits() ^ peer.attachment.bits()),
    });
    peerings.chain(transits).collect()
}

#[cfg(test)]
mod tests;
