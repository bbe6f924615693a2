//! Transit gateways of a topology: who is attached, and what their tables say, as an account would describe them. What hosts
//! are told follows from it here, by a simple reading that is the judge's own.

use super::dice::Dice;
use super::topology::Topology;
use ipnet::IpNet;
use model::host::{TransitDesired, TransitPeerDesired, TransitRouteDesired, VpcDesired};
use model::{SubnetId, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId, VpcId};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// A gateway; those that are attached first come first.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub id: TransitGatewayId,
    pub attachments: Vec<Attachment>,
    pub tables: Vec<Table>,
}

#[derive(Debug, Clone)]
pub struct Attachment {
    pub id: TransitGatewayAttachmentId,
    pub vpc: VpcId,
    pub ranges: Vec<IpNet>,
    pub ipv6: bool,
    /// The subnet whose table is asked for what comes by it.
    pub arrival: SubnetId,
    /// Those whose packets may leave by it.
    pub served: Vec<SubnetId>,
    /// The table that it asks, by its place.
    pub asks: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub id: TransitGatewayRouteTableId,
    /// Destinations, and the attachments by their places that they lead to; none: a blackhole.
    pub fixed: Vec<(IpNet, Option<usize>)>,
    /// The attachments whose ranges it knows.
    pub learns: BTreeSet<usize>,
}

impl Gateway {
    /// A gateway that most of these VPCs are attached to.
    pub fn base(dice: &mut Dice, vpcs: &[VpcDesired]) -> Self {
        let mut attachments = Vec::new();
        for vpc in vpcs {
            let arrivals: Vec<SubnetId> =
                vpc.subnets.iter().filter(|s| s.cidr.is_some()).map(|s| s.subnet).collect();
            if arrivals.is_empty() || dice.percent(15) {
                continue;
            }
            let arrival = *dice.pick(&arrivals);
            let mut served: Vec<SubnetId> = vpc.subnets.iter().map(|s| s.subnet).collect();
            served.retain(|subnet| *subnet == arrival || dice.percent(75));
            let ipv6 = !vpc.ipv6_cidrs.is_empty() && dice.percent(70);
            let v4 = vpc.cidrs.iter().copied().map(IpNet::V4);
            let v6 = vpc.ipv6_cidrs.iter().copied().map(IpNet::V6).filter(|_| ipv6);
            attachments.push(Attachment {
                id: TransitGatewayAttachmentId::from_entropy(dice.id()),
                vpc: vpc.vpc,
                ranges: v4.chain(v6).collect(),
                ipv6,
                arrival,
                served,
                asks: None,
            });
        }
        let table = |dice: &mut Dice| Table {
            id: TransitGatewayRouteTableId::from_entropy(dice.id()),
            fixed: Vec::new(),
            learns: BTreeSet::new(),
        };
        let tables = (0..dice.between(1, 2)).map(|_| table(dice)).collect();
        Self { id: TransitGatewayId::from_entropy(dice.id()), attachments, tables }
    }

    /// Rolls what its tables say, and who asks them.
    pub fn round(&mut self, dice: &mut Dice, nets: &[IpNet]) {
        let (count, tables) = (self.attachments.len(), self.tables.len());
        for attachment in &mut self.attachments {
            attachment.asks = dice.percent(90).then(|| dice.below(tables));
        }
        for table in &mut self.tables {
            table.learns = (0..count).filter(|_| dice.percent(75)).collect();
            let mut seen = BTreeSet::new();
            table.fixed = (0..dice.below(4))
                .map(|_| {
                    (
                        dice.pick(nets).trunc(),
                        (count > 0 && dice.percent(80)).then(|| dice.below(count.max(1))),
                    )
                })
                .filter(|(net, _)| seen.insert(*net))
                .collect();
        }
    }

    /// What a table says of each destination: what is fixed goes before what is learned, and of that the first.
    fn says(&self, table: &Table) -> Vec<(IpNet, Option<usize>)> {
        let mut all = table.fixed.clone();
        for place in &table.learns {
            for range in &self.attachments[*place].ranges {
                if all.iter().all(|(net, _)| net != range) {
                    all.push((*range, Some(*place)));
                }
            }
        }
        all
    }

    /// Where the packets of an attachment for an address come to.
    pub fn leads(&self, from: &Attachment, dst: IpAddr) -> Option<&Attachment> {
        let says = self.says(&self.tables[from.asks?]);
        let fitting = says.into_iter().filter(|(net, _)| net.contains(&dst));
        let (_, to) = fitting.max_by_key(|(net, _)| net.prefix_len())?;
        Some(&self.attachments[to?])
    }

    /// What the host is told of an attachment.
    fn told(&self, own: &Attachment) -> TransitDesired {
        let says =
            |from: &Attachment| from.asks.map(|table| self.says(&self.tables[table])).unwrap_or_default();
        let meets = |from: &Attachment, to: &Attachment| {
            says(from).iter().any(|(_, place)| place.is_some_and(|place| self.attachments[place].id == to.id))
        };
        let others = self.attachments.iter().filter(|other| other.id != own.id);
        let met = others.filter(|other| meets(own, other) || meets(other, own));
        TransitDesired {
            gateway: self.id,
            attachment: own.id,
            ipv6: own.ipv6,
            arrival: own.arrival,
            served: own.served.clone(),
            table: own.asks.map(|table| self.tables[table].id),
            routes: says(own)
                .into_iter()
                .map(|(destination, to)| TransitRouteDesired {
                    destination,
                    to: to.map(|to| self.attachments[to].id),
                })
                .collect(),
            peers: met.map(|other| TransitPeerDesired { attachment: other.id, vpc: other.vpc }).collect(),
        }
    }
}

impl Topology {
    /// Tells each VPC of its ends.
    pub fn tell_of_gateways(&mut self) {
        for vpc in &mut self.vpcs {
            let ends = self.gateways.iter().flat_map(|gateway| {
                let own = gateway.attachments.iter().filter(|attachment| attachment.vpc == vpc.vpc);
                own.map(|attachment| gateway.told(attachment))
            });
            vpc.transits = ends.collect();
        }
    }
}
