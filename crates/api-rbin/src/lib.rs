//! The shapes and operations of the recycle bin, 2021-06-15: plain structs, open enums, shape tables, markers in [`ops`].
//!
//! All of it is generated (`tools/codegen`) from `models/rbin.json` and committed; the codecs are in `wire`.
//! Required members of structures that only ever come in are plain; all other members are optional.

#[rustfmt::skip]
#[allow(unused_imports, clippy::all, clippy::pedantic)]
mod generated;

pub use generated::*;
