//! The drivers against the real thing: they need root, QEMU and `apt-get` (for a guest's kernel and shell, kept under
//! `target/`). Everything they make on the host is their own and goes with them.
#![allow(clippy::disallowed_methods, reason = "tests start processes and read the environment")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod block;
mod guest;
mod vmm;
