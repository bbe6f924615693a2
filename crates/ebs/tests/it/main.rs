//! The direct APIs as their callers see them, through the dispatch, with a host that keeps blocks in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod read;
mod rig;
mod write;
