//! Services that accounts offer to the VPCs of others.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, NetworkInterfaceId, Region, SubnetId, Timestamp, VpcEndpointServiceId,
    VpcEndpointServicePermissionId, VpcId, Zone,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A service behind interfaces of a VPC, which endpoints in other VPCs lead to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpcEndpointService {
    pub service: VpcEndpointServiceId,
    pub account: AccountId,
    pub region: Region,
    /// Where all its targets are.
    pub vpc: VpcId,
    /// At least one, and at most one a zone, in the order of the zones.
    pub targets: Vec<ServiceTarget>,
    /// Whether an endpoint waits for the owner's word.
    pub acceptance_required: bool,
    /// Who may make endpoints, beside the owner.
    pub allowed: Vec<AllowedPrincipal>,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

/// What answers in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTarget {
    pub zone: Zone,
    /// The interface of whoever answers, and its primary address; it may have gone since.
    pub interface: NetworkInterfaceId,
    pub address: Option<Ipv4Addr>,
    /// The service's own interface in this zone, from which connections come to the target.
    pub node: NetworkInterfaceId,
    /// The node's subnet.
    pub subnet: SubnetId,
}

/// Somebody who may make endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedPrincipal {
    pub permission: VpcEndpointServicePermissionId,
    /// `*`, or an ARN of IAM.
    pub principal: String,
}

impl VpcEndpointService {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// What answers in a zone.
    pub fn in_zone(&self, zone: &Zone) -> Option<&ServiceTarget> {
        self.targets.iter().find(|target| target.zone == *zone)
    }
}

owned!(VpcEndpointService);

impl Record for VpcEndpointService {
    const NOUN: &'static str = "vpc-endpoint-service";
    type Id = VpcEndpointServiceId;

    fn id(&self) -> VpcEndpointServiceId {
        self.service
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("vpc", self.vpc.into())];
        indexes.extend(self.targets.iter().map(|target| ("target", target.interface.into())));
        indexes
    }
}
