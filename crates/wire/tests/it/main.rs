#![allow(clippy::unwrap_used)] // tests
mod sigv4;
