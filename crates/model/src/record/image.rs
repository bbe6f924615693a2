//! Machine images.

use super::{IndexValue, Record, Tags};
use crate::host::Architecture;
use crate::{AccountId, GiB, ImageId, SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Image {
    pub image: ImageId,
    pub owner: AccountId,
    /// `amazon` for the images that come with the cloud.
    pub owner_alias: Option<String>,
    pub name: String,
    pub description: Option<String>,
    pub architecture: Architecture,
    pub root_device: String,
    /// The first is the root device.
    pub devices: Vec<ImageDevice>,
    /// The name of the image in the hosts' cache. Images without one cannot be launched.
    pub host_image: Option<String>,
    /// SHA-256 of the root disk, in hex.
    pub digest: Option<String>,
    /// Boots by its own kernel rather than by firmware.
    pub direct_kernel: bool,
    pub public: bool,
    /// Least memory that it boots in, in MiB.
    pub min_memory_mib: u32,
    /// The user that the image's ssh expects.
    pub default_user: Option<String>,
    pub created_at: Timestamp,
    #[serde(default)]
    pub traits: Traits,
    pub tags: Tags,
}

/// What an image says of itself beyond what every image has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traits {
    pub platform: Platform,
    pub boot_mode: Option<BootMode>,
    /// Instances of it ask for session tokens at the metadata service unless the launch says otherwise.
    pub imds_v2: bool,
    /// From then on others find it only by its id, or when they ask for deprecated images.
    pub deprecated_at: Option<Timestamp>,
}

/// The operating system as AWS names and bills it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    #[default]
    Linux,
    RedHat,
    Suse,
    Windows,
}

impl Platform {
    /// `PlatformDetails` of images and instances.
    pub fn details(self) -> &'static str {
        match self {
            Self::Linux => "Linux/UNIX",
            Self::RedHat => "Red Hat Enterprise Linux",
            Self::Suse => "SUSE Linux",
            Self::Windows => "Windows",
        }
    }

    /// `UsageOperation` of images and instances: what a launch is billed as.
    pub fn usage_operation(self) -> &'static str {
        match self {
            Self::Linux => "RunInstances",
            Self::RedHat => "RunInstances:0010",
            Self::Suse => "RunInstances:000g",
            Self::Windows => "RunInstances:0002",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootMode {
    LegacyBios,
    Uefi,
    UefiPreferred,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageDevice {
    pub device: String,
    pub size: GiB,
    pub snapshot: Option<SnapshotId>,
    pub delete_on_termination: bool,
    pub volume_type: String,
}

impl Record for Image {
    const NOUN: &'static str = "image";
    type Id = ImageId;

    fn id(&self) -> ImageId {
        self.image
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("owner", self.owner.into())];
        if self.public {
            indexes.push(("public", "true".into()));
        }
        indexes
    }
}
