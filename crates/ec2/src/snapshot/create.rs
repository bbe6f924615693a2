//! `CreateSnapshot`: of a volume, whatever it is doing.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSnapshot.html>

use super::render;
use super::take::{Taken, take};
use crate::noun::{created, given_tags, hold, touched};
use crate::parameter::refuse;
use api_ec2::{CreateSnapshotRequest, SnapshotLocationEnum};
use control::{Context, Result, Tables, Touched, Txn};
use model::record::volume::Volume;

pub fn touches(ctx: &Context, request: &CreateSnapshotRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = touched::<Volume>(ctx, tables, [&request.volume_id]);
    all.push(created(ctx, "snapshot"));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<api_ec2::Snapshot> {
    refuse(&[
        ("OutpostArn", request.outpost_arn.as_deref().is_some_and(|arn| !arn.is_empty())),
        ("Location", request.location.as_ref().is_some_and(|at| *at != SnapshotLocationEnum::Regional)),
    ])?;
    let mut tags = given_tags(request.tag_specifications.as_deref(), &["snapshot"])?;
    let volume = hold::<Volume>(ctx, txn, &request.volume_id)?;
    let description = description(request.description.as_deref())?;
    let wanted = Taken { volume, description, tags: tags.remove("snapshot").unwrap_or_default() };
    let made = take(ctx, txn, vec![wanted], None)?;
    Ok(made.first().map(|snapshot| render::snapshot(snapshot)).unwrap_or_default())
}

/// At most 255 characters.
pub fn description(given: Option<&str>) -> Result<String> {
    let text = given.unwrap_or_default();
    if text.chars().count() > 255 {
        return Err(crate::errors::invalid_parameter_value("A description has at most 255 characters."));
    }
    Ok(text.to_owned())
}
