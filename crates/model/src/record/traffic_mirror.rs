//! Traffic mirroring: where copies go, what is copied, and the sessions that bind both to an interface.

use super::{IndexValue, Record, Tags};
use crate::traffic_mirror::{Direction, MirrorRule};
use crate::{
    AccountId, NetworkInterfaceId, TrafficMirrorFilterId, TrafficMirrorFilterRuleId, TrafficMirrorSessionId,
    TrafficMirrorTargetId, VpcId,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficMirrorTarget {
    pub target: TrafficMirrorTargetId,
    pub account: AccountId,
    pub interface: NetworkInterfaceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Tags,
}

owned!(TrafficMirrorTarget);

impl Record for TrafficMirrorTarget {
    const NOUN: &'static str = "traffic-mirror-target";
    type Id = TrafficMirrorTargetId;

    fn id(&self) -> TrafficMirrorTargetId {
        self.target
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("interface", self.interface.into())]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficMirrorFilter {
    pub filter: TrafficMirrorFilterId,
    pub account: AccountId,
    /// Whether what is said to the VPC's resolver, and by it, is copied.
    pub dns: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Tags,
}

owned!(TrafficMirrorFilter);

impl Record for TrafficMirrorFilter {
    const NOUN: &'static str = "traffic-mirror-filter";
    type Id = TrafficMirrorFilterId;

    fn id(&self) -> TrafficMirrorFilterId {
        self.filter
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

/// Its number is its own among those of its filter and direction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficMirrorFilterRule {
    pub id: TrafficMirrorFilterRuleId,
    pub account: AccountId,
    pub filter: TrafficMirrorFilterId,
    pub direction: Direction,
    pub rule: MirrorRule,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Tags,
}

owned!(TrafficMirrorFilterRule);

impl Record for TrafficMirrorFilterRule {
    const NOUN: &'static str = "traffic-mirror-filter-rule";
    type Id = TrafficMirrorFilterRuleId;

    fn id(&self) -> TrafficMirrorFilterRuleId {
        self.id
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("filter", self.filter.into())]
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TrafficMirrorSession {
    pub session: TrafficMirrorSessionId,
    pub account: AccountId,
    /// Of the source, and of the target.
    pub vpc: VpcId,
    pub source: NetworkInterfaceId,
    pub target: TrafficMirrorTargetId,
    pub filter: TrafficMirrorFilterId,
    /// From 1; its own among those of its source.
    pub number: u16,
    /// 24 bits.
    pub network: u32,
    /// In octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Tags,
}

owned!(TrafficMirrorSession);

impl Record for TrafficMirrorSession {
    const NOUN: &'static str = "traffic-mirror-session";
    type Id = TrafficMirrorSessionId;

    fn id(&self) -> TrafficMirrorSessionId {
        self.session
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![
            ("account", self.account.into()),
            ("vpc", self.vpc.into()),
            ("source", self.source.into()),
            ("target", self.target.into()),
            ("filter", self.filter.into()),
        ]
    }
}
