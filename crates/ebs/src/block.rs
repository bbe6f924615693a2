//! `GetSnapshotBlock`, `PutSnapshotBlock`: one block out, one block in, each with its checksum.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebsapi-create-snapshot.html>

use crate::access::{ask, may_open, parse, readable, visible};
use crate::errors;
use crate::token::{self, Kind};
use api_ebs::{
    ChecksumAlgorithm, GetSnapshotBlockRequest, GetSnapshotBlockResponse, PutSnapshotBlockRequest,
    PutSnapshotBlockResponse,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::cloud::Mode;
use control::{Context, Result};
use model::SnapshotId;
use model::host::blocks::{BLOCK, BlockReply, BlockRequest};
use model::record::snapshot::{Direct, Snapshot, Source};
use ring::digest::{self, SHA256};
use std::sync::Arc;
use std::time::Duration;

/// SHA-256 in base64.
fn checksum(bytes: &[u8]) -> String {
    STANDARD.encode(digest::digest(&SHA256, bytes))
}

pub async fn get(ctx: Context, request: GetSnapshotBlockRequest) -> Result<GetSnapshotBlockResponse> {
    let snapshot = readable(&ctx, &request.snapshot_id)?;
    let index = bounded(&snapshot, request.block_index)?;
    let good = token::parse(&ctx, Kind::Block, &request.block_token, (snapshot.snapshot, None));
    if good != Some(index) {
        return Err(errors::invalid_block_token());
    }
    let asked = BlockRequest::Get { snapshot: snapshot.snapshot, index };
    let BlockReply::Block(block) = ask(&ctx, asked, snapshot.snapshot).await? else {
        return Err(errors::internal("the host gives no block"));
    };
    let data = block.map_or_else(|| vec![0; BLOCK], |block| block.as_slice().to_vec());
    Ok(GetSnapshotBlockResponse {
        data_length: i32::try_from(data.len()).ok(),
        checksum: Some(checksum(&data)),
        checksum_algorithm: Some(ChecksumAlgorithm::Sha256),
        block_data: Some(data.into()),
    })
}

/// A block that the volume has.
fn bounded(snapshot: &Snapshot, index: i32) -> Result<u64> {
    let blocks = snapshot.size.bytes() / BLOCK as u64;
    u64::try_from(index).ok().filter(|index| *index < blocks).ok_or_else(|| {
        errors::invalid_block(format!("The snapshot '{}' has {blocks} blocks.", snapshot.snapshot))
    })
}

/// A snapshot of the caller's own that is being written.
fn open(ctx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    let tables = ctx.cloud.view.read();
    let snapshot = visible(ctx, &tables, id)?;
    is_open(ctx, snapshot)?;
    may_open(ctx, &tables, snapshot)?;
    Ok(Arc::clone(snapshot))
}

pub fn is_open<'a>(ctx: &Context, snapshot: &'a Snapshot) -> Result<&'a Direct> {
    if snapshot.account != ctx.account() {
        return Err(errors::not_yours(snapshot.snapshot));
    }
    snapshot.is_open().ok_or_else(|| {
        errors::invalid_snapshot(format!(
            "The snapshot '{}' is not one that is being written.",
            snapshot.snapshot
        ))
    })
}

pub async fn put(ctx: Context, request: PutSnapshotBlockRequest) -> Result<PutSnapshotBlockResponse> {
    parse(&request.snapshot_id)?;
    if request.checksum_algorithm != ChecksumAlgorithm::Sha256 {
        return Err(errors::invalid_value("The checksum's algorithm must be SHA256."));
    }
    let data = request.block_data.0;
    if usize::try_from(request.data_length).ok() != Some(BLOCK) || data.len() != BLOCK {
        return Err(errors::invalid_block(format!("A block has {BLOCK} bytes.")));
    }
    let sum = checksum(&data);
    if sum != request.checksum {
        return Err(errors::invalid_block("The block does not have this checksum."));
    }
    if request.progress.is_some_and(|progress| !(0..=100).contains(&progress)) {
        return Err(errors::invalid_value("The progress is a percentage."));
    }
    let snapshot = open(&ctx, &request.snapshot_id)?;
    let (id, index) = (snapshot.snapshot, bounded(&snapshot, request.block_index)?);
    let asked = BlockRequest::Put { snapshot: id, index, data: data.into() };
    let BlockReply::Stored = ask(&ctx, asked, id).await? else {
        return Err(errors::internal("the host stores no block"));
    };
    touch(&ctx, &snapshot, id).await?;
    Ok(PutSnapshotBlockResponse { checksum: Some(sum), checksum_algorithm: Some(ChecksumAlgorithm::Sha256) })
}

/// Notes that the snapshot is being written to, a tenth of its timeout late at most.
async fn touch(ctx: &Context, seen: &Snapshot, id: SnapshotId) -> Result<()> {
    let due = |direct: &Direct| {
        ctx.now.since(direct.touched_at) >= Duration::from_mins(u64::from(direct.timeout)) / 10
    };
    if !seen.is_open().is_some_and(due) {
        return Ok(());
    }
    ctx.cloud
        .transact(Mode::Shared, |txn| {
            if let Some(snapshot) = txn.get::<Snapshot>(&ctx.region, &id)
                && let Some(direct) = snapshot.is_open()
            {
                let direct = Direct { touched_at: direct.touched_at.max(ctx.now), ..direct.clone() };
                txn.put(&ctx.region, Snapshot { source: Source::Direct(direct), ..(*snapshot).clone() });
            }
            Ok(())
        })
        .await
}
