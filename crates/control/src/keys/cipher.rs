//! Ciphertexts: AES-256-GCM, authenticated together with the key's name and the encryption context.
//!
//! ```text
//! ciphertext   format (1 byte) · key id (16) · version (4) · nonce (12) · data · tag (16)
//! ```
//! The context is bound in a canonical form (sorted, every length written), so that no two contexts are the same bytes.
//! Nonces are random: far below 2^32 ciphertexts are made with one version of a key.

use super::{EncryptionContext, RootKey};
use crate::entropy::Entropy;
use model::record::kms::{Key, KeyId};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const FORMAT: u8 = 1;
const HEADER: usize = 1 + 16 + 4;

/// It was not made with this key and this context, or it was changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key of AES-256 has 32 bytes"))
}

/// `nonce · data · tag`.
pub(super) fn seal_with(key: &[u8; 32], bound: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut data = plain.to_vec();
    cipher(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut data)
        .expect("what is sealed is far smaller than what GCM can seal");
    [&nonce[..], &data].concat()
}

pub(super) fn open(key: &[u8; 32], bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let (nonce, data) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unreadable)?;
    let mut data = data.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = cipher(key).open_in_place(nonce, Aad::from(bound), &mut data).map_err(|_| Unreadable)?;
    Ok(plain.to_vec())
}

fn header(key: KeyId, version: u32) -> [u8; HEADER] {
    let mut out = [FORMAT; HEADER];
    out[1..17].copy_from_slice(&key.bits().to_be_bytes());
    out[17..].copy_from_slice(&version.to_be_bytes());
    out
}

/// The key that made a ciphertext, and the version of it, as the ciphertext says.
pub fn made_by(ciphertext: &[u8]) -> Result<(KeyId, u32), Unreadable> {
    let header = ciphertext.first_chunk::<HEADER>().ok_or(Unreadable)?;
    let (format, rest) = header.split_at(1);
    let (id, version) = rest.split_at(16);
    match (format, <[u8; 16]>::try_from(id), <[u8; 4]>::try_from(version)) {
        ([FORMAT], Ok(id), Ok(version)) => {
            Ok((KeyId::from_bits(u128::from_be_bytes(id)), u32::from_be_bytes(version)))
        }
        _ => Err(Unreadable),
    }
}

fn bound(header: &[u8], context: &EncryptionContext) -> Vec<u8> {
    let mut out = header.to_vec();
    for text in context.iter().flat_map(|(key, value)| [key, value]) {
        out.extend((text.len() as u64).to_be_bytes());
        out.extend(text.as_bytes());
    }
    out
}

fn secret(root: &RootKey, key: &Key, version: u32) -> Result<[u8; 32], Unreadable> {
    let material = key.material.get(version as usize).ok_or(Unreadable)?;
    let secret = root.open(key.key, version, material.sealed.as_slice())?;
    <[u8; 32]>::try_from(secret).map_err(|_| Unreadable)
}

/// Encrypts with the latest version of a key.
///
/// # Panics
/// When the root key is not the one under which `key` was made: the server does not start with another.
pub fn encrypt(
    root: &RootKey,
    key: &Key,
    plain: &[u8],
    context: &EncryptionContext,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let version = u32::try_from(key.material.len().saturating_sub(1)).unwrap_or_default();
    let secret = secret(root, key, version).expect("the cloud's root key opens the keys that it sealed");
    let header = header(key.key, version);
    let sealed = seal_with(&secret, &bound(&header, context), plain, entropy);
    [&header[..], &sealed].concat()
}

/// Decrypts what [`encrypt`] made with any version of this key.
pub fn decrypt(
    root: &RootKey,
    key: &Key,
    ciphertext: &[u8],
    context: &EncryptionContext,
) -> Result<Vec<u8>, Unreadable> {
    let (id, version) = made_by(ciphertext)?;
    if id != key.key {
        return Err(Unreadable);
    }
    let secret = secret(root, key, version)?;
    let (header, sealed) = ciphertext.split_at(HEADER);
    open(&secret, &bound(header, context), sealed)
}
