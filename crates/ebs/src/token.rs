//! Tokens for blocks and pages: opaque to callers, known again by a code of the cloud's root key, good for a time.
//!
//! They carry what they are for and when they end, so nothing is kept of them, and they outlive restarts. Base64, at most 256
//! characters. A block's content never changes, so its token need not name it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::Context;
use model::{SnapshotId, Timestamp};

/// Of the code, in bytes.
const CODE: usize = 16;
/// Of the rest: an end, an index, two ids.
const REST: usize = 8 + 8 + 16 + 16;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Block,
    Page,
}

impl Kind {
    const fn purpose(self) -> &'static str {
        match self {
            Self::Block => "ebs block token 1",
            Self::Page => "ebs page token 1",
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub snapshot: SnapshotId,
    /// The first one of a comparison.
    pub compared: Option<SnapshotId>,
    /// Of the block, or where the next page begins.
    pub index: u64,
    pub until: Timestamp,
}

/// Bound to the account that it is given to.
fn code(ctx: &Context, kind: Kind, rest: &[u8]) -> [u8; CODE] {
    let bound = [ctx.account().to_string().as_bytes(), ctx.region.as_str().as_bytes(), rest].join(&b'/');
    let code = ctx.cloud.root.code(kind.purpose(), &bound);
    std::array::from_fn(|at| code[at])
}

pub fn render(ctx: &Context, kind: Kind, token: Token) -> String {
    let mut bytes = Vec::with_capacity(REST + CODE);
    bytes.extend(token.until.as_millis().to_be_bytes());
    bytes.extend(token.index.to_be_bytes());
    bytes.extend(token.snapshot.bits().to_be_bytes());
    // No snapshot's bits are all ones: ids have 17 digits.
    bytes.extend(token.compared.map_or(u128::MAX, SnapshotId::bits).to_be_bytes());
    let code = code(ctx, kind, &bytes);
    bytes.extend(code);
    STANDARD.encode(bytes)
}

/// `None`: it was not given by this cloud to this account for this, or is over.
pub fn parse(ctx: &Context, kind: Kind, text: &str, wanted: (SnapshotId, Option<SnapshotId>)) -> Option<u64> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == REST + CODE)?;
    let (rest, given) = bytes.split_at(REST);
    let difference = code(ctx, kind, rest).iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    let until = i64::from_be_bytes(rest[..8].try_into().ok()?);
    let index = u64::from_be_bytes(rest[8..16].try_into().ok()?);
    let snapshot = u128::from_be_bytes(rest[16..32].try_into().ok()?);
    let compared = u128::from_be_bytes(rest[32..48].try_into().ok()?);
    let fits = snapshot == wanted.0.bits() && compared == wanted.1.map_or(u128::MAX, SnapshotId::bits);
    (difference == 0 && fits && ctx.now < Timestamp::from_millis(until)).then_some(index)
}
