//! AWS Signature Version 2: parameters signed as parameters, as older clients of EC2 still send (libcloud in the regions
//! that it calls old, boto 2, Eucalyptus' tools).
//!
//! The same contract as [`crate::sigv4`]: [`parse`] says who claims to have signed, [`verify`] whether they did. All parameters
//! of the query and the body are covered, and so are method, host and path; headers are not. There is no scope: the service
//! and the region follow from the host.
//!
//! AWS took this version in EC2 long after it had gone elsewhere, so `gateway` takes it for EC2 alone.
//! Differs: `HmacSHA256` only; the older `HmacSHA1` is refused.

use crate::sigv4::{MAX_SKEW, SigError, encode, parse_http_date};
use crate::{Blob, Form};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What a request says about its signature. Nothing here is proven before [`verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    pub access_key_id: String,
    pub session_token: Option<String>,
    when: When,
    signature: Vec<u8>,
    text: String,
}

/// Unix seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    SentAt(i64),
    Expires(i64),
}

/// Whether a request means to be signed this way.
pub fn is_meant(form: &Form) -> bool {
    form.get("SignatureVersion").is_some() && form.get("AWSAccessKeyId").is_some()
}

/// `form` holds the parameters of query and body together; `path` is as it was sent.
pub fn parse(method: &str, host: &str, path: &str, form: &Form) -> Result<Signed, SigError> {
    let field = |name: &'static str| {
        let mut values = form.iter().filter(|(given, _)| *given == name);
        let first = values.next().map(|(_, value)| value);
        if values.next().is_some() { Err(SigError::Malformed(name)) } else { Ok(first) }
    };
    let required = |name| field(name)?.ok_or(SigError::Incomplete(name));
    if required("SignatureVersion")? != "2" || required("SignatureMethod")? != "HmacSHA256" {
        return Err(SigError::UnsupportedAlgorithm);
    }
    let when = match (field("Timestamp")?, field("Expires")?) {
        (Some(_), Some(_)) => return Err(SigError::Ambiguous),
        (Some(sent), None) => When::SentAt(date(sent).ok_or(SigError::Malformed("Timestamp"))?),
        (None, Some(end)) => When::Expires(date(end).ok_or(SigError::Malformed("Expires"))?),
        (None, None) => return Err(SigError::Incomplete("Timestamp or Expires")),
    };
    Ok(Signed {
        access_key_id: required("AWSAccessKeyId")?.to_owned(),
        session_token: field("SecurityToken")?.map(str::to_owned),
        when,
        signature: Blob::from_base64(required("Signature")?).ok_or(SigError::Malformed("Signature"))?.0,
        text: string_to_sign(method, host, path, form),
    })
}

/// The other side, for tests: the value of `Signature` for a request whose `form` has everything else.
pub fn signature(method: &str, host: &str, path: &str, form: &Form, secret: &[u8]) -> String {
    Blob(mac(secret, &string_to_sign(method, host, path, form)).finalize().into_bytes().to_vec()).to_base64()
}

/// Was it signed with `secret`, and is it good at `now` (Unix seconds)?
pub fn verify(signed: &Signed, secret: &[u8], now: i64) -> Result<(), SigError> {
    match signed.when {
        When::SentAt(sent) if (now - sent).abs() > MAX_SKEW => return Err(SigError::Skewed),
        When::Expires(end) if now > end => return Err(SigError::Expired),
        When::SentAt(_) | When::Expires(_) => {}
    }
    mac(secret, &signed.text).verify_slice(&signed.signature).map_err(|_| SigError::Mismatch)
}

fn mac(secret: &[u8], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac
}

/// Four lines: the method, the host in lower case, the path, and all parameters but the signature, sorted by name.
fn string_to_sign(method: &str, host: &str, path: &str, form: &Form) -> String {
    let mut pairs: Vec<(&str, &str)> = form.iter().filter(|(name, _)| *name != "Signature").collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{}={}", encode(name.as_bytes()), encode(value.as_bytes())))
        .collect();
    let path = if path.is_empty() { "/" } else { path };
    format!("{method}\n{}\n{path}\n{}", host.to_ascii_lowercase(), pairs.join("&"))
}

/// ISO 8601 in UTC; a fraction of a second, or no `Z`, as some clients write it.
fn date(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| parse_http_date(&format!("{whole}Z")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// The request that AWS's page on Signature Version 2 goes through, and the signature it arrives at.
    fn example() -> Form {
        [
            ("AWSAccessKeyId", "AKIAIOSFODNN7EXAMPLE"),
            ("Action", "DescribeJobFlows"),
            ("SignatureMethod", "HmacSHA256"),
            ("SignatureVersion", "2"),
            ("Timestamp", "2011-10-03T15:19:30"),
            ("Version", "2009-03-31"),
            ("Signature", "i91nKc4PWAt0JJIdXwz9HxZCJDdiy6cf/Mj6vPxyYIs="),
        ]
        .into_iter()
        .collect()
    }

    fn signed() -> Signed {
        parse("GET", "ElasticMapReduce.amazonaws.com", "/", &example()).unwrap()
    }

    /// 2011-10-03T15:19:30Z.
    const SENT: i64 = 1_317_655_170;

    #[test]
    fn the_example_of_aws_is_good() {
        assert_eq!(verify(&signed(), SECRET, SENT), Ok(()));
        assert_eq!(signed().access_key_id, "AKIAIOSFODNN7EXAMPLE");
    }

    #[test]
    fn whatever_else_was_signed_does_not_match() {
        let changed = |name: &str, value: &str| {
            let pairs = example();
            let pairs = pairs.iter().map(|(given, old)| (given, if given == name { value } else { old }));
            let form: Form = pairs.collect();
            parse("GET", "elasticmapreduce.amazonaws.com", "/", &form)
        };
        assert_eq!(
            verify(&changed("Action", "TerminateJobFlows").unwrap(), SECRET, SENT),
            Err(SigError::Mismatch)
        );
        assert_eq!(verify(&signed(), b"another", SENT), Err(SigError::Mismatch));
        let elsewhere = parse("GET", "ec2.amazonaws.com", "/", &example()).unwrap();
        assert_eq!(verify(&elsewhere, SECRET, SENT), Err(SigError::Mismatch));
        let posted = parse("POST", "elasticmapreduce.amazonaws.com", "/", &example()).unwrap();
        assert_eq!(verify(&posted, SECRET, SENT), Err(SigError::Mismatch));
        assert_eq!(changed("SignatureMethod", "HmacSHA1"), Err(SigError::UnsupportedAlgorithm));
        assert_eq!(changed("SignatureVersion", "1"), Err(SigError::UnsupportedAlgorithm));
        assert_eq!(changed("Signature", "no base64!"), Err(SigError::Malformed("Signature")));
        assert_eq!(changed("Timestamp", "yesterday"), Err(SigError::Malformed("Timestamp")));
    }

    #[test]
    fn a_request_is_good_for_a_quarter_of_an_hour_or_until_it_expires() {
        assert_eq!(verify(&signed(), SECRET, SENT + MAX_SKEW), Ok(()));
        assert_eq!(verify(&signed(), SECRET, SENT + MAX_SKEW + 1), Err(SigError::Skewed));
        let until = Signed { when: When::Expires(SENT), ..signed() };
        assert_eq!(verify(&until, SECRET, SENT + 1), Err(SigError::Expired));
        assert_eq!(verify(&until, SECRET, SENT - 100_000), Ok(()));
        assert_eq!(date("2011-10-03T15:19:30.250Z"), Some(SENT));
        assert_eq!(date("2011-10-03T15:19:30.Z"), None);
    }
}
