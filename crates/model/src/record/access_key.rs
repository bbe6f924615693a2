//! Access keys: who signs with what.

use super::{IndexValue, Record};
use crate::{AccessKeyId, AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The secret half of an access key. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key and the principal that it speaks for. Stored under `global/access-key`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessKey {
    pub access_key: AccessKeyId,
    pub secret: Secret,
    pub account: AccountId,
    /// The principal's ARN, as `GetCallerIdentity` shows it.
    pub principal: String,
    /// The principal's unique id.
    pub user_id: String,
    pub created_at: Timestamp,
    /// Temporary credentials: the session token that must come along, and when they end.
    pub session: Option<Session>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    pub token: Secret,
    pub expires_at: Timestamp,
}

impl Record for AccessKey {
    const NOUN: &'static str = "access-key";
    type Id = AccessKeyId;

    fn id(&self) -> AccessKeyId {
        self.access_key.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}
