//! Taking: the records of snapshots of some volumes at one instant, whoever asks for them.

use super::errors;
use crate::errors::client;
use control::tag::Tags;
use control::{Context, Result, Txn};
use model::host::Downtime;
use model::record::instance::Instance;
use model::record::snapshot::{Life, Snapshot, Source};
use model::record::volume::{self, Volume};
use model::{SnapshotId, VolumeId};
use plan::instance::devices::same_device;
use std::sync::Arc;

/// One volume of which a snapshot is taken.
pub struct Taken {
    pub volume: Arc<Volume>,
    pub description: String,
    pub tags: Tags,
}

/// Writes the snapshots, in the order of their volumes. All are of one instant: now, or during a reboot.
pub fn take(
    ctx: &Context,
    txn: &mut Txn<'_>,
    wanted: Vec<Taken>,
    during: Option<Downtime>,
) -> Result<Vec<Arc<Snapshot>>> {
    for Taken { volume, .. } in &wanted {
        may_be_taken(ctx, txn, volume)?;
    }
    let all: Vec<(SnapshotId, VolumeId)> =
        wanted.iter().map(|taken| (SnapshotId::from_entropy(ctx.bits()), taken.volume.volume)).collect();
    let made = all.iter().zip(wanted).map(|((id, volume), taken)| {
        let earlier = txn.tables().find::<Snapshot>(&ctx.region, "volume", *volume);
        let parent = plan::snapshot::parent(earlier.map(|snapshot| &**snapshot));
        let kernel = taken.volume.kernel.clone().or_else(|| kernel_of_root(ctx, txn, &taken.volume));
        let source = Source::Volume {
            volume: *volume,
            parent,
            together: all.iter().filter(|(other, _)| other != id).copied().collect(),
            during,
        };
        let snapshot = Snapshot {
            description: taken.description,
            life: Life::Pending { taken: false, percent: 0 },
            kernel,
            encryption: taken.volume.encryption.clone(),
            tags: taken.tags,
            ..Snapshot::begun(*id, ctx.account(), source, taken.volume.provision.size, ctx.now)
        };
        txn.put(&ctx.region, snapshot)
    });
    Ok(made.collect())
}

fn may_be_taken(ctx: &Context, txn: &Txn<'_>, volume: &Volume) -> Result<()> {
    match volume.life {
        volume::Life::Ready => {}
        volume::Life::Creating | volume::Life::Failed { .. } | volume::Life::Deleting => {
            return Err(client(
                "IncorrectState",
                format!(
                    "The volume '{}' is '{}', not 'available' or 'in-use'.",
                    volume.volume,
                    volume.state_name()
                ),
            ));
        }
    }
    let of_volume = txn.tables().find::<Snapshot>(&ctx.region, "volume", volume.volume);
    let pending = of_volume.filter(|snapshot| matches!(snapshot.life, Life::Pending { .. })).count();
    let most = plan::snapshot::most_pending(volume.provision.volume_type);
    if pending >= most {
        return Err(errors::too_many_pending(volume.volume, most));
    }
    Ok(())
}

/// Volumes of earlier versions do not say by which kernel they boot; the instance whose root they are does.
fn kernel_of_root(ctx: &Context, txn: &Txn<'_>, volume: &Volume) -> Option<String> {
    let attachment = volume.attachment.as_ref()?;
    let instance = txn.tables().get::<Instance>(&ctx.region, &attachment.instance)?;
    same_device(&attachment.device, &instance.root_device)
        .then(|| crate::instance::desired::kernel(txn.tables(), instance))?
}
