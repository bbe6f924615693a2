//! What the instance metadata service says, as a pure function of the desired state.
//!
//! The whole tree of an instance is built for each request and then walked: it is a few dozen short strings, and so a
//! listing can never disagree with what it lists. Tokens, methods and connections are the agent's business.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html>
//! Differs: `dynamic/nube` names the cloud's own API and `dynamic/volumes` the devices of disks; every version shows the
//! same tree; `public-hostname` and `public-ipv4` are absent without a public address.

mod document;
mod tree;

pub use document::{document, utc};
pub use tree::full_name;

use model::Blob;
use model::host::{InstanceDesired, VpcDesired};

/// The versions that the service lists, oldest first.
pub const VERSIONS: [&str; 28] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "latest",
];

/// The answer to a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A value or a listing.
    Text(String),
    /// User data, as the caller gave it.
    Bytes(Blob),
    /// Something over the identity [`document`] that only the holder of the cloud's key can make.
    Signed(Signature),
    NotFound,
}

/// How the identity document is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// Base64 of the RSA signature over SHA-256.
    Bare,
    /// Base64 of a PKCS#7 envelope that holds the document.
    Pkcs7,
}

/// The cloud's own API as an instance finds it, below `dynamic/nube`. Not of AWS: there, clients know their endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// A URL whose name the VPC's resolver knows.
    pub endpoint: String,
    /// The certificate (PEM) that the endpoint's TLS can be verified by; none: it speaks no TLS.
    pub authority: Option<String>,
}

/// Answers a request for `path` (as on the request line, without its query). `vpcs` finds the VPCs of the instance's
/// interfaces.
pub fn answer<'a>(
    path: &str,
    instance: &InstanceDesired,
    vpcs: impl Fn(model::VpcId) -> Option<&'a VpcDesired>,
    api: Option<&Api>,
) -> Answer {
    let Some(segments) = segments(path) else { return Answer::NotFound };
    let Some((version, rest)) = segments.split_first() else { return Answer::Text(VERSIONS.join("\n")) };
    if !VERSIONS.contains(&version.as_str()) {
        return Answer::NotFound;
    }
    tree::root(instance, &vpcs, api).find(rest)
}

/// The path's parts, percent-decoded; `None` when they are no text.
fn segments(path: &str) -> Option<Vec<String>> {
    path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
