//! Keys of the key service, their aliases and their grants.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, Blob, Region, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A key's id: a UUID, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u128);

impl KeyId {
    /// A UUID of version 4 out of 128 random bits.
    pub const fn from_entropy(bits: u128) -> Self {
        let bits = bits & !(0xf << 76) | 0x4 << 76;
        Self(bits & !(0x3 << 62) | 0x2 << 62)
    }

    pub const fn bits(self) -> u128 {
        self.0
    }

    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bits) = self;
        let part = |from: u32, digits: u32| bits >> from & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// It is no key's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKeyId;

impl FromStr for KeyId {
    type Err = NoKeyId;

    fn from_str(text: &str) -> Result<Self, NoKeyId> {
        let dashes = text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        });
        if !dashes || text.len() != 36 {
            return Err(NoKeyId);
        }
        u128::from_str_radix(&text.replace('-', ""), 16).map(Self).map_err(|_| NoKeyId)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(|NoKeyId| de::Error::custom("a key's id is a UUID"))
    }
}

impl From<KeyId> for IndexValue {
    fn from(id: KeyId) -> Self {
        Self::Bits(id.0)
    }
}

/// A symmetric key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    pub key: KeyId,
    pub account: AccountId,
    pub region: Region,
    pub description: String,
    /// The service that manages it for the account, such as `ebs`; none: the account does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
    pub state: KeyState,
    pub created_at: Timestamp,
    /// What it encrypts with: the last; the others still decrypt.
    pub material: Vec<Material>,
    /// The policy document, as it was given.
    pub policy: String,
    /// Of the rotation by the clock, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyState {
    Enabled,
    Disabled,
    /// Gone at that instant.
    PendingDeletion(Timestamp),
}

impl KeyState {
    /// As the API names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion(_) => "PendingDeletion",
        }
    }
}

/// One version of a key's secret, sealed with the cloud's root key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    pub sealed: Blob,
    pub since: Timestamp,
    /// Made because somebody asked for it, not by the clock.
    #[serde(default)]
    pub on_demand: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    pub days: u32,
    pub next: Timestamp,
}

impl Key {
    pub fn arn(&self) -> String {
        format!("arn:aws:kms:{}:{}:key/{}", self.region, self.account, self.key)
    }

    /// Whether its waiting period is over: nobody sees it any more, and its record is swept away.
    pub fn is_gone(&self, now: Timestamp) -> bool {
        matches!(self.state, KeyState::PendingDeletion(at) if at <= now)
    }
}

impl Record for Key {
    const NOUN: &'static str = "kms-key";
    type Id = KeyId;

    fn id(&self) -> KeyId {
        self.key
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

/// Another name of a key. Its id is `ACCOUNT:alias/…`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alias {
    pub account: AccountId,
    /// With `alias/`.
    pub name: String,
    pub key: KeyId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Alias {
    pub fn id_of(account: AccountId, name: &str) -> String {
        format!("{account}:{name}")
    }
}

impl Record for Alias {
    const NOUN: &'static str = "kms-alias";
    type Id = String;

    fn id(&self) -> String {
        Self::id_of(self.account, &self.name)
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("key", self.key.into())]
    }
}

/// Leave for somebody to use a key, beside its policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    /// 64 hex digits.
    pub grant: String,
    pub key: KeyId,
    pub token: String,
    pub name: Option<String>,
    pub issuer: AccountId,
    pub grantee: String,
    pub retiring: Option<String>,
    /// As the API names them: `Encrypt`, `Decrypt`, …
    pub operations: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    pub created_at: Timestamp,
}

/// For what encryption contexts a grant holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Constraint {
    Equals(BTreeMap<String, String>),
    /// Holds all of these, and maybe more.
    Subset(BTreeMap<String, String>),
}

impl Constraint {
    pub fn holds(&self, context: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Equals(wanted) => wanted == context,
            Self::Subset(wanted) => wanted.iter().all(|(key, value)| context.get(key) == Some(value)),
        }
    }
}

impl Record for Grant {
    const NOUN: &'static str = "kms-grant";
    type Id = String;

    fn id(&self) -> String {
        self.grant.clone()
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("key", self.key.into())]
    }
}

/// What a volume, a snapshot or a device of an image is encrypted with: a data key that the key of an account sealed.
/// The plain data key is nowhere in the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    pub key: KeyId,
    /// The key's account and region, for its name.
    pub account: AccountId,
    pub region: Region,
    /// A ciphertext of the key service over 32 bytes.
    pub sealed: Blob,
}

impl Encryption {
    pub fn key_arn(&self) -> String {
        format!("arn:aws:kms:{}:{}:key/{}", self.region, self.account, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_is_a_uuid() {
        let id = KeyId::from_entropy(u128::MAX);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "ffffffff-ffff-4fff-bfff-fffffffffff", "FFFFFFFF-ffff-4fff-bfff-ffffffffffff", "alias/a"]
        {
            assert_eq!(wrong.parse::<KeyId>(), Err(NoKeyId), "{wrong}");
        }
    }

    #[test]
    fn a_constraint_looks_at_the_whole_context_or_at_a_part() {
        let context = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let wanted = context(&[("a", "1")]);
        let more = context(&[("a", "1"), ("b", "2")]);
        assert!(Constraint::Equals(wanted.clone()).holds(&wanted));
        assert!(!Constraint::Equals(wanted.clone()).holds(&more));
        assert!(Constraint::Subset(wanted.clone()).holds(&more));
        assert!(!Constraint::Subset(wanted).holds(&context(&[("a", "2")])));
    }
}
