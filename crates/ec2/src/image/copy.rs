//! `CopyImage`: with copies of its snapshots, within a region or from another region of this cloud.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopyImage.html>
//! Differs: a copy of an image that comes with the cloud has no snapshots; its volumes start from the hosts' cache too.

use super::{is_ready, may_see, names};
use crate::encryption;
use crate::errors::{IMAGE, client};
use crate::noun::{Noun as _, created, given_tags};
use crate::parameter::refuse;
use crate::snapshot::{Copying, copy_of, source_region};
use api_ec2::{CopyImageRequest, CopyImageResult};
use control::tag::merge;
use control::{Context, Result, Tables, Touched, Txn};
use model::record::image::{EncryptionChoice, Image, ImageDevice, Registration, State, Traits};
use model::record::snapshot::Snapshot;
use model::{ImageId, Region};

pub fn touches(ctx: &Context, request: &CopyImageRequest, tables: &Tables) -> Vec<Touched> {
    let region = Region::parse(&request.source_region);
    let id = ImageId::parse(&request.source_image_id).ok();
    let found = region.zip(id).and_then(|(region, id)| tables.get::<Image>(&region, &id));
    let source = found.filter(|image| image.visible_to(ctx));
    let source = source.map(|image| Touched::new(image.arn(ctx)).tagged(&image.tags));
    [created(ctx, "image"), created(ctx, "snapshot")].into_iter().chain(source).collect()
}

pub fn copy(ctx: &Context, request: &CopyImageRequest, txn: &mut Txn<'_>) -> Result<CopyImageResult> {
    let text = |given: &Option<String>| given.as_deref().is_some_and(|text| !text.is_empty());
    refuse(&[
        ("DestinationOutpostArn", text(&request.destination_outpost_arn)),
        ("DestinationAvailabilityZone", text(&request.destination_availability_zone)),
        ("DestinationAvailabilityZoneId", text(&request.destination_availability_zone_id)),
    ])?;
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["image", "snapshot"])?;
    let region = source_region(ctx, &request.source_region)?;
    let source = Image::parse_id(&request.source_image_id)?;
    let source = txn
        .get::<Image>(&region, &source)
        .filter(|image| may_see(ctx, txn.tables(), image))
        .ok_or_else(|| IMAGE.not_found(format_args!("[{source}]")))?;
    is_ready(&source)?;
    let id = ImageId::from_entropy(ctx.bits());
    names::claim(ctx, txn, &request.name, id)?;
    let description = names::description(request.description.as_deref())?.unwrap_or_else(|| {
        let own = source.description.as_ref().unwrap_or(&source.name);
        format!("[Copied {} from {region}] {own}", source.image).chars().take(255).collect()
    });
    let snapshot_tags = tags.remove("snapshot").unwrap_or_default();
    let mut devices = Vec::new();
    for device in &source.devices {
        // A key of another region stays there.
        let own = device.encryption.clone();
        let own = own.map(|own| if region == ctx.region { own } else { EncryptionChoice::default() });
        let asked = asked.clone().or(own);
        let (snapshot, encryption) =
            match device.snapshot.filter(|_| source.registration.state != State::Stock) {
                // Without a snapshot, the volumes of it are encrypted when they are made.
                None => (None, asked),
                Some(of) => {
                    let from = txn.get::<Snapshot>(&region, &of).filter(|from| from.visible_to(ctx));
                    let from = from.ok_or_else(no_access)?;
                    let description = format!(
                        "Copied for DestinationAmi {id} from SourceAmi {} for SourceSnapshot {of}.",
                        source.image
                    );
                    let tags = snapshot_tags.clone();
                    let copying = Copying { source: &from, region: &region, description, tags, asked };
                    let copy = copy_of(ctx, txn, copying)?;
                    (Some(copy.snapshot), copy.encryption.is_some().then(EncryptionChoice::default))
                }
            };
        devices.push(ImageDevice { snapshot, encryption, ..device.clone() });
    }
    let state = if devices.iter().any(|d| d.snapshot.is_some()) { State::Pending } else { State::Available };
    let mut own = tags.remove("image").unwrap_or_default();
    if request.copy_image_tags == Some(true) && source.owner == ctx.account() {
        let given = own.clone();
        let copied = source.tags.iter().filter(|(key, _)| !given.contains_key(*key));
        merge(&mut own, copied.map(|(key, value)| (key.as_str(), value.as_str())))?;
    }
    let image = Image {
        image: id,
        owner: ctx.account(),
        owner_alias: None,
        name: request.name.clone(),
        description: Some(description),
        devices,
        public: false,
        created_at: ctx.now,
        traits: Traits { deprecated_at: None, ..source.traits.clone() },
        registration: Registration {
            state,
            kernel: source.registration.kernel.clone(),
            source_instance: None,
            source_image: Some((source.image, region)),
            ..Registration::default()
        },
        tags: own,
        ..(*source).clone()
    };
    txn.put(&ctx.region, image);
    Ok(CopyImageResult { image_id: Some(id.to_string()) })
}

fn no_access() -> wire::ApiError {
    client("InvalidRequest", "You do not have permission to access the storage of this ami")
}
