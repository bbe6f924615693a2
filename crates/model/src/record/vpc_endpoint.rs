//! VPC endpoints.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, NetworkInterfaceId, Region, SecurityGroupId, SubnetId, Timestamp, VpcEndpointId, VpcId, Zone,
};
use serde::{Deserialize, Serialize};

/// An interface endpoint to one of the cloud's own services.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub endpoint: VpcEndpointId,
    pub account: AccountId,
    pub region: Region,
    pub vpc: VpcId,
    /// The service's name among the cloud's, such as `ec2`.
    pub service: String,
    /// The interfaces that it owns, one a subnet.
    pub interfaces: Vec<EndpointInterface>,
    /// Of all its interfaces.
    pub groups: Vec<SecurityGroupId>,
    /// Whether the service's own names lead to it within the VPC.
    pub private_dns: bool,
    /// As it was given; none: everybody may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What makes its DNS names hard to guess.
    pub label: String,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInterface {
    pub subnet: SubnetId,
    pub zone: Zone,
    pub interface: NetworkInterfaceId,
}

impl VpcEndpoint {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }
}

impl Record for VpcEndpoint {
    const NOUN: &'static str = "vpc-endpoint";
    type Id = VpcEndpointId;

    fn id(&self) -> VpcEndpointId {
        self.endpoint
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("vpc", self.vpc.into())]
    }
}
