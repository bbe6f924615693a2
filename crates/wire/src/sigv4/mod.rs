//! AWS Signature Version 4: who sent this request, and is it as they sent it?
//!
//! Pure: the caller hands in a view of the request, the body's hash, the secret and the time. `gateway` calls [`parse`]
//! (which names the access key and the scope), finds the secret, then calls [`verify`]; the command line calls [`sign`].
//! [`public_error`] says which code and status a service answers.
//!
//! AWS: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>
//! Differs: `UNSIGNED-PAYLOAD` is taken from S3 requests, and for operations whose model says so, only; every `x-amz-*` header that is sent must be signed, for
//! all services (a changed `x-amz-target` would be another operation); a `+` in a query is a space, as our decoders
//! read it. Chunked uploads (`STREAMING-…`) are refused until S3 comes.

mod canonical;
mod date;
mod error;
mod parse;
mod sign;

use crate::digits::hex;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub use canonical::canonical_request;
pub(crate) use canonical::encode;
pub(crate) use date::parse_http_date;
pub use date::{amz_date, parse_amz_date};
pub use error::{SigError, public_error};
pub use parse::parse;
pub use sign::{Credentials, presign, sign};

pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// How far a request's date may be from ours, in seconds.
pub const MAX_SKEW: i64 = 15 * 60;
/// A presigned request lives at most this long, in seconds.
pub const MAX_EXPIRES: i64 = 7 * 24 * 60 * 60;

/// A request as it came: path and query raw (not decoded), headers with names in any case and possibly repeated.
/// Under HTTP/2 the caller adds `host` from `:authority`.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Without the `?`; empty if there is none.
    pub query: &'a str,
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Request<'a> {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// The body, as far as a signature can cover it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// Lower-case hex.
    Sha256(String),
    /// Not read yet: accepted only where the request itself says that its payload is not signed.
    Unread,
    /// The operation lets callers leave it out. Those that say so have; of others it is an error.
    Waived,
}

impl Payload {
    pub fn of(body: &[u8]) -> Self {
        Self::Sha256(hex(&Sha256::digest(body)))
    }
}

/// How a service's path enters the signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathRule {
    /// Dot segments and repeated slashes removed, then encoded once more than it was sent: all services but S3.
    Normalized,
    /// Encoded once more than it was sent.
    AsSent,
    /// Encoded once, whatever was sent, because a key may hold dots and slashes: S3.
    Once,
}

impl PathRule {
    pub fn of(service: &str) -> Self {
        if is_s3(service) { Self::Once } else { Self::Normalized }
    }
}

fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3express" | "s3-outposts" | "s3-object-lambda")
}

/// Where the signature was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Header,
    /// Presigned, valid for so many seconds from its date.
    Query {
        expires: i64,
    },
}

/// What a request says about its signature. Nothing here is proven before [`verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub form: Form,
    pub access_key_id: String,
    /// Unix seconds.
    pub date: i64,
    /// The scope's day, `YYYYMMDD`.
    pub day: String,
    pub region: String,
    pub service: String,
    /// Lower-case names in the order given.
    pub signed_headers: Vec<String>,
    pub signature: [u8; 32],
    pub session_token: Option<String>,
    /// The value of `x-amz-content-sha256`.
    pub declared_payload: Option<String>,
    pub path_rule: PathRule,
}

impl Signed {
    /// For the caller that routes by scope: the signature must be for this region and service.
    pub fn check_scope(&self, region: &str, service: &str) -> Result<(), SigError> {
        if self.region == region && self.service == service { Ok(()) } else { Err(SigError::WrongScope) }
    }

    /// The operation does not ask for a signed body, and the request says that it has none.
    pub fn waives_payload(&self) -> bool {
        self.declared_payload.as_deref() == Some(UNSIGNED_PAYLOAD)
    }

    /// The body need not be read before the signature can be judged.
    pub fn is_payload_unsigned(&self) -> bool {
        is_s3(&self.service)
            && match self.form {
                Form::Header => self.declared_payload.as_deref() == Some(UNSIGNED_PAYLOAD),
                Form::Query { .. } => self.declared_payload.as_deref().is_none_or(|p| p == UNSIGNED_PAYLOAD),
            }
    }

    fn payload_hash<'a>(&'a self, payload: &'a Payload) -> Result<&'a str, SigError> {
        if self.is_payload_unsigned() || (*payload == Payload::Waived && self.waives_payload()) {
            return Ok(UNSIGNED_PAYLOAD);
        }
        let Payload::Sha256(actual) = payload else { return Err(SigError::UnsignedPayload) };
        match self.declared_payload.as_deref() {
            None => Ok(actual),
            Some(declared) if declared == actual => Ok(actual),
            Some(UNSIGNED_PAYLOAD) => Err(SigError::UnsignedPayload),
            Some(streaming) if streaming.starts_with("STREAMING-") => Err(SigError::UnsignedPayload),
            Some(_) => Err(SigError::PayloadMismatch),
        }
    }

    fn check_time(&self, now: i64) -> Result<(), SigError> {
        match self.form {
            Form::Header if (now - self.date).abs() > MAX_SKEW => Err(SigError::Skewed),
            Form::Query { .. } if self.date - now > MAX_SKEW => Err(SigError::Skewed),
            Form::Query { expires } if now - self.date > expires => Err(SigError::Expired),
            Form::Header | Form::Query { .. } => Ok(()),
        }
    }
}

/// Was `request`, at a time near `now` (Unix seconds), signed with `secret`? `signed` is what [`parse`] made of it.
pub fn verify(
    signed: &Signed,
    request: &Request<'_>,
    payload: &Payload,
    secret: &[u8],
    now: i64,
) -> Result<(), SigError> {
    verify_with(&SigningKey::derive(secret, signed), signed, request, payload, now)
}

/// The key that signs for one day, region and service; deriving it takes longer than the rest of [`verify`].
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// The one that a holder of `secret` must have used.
    pub fn derive(secret: &[u8], signed: &Signed) -> Self {
        Self(keyed(&signing_key(secret, &signed.day, &signed.region, &signed.service)))
    }
}

/// [`verify`], with a key that was derived for this very secret, day, region and service.
pub fn verify_with(
    key: &SigningKey,
    signed: &Signed,
    request: &Request<'_>,
    payload: &Payload,
    now: i64,
) -> Result<(), SigError> {
    signed.check_time(now)?;
    let hash = signed.payload_hash(payload)?;
    let matches = |covers_token| {
        let canonical = canonical::of_signed(signed, request, hash, covers_token)?;
        let mut mac = key.0.clone();
        let scope = (&*signed.day, &*signed.region, &*signed.service);
        string_to_sign(signed.date, scope, &canonical, |piece| mac.update(piece));
        Ok(mac.verify_slice(&signed.signature).is_ok())
    };
    // Some services have clients add the session token to a presigned query after signing. It proves itself: it is
    // looked up and must belong to this key.
    let late_token = matches!(signed.form, Form::Query { .. }) && signed.session_token.is_some();
    if matches(true)? || (late_token && matches(false)?) { Ok(()) } else { Err(SigError::Mismatch) }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn signing_key(secret: &[u8], day: &str, region: &str, service: &str) -> [u8; 32] {
    let key = hmac(&[b"AWS4", secret].concat(), day.as_bytes());
    let key = hmac(&key, region.as_bytes());
    let key = hmac(&key, service.as_bytes());
    hmac(&key, b"aws4_request")
}

/// Piece by piece. `scope` is day, region and service.
fn string_to_sign(date: i64, scope: (&str, &str, &str), canonical: &[u8], mut take: impl FnMut(&[u8])) {
    let ((day, region, service), hash) = (scope, hex(&Sha256::digest(canonical)));
    let pieces =
        [ALGORITHM, "\n", &amz_date(date), "\n", day, "/", region, "/", service, "/aws4_request\n", &hash];
    for piece in pieces {
        take(piece.as_bytes());
    }
}
