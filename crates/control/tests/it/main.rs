//! What all operations share, on a memory store: transactions, the view, dispatch, tokens, filters, the drivers.
#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect fails right there")]

mod dispatch;
mod filter;
mod host;
mod reconcile;
mod rig;
mod token;
mod txn;
mod view;
