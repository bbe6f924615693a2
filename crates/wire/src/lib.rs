//! wire

pub mod sigv4;
