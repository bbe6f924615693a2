//! Peerings of VPCs.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, Timestamp, VpcId, VpcPeeringConnectionId};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// One request to meet and what became of it, written under the region of both VPCs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpcPeeringConnection {
    pub peering: VpcPeeringConnectionId,
    pub requester: PeeringEnd,
    pub accepter: PeeringEnd,
    pub state: PeeringState,
    /// The requester's.
    pub tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeeringEnd {
    pub account: AccountId,
    pub vpc: VpcId,
    /// At the request; empty: there was no such VPC.
    pub cidrs: Vec<Ipv4Net>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ipv6_cidrs: Vec<Ipv6Net>,
    /// Names of the other side resolve to private addresses here.
    #[serde(default)]
    pub remote_dns: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringState {
    PendingAcceptance { expires_at: Timestamp },
    Active,
    Rejected { at: Timestamp },
    Expired { at: Timestamp },
    Deleted { at: Timestamp, by: AccountId },
    Failed { at: Timestamp },
}

impl PeeringState {
    /// The name that the API shows.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::PendingAcceptance { .. } => "pending-acceptance",
            Self::Active => "active",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Deleted { .. } => "deleted",
            Self::Failed { .. } => "failed",
        }
    }
}

impl VpcPeeringConnection {
    pub const fn is_active(&self) -> bool {
        matches!(self.state, PeeringState::Active)
    }

    /// The end that is not this VPC; none: it is of neither.
    pub fn beyond(&self, vpc: VpcId) -> Option<&PeeringEnd> {
        match (self.requester.vpc == vpc, self.accepter.vpc == vpc) {
            (true, _) => Some(&self.accepter),
            (_, true) => Some(&self.requester),
            (false, false) => None,
        }
    }
}

owned!(VpcPeeringConnection, requester.account);

impl Record for VpcPeeringConnection {
    const NOUN: &'static str = "vpc-peering-connection";
    type Id = VpcPeeringConnectionId;

    fn id(&self) -> VpcPeeringConnectionId {
        self.peering
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes =
            vec![("account", self.requester.account.into()), ("vpc", self.requester.vpc.into())];
        if self.accepter.account != self.requester.account {
            indexes.push(("account", self.accepter.account.into()));
        }
        indexes.push(("vpc", self.accepter.vpc.into()));
        indexes
    }
}
