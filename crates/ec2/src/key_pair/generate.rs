//! New key pairs: 2048-bit RSA as a PKCS#1 PEM, Ed25519 in OpenSSH's own format, which is what AWS hands out.

use super::fingerprint;
use super::public_key::{PublicKey, push_string};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::entropy::Entropy;
use ed25519_dalek::SigningKey;
use model::record::key_pair::KeyType;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{EncodeRsaPrivateKey as _, LineEnding};
use rsa::rand_core::{self, CryptoRng, RngCore};
use std::error::Error;

/// Both halves. There is no `Debug`: the private half must not reach a log.
pub(super) struct Made {
    pub public: PublicKey,
    /// As the caller saves it to a file.
    pub private: String,
    pub fingerprint: String,
}

const RSA_BITS: usize = 2048;

pub(super) fn generate(
    key_type: KeyType,
    entropy: &dyn Entropy,
) -> Result<Made, Box<dyn Error + Send + Sync>> {
    match key_type {
        KeyType::Rsa => {
            let key = RsaPrivateKey::new(&mut Source(entropy), RSA_BITS)?;
            let private = key.to_pkcs1_pem(LineEnding::LF)?.trim_end().to_owned();
            let fingerprint = fingerprint::created_rsa(&key)?;
            Ok(Made { public: PublicKey::Rsa(key.to_public_key()), private, fingerprint })
        }
        KeyType::Ed25519 => {
            let mut seed = [0; 32];
            entropy.fill(&mut seed);
            let key = SigningKey::from_bytes(&seed);
            let public = PublicKey::Ed25519(key.verifying_key());
            let mut check = [0; 4];
            entropy.fill(&mut check);
            let private = openssh_private(&key, &public, check);
            let fingerprint = fingerprint::sha256(&public);
            Ok(Made { public, private, fingerprint })
        }
    }
}

/// `openssh-key-v1` without a passphrase: <https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key>
fn openssh_private(key: &SigningKey, public: &PublicKey, check: [u8; 4]) -> String {
    let mut secret = Vec::new();
    secret.extend(check);
    secret.extend(check);
    push_string(&mut secret, b"ssh-ed25519");
    push_string(&mut secret, key.verifying_key().as_bytes());
    push_string(&mut secret, &key.to_keypair_bytes());
    push_string(&mut secret, b"");
    // Filled to the block size of no cipher, which is eight, by 1, 2, 3, …
    let fill = (8 - secret.len() % 8) % 8;
    secret.extend((1..=8u8).take(fill));
    let mut whole = b"openssh-key-v1\0".to_vec();
    push_string(&mut whole, b"none");
    push_string(&mut whole, b"none");
    push_string(&mut whole, b"");
    whole.extend(1u32.to_be_bytes());
    push_string(&mut whole, &public.blob());
    push_string(&mut whole, &secret);
    let text = STANDARD.encode(whole);
    // OpenSSH insists on the newline at the end.
    let mut pem = String::from("-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(70) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END OPENSSH PRIVATE KEY-----\n");
    pem
}

/// The cloud's entropy as the RSA generator wants it.
struct Source<'a>(&'a dyn Entropy);

impl RngCore for Source<'_> {
    fn next_u32(&mut self) -> u32 {
        self.0.bits() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0.bits() as u64
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl CryptoRng for Source<'_> {}
