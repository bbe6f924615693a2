//! The policies that endpoints may have.

use super::invalid_parameter;
use crate::errors::client;
use crate::parameter::unsupported;
use control::Result;
use control::policy::Document;

/// A policy's text in characters, at most.
const LARGEST_POLICY: usize = 20_480;

/// A policy that can be judged; `InvalidPolicyDocument`.
pub fn parse(text: &str) -> Result<String> {
    let invalid = |why: &str| {
        client("InvalidPolicyDocument", format!("The specified policy document is not valid: {why}."))
    };
    if text.chars().count() > LARGEST_POLICY {
        return Err(invalid("it has more than 20,480 characters"));
    }
    Document::parse(text).map_err(|why| invalid(why.0))?;
    Ok(text.to_owned())
}

/// A policy for an endpoint whose requests nobody here sees: it can forbid nothing; `UnsupportedOperation` where it would.
pub fn full_access(text: &str) -> Result<String> {
    let text = parse(text)?;
    if Document::parse(&text).is_ok_and(|document| document.is_full_access()) {
        return Ok(text);
    }
    Err(unsupported("A policy of a gateway endpoint that is not full access"))
}

/// Endpoints to accounts' services have none: nobody here knows what is asked there.
pub fn refuse(given: Option<&str>) -> Result<()> {
    match given {
        None => Ok(()),
        Some(_) => Err(invalid_parameter("Endpoint policies are not supported for this service.")),
    }
}
