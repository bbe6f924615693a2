//! What hosts would be told of the networks that a path may touch: the VPCs of both ends, and those that they meet.

use crate::instance::desired;
use control::Tables;
use model::record::network_interface::NetworkInterface;
use model::record::security_group::SecurityGroup;
use model::{Region, VpcId};
use plan::net::packet::Network;
use std::collections::BTreeSet;

/// The VPCs and all that they meet.
pub fn around(tables: &Tables, region: &Region, vpcs: impl IntoIterator<Item = VpcId>) -> BTreeSet<VpcId> {
    let ends: BTreeSet<VpcId> = vpcs.into_iter().collect();
    let peers = ends.iter().flat_map(|vpc| crate::vpc_peering_connection::desired(tables, region, *vpc));
    let transits = ends.iter().flat_map(|vpc| crate::transit_gateway::desired::around(tables, region, *vpc));
    let peers: BTreeSet<VpcId> = peers.map(|peering| peering.peer).chain(transits).collect();
    ends.into_iter().chain(peers).collect()
}

/// Interfaces that nobody has attached are there as well, but for the world behind a gateway.
pub fn network(tables: &Tables, region: &Region, vpcs: &BTreeSet<VpcId>) -> Network {
    let told = vpcs.iter().filter_map(|vpc| crate::vpc::desired(tables, region, *vpc));
    let groups = vpcs.iter().flat_map(|vpc| tables.find::<SecurityGroup>(region, "vpc", *vpc));
    let groups = groups.filter_map(|group| crate::security_group::desired(tables, region, group.group));
    let interfaces = vpcs.iter().flat_map(|vpc| tables.find::<NetworkInterface>(region, "vpc", *vpc));
    let interfaces = interfaces.filter(|interface| interface.nat_gateway.is_none()).filter_map(|record| {
        let mut interface = desired::interface(tables, region, record, "")?;
        if record.attachment.is_none() {
            for address in &mut interface.addresses {
                address.public = None;
            }
        }
        Some(interface)
    });
    Network::new(told, groups, interfaces)
}
