//! plan

pub mod instance;
