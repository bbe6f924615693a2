//! What all operations share, built once: context, dispatch, authorization, DryRun, client tokens, filters, paging, tags,
//! transactions on a typed view of the store, and the drivers that move the world towards intent.
//!
//! ```text
//! gateway ─► dispatch ─► (decode) ─► touches ─► policy ─► token ─► operation(ctx, request, txn) ─► commit ─► (encode)
//!                                                              │                                  │
//!                                              view: typed tables, indexed ◄── watch ◄── store ◄──┘
//! ```
//! An operation is a plain function of its context, its request and the tables; it draws ids from the context, writes
//! intent into the transaction and does nothing else. It may run several times when transactions conflict.

pub mod access;
pub mod bucket;
pub mod cloud;
pub mod context;
pub mod dispatch;
pub mod entropy;
pub mod errors;
pub mod filter;
pub mod host;
pub mod keys;
pub mod metrics;
pub mod page;
pub mod passage;
pub mod policy;
pub mod reconcile;
pub mod span;
pub mod sweep;
pub mod tag;
pub mod token;
pub mod txn;
pub mod view;

pub use access::{Arn, Caller, Policy, Touched};
pub use bucket::Buckets;
pub use cloud::{Cloud, PublicImages, RegionSettings, Settings};
pub use context::Context;
pub use dispatch::Service;
pub use keys::EncryptionContext;
pub use passage::Passage;
pub use sweep::{Sweep, Sweeps};
pub use txn::Txn;
pub use view::{Record, Schema, Tables, View};

/// The public result of an operation.
pub type Result<T, E = wire::ApiError> = std::result::Result<T, E>;
