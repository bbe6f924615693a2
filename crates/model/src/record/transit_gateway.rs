//! Transit gateways, what is attached to them, and their route tables.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, SubnetId, Timestamp, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId,
    VpcId, VpnConnectionId,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransitGateway {
    pub gateway: TransitGatewayId,
    pub account: AccountId,
    pub description: String,
    pub options: TransitGatewayOptions,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitGatewayOptions {
    /// Of its side of BGP sessions, which nothing here has.
    pub amazon_side_asn: i64,
    pub auto_accept_shared: bool,
    /// Whether new attachments are associated with the default association table.
    pub default_association: bool,
    pub association_table: Option<TransitGatewayRouteTableId>,
    /// Whether new attachments propagate to the default propagation table.
    pub default_propagation: bool,
    pub propagation_table: Option<TransitGatewayRouteTableId>,
    pub vpn_ecmp: bool,
    pub dns: bool,
}

/// One end at a gateway: a VPC's, a VPN connection's, or one side of a peering with another gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransitGatewayAttachment {
    pub attachment: TransitGatewayAttachmentId,
    pub gateway: TransitGatewayId,
    pub account: AccountId,
    #[serde(flatten)]
    pub resource: AttachedResource,
    /// The table that packets from here ask.
    pub association: Option<TransitGatewayRouteTableId>,
    pub created_at: Timestamp,
    /// Since when it has been nothing but described.
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttachedResource {
    Vpc(AttachedVpc),
    Peering { peering: AttachedPeering },
    Vpn { vpn: AttachedVpn },
}

/// A VPC, by one subnet of each zone that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedVpc {
    pub vpc: VpcId,
    pub subnets: BTreeSet<SubnetId>,
    pub dns: bool,
    /// Whether it carries IPv6.
    pub ipv6: bool,
    /// The tables that know the VPC's own ranges.
    pub propagations: BTreeSet<TransitGatewayRouteTableId>,
}

/// A VPN connection. Its routes are static: tables that it propagates to learn none from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedVpn {
    pub connection: VpnConnectionId,
    pub propagations: BTreeSet<TransitGatewayRouteTableId>,
}

/// Another gateway of the region, whose end is an attachment of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPeering {
    pub gateway: TransitGatewayId,
    pub account: AccountId,
    /// The other end; none: nobody was there to be asked.
    pub attachment: Option<TransitGatewayAttachmentId>,
    pub role: PeeringRole,
    pub phase: PeeringPhase,
}

/// Which side this end is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringRole {
    Requester,
    Accepter,
}

/// The same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringPhase {
    PendingAcceptance,
    Available,
    Rejected,
    Deleted,
    Failed,
}

impl TransitGatewayAttachment {
    pub const fn vpc(&self) -> Option<&AttachedVpc> {
        match &self.resource {
            AttachedResource::Vpc(vpc) => Some(vpc),
            AttachedResource::Peering { .. } | AttachedResource::Vpn { .. } => None,
        }
    }

    pub const fn peering(&self) -> Option<&AttachedPeering> {
        match &self.resource {
            AttachedResource::Peering { peering } => Some(peering),
            AttachedResource::Vpc(_) | AttachedResource::Vpn { .. } => None,
        }
    }

    pub const fn vpn(&self) -> Option<&AttachedVpn> {
        match &self.resource {
            AttachedResource::Vpn { vpn } => Some(vpn),
            AttachedResource::Vpc(_) | AttachedResource::Peering { .. } => None,
        }
    }

    /// The network that stands at its end on the host; none: another gateway is there.
    pub fn place(&self) -> Option<VpcId> {
        match &self.resource {
            AttachedResource::Vpc(vpc) => Some(vpc.vpc),
            AttachedResource::Vpn { vpn } => Some(super::vpn::hub(vpn.connection)),
            AttachedResource::Peering { .. } => None,
        }
    }

    /// The tables that it propagates to; none: what is behind it is known by static routes alone.
    pub const fn propagations(&self) -> Option<&BTreeSet<TransitGatewayRouteTableId>> {
        match &self.resource {
            AttachedResource::Vpc(vpc) => Some(&vpc.propagations),
            AttachedResource::Vpn { vpn } => Some(&vpn.propagations),
            AttachedResource::Peering { .. } => None,
        }
    }

    pub const fn propagations_mut(&mut self) -> Option<&mut BTreeSet<TransitGatewayRouteTableId>> {
        match &mut self.resource {
            AttachedResource::Vpc(vpc) => Some(&mut vpc.propagations),
            AttachedResource::Vpn { vpn } => Some(&mut vpn.propagations),
            AttachedResource::Peering { .. } => None,
        }
    }

    /// Whether packets may pass by it.
    pub fn is_open(&self) -> bool {
        self.deleted_at.is_none()
            && self.peering().is_none_or(|peering| peering.phase == PeeringPhase::Available)
    }

    pub fn propagates_to(&self, table: TransitGatewayRouteTableId) -> bool {
        self.propagations().is_some_and(|tables| tables.contains(&table))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransitGatewayRouteTable {
    pub table: TransitGatewayRouteTableId,
    pub gateway: TransitGatewayId,
    pub account: AccountId,
    /// The static routes, each destination once.
    pub routes: Vec<TransitGatewayRoute>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitGatewayRoute {
    pub destination: IpNet,
    /// None: a blackhole.
    pub to: Option<TransitGatewayAttachmentId>,
}

owned!(TransitGateway);

impl Record for TransitGateway {
    const NOUN: &'static str = "transit-gateway";
    type Id = TransitGatewayId;

    fn id(&self) -> TransitGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

owned!(TransitGatewayAttachment);

impl Record for TransitGatewayAttachment {
    const NOUN: &'static str = "transit-gateway-attachment";
    type Id = TransitGatewayAttachmentId;

    fn id(&self) -> TransitGatewayAttachmentId {
        self.attachment
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("gateway", self.gateway.into())];
        if let Some(vpc) = self.vpc() {
            indexes.push(("vpc", vpc.vpc.into()));
            indexes.extend(vpc.subnets.iter().map(|subnet| ("subnet", (*subnet).into())));
        }
        indexes
    }
}

owned!(TransitGatewayRouteTable);

impl Record for TransitGatewayRouteTable {
    const NOUN: &'static str = "transit-gateway-route-table";
    type Id = TransitGatewayRouteTableId;

    fn id(&self) -> TransitGatewayRouteTableId {
        self.table
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("gateway", self.gateway.into())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_that_was_written_before_there_were_peerings_is_still_read() {
        let old = serde_json::json!({
            "attachment": "tgw-attach-00000000000000001", "gateway": "tgw-00000000000000002",
            "account": "111111111111", "vpc": "vpc-00000000000000003",
            "subnets": ["subnet-00000000000000004"], "dns": true, "ipv6": false,
            "association": "tgw-rtb-00000000000000005", "propagations": ["tgw-rtb-00000000000000005"],
            "created_at": serde_json::to_value(Timestamp::from_millis(7)).unwrap(),
            "deleted_at": null, "tags": {},
        });
        let read: TransitGatewayAttachment = serde_json::from_value(old.clone()).unwrap();
        let vpc = read.vpc().unwrap();
        assert_eq!(vpc.subnets.len(), 1);
        assert!(read.is_open() && read.propagates_to(read.association.unwrap()));
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
        let side = AttachedPeering {
            gateway: read.gateway,
            account: read.account,
            attachment: None,
            role: PeeringRole::Requester,
            phase: PeeringPhase::PendingAcceptance,
        };
        let peering = TransitGatewayAttachment {
            resource: AttachedResource::Peering { peering: side.clone() },
            ..read
        };
        let text = serde_json::to_string(&peering).unwrap();
        let back: TransitGatewayAttachment = serde_json::from_str(&text).unwrap();
        assert_eq!(back.peering(), Some(&side));
        assert!(!back.is_open());
    }
}
