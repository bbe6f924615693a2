//! Fingerprints as EC2 computes them, which is not as OpenSSH shows them.
//!
//! - RSA made by EC2: SHA-1 of the private key in PKCS#8 DER, in hex with colons.
//! - RSA imported: MD5 of the public key in DER (SubjectPublicKeyInfo), in hex with colons.
//! - Ed25519, either way: SHA-256 of the key as OpenSSH encodes it, in base64 with its padding and without `SHA256:`.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-keys.html>

use super::public_key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Of an RSA key that was made here.
pub fn created_rsa(key: &RsaPrivateKey) -> Result<String, rsa::pkcs8::Error> {
    Ok(colons(&Sha1::digest(key.to_pkcs8_der()?.as_bytes())))
}

/// Of a key that was imported.
pub fn imported(key: &PublicKey) -> Result<String, rsa::pkcs8::spki::Error> {
    match key {
        PublicKey::Rsa(rsa) => Ok(colons(&Md5::digest(rsa.to_public_key_der()?.as_bytes()))),
        PublicKey::Ed25519(_) => Ok(sha256(key)),
    }
}

/// Of an Ed25519 key.
pub fn sha256(key: &PublicKey) -> String {
    STANDARD.encode(Sha256::digest(key.blob()))
}

fn colons(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.join(":")
}
