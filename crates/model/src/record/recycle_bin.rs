//! The recycle bin: which deleted snapshots and images are kept, and for how long.
//!
//! ```text
//!          LockRule               UnlockRule                the delay is over
//! unlocked ───────► locked ───────────────► pending_unlock ─────────────────► unlocked
//! ```
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/recycle-bin.html>

use super::{IndexValue, Record, Tags};
use crate::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A rule of one account in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Eleven letters and digits.
    pub rule: String,
    pub account: AccountId,
    pub resource: Resource,
    pub days: u32,
    pub description: String,
    pub scope: Scope,
    pub lock: Option<Lock>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    Snapshot,
    Image,
}

/// Whom a rule concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// What has one of these tags.
    Tagged(Vec<Pattern>),
    /// Everything in the region that has none of these.
    AllBut(Vec<Pattern>),
}

/// A tag; without a value any value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    pub key: String,
    pub value: Option<String>,
}

impl Pattern {
    fn fits(&self, tags: &Tags) -> bool {
        tags.get(&self.key).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

/// What keeps a rule from being changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// In days, from the unlocking on.
    pub delay: u32,
    /// When it ends; none: nobody has unlocked it.
    pub ends_at: Option<Timestamp>,
}

/// Where a lock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockStage {
    Locked,
    PendingUnlock(Timestamp),
    Unlocked,
}

impl Rule {
    pub fn fits(&self, tags: &Tags) -> bool {
        match &self.scope {
            Scope::Tagged(patterns) => patterns.iter().any(|pattern| pattern.fits(tags)),
            Scope::AllBut(patterns) => !patterns.iter().any(|pattern| pattern.fits(tags)),
        }
    }

    pub fn retention(&self) -> Duration {
        Duration::from_hours(24 * u64::from(self.days))
    }

    /// Time alone ends a lock.
    pub fn stage(&self, now: Timestamp) -> LockStage {
        match self.lock {
            Some(Lock { ends_at: None, .. }) => LockStage::Locked,
            Some(Lock { ends_at: Some(at), .. }) if now < at => LockStage::PendingUnlock(at),
            Some(_) | None => LockStage::Unlocked,
        }
    }
}

impl Record for Rule {
    const NOUN: &'static str = "recycle-rule";
    type Id = String;

    fn id(&self) -> String {
        self.rule.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

/// Since when something is in the bin, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binned {
    pub at: Timestamp,
    pub until: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(scope: Scope) -> Rule {
        Rule {
            rule: "aaaaaaaaaaa".into(),
            account: AccountId::from_number(1),
            resource: Resource::Snapshot,
            days: 2,
            description: String::new(),
            scope,
            lock: None,
            tags: Tags::new(),
        }
    }

    #[test]
    fn a_rule_concerns_what_its_tags_say() {
        let tags = Tags::from([("a".to_owned(), "1".to_owned())]);
        let pattern =
            |value: Option<&str>| vec![Pattern { key: "a".into(), value: value.map(str::to_owned) }];
        assert!(rule(Scope::Tagged(pattern(None))).fits(&tags));
        assert!(rule(Scope::Tagged(pattern(Some("1")))).fits(&tags));
        assert!(!rule(Scope::Tagged(pattern(Some("2")))).fits(&tags));
        assert!(!rule(Scope::AllBut(pattern(Some("1")))).fits(&tags));
        assert!(rule(Scope::AllBut(Vec::new())).fits(&Tags::new()));
    }

    #[test]
    fn a_lock_ends_by_itself_once_it_was_undone() {
        let at = Timestamp::from_millis;
        let locked = Rule { lock: Some(Lock { delay: 7, ends_at: None }), ..rule(Scope::AllBut(Vec::new())) };
        assert_eq!(locked.stage(at(i64::MAX)), LockStage::Locked);
        let undone = Rule { lock: Some(Lock { delay: 7, ends_at: Some(at(10)) }), ..locked };
        assert_eq!(
            (undone.stage(at(9)), undone.stage(at(10))),
            (LockStage::PendingUnlock(at(10)), LockStage::Unlocked)
        );
    }
}
