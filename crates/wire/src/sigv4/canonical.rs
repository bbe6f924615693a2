//! The canonical request: one text for all spellings of the same request.

use super::{Form, PathRule, Request, SigError, Signed};
use std::borrow::Cow;

/// As both sides of a signature write it. `query` holds decoded pairs; `signed_headers` lower-case names.
fn write(
    request: &Request<'_>,
    rule: PathRule,
    query: &str,
    signed_headers: &[String],
    payload_hash: &str,
) -> Result<Vec<u8>, SigError> {
    let mut names: Vec<&str> = signed_headers.iter().map(String::as_str).collect();
    names.sort_unstable();
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(path(request.path, rule).as_bytes());
    out.push(b'\n');
    out.extend_from_slice(query.as_bytes());
    out.push(b'\n');
    for name in &names {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        header_values(request, name, &mut out)?;
        out.push(b'\n');
    }
    out.push(b'\n');
    for (n, name) in names.iter().enumerate() {
        if n > 0 {
            out.push(b';');
        }
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b'\n');
    out.extend_from_slice(payload_hash.as_bytes());
    Ok(out)
}

/// The canonical request of an unsigned one, all of `signed_headers` covered. For signers and tests.
pub fn canonical_request(
    request: &Request<'_>,
    rule: PathRule,
    signed_headers: &[String],
    payload_hash: &str,
) -> Result<Vec<u8>, SigError> {
    write(request, rule, &query(pairs(request.query)), signed_headers, payload_hash)
}

/// The canonical request that the sender of a signed one must have signed.
pub(super) fn of_signed(
    signed: &Signed,
    request: &Request<'_>,
    payload_hash: &str,
    covers_token: bool,
) -> Result<Vec<u8>, SigError> {
    let pairs = pairs(request.query).filter(|(name, _)| match signed.form {
        Form::Header => true,
        Form::Query { .. } => {
            name.as_slice() != b"X-Amz-Signature"
                && (covers_token || name.as_slice() != b"X-Amz-Security-Token")
        }
    });
    write(request, signed.path_rule, &query(pairs), &signed.signed_headers, payload_hash)
}

/// All values of a header, comma-joined; each trimmed and with runs of white space (folded lines too) made one space.
fn header_values(request: &Request<'_>, name: &str, out: &mut Vec<u8>) -> Result<(), SigError> {
    let mut values = request.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name)).peekable();
    if values.peek().is_none() {
        return Err(SigError::AbsentHeader(name.to_owned()));
    }
    for (n, (_, value)) in values.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        let words = value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for (n, word) in words.enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
    Ok(())
}

fn path(raw: &str, rule: PathRule) -> Cow<'static, str> {
    // By far the most, and the same by every rule.
    if matches!(raw, "" | "/") {
        return "/".into();
    }
    match rule {
        PathRule::Normalized => encode_path(normalized(raw).as_bytes()),
        PathRule::AsSent => encode_path(raw.as_bytes()),
        PathRule::Once => encode_path(&decode(raw, Plus::Itself)),
    }
    .into()
}

fn normalized(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let is_folder = matches!(raw.rsplit('/').next(), Some("" | "." | ".."));
    let tail = if is_folder && !segments.is_empty() { "/" } else { "" };
    format!("/{}{tail}", segments.join("/"))
}

/// Decoded names and values, in the order sent.
pub(super) fn pairs(raw: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name, Plus::Space), decode(value, Plus::Space))
    })
}

/// Encoded anew, then sorted by name and value.
pub(super) fn query(pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
    let mut encoded: Vec<(String, String)> =
        pairs.map(|(name, value)| (encode(&name), encode(&value))).collect();
    encoded.sort_unstable();
    let encoded: Vec<String> = encoded.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    encoded.join("&")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    Space,
    Itself,
}

/// A `%` that no two hex digits follow stands for itself.
fn decode(text: &str, plus: Plus) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = hex_at(bytes, at + 1).zip(hex_at(bytes, at + 2));
        match (byte, escaped) {
            (b'%', Some((high, low))) => {
                out.push(high << 4 | low);
                at += 3;
                continue;
            }
            (b'+', _) if plus == Plus::Space => out.push(b' '),
            (byte, _) => out.push(*byte),
        }
        at += 1;
    }
    out
}

fn hex_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied().and_then(digit)
}

pub(super) fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    encode_but(bytes, |_| false)
}

fn encode_path(bytes: &[u8]) -> String {
    encode_but(bytes, |byte| byte == b'/')
}

fn encode_but(bytes: &[u8], kept: impl Fn(u8) -> bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if unreserved || kept(*byte) {
            out.push(*byte as char);
        } else {
            out.push('%');
            out.push(DIGITS[(byte >> 4) as usize] as char);
            out.push(DIGITS[(byte & 15) as usize] as char);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_normalised_and_encoded_again_but_for_s3() {
        for (raw, normalized, once) in [
            ("", "/", "/"),
            ("/a%20b", "/a%2520b", "/a%20b"),
            ("/a/./b//../c/", "/a/c/", "/a/./b//../c/"),
            ("/..", "/", "/.."),
            ("/a/b/..", "/a/", "/a/b/.."),
            ("/~%7E+", "/~%257E%2B", "/~~%2B"),
            ("/100%", "/100%25", "/100%25"),
        ] {
            assert_eq!(path(raw, PathRule::Normalized), normalized, "{raw}");
            assert_eq!(path(raw, PathRule::Once), once, "{raw}");
        }
    }

    #[test]
    fn a_query_is_sorted_as_encoded_whatever_spelling_was_sent() {
        for raw in ["b=2&a=x%20y&a=%2f&c", "c=&a=x+y&&b=2&a=/"] {
            assert_eq!(query(pairs(raw)), "a=%2F&a=x%20y&b=2&c=", "{raw}");
        }
        assert_eq!(query(pairs("a=b=c&%=1")), "%25=1&a=b%3Dc");
    }
}
