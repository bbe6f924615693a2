//! An image in its place in the cache. What it is says its [`Manifest`], which all rooms share.

use std::path::{Path, PathBuf};

pub use model::host::{Architecture, Firmware};
pub use model::manifest::{Boot, Manifest, Package, Published};
pub(crate) use model::manifest::{DISK, INITRD, KERNEL, MANIFEST};

/// An image with its place in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub folder: PathBuf,
    pub manifest: Manifest,
}

impl Image {
    /// The root disk, qcow2 without a backing file. Never write to it; keep a hard link if volumes are based on it.
    pub fn disk(&self) -> PathBuf {
        self.folder.join(DISK)
    }

    /// For QEMU's `-kernel`; only with [`Boot::DirectKernel`].
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(KERNEL)
    }

    /// For QEMU's `-initrd`; only with [`Boot::DirectKernel`].
    pub fn initrd(&self) -> PathBuf {
        self.folder.join(INITRD)
    }

    pub(crate) fn is_complete(&self) -> bool {
        let files = match self.manifest.boot {
            Boot::DirectKernel { .. } => vec![self.disk(), self.kernel(), self.initrd()],
            Boot::Firmware { .. } => vec![self.disk()],
        };
        files.iter().all(|file| Path::is_file(file))
    }
}
