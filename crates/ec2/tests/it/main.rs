//! EC2 as its callers see it: whole operations through the dispatch, on a control plane in memory.
#![allow(clippy::disallowed_methods, reason = "keys are tried with the real ssh-keygen and openssl")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod image;
mod instance;
mod instance_host;
mod instance_launch;
mod instance_type;
mod key_pair;
mod tag;
