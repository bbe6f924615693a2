//! The awsJson protocols (kms; later others): a JSON object in, a JSON object out, the operation in `X-Amz-Target`.
//!
//! In: members by their location name, else their name; `null` is absent; what no member is called is passed over, as
//! AWS does. Out: absent members are left out; bytes are base64, times are seconds since 1970 as numbers.
//! AWS: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

mod decode;
mod read;
mod write;

use crate::{ApiError, DecodeError, Fault, Protocol, Structure};

/// The header that names the operation, as `PREFIX.Operation`.
pub const TARGET: &str = "x-amz-target";

/// The `Content-Type` of a service's answers, which is that of its requests too.
pub const fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}

/// The operation that a target names, whatever its prefix: the service is known by other means.
pub fn operation(target: &str) -> &str {
    target.rsplit('.').next().unwrap_or(target)
}

/// Decodes the body of a request. An empty one is an object without members.
pub fn decode<T: Structure + Default>(body: &[u8]) -> Result<T, DecodeError> {
    let mut out = T::default();
    decode_into(body, &mut out)?;
    Ok(out)
}

/// [`decode`], where the type is known only by reflection.
pub fn decode_into(body: &[u8], target: &mut dyn Structure) -> Result<(), DecodeError> {
    decode::decode(body, target, decode::Bound::Body)
}

/// [`decode_into`], where members may travel elsewhere than in the body (the rest protocols).
pub(crate) fn decode_bound(body: &[u8], target: &mut dyn Structure) -> Result<(), DecodeError> {
    decode::decode(body, target, decode::Bound::AsShaped)
}

/// The body of a successful answer.
pub fn encode(output: &dyn Structure) -> String {
    let mut out = String::with_capacity(256);
    write::structure(&mut out, output, decode::Bound::Body);
    out
}

/// [`encode`], without the members that travel elsewhere.
pub(crate) fn encode_bound(output: &dyn Structure) -> String {
    let mut out = String::with_capacity(256);
    write::structure(&mut out, output, decode::Bound::AsShaped);
    out
}

/// An object of texts.
pub(crate) fn encode_members<'a>(members: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, text) in members {
        if out.len() > 1 {
            out.push(',');
        }
        write::text(&mut out, name);
        out.push(':');
        write::text(&mut out, text);
    }
    out.push('}');
    out
}

/// The body of an error; its status is the error's own.
pub fn encode_error(error: &ApiError) -> String {
    let usual = [("__type", error.code()), ("message", error.message())];
    encode_members(usual.into_iter().chain(error.details()))
}

/// A fault of decoding as these services report it: always 400. What cannot be read is a `SerializationException`, what
/// breaks a constraint of the model a `ValidationException`, which names the member in lower camel case.
pub fn api_error(error: &DecodeError) -> ApiError {
    let path = &error.path;
    let (code, message) = match error.fault {
        Fault::Encoding => ("SerializationException", format!("The body is not JSON: {path}")),
        Fault::TooDeep => ("SerializationException", format!("The body is nested too deeply at '{path}'")),
        Fault::TooMany => ("SerializationException", "The body holds too many values".to_owned()),
        Fault::Unknown | Fault::Duplicate => {
            ("SerializationException", format!("The member '{path}' is given more than once"))
        }
        Fault::Malformed { expected } => {
            ("SerializationException", format!("The value at '{path}' is not {expected}"))
        }
        Fault::Missing => (
            "ValidationException",
            format!(
                "1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
            ),
        ),
        fault => (
            "ValidationException",
            format!(
                "1 validation error detected: Value '{}' at '{path}' failed to satisfy constraint: expecting {}",
                error.value(),
                fault.expectation().unwrap_or_default()
            ),
        ),
    };
    ApiError::new(code, 400, message)
}
