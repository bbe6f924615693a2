//! Signed calls of the cloud's own EC2 API, for the commands that need one.

use crate::cloud_files::CloudDir;
use crate::http;
use anyhow::{Context as _, Result, anyhow};
use model::{Clock as _, Region};
use std::fmt::Write as _;
use wire::sigv4::{self, Credentials, Payload, Request};

/// Calls an operation in one of the cloud's regions and returns the XML.
pub fn call(dir: &CloudDir, region: &Region, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
    let (cloud, credentials) = (dir.read()?, dir.credentials()?);
    let mut body = format!("Action={action}&Version={}", api_version());
    for (name, value) in parameters {
        // Names and ids: nothing that a form would have to escape.
        let _ = write!(body, "&{name}={value}");
    }
    let host = cloud.listen.to_string();
    let content_type = "application/x-www-form-urlencoded; charset=utf-8";
    let headers = [("host", host.as_bytes()), ("content-type", content_type.as_bytes())];
    let request = Request { method: "POST", path: "/", query: "", headers: &headers };
    let signer = Credentials::new(
        credentials.access_key_id.as_str(),
        credentials.secret_access_key.as_bytes(),
        region.as_str(),
        "ec2",
    );
    let now = model::clock::SystemClock.now().as_secs();
    let added = sigv4::sign(&request, &Payload::of(body.as_bytes()), &signer, now).context("cannot sign")?;
    let mut sent =
        vec![("host".to_owned(), host.clone()), ("content-type".to_owned(), content_type.to_owned())];
    sent.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let (status, answer) = http::exchange(cloud.listen, "POST", "/", &sent, body.as_bytes())?;
    let answer = String::from_utf8(answer).context("the answer is no text")?;
    if status == 200 {
        return Ok(answer);
    }
    let code = text(&answer, "Code").unwrap_or_default();
    let message = text(&answer, "Message").unwrap_or_default();
    Err(anyhow!("{message} ({code})"))
}

fn api_version() -> &'static str {
    ec2::service().shape().api_version
}

/// The text of the first element called `name`. Our own answers only: no attributes, no comments.
pub fn text<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let length = xml[start..].find(&format!("</{name}>"))?;
    Some(&xml[start..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_of_a_name_is_found() {
        let xml = "<a><ipAddress>198.18.0.9</ipAddress><ipAddress>x</ipAddress></a>";
        assert_eq!(text(xml, "ipAddress"), Some("198.18.0.9"));
        assert_eq!(text(xml, "other"), None);
    }
}
