//! The other side: signing requests of our own command line, and of tests.

use super::canonical::{canonical_request, encode};
use super::{
    ALGORITHM, PathRule, Payload, Request, SigError, UNSIGNED_PAYLOAD, amz_date, hmac, is_s3, signing_key,
    string_to_sign,
};
use crate::digits::hex;

/// Who signs, and for what.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key_id: &'a str,
    pub secret: &'a [u8],
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub path_rule: PathRule,
}

impl<'a> Credentials<'a> {
    pub fn new(access_key_id: &'a str, secret: &'a [u8], region: &'a str, service: &'a str) -> Self {
        Self { access_key_id, secret, session_token: None, region, service, path_rule: PathRule::of(service) }
    }

    fn signature(&self, canonical: &[u8], date: i64, day: &str) -> String {
        let mut text = Vec::with_capacity(256);
        string_to_sign(date, (day, self.region, self.service), canonical, |piece| {
            text.extend_from_slice(piece);
        });
        hex(&hmac(&signing_key(self.secret, day, self.region, self.service), &text))
    }

    fn scope(&self, day: &str) -> String {
        format!("{}/{day}/{}/{}/aws4_request", self.access_key_id, self.region, self.service)
    }
}

/// What a proxy on the way may add or change.
const UNSIGNABLE: [&str; 8] = [
    "authorization",
    "connection",
    "expect",
    "te",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
    "x-forwarded-for",
];

fn signable(request: &Request<'_>) -> Vec<String> {
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !UNSIGNABLE.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names
}

/// The headers to add to `request`, which must have its `host`. `now` in Unix seconds.
pub fn sign(
    request: &Request<'_>,
    payload: &Payload,
    credentials: &Credentials<'_>,
    now: i64,
) -> Result<Vec<(&'static str, String)>, SigError> {
    let date = amz_date(now);
    let day = &date[..8];
    let hash = match payload {
        Payload::Sha256(hash) => hash,
        Payload::Unread | Payload::Waived => UNSIGNED_PAYLOAD,
    };
    let mut added = vec![("x-amz-date", date.clone())];
    if let Some(token) = credentials.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    if is_s3(credentials.service) {
        added.push(("x-amz-content-sha256", hash.to_owned()));
    }
    let headers: Vec<(&str, &[u8])> = request
        .headers
        .iter()
        .copied()
        .chain(added.iter().map(|(name, value)| (*name, value.as_bytes())))
        .collect();
    let request = Request { headers: &headers, ..*request };
    let names = signable(&request);
    let canonical = canonical_request(&request, credentials.path_rule, &names, hash)?;
    let signature = credentials.signature(&canonical, now, day);
    let scope = credentials.scope(day);
    let names = names.join(";");
    added.push((
        "authorization",
        format!("{ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature={signature}"),
    ));
    Ok(added)
}

/// The query string of a presigned request, valid for `expires` seconds. For S3 the payload is not signed.
pub fn presign(
    request: &Request<'_>,
    payload: &Payload,
    credentials: &Credentials<'_>,
    now: i64,
    expires: i64,
) -> Result<String, SigError> {
    let date = amz_date(now);
    let day = &date[..8];
    let names = signable(request);
    let mut query = request.query.to_owned();
    let mut add = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(&encode(value.as_bytes()));
    };
    add("X-Amz-Algorithm", ALGORITHM);
    add("X-Amz-Credential", &credentials.scope(day));
    add("X-Amz-Date", &date);
    add("X-Amz-Expires", &expires.to_string());
    add("X-Amz-SignedHeaders", &names.join(";"));
    if let Some(token) = credentials.session_token {
        add("X-Amz-Security-Token", token);
    }
    let hash = match payload {
        Payload::Sha256(hash) if !is_s3(credentials.service) => hash,
        Payload::Sha256(_) | Payload::Unread | Payload::Waived => UNSIGNED_PAYLOAD,
    };
    let unsigned = Request { query: &query, ..*request };
    let canonical = canonical_request(&unsigned, credentials.path_rule, &names, hash)?;
    let signature = credentials.signature(&canonical, now, day);
    Ok(format!("{query}&X-Amz-Signature={signature}"))
}
