//! The nano image, built for real and booted in QEMU (TCG, user-mode network), with a metadata service of the test's own.
//!
//! Needs: root or not, the package lists of apt, the programs that the crate's documentation names, `qemu-system-x86_64`,
//! `ssh`, `ssh-keygen`, `sftp`. What is missing fails the test by name.
#![allow(clippy::disallowed_methods, reason = "tests start programs and measure time")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod endpoint;
mod imds;
mod machine;
mod nano;
mod scene;
