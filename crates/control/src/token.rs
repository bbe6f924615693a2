//! Client tokens: the same call twice has one effect and one answer.
//!
//! The token's record is written in the transaction of the call itself, so there is no instant between the two.
//! AWS: <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>

use crate::view::Record;
use crate::{Context, Result, Txn, errors};
use lz4_flex::block::DecompressError;
use model::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::time::Duration;
use wire::{Protocol, Structure, ValueRef};

/// How long a token is remembered.
pub const KEPT: Duration = Duration::from_hours(24);

/// Answers longer than this are packed: that of five hundred launches fills a commit otherwise.
const LONG: usize = 16 << 10;

/// A token that was used, what for, and what the answer was.
#[derive(Debug, Serialize, Deserialize)]
pub struct UsedToken {
    pub key: String,
    /// SHA-256 over every parameter but the token, in hex.
    pub parameters: String,
    /// The encoded answer and the request id in it.
    pub response: model::Blob,
    /// The answer is kept as LZ4 has it, after its size.
    #[serde(default)]
    pub packed: bool,
    pub request_id: String,
    pub at: Timestamp,
}

impl Record for UsedToken {
    const NOUN: &'static str = "token";
    type Id = String;

    fn id(&self) -> String {
        self.key.clone()
    }
}

impl UsedToken {
    fn response(&self) -> std::result::Result<Cow<'_, [u8]>, DecompressError> {
        let kept = self.response.as_slice();
        if self.packed {
            lz4_flex::decompress_size_prepended(kept).map(Cow::Owned)
        } else {
            Ok(Cow::Borrowed(kept))
        }
    }
}

/// The key of a token: it is the caller's account's own, per operation.
pub fn key(account: AccountId, operation: &str, token: &str) -> String {
    // The token is the caller's text: hashed, it is short and holds no separator.
    format!("{account}-{operation}-{}", hex(&Sha256::digest(token.as_bytes())))
}

/// The fingerprint of a request without the members that do not change its meaning.
pub fn fingerprint(request: &dyn Structure) -> String {
    let mut hash = Sha256::new();
    for (index, member) in request.shape().members.iter().enumerate() {
        if matches!(member.name, "ClientToken" | "DryRun") {
            continue;
        }
        hash.update(member.name.as_bytes());
        absorb(&mut hash, request.member(index).view());
    }
    hex(&hash.finalize())
}

fn absorb(hash: &mut Sha256, value: ValueRef<'_>) {
    match value {
        ValueRef::Absent => hash.update([0]),
        ValueRef::Boolean(b) => hash.update([1, u8::from(b)]),
        ValueRef::Integer(i) => {
            hash.update([2]);
            hash.update(i.to_be_bytes());
        }
        ValueRef::Float(f) => {
            hash.update([3]);
            hash.update(f.to_be_bytes());
        }
        ValueRef::Double(f) => {
            hash.update([4]);
            hash.update(f.to_be_bytes());
        }
        ValueRef::Text(text) => sized(hash, 5, text.as_bytes()),
        ValueRef::Timestamp(at) => sized(hash, 6, at.to_string().as_bytes()),
        ValueRef::Blob(blob) => sized(hash, 7, &blob.0),
        ValueRef::Structure(inner) => {
            hash.update([8]);
            for index in 0..inner.shape().members.len() {
                absorb(hash, inner.member(index).view());
            }
        }
        ValueRef::List(list) => {
            hash.update([9]);
            hash.update((list.len() as u64).to_be_bytes());
            for index in 0..list.len() {
                absorb(hash, list.item(index).view());
            }
        }
        ValueRef::Map(map) => {
            hash.update([10]);
            hash.update((map.len() as u64).to_be_bytes());
            map.each(&mut |key, value| {
                sized(hash, 11, key.as_bytes());
                absorb(hash, value.view());
            });
        }
    }
}

fn sized(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token and the request that carries it.
pub(crate) struct Token {
    pub key: String,
    pub text: String,
    pub parameters: String,
}

impl Token {
    pub fn of(ctx: &Context, operation: &str, request: &dyn Structure) -> Option<Self> {
        match wire::member(request, "ClientToken") {
            ValueRef::Text(text) if !text.is_empty() => Some(Self {
                key: key(ctx.account(), operation, text),
                text: text.to_owned(),
                parameters: fingerprint(request),
            }),
            _ => None,
        }
    }

    /// The answer that this token had before, under the new request's id.
    pub fn replay(&self, ctx: &Context, txn: &mut Txn<'_>, protocol: Protocol) -> Result<Option<Vec<u8>>> {
        let Some(used) = txn.get::<UsedToken>(&ctx.region, &self.key) else { return Ok(None) };
        if ctx.now.since(used.at) > KEPT {
            return Ok(None);
        }
        if used.parameters != self.parameters {
            return Err(match protocol {
                Protocol::RestJson => errors::conflicting_token(&self.text),
                _ => errors::idempotent_parameter_mismatch(&self.text),
            });
        }
        let response = used.response().map_err(errors::internal)?;
        let body = String::from_utf8_lossy(&response).replacen(&used.request_id, &ctx.request_id, 1);
        Ok(Some(body.into_bytes()))
    }

    pub fn remember(self, ctx: &Context, txn: &mut Txn<'_>, response: &[u8]) {
        let packed = response.len() > LONG;
        let kept = if packed { lz4_flex::compress_prepend_size(response) } else { response.to_vec() };
        let used = UsedToken {
            key: self.key,
            parameters: self.parameters,
            response: kept.into(),
            packed,
            request_id: ctx.request_id.clone(),
            at: ctx.now,
        };
        txn.put(&ctx.region, used);
    }
}
