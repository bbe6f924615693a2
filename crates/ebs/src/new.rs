//! `StartSnapshot`: a snapshot that its owner writes, empty or upon a parent.
//!
//! It runs exclusively: how many an account has open is a sum that no version guards.
//! AWS: <https://docs.aws.amazon.com/ebs/latest/APIReference/API_StartSnapshot.html>

use crate::access::{must_be_usable, parse, visible};
use crate::errors;
use api_ebs::{SSEType, StartSnapshotRequest, StartSnapshotResponse, Status, Tag};
use control::keys::choice;
use control::tag::{self, Tags};
use control::{Context, Result, Txn};
use model::host::blocks::BLOCK;
use model::record::image::EncryptionChoice;
use model::record::kms::Encryption;
use model::record::snapshot::{Direct, Snapshot, Source};
use model::{GiB, SnapshotId};
use std::sync::Arc;

const LARGEST: i64 = 65_536;
/// In minutes.
const TIMEOUTS: std::ops::RangeInclusive<i32> = 10..=4320;
const USUAL_TIMEOUT: i32 = 60;
/// Of an account in a region.
const MOST_OPEN: usize = 100;

fn parent(
    ctx: &Context,
    txn: &mut Txn<'_>,
    request: &StartSnapshotRequest,
    size: GiB,
) -> Result<Option<Arc<Snapshot>>> {
    let Some(id) = request.parent_snapshot_id.as_deref() else { return Ok(None) };
    if request.encrypted.is_some() || request.kms_key_arn.is_some() {
        return Err(errors::invalid_value("Encryption cannot be chosen for a snapshot with a parent."));
    }
    visible(ctx, txn.tables(), id)?;
    let parsed = parse(id)?;
    let parent = txn.get::<Snapshot>(&ctx.region, &parsed).ok_or_else(|| errors::not_found(parsed))?;
    if parent.account != ctx.account() {
        return Err(errors::not_yours(parsed));
    }
    if !parent.is_completed() {
        return Err(errors::invalid_snapshot(format!("The snapshot '{parsed}' is not completed.")));
    }
    must_be_usable(&parent, ctx.now)?;
    if parent.size > size {
        return Err(errors::validation(
            "INVALID_VOLUME_SIZE",
            format!("The volume must be at least as large as its parent's, {} GiB.", parent.size.0),
        ));
    }
    Ok(Some(parent))
}

fn tags(request: &StartSnapshotRequest) -> Result<Tags> {
    let mut tags = Tags::new();
    for given in request.tags.iter().flatten() {
        let (key, value) =
            (given.key.as_deref().unwrap_or_default(), given.value.as_deref().unwrap_or_default());
        if tags.contains_key(key) {
            return Err(errors::validation("INVALID_TAG", format!("The tag '{key}' is given twice.")));
        }
        tag::merge(&mut tags, [(key, value)]).map_err(|error| errors::of_tags(&error))?;
    }
    Ok(tags)
}

pub fn start(
    ctx: &Context,
    request: &StartSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<StartSnapshotResponse> {
    if !(1..=LARGEST).contains(&request.volume_size) {
        return Err(errors::validation("INVALID_VOLUME_SIZE", format!("A volume has 1 to {LARGEST} GiB.")));
    }
    let size = GiB(u32::try_from(request.volume_size).unwrap_or(u32::MAX));
    let timeout = request.timeout.unwrap_or(USUAL_TIMEOUT);
    if !TIMEOUTS.contains(&timeout) {
        return Err(errors::invalid_value("A timeout is 10 to 4320 minutes."));
    }
    if request.kms_key_arn.is_some() && request.encrypted != Some(true) {
        return Err(errors::invalid_value("A key is for a snapshot that is to be encrypted."));
    }
    let tags = tags(request)?;
    let parent = parent(ctx, txn, request, size)?;
    let open = txn.tables().find::<Snapshot>(&ctx.region, Snapshot::DIRECT, ctx.account());
    if open.filter(|snapshot| snapshot.is_open().is_some()).count() >= MOST_OPEN {
        return Err(errors::too_many_open(MOST_OPEN));
    }
    let asked =
        (request.encrypted == Some(true)).then(|| EncryptionChoice { key: request.kms_key_arn.clone() });
    let source = parent.as_ref().and_then(|parent| Some((parent.encryption.as_ref()?, parent.account)));
    // What has a parent is as its parent, whatever the account wishes for what is new.
    let encryption = if parent.is_some() && source.is_none() {
        None
    } else {
        choice::choose(ctx, txn, asked.as_ref(), source).map_err(errors::of_key)?.encryption(ctx)
    };
    let id = SnapshotId::from_entropy(ctx.bits());
    let source = Source::Direct(Direct {
        parent: parent.as_ref().map(|parent| parent.snapshot),
        timeout: timeout.unsigned_abs(),
        touched_at: ctx.now,
        seal: None,
        imported: false,
    });
    let snapshot = Snapshot {
        description: request.description.clone().unwrap_or_default(),
        kernel: parent.as_ref().and_then(|parent| parent.kernel.clone()),
        encryption,
        tags,
        ..Snapshot::begun(id, ctx.account(), source, size, ctx.now)
    };
    let made = txn.put(&ctx.region, snapshot);
    let shown =
        made.tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) });
    Ok(StartSnapshotResponse {
        description: Some(made.description.clone()).filter(|text| !text.is_empty()),
        snapshot_id: Some(made.snapshot.to_string()),
        owner_id: Some(made.account.to_string()),
        status: Some(Status::Pending),
        start_time: Some(wire::Timestamp::from_millis(ctx.now.as_millis())),
        volume_size: Some(request.volume_size),
        block_size: i32::try_from(BLOCK).ok(),
        tags: (!made.tags.is_empty()).then(|| shown.collect()),
        parent_snapshot_id: parent.map(|parent| parent.snapshot.to_string()),
        kms_key_arn: made.encryption.as_ref().map(Encryption::key_arn),
        sse_type: Some(if made.encryption.is_some() { SSEType::SseKms } else { SSEType::None }),
    })
}
