//! STS as its callers see it, through the dispatch.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod sts;
