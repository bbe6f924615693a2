//! The agent from outside: drivers by one conformance suite, the loop on a host that fails, the channel, the metadata
//! service; and the Linux drivers against the real thing, which need root, QEMU and `apt-get` (for a guest's kernel and
//! shell, kept under `target/`). Everything that they make on the host is their own and goes with them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests may start processes, read the environment and the clock"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

mod api;
mod block;
mod channel;
mod chaos;
mod conformance;
mod devices;
mod direct;
mod encryption;
mod forks;
mod guest;
mod hibernation;
mod imds;
mod lifecycle;
mod net;
mod rig;
mod sample;
mod sim_conformance;
mod snapshots;
mod vmm;
mod vmm_devices;
mod vmm_encryption;
mod vmm_hibernation;
mod vmm_lazy;
mod vmm_rig;
mod vmm_shared;
mod vmm_snapshots;
