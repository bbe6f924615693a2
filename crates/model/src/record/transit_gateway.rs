//! Transit gateways, what is attached to them, and their route tables.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, SubnetId, Timestamp, TransitGatewayAttachmentId, TransitGatewayId, TransitGatewayRouteTableId,
    VpcId,
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

/// A VPC's way to a gateway, by one subnet of each zone that it serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TransitGatewayAttachment {
    pub attachment: TransitGatewayAttachmentId,
    pub gateway: TransitGatewayId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub subnets: BTreeSet<SubnetId>,
    pub dns: bool,
    /// Whether it carries IPv6.
    pub ipv6: bool,
    /// The table that packets from here ask.
    pub association: Option<TransitGatewayRouteTableId>,
    /// The tables that know the VPC's own ranges.
    pub propagations: BTreeSet<TransitGatewayRouteTableId>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
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

impl Record for TransitGatewayAttachment {
    const NOUN: &'static str = "transit-gateway-attachment";
    type Id = TransitGatewayAttachmentId;

    fn id(&self) -> TransitGatewayAttachmentId {
        self.attachment
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![
            ("account", self.account.into()),
            ("gateway", self.gateway.into()),
            ("vpc", self.vpc.into()),
        ];
        indexes.extend(self.subnets.iter().map(|subnet| ("subnet", (*subnet).into())));
        indexes
    }
}

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
