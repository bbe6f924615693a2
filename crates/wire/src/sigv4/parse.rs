//! Finding the signature in a request and taking it apart.

use super::canonical::{digit, pairs};
use super::date::{parse_amz_date, parse_http_date};
use super::{ALGORITHM, Form, MAX_EXPIRES, PathRule, Request, SigError, Signed};

/// Headers that the signature covers by other ways than their own line (or, the token, that proves itself).
const COVERED: [&str; 3] = ["x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// What the request says about its signature; no secret is needed yet.
pub fn parse(request: &Request<'_>) -> Result<Signed, SigError> {
    let header = request.header("authorization");
    let in_query =
        pairs(request.query).any(|(name, _)| matches!(&name[..], b"X-Amz-Algorithm" | b"X-Amz-Signature"));
    let signed = match (header, in_query) {
        (None, false) => Err(SigError::Missing),
        (Some(_), true) => Err(SigError::Ambiguous),
        (Some(header), false) => parse_header(request, header),
        (None, true) => parse_query(request),
    }?;
    check_signed_headers(request, &signed.signed_headers)?;
    Ok(signed)
}

fn parse_header(request: &Request<'_>, header: &[u8]) -> Result<Signed, SigError> {
    let header = std::str::from_utf8(header).map_err(|_| SigError::Malformed("Authorization"))?.trim();
    let (algorithm, fields) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm != ALGORITHM {
        return Err(SigError::UnsupportedAlgorithm);
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let slot = match field.trim().split_once('=') {
            Some(("Credential", value)) => (&mut credential, value),
            Some(("SignedHeaders", value)) => (&mut signed_headers, value),
            Some(("Signature", value)) => (&mut signature, value),
            None if field.trim().is_empty() => continue,
            Some(_) | None => return Err(SigError::Malformed("Authorization")),
        };
        if slot.0.replace(slot.1).is_some() {
            return Err(SigError::Malformed("Authorization"));
        }
    }
    let date = match (text_header(request, "x-amz-date")?, text_header(request, "date")?) {
        (Some(date), _) => parse_amz_date(date).ok_or(SigError::Malformed("X-Amz-Date"))?,
        (None, Some(date)) => parse_http_date(date).ok_or(SigError::Malformed("Date"))?,
        (None, None) => return Err(SigError::Incomplete("X-Amz-Date or Date")),
    };
    assemble(
        request,
        Form::Header,
        Fields {
            credential: credential.ok_or(SigError::Incomplete("Credential"))?,
            signed_headers: signed_headers.ok_or(SigError::Incomplete("SignedHeaders"))?,
            signature: signature.ok_or(SigError::Incomplete("Signature"))?,
            date,
            session_token: text_header(request, "x-amz-security-token")?.map(str::to_owned),
        },
    )
}

fn parse_query(request: &Request<'_>) -> Result<Signed, SigError> {
    let field = |name: &'static str| {
        let mut values = pairs(request.query).filter(|(given, _)| given.as_slice() == name.as_bytes());
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(SigError::Malformed(name));
        }
        String::from_utf8(value).map(Some).map_err(|_| SigError::Malformed(name))
    };
    let required = |name| field(name)?.ok_or(SigError::Incomplete(name));
    if required("X-Amz-Algorithm")? != ALGORITHM {
        return Err(SigError::UnsupportedAlgorithm);
    }
    let expires = required("X-Amz-Expires")?;
    let all_digits = !expires.is_empty() && expires.bytes().all(|byte| byte.is_ascii_digit());
    let expires = expires.parse().ok().filter(|seconds| all_digits && (1..=MAX_EXPIRES).contains(seconds));
    let form = Form::Query { expires: expires.ok_or(SigError::Malformed("X-Amz-Expires"))? };
    assemble(
        request,
        form,
        Fields {
            credential: &required("X-Amz-Credential")?,
            signed_headers: &required("X-Amz-SignedHeaders")?,
            signature: &required("X-Amz-Signature")?,
            date: parse_amz_date(&required("X-Amz-Date")?).ok_or(SigError::Malformed("X-Amz-Date"))?,
            session_token: match field("X-Amz-Security-Token")? {
                Some(token) => Some(token),
                None => text_header(request, "x-amz-security-token")?.map(str::to_owned),
            },
        },
    )
}

fn text_header<'a>(request: &Request<'a>, name: &'static str) -> Result<Option<&'a str>, SigError> {
    let Some(value) = request.header(name) else { return Ok(None) };
    std::str::from_utf8(value).map(|value| Some(value.trim())).map_err(|_| SigError::Malformed(name))
}

struct Fields<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    date: i64,
    session_token: Option<String>,
}

fn assemble(request: &Request<'_>, form: Form, fields: Fields<'_>) -> Result<Signed, SigError> {
    // From the right: a key id may hold slashes, a scope does not.
    let mut parts = fields.credential.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(region), Some(day), Some(access_key_id)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SigError::Malformed("Credential"));
    };
    if service.is_empty() || region.is_empty() || access_key_id.is_empty() {
        return Err(SigError::Malformed("Credential"));
    }
    if super::amz_date(fields.date)[..8] != *day {
        return Err(SigError::ScopeDate);
    }
    let signed_headers: Vec<String> = fields.signed_headers.split(';').map(str::to_ascii_lowercase).collect();
    if signed_headers.iter().any(String::is_empty) {
        return Err(SigError::Malformed("SignedHeaders"));
    }
    Ok(Signed {
        form,
        access_key_id: access_key_id.to_owned(),
        date: fields.date,
        day: day.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers,
        signature: parse_signature(fields.signature).ok_or(SigError::Malformed("Signature"))?,
        session_token: fields.session_token,
        declared_payload: text_header(request, "x-amz-content-sha256")?.map(str::to_owned),
        path_rule: PathRule::of(service),
    })
}

fn parse_signature(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The host, and whatever else could change what the request asks for.
fn check_signed_headers(request: &Request<'_>, signed: &[String]) -> Result<(), SigError> {
    let is_signed = |name: &str| signed.iter().any(|signed| signed == name);
    if !is_signed("host") {
        return Err(SigError::UnsignedHeader("host".to_owned()));
    }
    for (name, _) in request.headers {
        if !name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        if !COVERED.contains(&name.as_str()) && !is_signed(&name) {
            return Err(SigError::UnsignedHeader(name));
        }
    }
    Ok(())
}
