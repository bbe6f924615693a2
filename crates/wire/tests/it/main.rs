//! The wire from outside: the protocols' codecs, and signatures against published vectors.
#![allow(clippy::unwrap_used, reason = "tests")]

mod json;
mod protocols;
mod rest_json;
mod sigv4;
