//! The head of a request, in whichever HTTP it came: what signatures, routing and the log look at.

use http::{HeaderMap, Uri, header};

pub(crate) struct Head<'a> {
    /// As it was sent.
    pub method: &'a str,
    pub path: &'a str,
    /// Without the `?`; empty if there is none.
    pub query: &'a str,
    /// As they came, names in any case; there is a `host` wherever the request names one in any way.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Head<'a> {
    /// Of a request of HTTP/2, where the authority stands for Host.
    pub fn of_parts(parts: &'a http::request::Parts) -> Self {
        let map: &HeaderMap = &parts.headers;
        let mut headers: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let uri: &Uri = &parts.uri;
        if !map.contains_key(header::HOST)
            && let Some(authority) = uri.authority()
        {
            headers.push(("host", authority.as_str().as_bytes()));
        }
        Self {
            method: parts.method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers,
        }
    }

    /// The first header of this (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The same, if it is visible ASCII.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        let value = self.header(name)?;
        let visible = value.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte));
        visible.then(|| std::str::from_utf8(value).ok())?
    }

    pub fn host(&self) -> Option<&'a str> {
        self.text("host")
    }
}
