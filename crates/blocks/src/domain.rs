//! Who shares blocks with whom, and the keys that go with it.
//!
//! A domain is an account's unencrypted data, or all that one data key encrypts. Blocks are addressed by a keyed hash (BLAKE3's
//! keyed mode: of the strength of HMAC-SHA256, and five times as fast where it was measured), so equal content of two
//! domains has different names: nobody learns from the store, or from how long a write takes, what others hold.
//!
//! One 32-byte secret per domain, from which the keys for addresses, leaves, roots, nonces and the cipher are derived. The store
//! never sees it: the caller keeps it, wrapped by a key of the key service if the domain is encrypted.

use blake3::derive_key;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the name of a data key's domain begins.
const OF_KEY: &str = "key-";

/// A domain's name in the store, such as an account's number, or that and the name of a data key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainId(String);

impl DomainId {
    /// 1 to 64 lower-case letters, digits and dashes.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the domain of a data key, as [`Domain::of_key`] names it.
    pub fn is_of_key(&self) -> bool {
        self.0.starts_with(OF_KEY)
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for DomainId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("\"{text}\" is no domain"))
    }
}

impl From<DomainId> for String {
    fn from(id: DomainId) -> Self {
        id.0
    }
}

/// A domain with its keys. `Debug` shows none of them.
pub struct Domain {
    id: DomainId,
    pub(crate) block_key: [u8; 32],
    pub(crate) leaf_key: [u8; 32],
    pub(crate) root_key: [u8; 32],
    pub(crate) nonce_key: [u8; 32],
    pub(crate) cipher: Option<LessSafeKey>,
    /// Tells domains apart in a cache: who has the number has the keys.
    pub(crate) tag: u64,
}

impl Domain {
    /// Data that is not encrypted. The secret keeps others from telling what is in it by its addresses.
    pub fn plain(id: DomainId, secret: &[u8; 32]) -> Self {
        let tag = derive_key("nube blocks 2026 cache tag", secret);
        Self {
            id,
            block_key: derive_key("nube blocks 2026 block address", secret),
            leaf_key: derive_key("nube blocks 2026 leaf address", secret),
            root_key: derive_key("nube blocks 2026 root checksum", secret),
            nonce_key: derive_key("nube blocks 2026 nonce", secret),
            cipher: None,
            tag: u64::from_le_bytes(tag[..8].try_into().expect("8 of 32 bytes")),
        }
    }

    /// Blocks are encrypted by AES-256-GCM under a key derived from `data_key`.
    pub fn encrypted(id: DomainId, data_key: &[u8; 32]) -> Self {
        let key = derive_key("nube blocks 2026 aes-256-gcm", data_key);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes");
        Self { cipher: Some(LessSafeKey::new(key)), ..Self::plain(id, data_key) }
    }

    /// All that is encrypted by a data key. Its name tells which key without telling the key.
    pub fn of_key(data_key: &[u8; 32]) -> Self {
        let name = blake3::Hash::from(derive_key("nube blocks 2026 name of a data key", data_key)).to_hex();
        Self::encrypted(DomainId(format!("{OF_KEY}{}", &name[..40])), data_key)
    }

    pub fn id(&self) -> &DomainId {
        &self.id
    }

    pub fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain")
            .field("id", &self.id)
            .field("encrypted", &self.is_encrypted())
            .finish_non_exhaustive()
    }
}
