//! What a host should hold of volumes and snapshots, and how volumes are plugged into machines.

use super::blocks;
use crate::{AccountId, DataKey, ForkId, GiB, InstanceId, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeDesired {
    pub volume: VolumeId,
    pub size: GiB,
    /// The image in the host's cache that the volume starts from, when it does not start from a snapshot; none: empty.
    pub image: Option<String>,
    /// The completed snapshot that the volume starts from, in the host's block store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// The volume that it starts as, at the instant of a fork; then it starts from nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<ForkedVolume>,
    /// What it may do in a second; none: what the host can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<VolumeLimits>,
    /// What its own data are encrypted with; what it shares with its image is not its own. None: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key: Option<DataKey>,
    /// Several machines may have it at once; each of them is held to `limits`. No snapshot is taken of it.
    #[serde(default)]
    pub shared: bool,
}

/// A volume as it was at the instant of a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedVolume {
    pub fork: ForkId,
    pub volume: VolumeId,
}

/// What a volume may do in a second, reads and writes together.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-io-characteristics.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeLimits {
    /// Operations.
    pub iops: Rate,
    /// Bytes.
    pub bytes: Rate,
    /// A larger operation counts as several of this size, in bytes.
    pub operation: u32,
}

/// A rate that always holds, and a higher one for as long as saved credit lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Per second.
    pub base: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Per second.
    pub rate: u64,
    /// How long a full credit lasts at the burst's rate, in seconds.
    pub seconds: u32,
}

/// A snapshot in the host's block store. It is made once; a later generation changes nothing about its content.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-creating-snapshot.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotDesired {
    pub snapshot: SnapshotId,
    /// Whose data it is: equal blocks are shared within an account only.
    pub account: AccountId,
    pub size: GiB,
    pub source: SnapshotSource,
    /// Where its data lie once it is completed.
    #[serde(default)]
    pub tier: Tier,
    /// How often its owners have changed their minds about fast restore: a host says anew where the data lie when this grows.
    #[serde(default)]
    pub asked: u64,
    /// What its blocks are encrypted with: its volume's key, or for a copy one of its own. None: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_key: Option<DataKey>,
}

/// Where the data of a completed snapshot lie.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// Among those of other snapshots: it can be used.
    #[default]
    Standard,
    /// Apart, whole: nothing can be made of it.
    Archive,
    /// In both places.
    Both,
    /// Among those of other snapshots, and whole besides, so that a new volume lacks nothing (fast restore).
    Fast,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotSource {
    /// What a volume of this host holds at one instant, soon after the host hears of it.
    Volume {
        volume: VolumeId,
        /// The latest snapshot of the volume that is completed: only what has changed since is read and stored.
        parent: Option<SnapshotId>,
        /// The other snapshots of the same instant, each with its volume. All of them are taken together.
        together: Vec<(SnapshotId, VolumeId)>,
        /// The instant is while the guest is down for this reboot; none: at once.
        during: Option<Downtime>,
    },
    /// Another snapshot of this host's store, of whatever account and region.
    Copy(SnapshotId),
    /// What is put into it, block by block ([`blocks`]), until it is sealed. Blocks that are not put are as its parent has them.
    Direct { parent: Option<SnapshotId>, seal: Option<blocks::Seal> },
}

/// The time between a guest's shutdown for a reboot and the reset that follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downtime {
    pub instance: InstanceId,
    /// In the run and by the count of reboots that the instance's own wish names. Once they are past, the instant is at once.
    pub run: u64,
    pub reboot: u64,
}

/// A volume of this host, plugged into an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachmentDesired {
    pub volume: VolumeId,
    /// The device name that the API shows, such as `/dev/xvda`; empty: it has none.
    pub device: String,
    #[serde(default, skip_serializing_if = "Medium::is_volume")]
    pub medium: Medium,
}

/// What a machine's disk is to its guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Medium {
    #[default]
    Volume,
    /// A disk of the instance store, `ephemeral` and this number: it belongs to one run of the machine.
    InstanceStore(u8),
}

impl Medium {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub const fn is_volume(&self) -> bool {
        matches!(self, Self::Volume)
    }
}
