//! A snapshot as the API shows it.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Snapshot.html>

use crate::noun::{render_tags, wire_time};
use api_ec2::{SnapshotInfo, SnapshotState, StorageTier, TransferType};
use model::record::kms::Encryption;
use model::record::snapshot::{Life, Snapshot, Source};

/// What copies show for a volume.
const NO_VOLUME: &str = "vol-ffffffff";

pub fn volume(snapshot: &Snapshot) -> String {
    snapshot.volume().map_or_else(|| NO_VOLUME.to_owned(), |volume| volume.to_string())
}

pub fn progress(snapshot: &Snapshot) -> String {
    format!("{}%", snapshot.progress())
}

pub fn tier(snapshot: &Snapshot) -> StorageTier {
    if plan::snapshot::tier::is_archived(snapshot) { StorageTier::Archive } else { StorageTier::Standard }
}

/// Copies alone were transferred.
pub fn transfer(snapshot: &Snapshot) -> Option<TransferType> {
    matches!(snapshot.source, Source::Copy { .. }).then_some(TransferType::Standard)
}

pub fn snapshot(snapshot: &Snapshot) -> api_ec2::Snapshot {
    let (completed_at, full) = match snapshot.life {
        Life::Completed { at, full } => (Some(wire_time(at)), i64::try_from(full).ok()),
        Life::Pending { .. } | Life::Failed { .. } | Life::Deleting => (None, None),
    };
    api_ec2::Snapshot {
        tags: render_tags(&snapshot.tags),
        storage_tier: Some(tier(snapshot)),
        restore_expiry_time: super::tier::expiry(snapshot),
        transfer_type: transfer(snapshot),
        completion_time: completed_at,
        full_snapshot_size_in_bytes: full,
        snapshot_id: Some(snapshot.snapshot.to_string()),
        volume_id: Some(volume(snapshot)),
        state: Some(SnapshotState::from(snapshot.state_name())),
        state_message: match &snapshot.life {
            Life::Failed { reason } => Some(reason.clone()),
            Life::Pending { .. } | Life::Completed { .. } | Life::Deleting => None,
        },
        start_time: Some(wire_time(snapshot.started_at)),
        progress: Some(progress(snapshot)),
        owner_id: Some(snapshot.account.to_string()),
        description: Some(snapshot.description.clone()),
        volume_size: i32::try_from(snapshot.size.0).ok(),
        encrypted: Some(snapshot.encryption.is_some()),
        kms_key_id: snapshot.encryption.as_ref().map(Encryption::key_arn),
        ..api_ec2::Snapshot::default()
    }
}

/// As `CreateSnapshots` shows it.
pub fn info(snapshot: &Snapshot) -> SnapshotInfo {
    SnapshotInfo {
        description: Some(snapshot.description.clone()),
        tags: render_tags(&snapshot.tags),
        encrypted: Some(snapshot.encryption.is_some()),
        volume_id: Some(volume(snapshot)),
        state: Some(SnapshotState::from(snapshot.state_name())),
        volume_size: i32::try_from(snapshot.size.0).ok(),
        start_time: Some(wire_time(snapshot.started_at)),
        progress: Some(progress(snapshot)),
        owner_id: Some(snapshot.account.to_string()),
        snapshot_id: Some(snapshot.snapshot.to_string()),
        ..SnapshotInfo::default()
    }
}
