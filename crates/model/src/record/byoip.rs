//! Ranges of public addresses that accounts brought along, each of which is a pool of elastic addresses.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, PublicIpv4PoolId, Timestamp};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A range and its pool. No two ranges that are there overlap, in whatever regions they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByoipCidr {
    pub pool: PublicIpv4PoolId,
    pub account: AccountId,
    pub cidr: Ipv4Net,
    pub description: Option<String>,
    /// Whether it may ever be advertised.
    pub advertisable: bool,
    pub phase: ByoipPhase,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByoipPhase {
    /// Its addresses can be allocated and associated; nobody outside reaches them.
    Provisioned,
    Advertised,
    /// Nobody said that the account may bring it. It is no pool, and in nobody's way.
    Failed,
    Deprovisioned {
        at: Timestamp,
    },
}

impl ByoipCidr {
    /// Whether it is a pool.
    pub const fn is_pool(&self) -> bool {
        match self.phase {
            ByoipPhase::Provisioned | ByoipPhase::Advertised => true,
            ByoipPhase::Failed | ByoipPhase::Deprovisioned { .. } => false,
        }
    }

    /// Whether it is over.
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, ByoipPhase::Deprovisioned { .. })
    }

    /// How many addresses it has.
    pub const fn size(&self) -> u32 {
        1 << (32 - self.cidr.prefix_len())
    }
}

owned!(ByoipCidr);

impl Record for ByoipCidr {
    const NOUN: &'static str = "byoip-cidr";
    type Id = PublicIpv4PoolId;

    fn id(&self) -> PublicIpv4PoolId {
        self.pool
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}
