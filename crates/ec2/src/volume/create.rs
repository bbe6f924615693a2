//! `CreateVolume`: an empty volume, or one that starts from a snapshot, ready as soon as its host has made it.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateVolume.html>

use super::{errors, render};
use crate::encryption;
use crate::errors::{client, invalid_parameter_combination, invalid_parameter_value, missing_parameter};
use crate::noun::{created, given_tags, touched};
use crate::parameter::refuse;
use crate::snapshot::usable;
use api_ec2::CreateVolumeRequest;
use control::{Context, Result, Tables, Touched, Txn};
use model::record::snapshot::Snapshot;
use model::record::volume::{Life, Volume, VolumeType};
use model::{VolumeId, Zone};
use plan::volume::{Asked, provision};

/// The type of a volume that names none, as on AWS.
const DEFAULT_TYPE: &str = "gp2";

fn text(given: Option<&str>) -> Option<&str> {
    given.filter(|text| !text.is_empty())
}

fn type_name(request: &CreateVolumeRequest) -> &str {
    text(request.volume_type.as_ref().map(api_ec2::VolumeType::as_str)).unwrap_or(DEFAULT_TYPE)
}

pub fn touches(ctx: &Context, request: &CreateVolumeRequest, tables: &Tables) -> Vec<Touched> {
    let mut volume = created(ctx, "volume").condition("ec2:VolumeType", type_name(request));
    if let Some(size) = request.size {
        volume = volume.condition("ec2:VolumeSize", size.to_string());
    }
    if let Some(iops) = request.iops {
        volume = volume.condition("ec2:VolumeIops", iops.to_string());
    }
    if let Some(throughput) = request.throughput {
        volume = volume.condition("ec2:VolumeThroughput", throughput.to_string());
    }
    let snapshot = request.snapshot_id.as_ref().filter(|id| !id.is_empty());
    std::iter::once(volume).chain(touched::<Snapshot>(ctx, tables, snapshot)).collect()
}

pub fn create(ctx: &Context, request: &CreateVolumeRequest, txn: &mut Txn<'_>) -> Result<api_ec2::Volume> {
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    refuse(&[
        ("OutpostArn", text(request.outpost_arn.as_deref()).is_some()),
        ("Operator", request.operator.is_some()),
        ("VolumeInitializationRate", request.volume_initialization_rate.is_some()),
    ])?;
    let zone = zone(ctx, request)?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["volume"])?;
    let name = type_name(request);
    let volume_type = VolumeType::parse(name).ok_or_else(|| errors::unknown_type(name))?;
    let source = text(request.snapshot_id.as_deref());
    let source = source.map(|id| usable(ctx, txn, id)).transpose()?;
    let least = source.as_ref().map(|source| i64::from(source.size.0));
    let size = request.size.map(i64::from).or(least).ok_or_else(|| {
        client("MissingParameter", "The request must contain the parameter size or snapshotId")
    })?;
    if let Some(source) = &source
        && least.is_some_and(|least| size < least)
    {
        return Err(invalid_parameter_value(format!(
            "Volume of {size}GiB is smaller than snapshot '{}', expect size>= {}GiB",
            source.snapshot, source.size.0
        )));
    }
    let provision = provision(&Asked {
        volume_type,
        size,
        iops: request.iops,
        throughput: request.throughput,
        multi_attach: request.multi_attach_enabled == Some(true),
    })
    .map_err(errors::refused)?;
    let choice = encryption::choose_of(ctx, txn, asked.as_ref(), source.as_deref());
    let encryption = choice.map_err(encryption::refused)?.encryption(ctx);
    let fast_restored = source.as_ref().is_some_and(|source| {
        plan::snapshot::fast::restores(source, ctx.account(), &zone, encryption.is_some())
    });
    let volume = txn.put(
        &ctx.region,
        Volume {
            fork: None,
            volume: VolumeId::from_entropy(ctx.bits()),
            account: ctx.account(),
            zone,
            provision,
            snapshot: source.as_ref().map(|source| source.snapshot),
            fast_restored,
            host_image: None,
            kernel: source.and_then(|source| source.kernel.clone()),
            encryption,
            attachment: None,
            further: Vec::new(),
            created_at: ctx.now,
            life: Life::Creating,
            auto_enable_io: false,
            modification: None,
            modified_at: Vec::new(),
            tags: tags.into_values().next().unwrap_or_default(),
        },
    );
    Ok(render::volume(txn.tables(), &volume))
}

/// Spelled unlike elsewhere: an unknown zone is `InvalidZone.NotFound`.
fn zone(ctx: &Context, request: &CreateVolumeRequest) -> Result<Zone> {
    let zones = ctx.cloud.settings.region(&ctx.region).map(|r| r.zones.as_slice()).unwrap_or_default();
    let unknown = |given: &str| {
        let shown: String = given.chars().take(64).collect();
        client("InvalidZone.NotFound", format!("The zone '{shown}' does not exist."))
    };
    let name = text(request.availability_zone.as_deref());
    let id = text(request.availability_zone_id.as_deref());
    match (name, id) {
        (Some(_), Some(_)) => Err(invalid_parameter_combination(
            "Specify either AvailabilityZone or AvailabilityZoneId, not both.",
        )),
        (Some(name), None) => zones.iter().find(|z| z.to_string() == name).ok_or_else(|| unknown(name)),
        (None, Some(id)) => zones.iter().find(|z| z.id() == id).ok_or_else(|| unknown(id)),
        (None, None) => Err(missing_parameter("availabilityZone")),
    }
    .cloned()
}
