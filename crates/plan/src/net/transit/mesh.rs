//! Peered gateways: what a table says when its routes over peerings are followed through the tables of the other gateways.
//!
//! Which table a packet asks behind a peering is the association of the peering's far end. Whatever a more specific route of
//! a nearer table takes never gets to the farther one. A way back to a gateway that a packet has passed drops it.
//! AWS: <https://docs.aws.amazon.com/vpc/latest/tgw/tgw-peering.html>

use super::Way;
use ipnet::IpNet;
use model::host::TransitRouteDesired;
use model::{TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId};
use std::collections::BTreeMap;

/// The tables of gateways that are joined by peerings, and what stands behind their attachments.
#[derive(Debug, Default)]
pub struct Mesh {
    /// The routes in force of each table, each destination once.
    pub tables: BTreeMap<TransitGatewayRouteTableId, Vec<Way>>,
    /// By the attachments that packets leave by; what is not here drops them.
    pub behind: BTreeMap<TransitGatewayAttachmentId, Behind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Vpc,
    /// Another gateway, and the table that is asked there.
    Gateway(TransitGatewayId, Option<TransitGatewayRouteTableId>),
}

type To = Option<TransitGatewayAttachmentId>;

impl Mesh {
    /// What a table of the gateway says, each destination once: to VPCs alone, of any gateway, or to nobody.
    pub fn unfold(
        &self,
        gateway: TransitGatewayId,
        table: TransitGatewayRouteTableId,
    ) -> Vec<TransitRouteDesired> {
        let ways = self.tables.get(&table).map(Vec::as_slice).unwrap_or_default();
        let told = ways.iter().map(|way| (way.destination, way.to)).collect();
        let unfolded: BTreeMap<IpNet, To> = self.followed(told, &[gateway]).into_iter().collect();
        unfolded.into_iter().map(|(destination, to)| TransitRouteDesired { destination, to }).collect()
    }

    /// Each range with where it leads, none twice, by one table; of those over peerings what the next one makes of them.
    fn followed(&self, told: Vec<(IpNet, To)>, passed: &[TransitGatewayId]) -> Vec<(IpNet, To)> {
        let mut all = Vec::new();
        for (range, to) in &told {
            let parts = self.led(*range, *to, passed);
            if parts.len() == 1 {
                all.extend(parts);
                continue;
            }
            let nearer: Vec<IpNet> =
                told.iter().map(|(net, _)| *net).filter(|net| net != range && range.contains(net)).collect();
            let farther = |part: &IpNet| !nearer.iter().any(|net| net.contains(part));
            all.extend(parts.into_iter().filter(|(part, _)| farther(part)));
        }
        all
    }

    /// What becomes of a range by one attachment: all of it, and the parts that are told apart.
    fn led(&self, range: IpNet, to: To, passed: &[TransitGatewayId]) -> Vec<(IpNet, To)> {
        match to.and_then(|to| self.behind.get(&to)) {
            None => vec![(range, None)],
            Some(Behind::Vpc) => vec![(range, to)],
            Some(Behind::Gateway(gateway, _)) if passed.contains(gateway) => vec![(range, None)],
            Some(Behind::Gateway(gateway, table)) => {
                let ways = table.and_then(|table| self.tables.get(&table));
                let told = within(ways.map(Vec::as_slice).unwrap_or_default(), range);
                self.followed(told, &[passed, &[*gateway]].concat())
            }
        }
    }
}

/// The route of a table for all of a range; more specific ones within it are not looked at.
pub fn deciding(ways: &[Way], range: IpNet) -> Option<&Way> {
    let covering = ways.iter().filter(|way| way.destination.contains(&range));
    covering.max_by_key(|way| way.destination.prefix_len())
}

/// What a table says for all of a range, and for each more specific one within it.
pub fn within(ways: &[Way], range: IpNet) -> Vec<(IpNet, To)> {
    let inner = ways.iter().filter(|way| way.destination != range && range.contains(&way.destination));
    let whole = (range, deciding(ways, range).and_then(|way| way.to));
    inner.map(|way| (way.destination, way.to)).chain([whole]).collect()
}

#[cfg(test)]
mod tests;
