//! Flow logs.

use super::{IndexValue, Record, Tags};
use crate::flow_log::{Destination, Field, Kept, Scope};
use crate::{AccountId, FlowLogId, Timestamp, VpcId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FlowLog {
    pub log: FlowLogId,
    pub account: AccountId,
    pub created_at: Timestamp,
    /// The VPC that it is about, or that its subnet or interface is in.
    pub vpc: VpcId,
    pub scope: Scope,
    pub kept: Kept,
    /// In seconds.
    pub interval: u32,
    pub fields: Vec<Field>,
    /// As the request wrote it.
    pub destination_arn: String,
    pub destination: Destination,
    pub tags: Tags,
}

owned!(FlowLog);

impl Record for FlowLog {
    const NOUN: &'static str = "flow-log";
    type Id = FlowLogId;

    fn id(&self) -> FlowLogId {
        self.log
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("vpc", self.vpc.into())]
    }
}
