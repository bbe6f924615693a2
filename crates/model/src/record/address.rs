//! Elastic IP addresses: public addresses that an account keeps until it releases them.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, AddressAssociationId, AllocationId, NetworkInterfaceId, PublicIpv4PoolId, Region, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// One address, and what it stands for at present. The interface's record says the same of its side; both are written in
/// one transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    pub allocation: AllocationId,
    pub account: AccountId,
    pub region: Region,
    pub address: Ipv4Addr,
    /// The pool that it comes from, of its owner's own; none: the cloud's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PublicIpv4PoolId>,
    pub association: Option<Association>,
    /// Whom it is offered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    pub tags: Tags,
}

/// An offer to another account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    pub to: AccountId,
    pub expires_at: Timestamp,
}

/// The private address that it is translated to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    pub association: AddressAssociationId,
    pub interface: NetworkInterfaceId,
    pub private: Ipv4Addr,
}

owned!(Address);

impl Record for Address {
    const NOUN: &'static str = "address";
    type Id = AllocationId;

    fn id(&self) -> AllocationId {
        self.allocation
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut all = vec![("account", self.account.into()), ("address", IndexValue::Address(self.address))];
        all.extend(self.pool.map(|pool| ("pool", pool.into())));
        all
    }
}
