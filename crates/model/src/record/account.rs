//! What an account has chosen for one region: who may share what, and whose images may be launched.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-allowed-amis.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/block-public-access-to-amis.html>,
//! <https://docs.aws.amazon.com/ebs/latest/userguide/block-public-access-snapshots.html>

use super::Record;
use crate::AccountId;
use serde::{Deserialize, Serialize};

/// An account without a record has the default.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub account: AccountId,
    /// No image is made public any more.
    #[serde(default)]
    pub images_stay_private: bool,
    #[serde(default)]
    pub public_snapshots: PublicSnapshots,
    #[serde(default)]
    pub allowed_images: AllowedImages,
    /// New volumes and copies of snapshots are encrypted whether or not that is asked for.
    #[serde(default)]
    pub encrypts_by_default: bool,
    /// The ARN of the key that encrypts where none is named; none: the one that is managed for the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_key: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublicSnapshots {
    #[default]
    Allowed,
    /// None is made public any more.
    NoNew,
    /// Nor does anybody else see those that are.
    None,
}

/// Whose images may be launched, beside the account's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllowedImages {
    pub state: Enforcement,
    /// One of them is enough.
    pub criteria: Vec<Criterion>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enforcement {
    #[default]
    Disabled,
    /// What is not allowed is marked.
    Audit,
    /// What is not allowed can be neither seen nor launched.
    Enabled,
}

impl Enforcement {
    /// As EC2 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Audit => "audit-mode",
            Self::Enabled => "enabled",
        }
    }
}

/// All that it names must hold; an empty list names nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criterion {
    /// Accounts, aliases of owners, or `none`.
    pub providers: Vec<String>,
    pub product_codes: Vec<String>,
    /// With wildcards.
    pub names: Vec<String>,
    pub days_since_deprecated: Option<u32>,
    pub days_since_created: Option<u32>,
}

impl Settings {
    pub fn default_of(account: AccountId) -> Self {
        Self {
            account,
            images_stay_private: false,
            public_snapshots: PublicSnapshots::default(),
            allowed_images: AllowedImages::default(),
            encrypts_by_default: false,
            default_key: None,
        }
    }
}

impl Record for Settings {
    const NOUN: &'static str = "account-settings";
    type Id = AccountId;

    fn id(&self) -> AccountId {
        self.account
    }
}
