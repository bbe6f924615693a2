//! The host loop: makes one host as the control plane desires it, and says what it sees.
//!
//! ```text
//! channel ──► desired (on disk) ──► reconcile per object ──► host::{Vmm, Net, Block} ──► observed ──► channel
//!                                          ▲ nudges: driver events, timers
//! ```
//! The agent never sees the store or the APIs. While the server is away it serves from its last desired state.

pub mod agent;
pub mod channel;
pub mod desired;
pub mod directory;
pub mod host;
pub mod imds;
pub mod link_local;
pub mod trace;
