//! The real driver: Linux itself.

pub mod exec;
pub mod net;
pub mod netns;
