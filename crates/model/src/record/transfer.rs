//! Disks on their way from files in buckets to snapshots and images, and from images to such files.
//!
//! ```text
//! Pending ─► Validating ─► Converting ─┬─► Completed
//!    └───────────┴────────────┴────────┼─► Failed
//!                                      └─► Cancelled
//! ```
//! An import's snapshots are begun when its disk is known, and are the task's own until the end: if it fails or is cancelled
//! they go. AWS: <https://docs.aws.amazon.com/vm-import/latest/userguide/what-is-vmimport.html>

use super::image::BootMode;
use super::kms::Encryption;
use super::{IndexValue, Record, Tags};
use crate::host::Architecture;
use crate::{
    AccountId, ExportImageTaskId, GiB, ImageId, ImportImageTaskId, ImportSnapshotTaskId, SnapshotId,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// How a disk lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskFormat {
    Raw,
    Vmdk,
    Vhd,
    Vhdx,
    Qcow2,
    /// An archive of a machine with its disks.
    Ova,
}

impl DiskFormat {
    /// As AWS writes it; `QCOW2` is ours.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "RAW",
            Self::Vmdk => "VMDK",
            Self::Vhd => "VHD",
            Self::Vhdx => "VHDX",
            Self::Qcow2 => "QCOW2",
            Self::Ova => "OVA",
        }
    }

    /// Those of single disks.
    pub const DISKS: [Self; 5] = [Self::Raw, Self::Vmdk, Self::Vhd, Self::Vhdx, Self::Qcow2];
    pub const ALL: [Self; 6] = [Self::Raw, Self::Vmdk, Self::Vhd, Self::Vhdx, Self::Qcow2, Self::Ova];

    /// However the letters are written, as AWS takes it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str().eq_ignore_ascii_case(text))
    }
}

/// A file in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    pub bucket: String,
    pub key: String,
}

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Pending,
    Validating,
    Converting {
        percent: u8,
    },
    Completed {
        at: Timestamp,
    },
    Failed {
        at: Timestamp,
        /// As AWS words it: `ClientError: …` is the caller's to mend.
        reason: String,
    },
    Cancelled {
        at: Timestamp,
        reason: Option<String>,
    },
}

impl Stage {
    pub const fn is_active(&self) -> bool {
        self.ended_at().is_none()
    }

    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::Pending | Self::Validating | Self::Converting { .. } => None,
            Self::Completed { at } | Self::Failed { at, .. } | Self::Cancelled { at, .. } => Some(*at),
        }
    }

    /// The status that the API shows.
    pub const fn status(&self) -> &'static str {
        match self {
            Self::Pending | Self::Validating | Self::Converting { .. } => "active",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } | Self::Cancelled { .. } => "deleted",
        }
    }

    pub fn message(&self) -> Option<String> {
        match self {
            Self::Pending => Some("pending".to_owned()),
            Self::Validating => Some("validating".to_owned()),
            Self::Converting { .. } => Some("converting".to_owned()),
            Self::Completed { .. } => None,
            Self::Failed { reason, .. } => Some(reason.clone()),
            Self::Cancelled { reason, .. } => {
                Some(reason.clone().unwrap_or_else(|| "Cancelled by the user".to_owned()))
            }
        }
    }

    /// In percent; none: it goes on no more.
    pub const fn percent(&self) -> Option<u8> {
        match self {
            Self::Pending => Some(0),
            Self::Validating => Some(3),
            Self::Converting { percent } => Some(*percent),
            Self::Completed { .. } | Self::Failed { .. } | Self::Cancelled { .. } => None,
        }
    }
}

/// One disk of an import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// None: the snapshot is there already.
    pub object: Option<Object>,
    /// As the request wrote where it is, if that was an address.
    pub url: Option<String>,
    pub description: Option<String>,
    /// Where it shall be in machines of the image.
    pub device: Option<String>,
    /// What the request says that it is.
    pub stated: Option<DiskFormat>,
    /// What it is.
    pub format: Option<DiskFormat>,
    /// Of the file.
    pub bytes: Option<u64>,
    /// Of an object that is an archive: the file in it.
    #[serde(default)]
    pub member: Option<String>,
    /// What its snapshot is to be encrypted with.
    pub encryption: Option<Encryption>,
    pub snapshot: Option<SnapshotId>,
    /// Of the snapshot.
    pub size: Option<GiB>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportSnapshotTask {
    pub task: ImportSnapshotTaskId,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub description: Option<String>,
    pub disk: Disk,
    pub stage: Stage,
    pub snapshot_tags: Tags,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportImageTask {
    pub task: ImportImageTaskId,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub description: Option<String>,
    /// The first is the root.
    pub disks: Vec<Disk>,
    /// What the request says.
    pub architecture: Option<Architecture>,
    pub boot_mode: Option<BootMode>,
    pub license: Option<String>,
    /// What the root disk boots by, once that was seen.
    pub boots: Option<(Architecture, BootMode)>,
    pub stage: Stage,
    pub image: Option<ImageId>,
    pub image_tags: Tags,
    pub snapshot_tags: Tags,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportImageTask {
    pub task: ExportImageTaskId,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub description: Option<String>,
    pub image: ImageId,
    /// Of its root.
    pub snapshot: SnapshotId,
    pub size: GiB,
    pub format: DiskFormat,
    pub bucket: String,
    pub prefix: Option<String>,
    pub stage: Stage,
    pub tags: Tags,
}

impl ExportImageTask {
    /// The file that it makes.
    pub fn object(&self) -> Object {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let ending = self.format.as_str().to_ascii_lowercase();
        Object { bucket: self.bucket.clone(), key: format!("{prefix}{}.{ending}", self.task) }
    }
}

/// Of tasks that have not ended: the account.
pub const ACTIVE: &str = "active";

fn indexes(account: AccountId, stage: &Stage) -> Vec<(&'static str, IndexValue)> {
    let active = stage.is_active().then(|| (ACTIVE, account.into()));
    std::iter::once(("account", account.into())).chain(active).collect()
}

macro_rules! records {
    ($($name:ident, $id:ident = $noun:literal;)*) => {$(
        owned!($name);

        impl Record for $name {
            const NOUN: &'static str = $noun;
            type Id = $id;

            fn id(&self) -> $id {
                self.task
            }

            fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
                indexes(self.account, &self.stage)
            }
        }
    )*};
}

records! {
    ImportSnapshotTask, ImportSnapshotTaskId = "import-snapshot-task";
    ImportImageTask, ImportImageTaskId = "import-image-task";
    ExportImageTask, ExportImageTaskId = "export-image-task";
}
