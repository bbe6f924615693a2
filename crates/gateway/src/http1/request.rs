//! A request of HTTP/1 as its head tells it.

use crate::head::Head;
use http::StatusCode;
use std::str;

/// The most headers of a request.
const HEADERS: usize = 100;

pub(super) struct Request<'a> {
    pub head: Head<'a>,
    pub length: Length,
    pub keep_alive: bool,
    /// The client asks before it sends the body.
    pub awaits_continue: bool,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Bytes(usize),
    Chunks,
}

/// The head is not one that can be answered otherwise than with this status.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub StatusCode);

const BAD: Malformed = Malformed(StatusCode::BAD_REQUEST);

/// A whole head, its empty line included.
pub(super) fn parse(bytes: &[u8]) -> Result<Request<'_>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Malformed(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Err(httparse::Error::Version) => return Err(Malformed(StatusCode::HTTP_VERSION_NOT_SUPPORTED)),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BAD),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BAD);
    };
    // One more: an authority in the target stands for a Host that is not there.
    let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(parsed.headers.len() + 1);
    headers.extend(parsed.headers.iter().map(|header| (header.name, header.value)));
    let (authority, path, query) = target_parts(target).ok_or(BAD)?;
    let head = Head { method, path, query, headers };
    let (length, keep_alive) = (length(&head, minor)?, keep_alive(&head, minor));
    let awaits_continue = minor > 0
        && head
            .header("expect")
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"100-continue"));
    let mut request = Request { head, length, keep_alive, awaits_continue };
    if let Some(authority) = authority
        && request.head.header("host").is_none()
    {
        request.head.headers.push(("host", authority.as_bytes()));
    }
    Ok(request)
}

/// Authority, path and query of a request's target, which is one of `/path?query`, `http://authority/path?query` and `*`.
fn target_parts(target: &str) -> Option<(Option<&str>, &str, &str)> {
    // No client sends a fragment, and none is part of what is asked for.
    let target = target.split('#').next().unwrap_or_default();
    let (authority, rest) = if target.starts_with('/') || target == "*" {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        (Some(&rest[..end]).filter(|authority| !authority.is_empty()), &rest[end..])
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some((authority, if path.is_empty() { "/" } else { path }, query))
}

/// A length and chunks, two lengths, or codings that are not undone here: a proxy before us might read them otherwise than we.
fn length(head: &Head<'_>, minor: u8) -> Result<Length, Malformed> {
    let (mut bytes, mut chunks) = (None, false);
    for (name, value) in &head.headers {
        if name.eq_ignore_ascii_case("content-length") {
            for one in value.split(|byte| *byte == b',') {
                let one = str::from_utf8(one.trim_ascii()).map_err(|_| BAD)?;
                let digits = !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit());
                // What no number holds is larger than any limit.
                let number = digits.then(|| one.parse().unwrap_or(usize::MAX)).ok_or(BAD)?;
                if bytes.replace(number).is_some_and(|earlier| earlier != number) {
                    return Err(BAD);
                }
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if chunks || minor == 0 {
                return Err(BAD);
            }
            if !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Malformed(StatusCode::NOT_IMPLEMENTED));
            }
            chunks = true;
        }
    }
    match (bytes, chunks) {
        (None, true) => Ok(Length::Chunks),
        (Some(_), true) => Err(BAD),
        (bytes, false) => Ok(Length::Bytes(bytes.unwrap_or_default())),
    }
}

fn keep_alive(head: &Head<'_>, minor: u8) -> bool {
    let options = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    let options = options.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    // The answer to 1.0 does not say that the connection stays open, so such a client does not expect it.
    minor > 0 && !options.into_iter().any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, Length, bool), Malformed> {
        let request = parse(text.as_bytes())?;
        let Head { method, path, query, .. } = request.head;
        let host = request.head.host().unwrap_or_default();
        Ok((format!("{method} {path} {query} {host}"), request.length, request.keep_alive))
    }

    #[test]
    fn a_head_says_what_is_asked_for_and_how_long_it_is() {
        for (text, what, length, keep_alive) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET /  a", Length::Bytes(0), true),
            ("GET /?x=1?2 HTTP/1.1\r\nHost: a\r\n\r\n", "GET / x=1?2 a", Length::Bytes(0), true),
            ("GET /a%2Fb#c HTTP/1.0\nhost: a\n\n", "GET /a%2Fb  a", Length::Bytes(0), false),
            ("POST http://b?q HTTP/1.1\r\ncontent-length: 7\r\n\r\n", "POST / q b", Length::Bytes(7), true),
            (
                "POST http://b/c HTTP/1.1\r\nhost: a\r\nconnection: x, Close\r\n\r\n",
                "POST /c  a",
                Length::Bytes(0),
                false,
            ),
            ("POST / HTTP/1.1\r\ncontent-length: 7, 7\r\n\r\n", "POST /  ", Length::Bytes(7), true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n", "POST /  ", Length::Chunks, true),
            ("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS *  a", Length::Bytes(0), true),
        ] {
            assert_eq!(parsed(text), Ok((what.to_owned(), length, keep_alive)), "{text:?}");
        }
        let endless = "POST / HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n";
        assert_eq!(parsed(endless).unwrap().1, Length::Bytes(usize::MAX));
    }

    #[test]
    fn a_head_that_others_might_read_otherwise_is_refused() {
        let many = "a: b\r\n".repeat(HEADERS + 1);
        for (headers, status) in [
            ("content-length: 1\r\ncontent-length: 2\r\n", 400),
            ("content-length: 1, 2\r\n", 400),
            ("content-length: +1\r\n", 400),
            ("content-length: \r\n", 400),
            ("content-length: 1\r\ntransfer-encoding: chunked\r\n", 400),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
            ("transfer-encoding: gzip, chunked\r\n", 501),
            ("content-length : 1\r\n", 400),
            ("a: b\r\n c\r\n", 400),
            (&*many, 431),
        ] {
            let text = format!("POST / HTTP/1.1\r\n{headers}\r\n");
            assert_eq!(parsed(&text).unwrap_err().0.as_u16(), status, "{headers:?}");
        }
        for line in
            ["GET / HTTP/1.1 x", "GET b HTTP/1.1", "GET ftp://b/ HTTP/1.1", "GET /", "CONNECT b:80 HTTP/1.1"]
        {
            assert_eq!(parsed(&format!("{line}\r\n\r\n")).unwrap_err().0.as_u16(), 400, "{line:?}");
        }
        assert_eq!(parsed("GET / HTTP/3.0\r\n\r\n").unwrap_err().0.as_u16(), 505);
        assert_eq!(parsed("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err(), BAD);
    }
}
