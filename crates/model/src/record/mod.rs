//! What the store keeps: one record type per noun, plain data, each in the form that the API's view of it needs.
//!
//! A record is written by transactions alone. What can be derived from other records is not stored twice.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::str::FromStr;

/// A noun of the cloud as it is stored: JSON under `region/NOUN/id`.
pub trait Record: Serialize + DeserializeOwned + Debug + Send + Sync + 'static {
    /// The noun in keys, such as `instance`.
    const NOUN: &'static str;
    type Id: Clone + Ord + Hash + Debug + Display + FromStr + Send + Sync + 'static;

    fn id(&self) -> Self::Id;

    /// By what else the record is found: names and values of indexes.
    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        Vec::new()
    }
}

pub use owned::Owned;

/// What an index maps from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexValue {
    Bits(u128),
    Account(crate::AccountId),
    Text(Box<str>),
    Address(std::net::Ipv4Addr),
}

macro_rules! index_from_id {
    ($($id:ident),*) => {$(
        impl From<crate::$id> for IndexValue {
            fn from(id: crate::$id) -> Self {
                Self::Bits(id.bits())
            }
        }
    )*};
}

index_from_id!(
    InstanceId,
    ReservationId,
    ImageId,
    SnapshotId,
    VolumeId,
    KeyPairId,
    VpcId,
    SubnetId,
    SecurityGroupId,
    SecurityGroupRuleId,
    NetworkInterfaceId,
    InternetGatewayId,
    RouteTableId,
    NetworkAclId,
    AllocationId,
    DhcpOptionsId,
    VpcPeeringConnectionId,
    NatGatewayId,
    VpcEndpointServiceId,
    PrefixListId,
    SubnetCidrReservationId,
    NetworkInsightsPathId,
    NetworkInsightsAnalysisId,
    FlowLogId,
    TrafficMirrorTargetId,
    TrafficMirrorFilterId,
    TransitGatewayId,
    TransitGatewayAttachmentId,
    TransitGatewayRouteTableId,
    CustomerGatewayId,
    VpnGatewayId,
    VpnConnectionId,
    PublicIpv4PoolId
);

impl From<crate::AccountId> for IndexValue {
    fn from(account: crate::AccountId) -> Self {
        Self::Account(account)
    }
}

impl From<&str> for IndexValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<std::net::Ipv4Addr> for IndexValue {
    fn from(address: std::net::Ipv4Addr) -> Self {
        Self::Address(address)
    }
}

#[macro_use]
mod owned;

pub mod access_key;
pub mod account;
pub mod address;
pub mod byoip;
pub mod flow_log;
pub mod image;
pub mod instance;
pub mod key_pair;
pub mod kms;
pub mod nat_gateway;
pub mod network_insights;
pub mod network_interface;
pub mod prefix_list;
pub mod recycle_bin;
pub mod security_group;
pub mod snapshot;
pub mod store_disk;
pub mod traffic_mirror;
pub mod transfer;
pub mod transit_gateway;
pub mod volume;
pub mod vpc;
pub mod vpc_endpoint;
pub mod vpc_endpoint_service;
pub mod vpc_peering_connection;
pub mod vpn;

/// A resource's tags, by key.
pub type Tags = std::collections::BTreeMap<String, String>;
