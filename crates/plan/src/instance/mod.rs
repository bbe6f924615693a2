//! Pure decisions about instances: what a launch asks for ([`LaunchSpec`]), whether it is admitted and as how many
//! ([`admit`]), with which volumes ([`devices`]), and what an observation of the host means ([`observe`]).
//!
//! Facts are arguments, refusals small enums; the EC2 service reads the facts in its transaction and spells the errors.

pub mod admit;
pub mod attachments;
pub mod capacity;
pub mod devices;
pub mod fork;
pub mod hibernation;
pub mod observe;
pub mod spec;
pub mod store;

pub use admit::{Admitted, Facts, Refusal, TypeFacts, admit};
pub use capacity::{Demand, Host, HostFacts};
pub use devices::{DeviceChange, DevicePlan, DeviceSpec, VolumeSpec};
pub use spec::{
    FurtherInterface, GroupChoice, Ipv4Prefixes, Ipv6Addresses, Ipv6Prefixes, LaunchSpec, LaunchTags,
    NetworkSpec, PublicChoice, SecondaryAddresses,
};
