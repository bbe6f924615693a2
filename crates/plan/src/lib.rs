//! Pure decisions: what to do next, given the facts. Nothing here reads a clock, draws randomness, logs or blocks.

pub mod flow_log;
pub mod host;
pub mod image;
pub mod imds;
pub mod instance;
pub mod instance_type;
pub mod machine;
pub mod mirror;
pub mod net;
pub mod public_image;
pub mod snapshot;
pub mod volume;
