//! Machine images.

use super::recycle_bin::Binned;
use super::{IndexValue, Record, Tags};
use crate::host::{Architecture, Firmware};
use crate::{AccountId, GiB, ImageId, InstanceId, Region, SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

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
    /// The image in the hosts' cache that root volumes start from; none: they start from the root device's snapshot.
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
    #[serde(default)]
    pub registration: Registration,
    pub tags: Tags,
}

/// What accounts have made of an image and decided about it. Those that come with the cloud have the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    pub state: State,
    /// The image in the hosts' cache whose kernel boots machines of this one, where [`Image::direct_kernel`] says so and it
    /// is not [`Image::host_image`].
    pub kernel: Option<String>,
    pub source_instance: Option<InstanceId>,
    pub source_image: Option<(ImageId, Region)>,
    /// Who may launch it, beside its owner and, if it is public, everybody.
    pub shared: BTreeSet<AccountId>,
    pub protection: Protection,
    /// It was deregistered, and is in the recycle bin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binned: Option<Binned>,
}

/// Whether it can be launched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It comes with the cloud, and can be if the hosts' cache has it.
    #[default]
    Stock,
    /// Its snapshots are being made.
    Pending,
    Available,
    /// One of its snapshots failed.
    Failed {
        reason: String,
    },
    Disabled,
}

/// Against being deregistered.
/// AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-deregistration-protection.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protection {
    #[default]
    Off,
    On {
        /// It lasts for a day after it was turned off.
        cooldown: bool,
    },
    /// Turned off, and in force until then.
    Until(Timestamp),
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Volumes of it are encrypted; none: if their snapshot is, or if the account wishes so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<EncryptionChoice>,
}

/// That a volume is to be encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptionChoice {
    /// The key as somebody named it; none: its snapshot's, or the account's default.
    pub key: Option<String>,
}

impl ImageDevice {
    /// Shown as encrypted where its snapshot is.
    pub fn encrypted_like(mut self, snapshot: Option<&super::snapshot::Snapshot>) -> Self {
        if snapshot.is_some_and(|snapshot| snapshot.encryption.is_some()) {
            self.encryption.get_or_insert_default();
        }
        self
    }
}

impl Image {
    /// What claims a name for an image of this owner's, in its region.
    pub fn name_claim(owner: AccountId, name: &str) -> String {
        format!("image-name/{owner}/{name}")
    }

    /// Whether `account` may launch it, as far as permissions go; who may not does not see it.
    pub fn is_visible_to(&self, account: AccountId) -> bool {
        self.registration.binned.is_none()
            && (self.owner == account || self.public || self.registration.shared.contains(&account))
    }

    /// The image in the hosts' cache whose kernel boots its machines; none: their firmware boots the root volume.
    pub fn kernel(&self) -> Option<&str> {
        let own = self.registration.kernel.as_ref().or(self.host_image.as_ref());
        own.filter(|_| self.direct_kernel).map(String::as_str)
    }

    /// Whether there is anything that root volumes could start from.
    pub fn has_content(&self) -> bool {
        self.host_image.is_some()
            || (self.registration.state != State::Stock
                && self.devices.first().is_some_and(|root| root.snapshot.is_some()))
    }

    /// The state that the API shows.
    pub const fn state_name(&self) -> &'static str {
        match self.registration.state {
            State::Stock | State::Available => "available",
            State::Pending => "pending",
            State::Failed { .. } => "failed",
            State::Disabled => "disabled",
        }
    }

    /// The snapshots that its volumes start from.
    pub fn snapshots(&self) -> impl Iterator<Item = SnapshotId> + '_ {
        self.devices.iter().filter_map(|device| device.snapshot)
    }

    /// What its machines start with. Where it boots by both, an x86-64 machine starts by BIOS, which is quicker.
    pub fn firmware(&self) -> Firmware {
        match self.traits.boot_mode {
            Some(BootMode::LegacyBios) => Firmware::LegacyBios,
            Some(BootMode::Uefi) => Firmware::Uefi,
            Some(BootMode::UefiPreferred) | None => self.architecture.default_firmware(),
        }
    }
}

owned!(Image, owner);

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
        let Registration { state, shared, .. } = &self.registration;
        indexes.extend(shared.iter().map(|account| ("shared", (*account).into())));
        // The snapshots of what comes with the cloud are names only.
        if *state != State::Stock {
            indexes.extend(self.snapshots().map(|snapshot| ("snapshot", snapshot.into())));
        }
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let written = r#"{"image":"ami-00000000000000001","owner":"000000000000","owner_alias":"amazon","name":"nano",
            "description":null,"architecture":"x86_64","root_device":"/dev/xvda","devices":[{"device":"/dev/xvda","size":1,
            "snapshot":null,"delete_on_termination":true,"volume_type":"gp3"}],"host_image":"nano","digest":null,
            "direct_kernel":true,"public":true,"min_memory_mib":64,"default_user":null,"created_at":5,"tags":{}}"#;
        let read: Image = serde_json::from_str(written).unwrap();
        assert_eq!(read.registration, Registration::default());
        assert_eq!((read.kernel(), read.has_content(), read.state_name()), (Some("nano"), true, "available"));
    }
}
