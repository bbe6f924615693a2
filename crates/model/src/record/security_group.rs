//! Security groups and their rules.

use super::{IndexValue, Record, Tags};
use crate::net::Allow;
use crate::{AccountId, SecurityGroupId, SecurityGroupRuleId, VpcId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub group: SecurityGroupId,
    pub account: AccountId,
    pub vpc: VpcId,
    pub name: String,
    pub description: String,
    pub rules: Vec<SecurityGroupRule>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    Ingress,
    Egress,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    pub rule: SecurityGroupRuleId,
    pub direction: Direction,
    pub allow: Allow,
    pub description: Option<String>,
    pub tags: Tags,
}

impl SecurityGroup {
    pub fn allows(&self, direction: Direction) -> impl Iterator<Item = &SecurityGroupRule> {
        self.rules.iter().filter(move |rule| rule.direction == direction)
    }
}

owned!(SecurityGroup);

impl Record for SecurityGroup {
    const NOUN: &'static str = "security-group";
    type Id = SecurityGroupId;

    fn id(&self) -> SecurityGroupId {
        self.group
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("vpc", self.vpc.into())];
        for rule in &self.rules {
            indexes.push(("rule", rule.rule.into()));
            if let crate::net::Peer::Group(peer) = rule.allow.peer
                && peer != self.group
            {
                indexes.push(("references", peer.into()));
            }
            if let crate::net::Peer::PrefixList(list) = rule.allow.peer {
                indexes.push(("prefix-list", list.into()));
            }
        }
        indexes
    }
}
