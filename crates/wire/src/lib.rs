//! The AWS wire: shapes by reflection, one hand-written codec per protocol, error envelopes.
//!
//! Generated crates (`api-*`) declare plain structs and, for each, a static [`StructShape`] and access to their members by
//! index ([`Structure`]). A codec walks the shape and the value together and never knows a service: [`ec2`], [`query`],
//! [`json`] and [`rest_json`] now, rest-xml and cbor beside them later. No serde: it costs ten times the check time.
//!
//! Decode and encode are pure. Whatever a peer sends, decode answers a [`DecodeError`] and allocates no more than what was
//! sent; `api_error` of the protocol turns it into the error that a user of AWS knows.
//!
//! Callers: `gateway` (decode, encode, envelopes), `control` (shapes, `DryRun` and tokens by name), the services (structs).

mod blob;
mod body;
mod debug;
mod decode;
mod digits;
pub mod ec2;
mod error;
pub mod fill;
mod form;
pub mod json;
mod operation;
mod parameters;
pub mod query;
mod response;
pub mod rest_json;
mod same;
mod shape;
pub mod sigv2;
pub mod sigv4;
mod text;
mod timestamp;
mod value;
mod xml;

pub use blob::Blob;
pub use body::Body;
pub use debug::debug_structure;
pub use decode::{DecodeError, Fault};
pub use error::{ApiError, ErrorShape};
pub use form::Form;
pub use operation::{Operation, OperationShape, Paging, Protocol, ServiceShape};
pub use parameters::Parameters;
pub use response::Response;
pub use same::{clone_structure, same_structures};
pub use shape::{
    Limits, ListShape, Location, MapShape, Member, NumberShape, StringShape, StructShape, Target,
    TimestampFormat,
};
pub use text::OpenEnum;
pub use timestamp::Timestamp;
pub use value::{List, Map, Structure, Text, Value, ValueMut, ValueRef, member, no_member};
