//! Key pairs. The private half is shown once, at creation, and never stored.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, KeyPairId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyType {
    Rsa,
    Ed25519,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyPair {
    pub key_pair: KeyPairId,
    pub account: AccountId,
    pub name: String,
    pub key_type: KeyType,
    /// As AWS computes it, which depends on the type and on who made the key.
    pub fingerprint: String,
    /// The OpenSSH line.
    pub public_key: String,
    pub created_at: Timestamp,
    pub tags: Tags,
}

owned!(KeyPair);

impl Record for KeyPair {
    const NOUN: &'static str = "key-pair";
    type Id = KeyPairId;

    fn id(&self) -> KeyPairId {
        self.key_pair
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}
