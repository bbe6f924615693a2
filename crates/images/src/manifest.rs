//! What an image is: the `manifest.json` beside its files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// An image of the cache, as registered by a new cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name in the cache and the last part of the AMI's name: `nano`.
    pub name: String,
    /// One sentence for `describe-images`.
    pub description: String,
    pub architecture: Architecture,
    /// `sha256:` and hex digits over the disk's content (not its qcow2 container), the kernel and the initial RAM disk.
    /// The same packages, guest agent and builder give the same digest.
    pub digest: String,
    /// `sha256:` and hex digits over everything that the build was made of. While it stays the same, so would the image.
    pub recipe: String,
    /// Size in bytes of the disk in the file. The guest grows its filesystem to the volume.
    pub disk_bytes: u64,
    /// The smallest volume that an instance may have, in GiB.
    pub min_disk_gib: u32,
    /// The least memory that an instance may have, in MiB.
    #[serde(default = "least_memory")]
    pub min_memory_mib: u32,
    /// The root device as EC2 names it.
    pub root_device_name: String,
    /// Whom to log in as.
    pub default_user: String,
    pub boot: Boot,
    /// As whose AMI it is registered, and under which name. None: the operator's own, `nube/NAME-DIGEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Where the image's files came from.
    pub packages: Vec<Package>,
}

/// How clients know an image that others publish on AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The AMI's name.
    pub name: String,
    /// The publisher's account, 12 digits.
    pub owner: String,
}

fn least_memory() -> u32 {
    64
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    #[serde(rename = "x86_64")]
    X86_64,
}

/// How a machine starts from this image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Boot {
    /// QEMU loads [`Image::kernel`] and [`Image::initrd`]; the root disk is the first virtio-blk device.
    DirectKernel {
        /// What the kernel is told on any accelerator.
        command_line: String,
        /// What is added to that under TCG, where time is emulated and mitigations only cost.
        command_line_emulated: String,
    },
}

/// A distribution package that files were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name, version and architecture, as in the package file's name.
    pub file: String,
    pub sha256: String,
}

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

    /// For QEMU's `-kernel`.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(KERNEL)
    }

    /// For QEMU's `-initrd`.
    pub fn initrd(&self) -> PathBuf {
        self.folder.join(INITRD)
    }

    pub(crate) fn is_complete(&self) -> bool {
        [self.disk(), self.kernel(), self.initrd()].iter().all(|file| Path::is_file(file))
    }
}

pub(crate) const DISK: &str = "disk.qcow2";
pub(crate) const KERNEL: &str = "kernel";
pub(crate) const INITRD: &str = "initrd";
pub(crate) const MANIFEST: &str = "manifest.json";
