//! EBS snapshots: taken of one volume or of several at one instant, copied, shared, locked, deleted.
//!
//! Operations write intent; the host captures ([`desired`] is what it is told) and says how far it has come; that comes in by
//! [`absorb`](mod@absorb), which also moves on the images that wait for it. One that is being deleted is seen by nobody; the
//! host keeps it while something that has begun still starts from it ([`is_needed`]).
//! Some of them the host keeps whole besides ([`fast`]).
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-snapshots.html>

pub mod absorb;
mod attribute;
mod bin;
mod copy;
mod create;
mod create_many;
mod delete;
mod describe;
pub(crate) mod errors;
pub mod fast;
mod filters;
mod lock;
pub(crate) mod render;
mod take;
pub mod tier;
mod usable;

pub(crate) use bin::retention;
pub(crate) use copy::{Copying, copy_of, source_region};
pub(crate) use create::description;
pub(crate) use delete::{Deletion, remove};
pub use take::{Taken, take};
pub use usable::{resolve, usable};

use crate::errors::IdErrors;
use crate::noun::{Noun, hold, touched};
use api_ec2::ops;
use control::filter::FilterField;
use control::keys::{self, RootKey};
use control::{Context, Result, Service, Tables, Touched, Txn};
use model::host::{SnapshotDesired, SnapshotSource};
use model::record::instance::{Instance, Phase};
use model::record::snapshot::{Life, Snapshot, Source};
use model::record::volume::{self, Volume};
use model::{InstanceId, Region, SnapshotId, VolumeId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Noun for Snapshot {
    const RESOURCE_TYPE: &'static str = "snapshot";
    const ERRORS: IdErrors = crate::errors::SNAPSHOT;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        filters::FIELDS
    }

    fn visible_to(&self, ctx: &Context) -> bool {
        !self.is_deleting()
            && self.binned.is_none()
            && (self.account == ctx.account() || self.shared.with(ctx.account()))
    }

    fn listed<'a>(ctx: &'a Context, tables: &'a Tables) -> Vec<&'a Arc<Self>> {
        let own = tables.find::<Self>(&ctx.region, "account", ctx.account());
        let shared = tables.find::<Self>(&ctx.region, "shared", ctx.account());
        let public = tables.find::<Self>(&ctx.region, "public", "true");
        let all = own.chain(shared).chain(public).filter(|snapshot| snapshot.visible_to(ctx));
        let once: BTreeMap<_, _> = all.map(|snapshot| (snapshot.snapshot, snapshot)).collect();
        once.into_values().collect()
    }

    /// Snapshots name no account in their ARN.
    fn arn(&self, ctx: &Context) -> control::Arn {
        control::Arn::ownerless("ec2", &ctx.region, Self::RESOURCE_TYPE, self.snapshot)
    }
}

/// A snapshot of the caller's own, held until the commit.
fn own(ctx: &Context, txn: &mut Txn<'_>, id: &str) -> Result<Arc<Snapshot>> {
    let snapshot = hold::<Snapshot>(ctx, txn, id)?;
    if snapshot.account == ctx.account() { Ok(snapshot) } else { Err(errors::not_yours(snapshot.snapshot)) }
}

/// What the host should hold of it.
pub fn desired(root: &RootKey, tables: &Tables, region: &Region, id: SnapshotId) -> Option<SnapshotDesired> {
    let snapshot = tables.get::<Snapshot>(region, &id)?;
    let is_lost = matches!((&snapshot.source, &snapshot.life), (Source::Direct(_), Life::Failed { .. }));
    if is_lost || (snapshot.is_deleting() && !is_needed(tables, region, id)) {
        return None;
    }
    Some(SnapshotDesired {
        snapshot: id,
        account: snapshot.account,
        size: snapshot.size,
        source: match &snapshot.source {
            Source::Volume { volume, parent, together, during } => SnapshotSource::Volume {
                volume: *volume,
                parent: *parent,
                together: together.clone(),
                during: *during,
            },
            Source::Copy { snapshot, .. } => SnapshotSource::Copy(*snapshot),
            Source::Direct(direct) => {
                SnapshotSource::Direct { parent: direct.parent, seal: direct.seal.clone() }
            }
        },
        tier: plan::snapshot::tier::wanted(snapshot),
        asked: snapshot.fast_asked,
        data_key: keys::data_key(root, tables, snapshot.encryption.as_ref()),
    })
}

/// Whether a snapshot or a volume that its host has not made yet starts from it.
fn is_needed(tables: &Tables, region: &Region, id: SnapshotId) -> bool {
    // Copies are made from any region.
    let by_snapshots = tables
        .regions::<Snapshot>()
        .any(|other| tables.find::<Snapshot>(other, Snapshot::NEEDS, id).next().is_some());
    by_snapshots || tables.find::<Volume>(region, "snapshot", id).any(|volume| is_to_be_made(tables, volume))
}

fn is_to_be_made(tables: &Tables, volume: &Volume) -> bool {
    match volume.life {
        volume::Life::Creating | volume::Life::Failed { .. } => true,
        volume::Life::Deleting => false,
        // Those of a launch are ready from the start.
        volume::Life::Ready => volume.attachment.as_ref().is_some_and(|attachment| {
            let instance = tables.get::<Instance>(&volume.zone.region, &attachment.instance);
            instance.is_some_and(|instance| instance.phase == Phase::Pending && instance.run == 1)
        }),
    }
}

/// Whether the instant of a snapshot of this volume is still to come.
pub fn is_awaited(tables: &Tables, region: &Region, volume: VolumeId) -> bool {
    tables.find::<Snapshot>(region, "volume", volume).any(|snapshot| snapshot.is_awaited())
}

/// The snapshots whose instant is in the next reboot of this instance.
pub fn awaiting_reboot<'a>(
    tables: &'a Tables,
    region: &'a Region,
    instance: InstanceId,
) -> impl Iterator<Item = SnapshotId> + 'a {
    tables.find::<Snapshot>(region, Snapshot::DURING, instance).map(|snapshot| snapshot.snapshot)
}

/// The one that a volume's content starts from, if that is only waiting for it to be deleted.
pub fn held_by(tables: &Tables, volume: &Volume) -> Option<SnapshotId> {
    let id = volume.content()?;
    tables.get::<Snapshot>(&volume.zone.region, &id).filter(|snapshot| snapshot.is_deleting()).map(|_| id)
}

fn one(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<Snapshot>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateSnapshot, create::touches, create::create)
        .write(ops::CreateSnapshots, create_many::touches, create_many::create)
        .write(ops::CopySnapshot, copy::touches, copy::copy)
        .exclusive(
            ops::DeleteSnapshot,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            delete::delete,
        )
        .read(ops::DescribeSnapshots, |_, _, _| Touched::anything(), describe::describe)
        .read(
            ops::DescribeSnapshotAttribute,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            attribute::describe,
        )
        .write(
            ops::ModifySnapshotAttribute,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            attribute::modify,
        )
        .write(
            ops::ResetSnapshotAttribute,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            attribute::reset,
        )
        .write(ops::LockSnapshot, |ctx, request, tables| one(ctx, tables, &request.snapshot_id), lock::lock)
        .write(
            ops::UnlockSnapshot,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            lock::unlock,
        )
        .exclusive(
            ops::ModifySnapshotTier,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            tier::modify,
        )
        .write(
            ops::RestoreSnapshotTier,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            tier::restore_tier,
        )
        .read(ops::DescribeSnapshotTierStatus, |_, _, _| Touched::anything(), tier::describe)
        .write(ops::EnableFastSnapshotRestores, fast::touches_enable, fast::enable)
        .write(ops::DisableFastSnapshotRestores, fast::touches_disable, fast::disable)
        .read(ops::DescribeFastSnapshotRestores, |_, _, _| Touched::anything(), fast::describe)
        .read(ops::ListSnapshotsInRecycleBin, |_, _, _| Touched::anything(), bin::list)
        .write(ops::RestoreSnapshotFromRecycleBin, |_, _, _| Touched::anything(), bin::restore)
        .read(ops::DescribeLockedSnapshots, |_, _, _| Touched::anything(), lock::describe);
}
