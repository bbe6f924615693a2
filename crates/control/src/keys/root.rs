//! The root key of a cloud: the one secret that is not in the store, and that everything sealed there hangs on.

use super::cipher::{Unreadable, open, seal_with};
use crate::entropy::Entropy;
use model::DataKey;
use model::record::kms::KeyId;
use ring::hmac;
use std::fmt;

/// 256 bits. Kept beside the store by whoever makes the cloud; `Debug` never shows it.
#[derive(Clone)]
pub struct RootKey([u8; DataKey::LEN]);

impl RootKey {
    pub const fn new(bytes: [u8; DataKey::LEN]) -> Self {
        Self(bytes)
    }

    /// A code by which the cloud knows again what it gave out for a purpose.
    pub fn code(&self, purpose: &str, of: &[u8]) -> [u8; 32] {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), purpose.as_bytes());
        let code = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), of);
        code.as_ref().try_into().expect("a code of SHA-256 has 32 bytes")
    }

    /// Seals the secret of a key's version.
    pub(super) fn seal(&self, key: KeyId, number: u32, secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        seal_with(&self.0, &name(key, number), secret, entropy)
    }

    /// The secret of a key's version.
    pub(super) fn open(&self, key: KeyId, number: u32, sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
        open(&self.0, &name(key, number), sealed)
    }

    /// A new key for data that no key of the key service stands for, sealed for the place named by `of`.
    pub fn new_data_key(&self, purpose: &str, of: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut secret = [0; DataKey::LEN];
        entropy.fill(&mut secret);
        seal_with(&self.code(purpose, of), of, &secret, entropy)
    }

    /// That key in the clear; none: it was made for another place or under another root key.
    pub fn data_key(&self, purpose: &str, of: &[u8], sealed: &[u8]) -> Option<DataKey> {
        let secret = open(&self.code(purpose, of), of, sealed).ok()?;
        <[u8; DataKey::LEN]>::try_from(secret).ok().map(DataKey::new)
    }

    /// Seals a secret text for the place named by `of`.
    pub fn seal_text(&self, purpose: &str, of: &[u8], secret: &str, entropy: &dyn Entropy) -> Vec<u8> {
        seal_with(&self.code(purpose, of), of, secret.as_bytes(), entropy)
    }

    /// That text in the clear; none: it was sealed for another place or under another root key.
    pub fn open_text(&self, purpose: &str, of: &[u8], sealed: &[u8]) -> Option<String> {
        String::from_utf8(open(&self.code(purpose, of), of, sealed).ok()?).ok()
    }

    /// Whether this is the root key under which `key` was made.
    pub fn opens(&self, key: &model::record::kms::Key) -> bool {
        key.material.first().is_some_and(|first| self.open(key.key, 0, first.sealed.as_slice()).is_ok())
    }
}

/// What a sealed secret is bound to, so that it cannot be put in another's place.
fn name(key: KeyId, number: u32) -> Vec<u8> {
    [&key.bits().to_be_bytes()[..], &number.to_be_bytes()].concat()
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}
