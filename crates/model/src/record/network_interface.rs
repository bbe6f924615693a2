//! Network interfaces.

use super::instance::AttachmentState;
use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, AddressAssociationId, AllocationId, InstanceId, Mac, NatGatewayId,
    NetworkInterfaceAttachmentId, NetworkInterfaceId, SecurityGroupId, SubnetId, Timestamp, VpcEndpointId,
    VpcEndpointServiceId, VpcId, Zone,
};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub interface: NetworkInterfaceId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub subnet: SubnetId,
    pub zone: Zone,
    pub mac: Mac,
    /// The first is the primary address. None in a subnet of IPv6 alone.
    pub addresses: Vec<PrivateAddress>,
    /// The first is the one that DHCPv6 gives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<Ipv6Addr>,
    /// Blocks of /28 that are wholly its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv4_prefixes: Vec<Ipv4Net>,
    /// Likewise blocks of /80.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_prefixes: Vec<Ipv6Net>,
    pub groups: Vec<SecurityGroupId>,
    pub description: String,
    pub source_dest_check: bool,
    pub attachment: Option<Attachment>,
    /// The NAT gateway that it belongs to; nobody else may use or change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nat_gateway: Option<NatGatewayId>,
    /// The VPC endpoint that it belongs to, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_endpoint: Option<VpcEndpointId>,
    /// The endpoint service that it belongs to, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_service: Option<VpcEndpointServiceId>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateAddress {
    pub address: Ipv4Addr,
    pub public: Option<PublicAddress>,
}

/// The public address that is translated to a private one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicAddress {
    /// The cloud's own, given back when the instance stops.
    Automatic(Ipv4Addr),
    /// An account's, which stays with the private address until it is disassociated.
    Elastic { address: Ipv4Addr, allocation: AllocationId, association: AddressAssociationId },
}

impl PublicAddress {
    pub fn address(&self) -> Ipv4Addr {
        match self {
            Self::Automatic(address) | Self::Elastic { address, .. } => *address,
        }
    }

    /// Of an elastic address: its allocation and this association of it.
    pub fn elastic(&self) -> Option<(AllocationId, AddressAssociationId)> {
        match self {
            Self::Automatic(_) => None,
            Self::Elastic { allocation, association, .. } => Some((*allocation, *association)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub attachment: NetworkInterfaceAttachmentId,
    pub instance: InstanceId,
    pub device_index: u32,
    pub delete_on_termination: bool,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "AttachmentState::is_attached")]
    pub state: AttachmentState,
}

/// Whose an interface is that no account may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    NatGateway(NatGatewayId),
    VpcEndpoint(VpcEndpointId),
    EndpointService(VpcEndpointServiceId),
}

impl NetworkInterface {
    /// Whether somebody has it.
    pub const fn is_in_use(&self) -> bool {
        self.attachment.is_some() || self.is_managed()
    }

    /// Whether it belongs to a service, which alone may change it.
    pub const fn is_managed(&self) -> bool {
        self.manager().is_some()
    }

    /// The service that it belongs to.
    pub const fn manager(&self) -> Option<Manager> {
        match (self.nat_gateway, self.vpc_endpoint, self.endpoint_service) {
            (Some(gateway), _, _) => Some(Manager::NatGateway(gateway)),
            (None, Some(endpoint), _) => Some(Manager::VpcEndpoint(endpoint)),
            (None, None, Some(service)) => Some(Manager::EndpointService(service)),
            (None, None, None) => None,
        }
    }

    /// Whether a host carries it.
    pub const fn is_carried(&self) -> bool {
        self.attachment.is_some() || self.vpc_endpoint.is_some() || self.endpoint_service.is_some()
    }

    /// How many of the addresses that its instance's type allows it has taken: a prefix counts as one.
    pub const fn ipv4_places(&self) -> usize {
        self.addresses.len() + self.ipv4_prefixes.len()
    }

    /// Likewise of IPv6.
    pub const fn ipv6_places(&self) -> usize {
        self.ipv6.len() + self.ipv6_prefixes.len()
    }

    /// None in a subnet of IPv6 alone.
    pub fn primary(&self) -> Option<&PrivateAddress> {
        self.addresses.first()
    }
}

owned!(NetworkInterface);

impl Record for NetworkInterface {
    const NOUN: &'static str = "network-interface";
    type Id = NetworkInterfaceId;

    fn id(&self) -> NetworkInterfaceId {
        self.interface
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes =
            vec![("account", self.account.into()), ("vpc", self.vpc.into()), ("subnet", self.subnet.into())];
        indexes.extend(self.groups.iter().map(|g| ("group", (*g).into())));
        indexes.extend(self.attachment.iter().map(|a| ("instance", a.instance.into())));
        indexes
    }
}
