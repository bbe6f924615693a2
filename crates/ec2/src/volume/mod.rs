//! EBS volumes: made, attached to instances and taken from them, modified while they are in use, deleted.
//!
//! A volume is in one place at a time, unless it is for several: its record names the instances, theirs name the volume and say
//! how far the attachment has come; both are always written together ([`attach`], [`detach`], [`set_free`]). What a volume can be is
//! decided in `plan::volume`. What hosts say of volumes comes in by [`crate::instance::absorb`].
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-volumes.html>

mod attach;
mod attribute;
mod create;
mod delete;
mod describe;
mod detach;
mod errors;
mod filters;
mod modifications;
mod modify;
mod render;
mod status;

pub use errors::refused;

use crate::errors::IdErrors;
use crate::noun::{Noun, touched};
use api_ec2::ops;
use control::filter::{FilterField, Filters};
use control::{Context, Service, Tables, Touched, Txn};
use model::record::instance::{BlockDevice, Instance};
use model::record::volume::{Volume, VolumeAttachment};
use model::{InstanceId, Region, VolumeId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Noun for Volume {
    const RESOURCE_TYPE: &'static str = "volume";
    const ERRORS: IdErrors = crate::errors::VOLUME;

    fn filters() -> &'static [FilterField<Self, Tables>] {
        filters::FIELDS
    }

    fn narrowed<'a>(
        ctx: &Context,
        tables: &'a Tables,
        filters: &Filters<Self, Tables>,
    ) -> Option<BTreeMap<VolumeId, &'a Arc<Self>>> {
        let instances = filters.exact("attachment.instance-id")?;
        let mut found = BTreeMap::new();
        for id in instances.into_iter().filter_map(|id| InstanceId::parse(id).ok()) {
            let of = tables.find::<Volume>(&ctx.region, "instance", id).map(|volume| volume.volume);
            found.extend(of.filter_map(|id| Some((id, tables.get::<Volume>(&ctx.region, &id)?))));
        }
        Some(found)
    }
}

/// The instance of an attachment, and its side of that.
fn place<'a>(
    tables: &'a Tables,
    volume: &Volume,
    attachment: &VolumeAttachment,
) -> Option<(&'a Arc<Instance>, &'a BlockDevice)> {
    let instance = tables.get::<Instance>(&volume.zone.region, &attachment.instance)?;
    let device = instance.volumes.iter().find(|device| device.volume == volume.volume)?;
    Some((instance, device))
}

/// The machine has let go of it: it may be attached elsewhere. The instance's side is the caller's.
pub fn set_free(txn: &mut Txn<'_>, region: &Region, id: VolumeId, instance: InstanceId) {
    if let Some(volume) = txn.get::<Volume>(region, &id)
        && volume.attached_to(instance).is_some()
    {
        txn.put(region, volume.without(instance));
    }
}

fn one(ctx: &Context, tables: &Tables, id: &String) -> Vec<Touched> {
    touched::<Volume>(ctx, tables, [id])
}

pub fn register(service: &mut Service) {
    service
        .write(ops::CreateVolume, create::touches, create::create)
        .write(ops::DeleteVolume, |ctx, request, tables| one(ctx, tables, &request.volume_id), delete::delete)
        .read(ops::DescribeVolumes, |_, _, _| Touched::anything(), describe::describe)
        .write(ops::AttachVolume, attach::touches, attach::attach)
        .write(ops::DetachVolume, detach::touches, detach::detach)
        .write(ops::ModifyVolume, |ctx, request, tables| one(ctx, tables, &request.volume_id), modify::modify)
        .read(ops::DescribeVolumesModifications, |_, _, _| Touched::anything(), modifications::describe)
        .read(ops::DescribeVolumeStatus, |_, _, _| Touched::anything(), status::describe)
        .read(
            ops::DescribeVolumeAttribute,
            |ctx, request, tables| one(ctx, tables, &request.volume_id),
            attribute::describe,
        )
        .write(
            ops::ModifyVolumeAttribute,
            |ctx, request, tables| one(ctx, tables, &request.volume_id),
            attribute::modify,
        )
        .write(
            ops::EnableVolumeIO,
            |ctx, request, tables| one(ctx, tables, &request.volume_id),
            attribute::enable_io,
        );
}
