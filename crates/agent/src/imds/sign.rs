//! Signs identity documents with the cloud's key.
//!
//! The key and its self-signed certificate are made once for the cloud; whoever holds the certificate can check that a
//! document came from it: `openssl smime -verify -inform PEM -certfile CERT -noverify`.
//!
//! Differs: `pkcs7`, which on AWS is DSA over SHA-1, is the same RSA envelope as `rsa2048`.

use super::der::{
    BIT_STRING, CONTEXT_0, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME,
    UTF8_STRING, element, split,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use plan::imds::utc;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{OsRng, RngCore as _};
use rsa::sha2::{Digest as _, Sha256};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use std::fmt;

const KEY_BITS: usize = 2048;
const CERTIFICATE: &str = "CERTIFICATE";

const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 3];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 4];
const SIGNING_TIME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 5];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

/// Why a key could not be made or read.
#[derive(Debug)]
pub struct SignerError(String);

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the identity documents' signing key: {}", self.0)
    }
}

impl std::error::Error for SignerError {}

fn failed(error: impl fmt::Display) -> SignerError {
    SignerError(error.to_string())
}

/// The cloud's signing key and its certificate.
pub struct Signer {
    key: SigningKey<Sha256>,
    certificate: Vec<u8>,
    /// Issuer and serial number of the certificate, which name the signer in an envelope.
    name: Vec<u8>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}

impl Signer {
    /// Makes a key and a certificate that never expires. Takes a second or so of CPU.
    pub fn generate(now: Timestamp) -> Result<Self, SignerError> {
        let private = RsaPrivateKey::new(&mut OsRng, KEY_BITS).map_err(failed)?;
        let public = private.to_public_key().to_public_key_der().map_err(failed)?;
        let key = SigningKey::<Sha256>::new(private);
        let mut serial = [0; 16];
        OsRng.fill_bytes(&mut serial);
        // Positive, and of full length.
        serial[0] = serial[0] & 0x3f | 0x40;
        let attribute = |oid: &[u8], text: &str| {
            let pair = element(SEQUENCE, &[&element(OID, &[oid]), &element(UTF8_STRING, &[text.as_bytes()])]);
            element(SET, &[&pair])
        };
        let subject = element(
            SEQUENCE,
            &[&attribute(ORGANIZATION, "Nube"), &attribute(COMMON_NAME, "Nube instance identity")],
        );
        // RFC 5280, 4.1.2.5: the date for a certificate without an end.
        let forever = element(GENERALIZED_TIME, &[b"99991231235959Z"]);
        let validity = element(SEQUENCE, &[&utc_time(now), &forever]);
        let algorithm = algorithm(SHA256_WITH_RSA);
        let serial = element(INTEGER, &[&serial]);
        let to_be_signed =
            element(SEQUENCE, &[&serial, &algorithm, &subject, &validity, &subject, public.as_bytes()]);
        let signature = sign(&key, &to_be_signed);
        let certificate =
            element(SEQUENCE, &[&to_be_signed, &algorithm, &element(BIT_STRING, &[&[0], &signature])]);
        let name = element(SEQUENCE, &[&subject, &serial]);
        Ok(Self { key, certificate, name })
    }

    /// Reads what [`Signer::to_pem`] wrote.
    pub fn from_pem(pem: &str) -> Result<Self, SignerError> {
        let private = RsaPrivateKey::from_pkcs8_pem(&block(pem, "PRIVATE KEY")?).map_err(failed)?;
        let text: String = block(pem, CERTIFICATE)?.lines().filter(|line| !line.starts_with('-')).collect();
        let certificate = STANDARD.decode(text).map_err(failed)?;
        let name = signer_name(&certificate).ok_or_else(|| failed("its certificate is malformed"))?;
        Ok(Self { key: SigningKey::new(private), certificate, name })
    }

    /// The private key and the certificate: to be kept secret.
    pub fn to_pem(&self) -> Result<String, SignerError> {
        let private: &RsaPrivateKey = self.key.as_ref();
        let private = private.to_pkcs8_pem(LineEnding::LF).map_err(failed)?;
        Ok(format!("{}{}", private.as_str(), self.certificate_pem()))
    }

    /// What users verify with.
    pub fn certificate_pem(&self) -> String {
        format!(
            "-----BEGIN {CERTIFICATE}-----\n{}\n-----END {CERTIFICATE}-----\n",
            wrap(&self.certificate, 64)
        )
    }

    /// Base64 of the RSA signature over the document's SHA-256.
    pub fn signature(&self, document: &str) -> String {
        wrap(&sign(&self.key, document.as_bytes()), 76)
    }

    /// Base64 of a PKCS#7 envelope that holds the document and its signature, without the certificate, as on AWS.
    pub fn pkcs7(&self, document: &str, signed_at: Timestamp) -> String {
        let attribute =
            |oid: &[u8], value: &[u8]| element(SEQUENCE, &[&element(OID, &[oid]), &element(SET, &[value])]);
        let digest = Sha256::digest(document.as_bytes());
        let mut attributes = [
            attribute(CONTENT_TYPE, &element(OID, &[DATA])),
            attribute(SIGNING_TIME, &utc_time(signed_at)),
            attribute(MESSAGE_DIGEST, &element(OCTET_STRING, &[&digest])),
        ];
        // DER orders a SET OF by the bytes of its members.
        attributes.sort();
        let attributes = attributes.concat();
        let signature = sign(&self.key, &element(SET, &[&attributes]));
        let signer = element(
            SEQUENCE,
            &[
                &element(INTEGER, &[&[1]]),
                &self.name,
                &algorithm(SHA256),
                &element(CONTEXT_0, &[&attributes]),
                &algorithm(RSA),
                &element(OCTET_STRING, &[&signature]),
            ],
        );
        let content = element(CONTEXT_0, &[&element(OCTET_STRING, &[document.as_bytes()])]);
        let signed = element(
            SEQUENCE,
            &[
                &element(INTEGER, &[&[1]]),
                &element(SET, &[&algorithm(SHA256)]),
                &element(SEQUENCE, &[&element(OID, &[DATA]), &content]),
                &element(SET, &[&signer]),
            ],
        );
        let envelope = element(SEQUENCE, &[&element(OID, &[SIGNED_DATA]), &element(CONTEXT_0, &[&signed])]);
        wrap(&envelope, 64)
    }
}

fn sign(key: &SigningKey<Sha256>, message: &[u8]) -> Vec<u8> {
    key.sign_with_rng(&mut OsRng, message).to_vec()
}

fn algorithm(oid: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&element(OID, &[oid]), &element(NULL, &[])])
}

/// `YYMMDDHHMMSSZ`, which serves until 2049.
fn utc_time(time: Timestamp) -> Vec<u8> {
    let digits: String = utc(time).chars().filter(char::is_ascii_digit).collect();
    element(UTC_TIME, &[digits.get(2..).unwrap_or_default().as_bytes(), b"Z"])
}

/// Issuer and serial number, as an envelope names its signer.
fn signer_name(certificate: &[u8]) -> Option<Vec<u8>> {
    let mut fields = split(split(certificate)?.content)?.content;
    let first = split(fields)?;
    if first.tag == CONTEXT_0 {
        fields = first.rest;
    }
    let serial = split(fields)?;
    let algorithm = split(serial.rest)?;
    let issuer = split(algorithm.rest)?;
    Some(element(SEQUENCE, &[issuer.whole, serial.whole]))
}

fn block(pem: &str, label: &str) -> Result<String, SignerError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let missing = || failed(format!("there is no {label} in it"));
    let start = pem.find(&begin).ok_or_else(missing)?;
    let length = pem[start..].find(&end).ok_or_else(missing)?;
    Ok(format!("{}\n", &pem[start..start + length + end.len()]))
}

fn wrap(bytes: &[u8], width: usize) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    while rest.len() > width {
        let (line, tail) = rest.split_at(width);
        lines.push(line);
        rest = tail;
    }
    lines.push(rest);
    lines.join("\n")
}
