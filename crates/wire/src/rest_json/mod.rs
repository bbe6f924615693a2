//! The restJson1 protocol (ebs, rbin; later lambda, efs, apigateway): the operation is method and path, and members travel
//! where their shapes say: in the path, the query, headers, the status, a JSON object, or as the whole body.
//!
//! In: [`route`] finds the operation, [`decode_into`] reads all parts of the request. In the path and the query times are
//! ISO 8601 by default, in headers dates of HTTP, in JSON seconds since 1970. A body that is a payload is taken as it is. What no
//! member is called is passed over, as AWS does. Out: [`encode`]; absent members are left out, and control characters never
//! reach a header.
//! AWS: <https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html>
//! Differs: lists of times in headers are not split (no service that is built has any).

mod decode;
mod encode;
mod route;
mod scalar;

pub use decode::decode_into;
pub use encode::{encode, encode_error};
pub use route::route;

use crate::{ApiError, DecodeError, json};

/// The `Content-Type` of answers whose body is JSON.
pub const CONTENT_TYPE: &str = "application/json";
/// The header that names an error.
pub const ERROR_TYPE: &str = "x-amzn-ErrorType";

/// The parts of a request that parameters may be in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As it was sent, escapes and all.
    pub path: &'a str,
    /// Without the `?`; empty if there is none.
    pub query: &'a str,
    /// As they came, names in any case.
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
}

/// A fault of decoding as these services report it.
pub fn api_error(error: &DecodeError) -> ApiError {
    json::api_error(error)
}
