//! What all operations share, on a memory store: transactions, the view, dispatch, tokens, filters, the drivers.

mod dispatch;
mod filter;
mod host;
mod reconcile;
mod rig;
mod token;
mod txn;
mod view;
