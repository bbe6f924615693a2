//! The agent from outside: drivers by one conformance suite, the loop on a host that fails, the channel, the metadata service.
#![allow(clippy::disallowed_methods, reason = "tests may start processes and read the clock")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod channel;
mod chaos;
mod conformance;
mod imds;
mod lifecycle;
mod rig;
mod sample;
mod sim_conformance;
