//! One request's surroundings: who asks, where, when.

use crate::{Caller, Cloud, Passage};
use model::{AccountId, Region, Timestamp};
use std::sync::Arc;

#[derive(Clone)]
pub struct Context {
    pub cloud: Arc<Cloud>,
    pub caller: Caller,
    /// The region that the signature names.
    pub region: Region,
    pub request_id: String,
    /// The instant of the request: one for everything that it writes.
    pub now: Timestamp,
    /// The VPC endpoint that the request came by, if by any.
    pub passage: Option<Arc<Passage>>,
}

impl Context {
    pub fn account(&self) -> AccountId {
        self.caller.account
    }

    /// 128 fresh random bits, for ids.
    pub fn bits(&self) -> u128 {
        self.cloud.entropy.bits()
    }
}
