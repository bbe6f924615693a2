//! Managed prefix lists: named sets of address ranges, kept in every version.

use super::{IndexValue, Owned, Record, Tags};
use crate::{AccountId, PrefixListId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PrefixList {
    pub list: PrefixListId,
    /// None: AWS's own, of a service that gateway endpoints lead to.
    #[serde(default)]
    pub account: Option<AccountId>,
    pub name: String,
    pub family: Family,
    /// How many entries it may have; whatever refers to it counts as so many.
    pub max_entries: u32,
    /// The first is version 1; the last is in force. Never empty.
    pub versions: Vec<Vec<Entry>>,
    pub last: Last,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub cidr: IpNet,
    pub description: Option<String>,
}

/// What was done to it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Last {
    Created,
    Modified,
    Restored,
}

impl PrefixList {
    /// What is in force.
    pub fn entries(&self) -> &[Entry] {
        self.versions.last().map(Vec::as_slice).unwrap_or_default()
    }

    /// The version in force.
    pub fn version(&self) -> i64 {
        self.versions.len() as i64
    }

    /// The entries of a version that there is.
    pub fn entries_of(&self, version: i64) -> Option<&[Entry]> {
        self.versions.get(usize::try_from(version.checked_sub(1)?).ok()?).map(Vec::as_slice)
    }
}

/// Stands for AWS where an account must be; no account has the number.
const AWS: AccountId = AccountId::from_number(999_999_999_999);

impl Owned for PrefixList {
    fn account(&self) -> AccountId {
        self.account.unwrap_or(AWS)
    }

    fn tags(&self) -> &Tags {
        &self.tags
    }

    fn tags_mut(&mut self) -> &mut Tags {
        &mut self.tags
    }
}

impl Record for PrefixList {
    const NOUN: &'static str = "prefix-list";
    type Id = PrefixListId;

    fn id(&self) -> PrefixListId {
        self.list
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        self.account.map(|account| ("account", account.into())).into_iter().collect()
    }
}
