//! `CreateImage`: of an instance with all its volumes, at one instant: while its guest is down for a reboot, or at once.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateImage.html>

use super::names;
use crate::errors::client;
use crate::instance::errors::device_refused;
use crate::instance::{desired, spec};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use crate::snapshot::{self, Taken, take};
use api_ec2::{CreateImageRequest, CreateImageResult, SnapshotLocationEnum};
use control::{Context, Result, Tables, Touched, Txn};
use model::ImageId;
use model::host::{Downtime, Firmware};
use model::record::image::{BootMode, Image, Registration, State, Traits};
use model::record::instance::{Instance, Phase};
use model::record::snapshot::Snapshot;
use model::record::volume::Volume;
use plan::image::{Attached, Content, captured};

pub fn touches(ctx: &Context, request: &CreateImageRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Instance>(ctx, tables, [&request.instance_id]);
    all.extend([created(ctx, "image"), created(ctx, "snapshot")]);
    all
}

pub fn create(ctx: &Context, request: &CreateImageRequest, txn: &mut Txn<'_>) -> Result<CreateImageResult> {
    let elsewhere = request.snapshot_location.as_ref();
    refuse(&[("SnapshotLocation", elsewhere.is_some_and(|at| *at != SnapshotLocationEnum::Regional))])?;
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["image", "snapshot"])?;
    let description = names::description(request.description.as_deref())?;
    let mappings = request.block_device_mappings.iter().flatten();
    let mut specs = mappings.map(spec::device).collect::<Result<Vec<_>>>()?;
    let instance = hold::<Instance>(ctx, txn, &request.instance_id)?;
    let reboots = match instance.phase {
        Phase::Running { .. } => request.no_reboot != Some(true),
        Phase::Stopped => false,
        Phase::Pending | Phase::Stopping { .. } | Phase::ShuttingDown { .. } | Phase::Terminated { .. } => {
            return Err(client(
                "IncorrectInstanceState",
                format!(
                    "Instance '{}' is '{}', not 'running' or 'stopped'.",
                    instance.instance,
                    instance.phase.name()
                ),
            ));
        }
    };
    let id = ImageId::from_entropy(ctx.bits());
    names::claim(ctx, txn, &request.name, id)?;
    snapshot::resolve(ctx, txn, &mut specs, &[])?;
    let mut volumes = Vec::new();
    let mut attached = Vec::new();
    for device in instance.volumes.iter().filter(|device| device.state.leaving().is_none()) {
        let Some(volume) = txn.get::<Volume>(&ctx.region, &device.volume) else { continue };
        attached.push(Attached {
            device: device.device.clone(),
            volume: device.volume,
            provision: volume.provision,
            delete_on_termination: device.delete_on_termination,
        });
        volumes.push(volume);
    }
    let devices = captured(&attached, &instance.root_device, &specs).map_err(device_refused)?;
    let during = reboots.then(|| {
        let reboot = instance.reboots + 1;
        txn.put(&ctx.region, Instance { reboots: reboot, ..(*instance).clone() });
        Downtime { instance: instance.instance, run: instance.run, reboot }
    });
    let is_taken = |volume: &Volume| devices.iter().any(|d| d.content == Content::Volume(volume.volume));
    let snapshot_tags = tags.remove("snapshot").unwrap_or_default();
    let wanted = volumes.into_iter().filter(|volume| is_taken(volume)).map(|volume| Taken {
        volume,
        description: format!("Created by CreateImage({}) for {id}", instance.instance),
        tags: snapshot_tags.clone(),
    });
    let taken = take(ctx, txn, wanted.collect(), during)?;
    let of_volume = |volume| taken.iter().find(|snapshot| snapshot.volume() == Some(volume));
    let devices = devices.into_iter().map(|device| {
        let snapshot = match device.content {
            Content::Volume(volume) => of_volume(volume).map(|snapshot| snapshot.snapshot),
            Content::Snapshot(snapshot) => Some(snapshot),
            Content::Empty => None,
        };
        let own = snapshot.and_then(|id| txn.get::<Snapshot>(&ctx.region, &id));
        device.into_image(snapshot).encrypted_like(own.as_deref())
    });
    let devices: Vec<_> = devices.collect();
    let source = txn.tables().get::<Image>(&ctx.region, &instance.image);
    let kernel = desired::kernel(txn.tables(), &instance);
    let image = Image {
        image: id,
        owner: ctx.account(),
        owner_alias: None,
        name: request.name.clone(),
        description,
        architecture: instance.architecture,
        root_device: instance.root_device.clone(),
        devices,
        host_image: None,
        digest: None,
        direct_kernel: kernel.is_some(),
        public: false,
        min_memory_mib: source.map_or(0, |source| source.min_memory_mib),
        default_user: source.and_then(|source| source.default_user.clone()),
        created_at: ctx.now,
        traits: Traits {
            platform: instance.platform,
            boot_mode: source
                .map_or_else(|| Some(boot_mode(instance.firmware)), |source| source.traits.boot_mode),
            imds_v2: source.is_some_and(|source| source.traits.imds_v2),
            deprecated_at: None,
        },
        registration: Registration {
            state: State::Pending,
            kernel,
            source_instance: Some(instance.instance),
            source_image: Some((instance.image, ctx.region.clone())),
            ..Registration::default()
        },
        tags: tags.remove("image").unwrap_or_default(),
    };
    txn.put(&ctx.region, image);
    Ok(CreateImageResult { image_id: Some(id.to_string()) })
}

const fn boot_mode(firmware: Firmware) -> BootMode {
    match firmware {
        Firmware::LegacyBios => BootMode::LegacyBios,
        Firmware::Uefi => BootMode::Uefi,
    }
}
