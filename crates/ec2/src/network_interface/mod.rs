//! Network interfaces.

pub mod allocate;

pub use allocate::{allocate_private, allocate_public, release_private, release_public};
