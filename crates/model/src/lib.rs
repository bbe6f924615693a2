//! The nouns of the cloud as the rooms share them: typed ids, records, state enums and the agent protocol.
//!
//! Sans-io: nothing here reads a clock, draws a random number, logs or blocks. Time and entropy are arguments.
//! Everybody may import this crate; it imports nobody.

pub mod blob;
pub mod byoip;
pub mod clock;
pub mod data_key;
pub mod few;
pub mod flow_log;
pub mod gateway_service;
pub mod host;
pub mod id;
pub mod manifest;
pub mod metadata;
pub mod net;
pub mod overcommit;
pub mod packet;
pub mod place;
pub mod record;
pub mod region;
pub mod time;
pub mod traffic_mirror;
pub mod units;

pub use blob::Blob;
pub use byoip::ByoipGrant;
pub use clock::Clock;
pub use data_key::DataKey;
pub use gateway_service::{GatewayService, ServiceRanges};
pub use id::*;
pub use net::Mac;
pub use overcommit::{Overcommit, Ratio};
pub use place::{AccountId, CloudTag, Region, Zone};
pub use time::Timestamp;
pub use units::{GiB, MiB};
