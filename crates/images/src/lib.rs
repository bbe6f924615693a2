//! Machine images that Nube builds itself, and the cache that they live in.
//!
//! [`nano::build`] makes the nano image from packages of the host's own distribution: nothing is installed on the host,
//! nothing is mounted, no loop device is needed and neither is root. [`debian::build`] makes a real Debian by
//! `mmdebstrap`, as root. [`cache`] lists and opens what was built.
//!
//! Invariants: a file of the cache is never changed in place, only replaced as a whole. Who bases volumes on one keeps a
//! hard link or a copy of it, and may then forget about later builds. The same inputs give the same nano, bit for bit.
//!
//! Called by `nube image` and `cargo xtask up`. Processes start in `exec` only.
//!
//! Needs at build time: `apt-get`, `apt-cache`, `dpkg-deb` (always there on Debian and Ubuntu), `mke2fs`, `debugfs`,
//! `e2fsck` (package e2fsprogs), `qemu-img` (qemu-utils), and `xz` or `zstd` where the kernel package is compressed so.
//! [`debian`] names what it needs beyond that.

pub mod cache;
mod cpio;
pub mod debian;
mod elf;
pub mod endpoint;
mod error;
mod exec;
mod ext4;
mod finish;
mod kernel;
mod manifest;
pub mod nano;
mod packages;
mod progress;
mod tree;

pub use error::{Error, Result};
pub use manifest::{Architecture, Boot, Image, Manifest, Package, Published};
pub use progress::{Progress, Silent};
