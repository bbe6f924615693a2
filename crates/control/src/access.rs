//! Who asks, what they touch, and whether they may.
//!
//! Every operation names what it touches from its first day; the policy that judges is allow-all within the caller's own
//! account until IAM's policies are built.

use model::{AccessKeyId, AccountId, Region};
use std::collections::BTreeMap;
use std::fmt;

/// An Amazon resource name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arn(String);

impl Arn {
    /// `arn:aws:SERVICE:REGION:ACCOUNT:TYPE/ID`; `id` may be `*` for resources that do not exist yet.
    pub fn new(
        service: &str,
        region: &Region,
        account: AccountId,
        kind: &str,
        id: impl fmt::Display,
    ) -> Self {
        Self(format!("arn:aws:{service}:{region}:{account}:{kind}/{id}"))
    }

    /// `arn:aws:SERVICE:REGION:aws:TYPE/ID`, for what AWS itself owns.
    pub fn of_aws(service: &str, region: &Region, kind: &str, id: impl fmt::Display) -> Self {
        Self(format!("arn:aws:{service}:{region}:aws:{kind}/{id}"))
    }

    /// `arn:aws:SERVICE:REGION::TYPE/ID`, for resources whose name tells no account.
    pub fn ownerless(service: &str, region: &Region, kind: &str, id: impl fmt::Display) -> Self {
        Self(format!("arn:aws:{service}:{region}::{kind}/{id}"))
    }

    /// Every resource of a service, for operations that name none.
    pub fn any() -> Self {
        Self("*".into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One resource that an operation reads or changes, with what a policy may ask about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    pub arn: Arn,
    pub tags: BTreeMap<String, String>,
    /// Condition keys beside the tags, such as `ec2:InstanceType`.
    pub conditions: BTreeMap<&'static str, String>,
}

impl Touched {
    pub fn new(arn: Arn) -> Self {
        Self { arn, tags: BTreeMap::new(), conditions: BTreeMap::new() }
    }

    /// For operations that AWS lets be granted on `*` alone.
    pub fn anything() -> Vec<Self> {
        vec![Self::new(Arn::any())]
    }

    pub fn tagged(mut self, tags: &BTreeMap<String, String>) -> Self {
        self.tags.clone_from(tags);
        self
    }

    pub fn condition(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.conditions.insert(key, value.into());
        self
    }
}

/// The principal behind a verified signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: AccountId,
    pub access_key: AccessKeyId,
    pub arn: String,
    /// The principal's unique id (`AIDA…`; the account number for root).
    pub user_id: String,
}

/// Judges what an operation touches.
pub trait Policy: Send + Sync + 'static {
    /// `action` is `service:Operation`.
    fn allows(&self, caller: &Caller, action: &str, touched: &[Touched]) -> bool;
}

/// Every caller with a good signature may do everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn allows(&self, _: &Caller, _: &str, _: &[Touched]) -> bool {
        true
    }
}
