//! The front door over real HTTP on loopback, before a cloud in memory.
#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect fails right there")]

mod door;
mod emulation;
mod endpoints;
mod http;
mod http1;
mod json;
mod limits;
mod rest;
mod signatures;
mod tls;
