//! The key service as its callers see it, through the dispatch.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod access;
mod aliases;
mod ciphertexts;
mod keys;
mod rig;
