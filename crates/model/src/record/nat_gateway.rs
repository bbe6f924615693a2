//! NAT gateways.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, NatGatewayId, NetworkInterfaceId, SubnetId, Timestamp, VpcId};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Its addresses are its interface's, which it owns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NatGateway {
    pub gateway: NatGatewayId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub connectivity: Connectivity,
    pub interface: NetworkInterfaceId,
    /// Shown when the interface is gone.
    pub private: Ipv4Addr,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Connectivity {
    /// With an elastic address, to the internet.
    Public,
    Private,
}

owned!(NatGateway);

impl Record for NatGateway {
    const NOUN: &'static str = "nat-gateway";
    type Id = NatGatewayId;

    fn id(&self) -> NatGatewayId {
        self.gateway
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("vpc", self.vpc.into())]
    }
}
