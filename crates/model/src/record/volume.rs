//! Volumes.

use super::kms::Encryption;
use super::{IndexValue, Record, Tags};
use crate::host::ForkedVolume;
use crate::{AccountId, GiB, InstanceId, SnapshotId, Timestamp, VolumeId, Zone};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    pub volume: VolumeId,
    pub account: AccountId,
    pub zone: Zone,
    /// What it is now: what a modification under way asks for is in [`Self::modification`].
    #[serde(flatten)]
    pub provision: Provision,
    /// What its content starts from, unless [`Self::host_image`] says otherwise.
    pub snapshot: Option<SnapshotId>,
    /// It was made while fast restore of that was enabled in its zone, for its account.
    #[serde(default)]
    pub fast_restored: bool,
    /// The image in the hosts' cache that its content starts from.
    pub host_image: Option<String>,
    /// The image in the hosts' cache whose kernel boots what it holds, if that is known to be a system without a boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What its content starts from when its instance was forked, whatever else is said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkedVolume>,
    /// What its own data are encrypted with; none: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How far an attachment has come is told by the instance's
    /// [`BlockDevice`](super::instance::BlockDevice), which is written with it.
    pub attachment: Option<VolumeAttachment>,
    /// Of a Multi-Attach volume: those beside the first. There are none without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<VolumeAttachment>,
    pub created_at: Timestamp,
    /// Earlier versions wrote whether it was being deleted.
    #[serde(default, alias = "deleting", deserialize_with = "Life::read")]
    pub life: Life,
    /// I/O is enabled again by itself after a doubt about the data.
    #[serde(default)]
    pub auto_enable_io: bool,
    /// The latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modification: Option<Modification>,
    /// When modifications started, of the last day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modified_at: Vec<Timestamp>,
    pub tags: Tags,
}

/// What a volume is sold as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provision {
    pub volume_type: VolumeType,
    pub size: GiB,
    /// As the API shows them; some types show none.
    pub iops: Option<u32>,
    /// In MiB a second.
    pub throughput: Option<u32>,
    #[serde(default)]
    pub multi_attach: bool,
}

/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volume-types.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeType {
    Standard,
    Gp2,
    Gp3,
    Io1,
    Io2,
    St1,
    Sc1,
}

impl VolumeType {
    pub const ALL: [Self; 7] =
        [Self::Standard, Self::Gp2, Self::Gp3, Self::Io1, Self::Io2, Self::St1, Self::Sc1];

    /// As EC2 spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Gp2 => "gp2",
            Self::Gp3 => "gp3",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
            Self::St1 => "st1",
            Self::Sc1 => "sc1",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

impl fmt::Display for VolumeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// From its creation to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    /// Its host has not said yet that it is there.
    Creating,
    #[default]
    Ready,
    /// Its host has tried in vain for long.
    Failed { reason: String },
    /// Its removal was acknowledged; the record goes once the host has nothing of it left.
    Deleting,
}

impl Life {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Deleting(bool),
            Life(Life),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Deleting(true) => Self::Deleting,
            Written::Deleting(false) => Self::Ready,
            Written::Life(life) => life,
        })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeAttachment {
    pub instance: InstanceId,
    /// The device name that the API shows.
    pub device: String,
    pub at: Timestamp,
    pub delete_on_termination: bool,
}

/// A change of size, type or performance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modification {
    pub started_at: Timestamp,
    pub original: Provision,
    pub target: Provision,
    /// Since when the host holds to the target; none: not yet.
    pub in_force_since: Option<Timestamp>,
}

impl Volume {
    /// What its host should make of it: the target of a modification, from its first moment.
    pub fn wanted(&self) -> Provision {
        match &self.modification {
            Some(Modification { target, in_force_since: None, .. }) => *target,
            Some(_) | None => self.provision,
        }
    }

    /// In the order in which they were made.
    pub fn attachments(&self) -> impl Iterator<Item = &VolumeAttachment> {
        self.attachment.iter().chain(&self.further)
    }

    pub fn attached_to(&self, instance: InstanceId) -> Option<&VolumeAttachment> {
        self.attachments().find(|attachment| attachment.instance == instance)
    }

    /// The volume with one attachment more.
    pub fn with(&self, attachment: VolumeAttachment) -> Self {
        let mut volume = self.clone();
        match &mut volume.attachment {
            Some(_) => volume.further.push(attachment),
            none => *none = Some(attachment),
        }
        volume
    }

    /// The volume without its attachment to an instance.
    pub fn without(&self, instance: InstanceId) -> Self {
        let mut all = self.attachments().filter(|attachment| attachment.instance != instance).cloned();
        let (attachment, further) = (all.next(), all.collect());
        Self { attachment, further, ..self.clone() }
    }

    /// The state that the API shows.
    pub const fn state_name(&self) -> &'static str {
        match (&self.life, &self.attachment) {
            (Life::Creating, _) => "creating",
            (Life::Failed { .. }, _) => "error",
            (Life::Deleting, _) => "deleting",
            (Life::Ready, Some(_)) => "in-use",
            (Life::Ready, None) => "available",
        }
    }

    pub const fn size(&self) -> GiB {
        self.provision.size
    }

    /// The snapshot that its content starts from.
    pub fn content(&self) -> Option<SnapshotId> {
        self.snapshot.filter(|_| self.host_image.is_none() && self.fork.is_none())
    }
}

owned!(Volume);

impl Record for Volume {
    const NOUN: &'static str = "volume";
    type Id = VolumeId;

    fn id(&self) -> VolumeId {
        self.volume
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into())];
        indexes.extend(self.attachments().map(|attachment| ("instance", attachment.instance.into())));
        indexes.extend(self.content().map(|snapshot| ("snapshot", snapshot.into())));
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let written = |deleting| {
            format!(
                r#"{{"volume":"vol-00000000000000001","account":"000000000001","zone":"us-east-1a","size":8,
                "volume_type":"gp3","iops":3000,"throughput":125,"snapshot":null,"host_image":"nano",
                "attachment":null,"created_at":5,"deleting":{deleting},"tags":{{}}}}"#
            )
        };
        let read: Volume = serde_json::from_str(&written("false")).unwrap();
        assert_eq!((&read.life, read.size()), (&Life::Ready, GiB(8)));
        assert_eq!(read.provision.volume_type, VolumeType::Gp3);
        let read: Volume = serde_json::from_str(&written("true")).unwrap();
        assert_eq!(read.life, Life::Deleting);
        let again: Volume = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!(again.life, Life::Deleting);
        assert_eq!(again.provision, read.provision);
    }
}
