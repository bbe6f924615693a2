//! What a machine image of a host's cache is: the `manifest.json` beside its files.
//!
//! Written by `images`, which builds and imports; read by `nube`, which registers, and by the agent, which boots.
//! Fields that only a description needs have defaults, so a manifest of another version is read as far as it goes.

use crate::host::{Architecture, Firmware};
use serde::{Deserialize, Serialize};

/// Names of an image's files in its folder.
pub const MANIFEST: &str = "manifest.json";
/// The root disk: qcow2 without a backing file.
pub const DISK: &str = "disk.qcow2";
/// Only with [`Boot::DirectKernel`].
pub const KERNEL: &str = "kernel";
pub const INITRD: &str = "initrd";

/// An image of the cache, as registered by a new cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The name in the cache and the last part of the AMI's name: `nano`.
    pub name: String,
    /// One sentence for `describe-images`.
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub architecture: Architecture,
    /// `sha256:` and hex digits over the disk's content (not its qcow2 container), the kernel and the initial RAM disk.
    /// The same packages, guest agent and builder give the same digest.
    pub digest: String,
    /// `sha256:` and hex digits over everything that the build was made of, or `import:` and the digest of the file that
    /// was imported. While it stays the same, so would the image.
    #[serde(default)]
    pub recipe: String,
    /// Size in bytes of the disk in the file. The guest grows its filesystem to the volume.
    #[serde(default)]
    pub disk_bytes: u64,
    /// The smallest volume that an instance may have, in GiB.
    #[serde(default)]
    pub min_disk_gib: u32,
    /// The least memory that an instance may have, in MiB.
    #[serde(default = "least_memory")]
    pub min_memory_mib: u32,
    /// The root device as EC2 names it.
    #[serde(default)]
    pub root_device_name: String,
    /// Whom to log in as.
    #[serde(default)]
    pub default_user: String,
    pub boot: Boot,
    /// Whether its guest knows how to become a memory template and to wake up as another instance.
    #[serde(default)]
    pub resumable: bool,
    /// Whether its guest knows how to go on as another instance when it is forked.
    #[serde(default)]
    pub forkable: bool,
    /// As whose AMI it is registered, and under which name. None: the operator's own, `nube/NAME-DIGEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Where the image's files came from.
    #[serde(default)]
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

/// How a machine starts from this image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum Boot {
    /// QEMU loads [`KERNEL`] and [`INITRD`]; the root disk is the first virtio-blk device.
    DirectKernel {
        /// What the kernel is told on any accelerator.
        command_line: String,
        /// What is added to that under TCG, where time is emulated and mitigations only cost.
        #[serde(default)]
        command_line_emulated: String,
    },
    /// The machine's firmware loads what the disk has for it.
    Firmware { firmware: Firmware },
}

/// A distribution package that files were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name, version and architecture, as in the package file's name.
    pub file: String,
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_says_no_more_than_a_host_needs_is_read() {
        let text =
            r#"{"name":"x","digest":"sha256:ab","boot":{"mode":"direct-kernel","command_line":"quiet"}}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(manifest.architecture, Architecture::X86_64);
        assert_eq!(
            manifest.boot,
            Boot::DirectKernel { command_line: "quiet".into(), command_line_emulated: String::new() }
        );
    }

    #[test]
    fn architecture_and_firmware_are_spelled_as_ec2_does() {
        let text = r#"{"name":"x","architecture":"arm64","digest":"d","boot":{"mode":"firmware","firmware":"uefi"}}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(manifest.architecture, Architecture::Arm64);
        assert_eq!(manifest.boot, Boot::Firmware { firmware: Firmware::Uefi });
        assert!(serde_json::to_string(&manifest).unwrap().contains(r#""architecture":"arm64""#));
    }
}
