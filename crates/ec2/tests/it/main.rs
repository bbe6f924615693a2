//! EC2 as its callers see it: whole operations through the dispatch, on a control plane in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod instance;
mod instance_host;
mod instance_launch;
