//! What the agent does to a real host. Needs root, nftables and iproute2; everything happens in namespaces of its own.

#![allow(unsafe_code, reason = "stand-in guests hold a TAP of their own, and each test a network namespace")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests look at the host with its own programs and with a real clock"
)]

mod net;
