//! Volumes.

use super::{IndexValue, Record, Tags};
use crate::{AccountId, GiB, InstanceId, SnapshotId, Timestamp, VolumeId, Zone};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Volume {
    pub volume: VolumeId,
    pub account: AccountId,
    pub zone: Zone,
    pub size: GiB,
    pub volume_type: String,
    pub iops: Option<u32>,
    pub throughput: Option<u32>,
    pub snapshot: Option<SnapshotId>,
    /// The image in the hosts' cache that its content starts from.
    pub host_image: Option<String>,
    pub attachment: Option<VolumeAttachment>,
    pub created_at: Timestamp,
    /// Its removal was acknowledged; the record goes once the host has nothing of it left.
    pub deleting: bool,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeAttachment {
    pub instance: InstanceId,
    /// The device name that the API shows.
    pub device: String,
    pub at: Timestamp,
    pub delete_on_termination: bool,
}

impl Record for Volume {
    const NOUN: &'static str = "volume";
    type Id = VolumeId;

    fn id(&self) -> VolumeId {
        self.volume
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into())];
        if let Some(attachment) = &self.attachment {
            indexes.push(("instance", attachment.instance.into()));
        }
        indexes
    }
}
