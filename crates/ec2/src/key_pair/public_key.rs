//! Public keys as callers send them: an OpenSSH line, an SSH2 file (RFC 4716), or DER, in PEM armour or in base64.
//!
//! Clients encode the material once for the wire; some callers have encoded it before, so a key in base64 is looked at
//! again after decoding.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/create-key-pairs.html#how-to-generate-your-own-key-and-import-it-to-aws>

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use ed25519_dalek::VerifyingKey;
use model::record::key_pair::KeyType;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::DecodePublicKey as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    Rsa(RsaPublicKey),
    Ed25519(VerifyingKey),
}

/// Why a key was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidKey {
    /// Neither of the formats.
    Format,
    /// A key of another algorithm, such as DSA or ECDSA.
    Algorithm,
    /// An RSA key of another length than 1024, 2048 or 4096 bits.
    Length,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Format => "Key is not in valid OpenSSH public key format",
            Self::Algorithm => "Keys must be RSA or ED25519",
            Self::Length => "RSA keys must have 1024, 2048 or 4096 bits",
        })
    }
}

/// The base64 inside keys, whose padding some tools leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl PublicKey {
    pub fn parse(material: &[u8]) -> Result<Self, InvalidKey> {
        let key = Self::read(material, Layer::Outer)?;
        if let Self::Rsa(rsa) = &key
            && !matches!(rsa.n().bits(), 1024 | 2048 | 4096)
        {
            return Err(InvalidKey::Length);
        }
        Ok(key)
    }

    fn read(material: &[u8], layer: Layer) -> Result<Self, InvalidKey> {
        const SEQUENCE: u8 = 0x30;
        if material.first() == Some(&SEQUENCE)
            && let Ok(key) = Self::from_der(material)
        {
            return Ok(key);
        }
        if material.starts_with(&[0, 0, 0]) {
            return Self::from_blob(material);
        }
        let text = std::str::from_utf8(material).map_err(|_| InvalidKey::Format)?.trim();
        if let Some(body) = armoured(text, "---- BEGIN SSH2 PUBLIC KEY ----", "---- END SSH2 PUBLIC KEY ----")
        {
            return Self::from_blob(&decode(&without_headers(body))?);
        }
        for (begin, end) in [
            ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"),
            ("-----BEGIN RSA PUBLIC KEY-----", "-----END RSA PUBLIC KEY-----"),
        ] {
            if let Some(body) = armoured(text, begin, end) {
                return Self::from_der(&decode(body)?);
            }
        }
        if text.starts_with("--") {
            // A private key, most likely. Its content is nobody's business here.
            return Err(InvalidKey::Format);
        }
        if let Some((name, rest)) = text.split_once(char::is_whitespace) {
            let names_algorithm =
                name.starts_with("ssh-") || name.starts_with("ecdsa-") || name.starts_with("sk-");
            if names_algorithm && !text.contains('\n') {
                let blob = decode(rest.split_whitespace().next().unwrap_or_default())?;
                let key = Self::from_blob(&blob)?;
                return if key.algorithm() == name { Ok(key) } else { Err(InvalidKey::Format) };
            }
        }
        match layer {
            Layer::Outer => Self::read(&decode(text)?, Layer::Inner),
            Layer::Inner => Err(InvalidKey::Format),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, InvalidKey> {
        RsaPublicKey::from_public_key_der(der)
            .or_else(|_| RsaPublicKey::from_pkcs1_der(der))
            .map(Self::Rsa)
            .map_err(|_| InvalidKey::Format)
    }

    /// The key as SSH sends it: the algorithm, then its numbers (RFC 4253, RFC 8709).
    fn from_blob(blob: &[u8]) -> Result<Self, InvalidKey> {
        let mut rest = blob;
        match take_string(&mut rest)? {
            b"ssh-rsa" => {
                let exponent = BigUint::from_bytes_be(take_string(&mut rest)?);
                let modulus = BigUint::from_bytes_be(take_string(&mut rest)?);
                ended(rest)?;
                if modulus.bits() > RsaPublicKey::MAX_SIZE {
                    return Err(InvalidKey::Length);
                }
                RsaPublicKey::new(modulus, exponent).map(Self::Rsa).map_err(|_| InvalidKey::Format)
            }
            b"ssh-ed25519" => {
                let point: &[u8; 32] = take_string(&mut rest)?.try_into().map_err(|_| InvalidKey::Format)?;
                ended(rest)?;
                VerifyingKey::from_bytes(point).map(Self::Ed25519).map_err(|_| InvalidKey::Format)
            }
            name if name.is_ascii() && name.len() < 64 => Err(InvalidKey::Algorithm),
            _ => Err(InvalidKey::Format),
        }
    }

    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::Rsa,
            Self::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// As SSH calls it.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "ssh-rsa",
            Self::Ed25519(_) => "ssh-ed25519",
        }
    }

    /// The key as SSH sends it.
    pub fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        push_string(&mut blob, self.algorithm().as_bytes());
        match self {
            Self::Rsa(key) => {
                push_number(&mut blob, key.e());
                push_number(&mut blob, key.n());
            }
            Self::Ed25519(key) => push_string(&mut blob, key.as_bytes()),
        }
        blob
    }

    /// A line of `authorized_keys`.
    pub fn openssh_line(&self, comment: &str) -> String {
        format!("{} {} {comment}", self.algorithm(), STANDARD.encode(self.blob()))
    }
}

/// How often base64 was taken off.
#[derive(Clone, Copy)]
enum Layer {
    Outer,
    Inner,
}

fn armoured<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(begin)?.trim_end().strip_suffix(end)
}

/// RFC 4716 puts `Name: value` lines before the key; one that ends in a backslash goes on in the next.
fn without_headers(body: &str) -> String {
    let mut goes_on = false;
    body.lines()
        .filter(|line| {
            let header = goes_on || line.contains(':');
            goes_on = header && line.ends_with('\\');
            !header
        })
        .collect()
}

fn decode(text: &str) -> Result<Vec<u8>, InvalidKey> {
    let bare: String = text.split_whitespace().collect();
    if bare.is_empty() {
        return Err(InvalidKey::Format);
    }
    BASE64.decode(bare).map_err(|_| InvalidKey::Format)
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], InvalidKey> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(InvalidKey::Format)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (string, after) = after.split_at_checked(length).ok_or(InvalidKey::Format)?;
    *rest = after;
    Ok(string)
}

fn ended(rest: &[u8]) -> Result<(), InvalidKey> {
    if rest.is_empty() { Ok(()) } else { Err(InvalidKey::Format) }
}

/// A length and the bytes.
pub(super) fn push_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_be_bytes());
    out.extend(bytes);
}

/// An unsigned number as SSH's signed one: a zero goes before a leading one bit.
fn push_number(out: &mut Vec<u8>, number: &BigUint) {
    let mut bytes = number.to_bytes_be();
    if bytes.first().is_some_and(|b| b & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    push_string(out, &bytes);
}
