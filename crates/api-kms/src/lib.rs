//! The shapes and operations of AWS KMS, 2014-11-01: plain structs, open enums, shape tables, markers in [`ops`].
//!
//! All of it is generated (`tools/codegen`) from `models/kms.json` and committed; the codecs are in `wire`.
//! Required members of structures that only ever come in are plain; all other members are optional.

#[rustfmt::skip]
#[allow(unused_imports, clippy::all, clippy::pedantic)]
mod generated;

pub use generated::*;
