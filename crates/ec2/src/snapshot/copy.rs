//! `CopySnapshot`: within a region, or from another region of this cloud into that of the request.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CopySnapshot.html>
//! Differs: a copy shares its data with what it is a copy of, so it takes neither time nor room, unless it is
//! encrypted with another key.

use super::{create, errors};
use crate::encryption;
use crate::errors::{SNAPSHOT, invalid_parameter_value};
use crate::noun::{Noun as _, created, given_tags, render_tags};
use crate::parameter::refuse;
use api_ec2::{CopySnapshotRequest, CopySnapshotResult};
use control::tag::Tags;
use control::{Context, Result, Tables, Touched, Txn};
use model::record::image::EncryptionChoice;
use model::record::snapshot::{Snapshot, Source};
use model::{Region, SnapshotId};
use std::sync::Arc;

pub fn touches(ctx: &Context, request: &CopySnapshotRequest, tables: &Tables) -> Vec<Touched> {
    let source = Region::parse(&request.source_region);
    let id = SnapshotId::parse(&request.source_snapshot_id).ok();
    let found = source.zip(id).and_then(|(region, id)| tables.get::<Snapshot>(&region, &id).cloned());
    let visible = found.filter(|snapshot| snapshot.visible_to(ctx));
    let source = visible.map(|snapshot| Touched::new(snapshot.arn(ctx)).tagged(&snapshot.tags));
    std::iter::once(created(ctx, "snapshot")).chain(source).collect()
}

/// A region of this cloud that a request names as the source of a copy.
pub(crate) fn source_region(ctx: &Context, name: &str) -> Result<Region> {
    let known = ctx.cloud.settings.regions.iter().find(|settings| settings.region.as_str() == name);
    known.map(|settings| settings.region.clone()).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        invalid_parameter_value(format!("Invalid source region: {shown}"))
    })
}

/// What a copy is made of, and with what.
pub(crate) struct Copying<'a> {
    pub source: &'a Snapshot,
    pub region: &'a Region,
    pub description: String,
    pub tags: Tags,
    /// Beyond what the source and the account's settings ask for.
    pub asked: Option<EncryptionChoice>,
}

/// Writes the copy into the region of the request.
pub(crate) fn copy_of(ctx: &Context, txn: &mut Txn<'_>, copying: Copying<'_>) -> Result<Arc<Snapshot>> {
    let Copying { source, region, description, tags, asked } = copying;
    if !source.is_completed() {
        return Err(errors::incorrect_state(source, "'completed'"));
    }
    errors::must_be_usable(source, ctx.now)?;
    let choice =
        encryption::choose_of(ctx, txn, asked.as_ref(), Some(source)).map_err(encryption::refused)?;
    let id = SnapshotId::from_entropy(ctx.bits());
    let from = Source::Copy { snapshot: source.snapshot, region: region.clone() };
    let copy = Snapshot {
        description,
        kernel: source.kernel.clone(),
        encryption: choice.encryption(ctx),
        tags,
        ..Snapshot::begun(id, ctx.account(), from, source.size, ctx.now)
    };
    Ok(txn.put(&ctx.region, copy))
}

pub fn copy(ctx: &Context, request: &CopySnapshotRequest, txn: &mut Txn<'_>) -> Result<CopySnapshotResult> {
    let text = |given: &Option<String>| given.as_deref().is_some_and(|text| !text.is_empty());
    // Clients sign the destination and a presigned address of the source into the request; both say what is known.
    refuse(&[
        ("DestinationOutpostArn", text(&request.destination_outpost_arn)),
        ("DestinationAvailabilityZone", text(&request.destination_availability_zone)),
    ])?;
    if let Some(minutes) = request.completion_duration_minutes
        && !(15..=2880).contains(&minutes)
    {
        return Err(invalid_parameter_value("A completion duration is 15 to 2880 minutes."));
    }
    let asked = encryption::asked(request.encrypted, request.kms_key_id.as_deref())?;
    let tags = given_tags(request.tag_specifications.as_deref(), &["snapshot"])?;
    let region = source_region(ctx, &request.source_region)?;
    let id = Snapshot::parse_id(&request.source_snapshot_id)?;
    let source = txn
        .get::<Snapshot>(&region, &id)
        .filter(|snapshot| snapshot.visible_to(ctx))
        .ok_or_else(|| SNAPSHOT.not_found(id))?;
    let given = create::description(request.description.as_deref())?;
    let description = if given.is_empty() {
        let full = format!("[Copied {id} from {region}] {}", source.description);
        full.trim_end().chars().take(255).collect()
    } else {
        given
    };
    let tags = tags.into_values().next().unwrap_or_default();
    let copying = Copying { source: &source, region: &region, description, tags, asked };
    let copy = copy_of(ctx, txn, copying)?;
    Ok(CopySnapshotResult { tags: render_tags(&copy.tags), snapshot_id: Some(copy.snapshot.to_string()) })
}
