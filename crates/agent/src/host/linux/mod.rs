//! The real host: QEMU, the kernel's networking, files.

#[allow(unsafe_code, reason = "descriptors are handed to children between fork and exec")]
pub mod exec;

pub mod block;
pub mod doctor;
pub mod net;
pub mod netns;
pub mod requirements;
pub mod vmm;
