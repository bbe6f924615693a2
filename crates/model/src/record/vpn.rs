//! Site-to-site VPN: customer gateways, virtual private gateways, and the connections between them.

use super::{IndexValue, Record, Tags};
use crate::host::IkeVersions;
use crate::{
    AccountId, Blob, CustomerGatewayId, Timestamp, TransitGatewayAttachmentId, TransitGatewayId, VpcId,
    VpnConnectionId, VpnGatewayId, Zone,
};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What an account says of a device of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CustomerGateway {
    pub gateway: CustomerGatewayId,
    pub account: AccountId,
    pub address: Ipv4Addr,
    /// Of its side of BGP sessions, which nothing here has.
    pub asn: u32,
    pub device: Option<String>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

/// A VPC's end of VPN connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpnGateway {
    pub gateway: VpnGatewayId,
    pub account: AccountId,
    pub vpc: Option<VpcId>,
    /// The VPC that it was attached to last, if it is no longer.
    pub detached: Option<VpcId>,
    pub asn: i64,
    pub zone: Option<Zone>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpnConnection {
    pub connection: VpnConnectionId,
    pub account: AccountId,
    pub customer_gateway: CustomerGatewayId,
    #[serde(flatten)]
    pub end: VpnEnd,
    /// The virtual private gateway that it was of last, if it is no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<VpnGatewayId>,
    /// The static routes, each once, in the order in which they came.
    pub routes: Vec<Ipv4Net>,
    pub tunnels: Vec<VpnTunnel>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

/// The cloud's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VpnEnd {
    Vpc {
        gateway: VpnGatewayId,
    },
    /// An attachment of its own.
    Transit {
        transit_gateway: TransitGatewayId,
        attachment: TransitGatewayAttachmentId,
    },
}

impl VpnEnd {
    pub const fn gateway(self) -> Option<VpnGatewayId> {
        match self {
            Self::Vpc { gateway } => Some(gateway),
            Self::Transit { .. } => None,
        }
    }

    pub const fn transit(self) -> Option<(TransitGatewayId, TransitGatewayAttachmentId)> {
        match self {
            Self::Transit { transit_gateway, attachment } => Some((transit_gateway, attachment)),
            Self::Vpc { .. } => None,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpnTunnel {
    /// The cloud's end, of its public pool.
    pub outside: Ipv4Addr,
    /// A /30 of 169.254.0.0/16.
    pub inside: Ipv4Net,
    /// The pre-shared key, sealed with the cloud's root key.
    pub sealed: Blob,
    pub versions: IkeVersions,
    pub initiates: bool,
    /// As the host last said.
    pub status: TunnelStatus,
    pub changed_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TunnelStatus {
    Up,
    Down,
    /// There is a security association for keys, and none for packets.
    IkeUp,
}

impl CustomerGateway {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }
}

impl VpnGateway {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }
}

impl VpnConnection {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }
}

/// The network that stands for a connection of a transit gateway on the host: no VPC's, but made as one.
pub fn hub(connection: VpnConnectionId) -> VpcId {
    VpcId::from_entropy(connection.bits())
}

owned!(CustomerGateway);

impl Record for CustomerGateway {
    const NOUN: &'static str = "customer-gateway";
    type Id = CustomerGatewayId;

    fn id(&self) -> CustomerGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

owned!(VpnGateway);

impl Record for VpnGateway {
    const NOUN: &'static str = "vpn-gateway";
    type Id = VpnGatewayId;

    fn id(&self) -> VpnGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into())];
        indexes.extend(self.vpc.map(|vpc| ("vpc", vpc.into())));
        indexes
    }
}

owned!(VpnConnection);

impl Record for VpnConnection {
    const NOUN: &'static str = "vpn-connection";
    type Id = VpnConnectionId;

    fn id(&self) -> VpnConnectionId {
        self.connection
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes =
            vec![("account", self.account.into()), ("customer-gateway", self.customer_gateway.into())];
        indexes.push(match self.end {
            VpnEnd::Vpc { gateway } => ("gateway", gateway.into()),
            VpnEnd::Transit { transit_gateway, .. } => ("transit-gateway", transit_gateway.into()),
        });
        indexes
    }
}
