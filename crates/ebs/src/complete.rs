//! `CompleteSnapshot`: no more blocks; the host holds what there is against what its owner says.
//!
//! AWS: <https://docs.aws.amazon.com/ebs/latest/APIReference/API_CompleteSnapshot.html>

use crate::access::{may_open, parse, visible};
use crate::block::is_open;
use crate::errors;
use api_ebs::{
    ChecksumAggregationMethod, ChecksumAlgorithm, CompleteSnapshotRequest, CompleteSnapshotResponse, Status,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use control::{Context, Result, Txn};
use model::Blob;
use model::host::blocks::Seal;
use model::record::snapshot::{Direct, Snapshot, Source};

/// Of a checksum, in bytes.
const SUM: usize = 32;

fn seal(request: &CompleteSnapshotRequest) -> Result<Seal> {
    let changed = u64::try_from(request.changed_blocks_count)
        .map_err(|_| errors::invalid_value("The number of changed blocks is not negative."))?;
    if request.checksum_algorithm.as_ref().is_some_and(|given| *given != ChecksumAlgorithm::Sha256) {
        return Err(errors::invalid_value("The checksum's algorithm must be SHA256."));
    }
    let method = request.checksum_aggregation_method.as_ref();
    if method.is_some_and(|given| *given != ChecksumAggregationMethod::Linear) {
        return Err(errors::invalid_value("The checksums' aggregation must be LINEAR."));
    }
    let checksum = request.checksum.as_deref().map(|text| {
        let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == SUM);
        bytes
            .map(Blob::from)
            .ok_or_else(|| errors::invalid_value("The checksum is not one of SHA256 in base64."))
    });
    Ok(Seal { changed, checksum: checksum.transpose()? })
}

pub fn complete(
    ctx: &Context,
    request: &CompleteSnapshotRequest,
    txn: &mut Txn<'_>,
) -> Result<CompleteSnapshotResponse> {
    let seal = seal(request)?;
    let id = parse(&request.snapshot_id)?;
    visible(ctx, txn.tables(), &request.snapshot_id)?;
    let snapshot = txn.get::<Snapshot>(&ctx.region, &id).ok_or_else(|| errors::not_found(id))?;
    // Who asks again, because an answer was lost, is told how far it is.
    if let Source::Direct(Direct { seal: Some(before), .. }) = &snapshot.source
        && snapshot.account == ctx.account()
        && *before == seal
    {
        return Ok(CompleteSnapshotResponse { status: Some(Status::from(snapshot.state_name())) });
    }
    let direct = is_open(ctx, &snapshot)?;
    may_open(ctx, txn.tables(), &snapshot)?;
    let direct = Direct { seal: Some(seal), ..direct.clone() };
    txn.put(&ctx.region, Snapshot { source: Source::Direct(direct), ..(*snapshot).clone() });
    Ok(CompleteSnapshotResponse { status: Some(Status::Pending) })
}
