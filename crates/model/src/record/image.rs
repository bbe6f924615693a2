//! Machine images.

use super::{IndexValue, Record, Tags};
use crate::host::{Architecture, Firmware};
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
    /// What it boots by; none: what its architecture boots by.
    #[serde(default)]
    pub boot_mode: Option<Firmware>,
    pub public: bool,
    /// Least memory that it boots in, in MiB.
    pub min_memory_mib: u32,
    /// The user that the image's ssh expects.
    pub default_user: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageDevice {
    pub device: String,
    pub size: GiB,
    pub snapshot: Option<SnapshotId>,
    pub delete_on_termination: bool,
    pub volume_type: String,
}

impl Image {
    pub fn firmware(&self) -> Firmware {
        self.boot_mode.unwrap_or(self.architecture.default_firmware())
    }
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
