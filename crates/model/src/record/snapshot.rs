//! Snapshots.
//!
//! ```text
//!            the host has all of it
//! Pending ──────────────────────────► Completed ──┐ DeleteSnapshot
//!    │ it never will                              ├───────────────► Deleting ──► (no record)
//!    └──────────────────────────────► Failed ─────┘
//! ```
//! One that is being deleted is shown to nobody; its record waits for the host, and for whatever still starts from it.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html>

use super::kms::Encryption;
use super::recycle_bin::Binned;
use super::{IndexValue, Record, Tags};
use crate::host::Downtime;
use crate::host::blocks::Seal;
use crate::{AccountId, GiB, Region, SnapshotId, Timestamp, VolumeId, Zone};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub snapshot: SnapshotId,
    pub account: AccountId,
    pub source: Source,
    pub size: GiB,
    pub description: String,
    pub started_at: Timestamp,
    pub life: Life,
    /// The image in the hosts' cache whose kernel boots what it holds, if that is known to be a system without a boot loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What its data are encrypted with: as its volume's were, unless it is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    #[serde(default)]
    pub shared: Shared,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// It was deleted, and is in the recycle bin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binned: Option<Binned>,
    /// Its latest move between the tiers; none: it has always been in the standard tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiering: Option<Tiering>,
    /// One for each account and zone that asked for it, until an hour after it is disabled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fast_restores: Vec<FastRestore>,
    /// How often that was asked for, or that it end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fast_asked: u64,
    pub tags: Tags,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Fast restore of it for the volumes of one account in one zone.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-fast-snapshot-restore.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FastRestore {
    pub account: AccountId,
    pub zone: Zone,
    pub stage: FastStage,
    /// When it came to each of its stages; those of an earlier time are not kept.
    pub enabling_at: Timestamp,
    pub optimizing_at: Option<Timestamp>,
    pub enabled_at: Option<Timestamp>,
    pub disabling_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    /// Why its host cannot do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// ```text
/// Enabling ──► Optimizing ──► Enabled        its host: heard of it, fetches the data, has them whole
///     └─────────────┴────────────┴──► Disabling ──► Disabled
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FastStage {
    Enabling,
    Optimizing,
    Enabled,
    Disabling,
    Disabled,
}

/// A move of its data to the archive tier, or from there.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiering {
    pub way: Way,
    pub started_at: Timestamp,
    pub stage: Stage,
    /// Since when it is archived; none: it is not.
    pub archived_at: Option<Timestamp>,
    /// Until when it can be used although it is archived; none: it cannot.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    ToArchive,
    /// For so many days.
    Temporarily(u32),
    ForGood,
}

/// How far a move has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Moving { percent: u8 },
    Done,
    Failed { reason: String },
}

/// What it is a snapshot of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    Volume {
        volume: VolumeId,
        /// The latest snapshot of the volume that was completed then.
        parent: Option<SnapshotId>,
        /// The others of the same instant.
        together: Vec<(SnapshotId, VolumeId)>,
        during: Option<Downtime>,
    },
    Copy {
        snapshot: SnapshotId,
        region: Region,
    },
    /// What was put into it block by block.
    Direct(Direct),
}

/// A snapshot that is written by its owner.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-create-snapshot.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direct {
    pub parent: Option<SnapshotId>,
    /// In minutes: how long it waits for the next block, or its completion.
    pub timeout: u32,
    /// Around when it was last written to.
    pub touched_at: Timestamp,
    pub seal: Option<Seal>,
    /// It is the cloud that writes it, for an import; its owner has no part in that.
    #[serde(default)]
    pub imported: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Life {
    Pending {
        /// Its instant is fixed: the volume may go.
        taken: bool,
        percent: u8,
    },
    Completed {
        at: Timestamp,
        /// What a volume made of it holds, in bytes.
        full: u64,
    },
    Failed {
        reason: String,
    },
    /// Nobody sees it any more.
    Deleting,
}

/// Who may make volumes of it, beside its owner.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shared {
    pub everybody: bool,
    pub accounts: BTreeSet<AccountId>,
    /// Its owner's account shares nothing with everybody for now, whatever the snapshot says.
    pub withheld: bool,
}

impl Shared {
    pub fn with(&self, account: AccountId) -> bool {
        self.is_public() || self.accounts.contains(&account)
    }

    pub const fn is_public(&self) -> bool {
        self.everybody && !self.withheld
    }
}

/// What keeps it from being deleted, for a time.
/// AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshot-lock.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub mode: LockMode,
    pub created_at: Timestamp,
    pub until: Until,
    /// Hours from its creation in which a lock in compliance mode may still be undone.
    pub cool_off: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockMode {
    Governance,
    Compliance,
}

/// How long a lock lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// From the completion of the snapshot, or from the lock's creation if that is later.
    Days(u32),
    Date(Timestamp),
}

impl Snapshot {
    /// One that is just asked for: of an instant that is past, and nothing else is said of it yet.
    pub fn begun(
        snapshot: SnapshotId,
        account: AccountId,
        source: Source,
        size: GiB,
        started_at: Timestamp,
    ) -> Self {
        Self {
            snapshot,
            account,
            source,
            size,
            description: String::new(),
            started_at,
            life: Life::Pending { taken: true, percent: 0 },
            kernel: None,
            encryption: None,
            shared: Shared::default(),
            lock: None,
            binned: None,
            tiering: None,
            fast_restores: Vec::new(),
            fast_asked: 0,
            tags: Tags::new(),
        }
    }

    /// The state that the API shows.
    pub const fn state_name(&self) -> &'static str {
        match self.life {
            Life::Pending { .. } => "pending",
            Life::Completed { .. } => "completed",
            Life::Failed { .. } => "error",
            Life::Deleting => "deleting",
        }
    }

    pub const fn is_deleting(&self) -> bool {
        matches!(self.life, Life::Deleting)
    }

    pub const fn is_completed(&self) -> bool {
        matches!(self.life, Life::Completed { .. })
    }

    /// Whether something can be made of its data, if it is completed: they are in the standard tier, or restored for some days.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        let Some(tiering) = &self.tiering else { return true };
        match (tiering.way, &tiering.stage) {
            (Way::ToArchive, Stage::Failed { .. }) | (Way::ForGood, Stage::Done) => true,
            (Way::ToArchive, Stage::Moving { .. } | Stage::Done) => false,
            (Way::Temporarily(_), _) | (Way::ForGood, Stage::Moving { .. } | Stage::Failed { .. }) => {
                tiering.until.is_some_and(|until| now < until)
            }
        }
    }

    /// Whether its data are in the archive, or on their way there; some days' restore does not count.
    pub fn is_archived(&self) -> bool {
        let to_archive = |tiering: &Tiering| {
            tiering.way == Way::ToArchive && matches!(tiering.stage, Stage::Moving { .. })
        };
        self.tiering.as_ref().is_some_and(|tiering| tiering.archived_at.is_some() || to_archive(tiering))
    }

    /// In percent.
    pub const fn progress(&self) -> u8 {
        match self.life {
            Life::Pending { percent, .. } => percent,
            Life::Completed { .. } => 100,
            Life::Failed { .. } | Life::Deleting => 0,
        }
    }

    /// The volume of which it is; copies have none.
    pub const fn volume(&self) -> Option<VolumeId> {
        match self.source {
            Source::Volume { volume, .. } => Some(volume),
            Source::Copy { .. } | Source::Direct(_) => None,
        }
    }

    /// That it is being written by its owner.
    pub const fn is_open(&self) -> Option<&Direct> {
        match (&self.life, &self.source) {
            (Life::Pending { .. }, Source::Direct(direct)) if direct.seal.is_none() && !direct.imported => {
                Some(direct)
            }
            _ => None,
        }
    }

    /// The snapshot that it is told to build upon.
    pub const fn parent(&self) -> Option<SnapshotId> {
        match &self.source {
            Source::Volume { parent, .. } => *parent,
            Source::Direct(direct) => direct.parent,
            Source::Copy { .. } => None,
        }
    }

    /// Its instant is still to come, so it needs its volume.
    pub const fn is_awaited(&self) -> bool {
        matches!(self.life, Life::Pending { taken: false, .. })
    }
}

impl Snapshot {
    /// Of those whose instant is still to come: the instance for whose reboot they wait.
    pub const DURING: &'static str = "during";
    /// Of those that their owner writes, and that are neither completed nor failed: the account.
    pub const DIRECT: &'static str = "direct";
    /// Of those that are restored for some days: always the same.
    pub const RESTORED: &'static str = "restored";
    /// The accounts that asked for its fast restore.
    pub const FAST: &'static str = "fast";
    /// Of those whose fast restore has ended for somebody: always the same.
    pub const FAST_ENDED: &'static str = "fast-ended";
    /// Of those that are neither completed nor failed: the snapshots from which they are made.
    pub const NEEDS: &'static str = "needs";
}

owned!(Snapshot);

impl Record for Snapshot {
    const NOUN: &'static str = "snapshot";
    type Id = SnapshotId;

    fn id(&self) -> SnapshotId {
        self.snapshot
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into())];
        if let Some(volume) = self.volume() {
            indexes.push(("volume", volume.into()));
        }
        if self.shared.everybody {
            indexes.push(("public", "true".into()));
        }
        indexes.extend(self.shared.accounts.iter().map(|account| ("shared", (*account).into())));
        if self.tiering.as_ref().is_some_and(|tiering| tiering.until.is_some()) {
            indexes.push((Self::RESTORED, "true".into()));
        }
        let fast: BTreeSet<AccountId> = self.fast_restores.iter().map(|fast| fast.account).collect();
        indexes.extend(fast.into_iter().map(|account| (Self::FAST, account.into())));
        if self.fast_restores.iter().any(|fast| fast.stage == FastStage::Disabled) {
            indexes.push((Self::FAST_ENDED, "true".into()));
        }
        if matches!(self.life, Life::Pending { .. }) {
            match &self.source {
                Source::Volume { parent, during, .. } => {
                    indexes.extend(parent.map(|parent| (Self::NEEDS, parent.into())));
                    if self.is_awaited() {
                        indexes.extend(during.map(|during| (Self::DURING, during.instance.into())));
                    }
                }
                Source::Copy { snapshot, .. } => indexes.push((Self::NEEDS, (*snapshot).into())),
                Source::Direct(direct) => {
                    indexes.extend(direct.parent.map(|parent| (Self::NEEDS, parent.into())));
                    if !direct.imported {
                        indexes.push((Self::DIRECT, self.account.into()));
                    }
                }
            }
        }
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_as_it_was_written() {
        let written = r#"{"snapshot":"snap-00000000000000001","account":"000000000001",
            "source":{"Volume":{"volume":"vol-00000000000000001","parent":null,"together":[],"during":null}},
            "size":8,"description":"","started_at":5,"life":{"Pending":{"taken":false,"percent":0}},"tags":{}}"#;
        let read: Snapshot = serde_json::from_str(written).unwrap();
        assert_eq!((read.size, read.is_awaited(), read.shared.everybody), (GiB(8), true, false));
        let again: Snapshot = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
        assert_eq!((again.life, again.source), (read.life, read.source));
    }
}
