//! The EBS direct APIs: blocks of snapshots read, compared and written, without a volume; and the rules of the
//! [`recycle_bin`].
//!
//! Records are those of EC2's snapshots (`model::record::snapshot`); the data is on the host, which is asked for one block at a
//! time (`model::host::blocks`). A started snapshot is open: blocks are put into it until it is completed, which seals it; then its
//! host holds it against what its owner said and completes it like any other. One that nobody writes to for its timeout fails
//! ([`sweeps`]).
//! Callers: the gateway, by [`service`]; the server, by [`sweeps`].
//! AWS: <https://docs.aws.amazon.com/ebs/latest/userguide/ebs-accessing-snapshot.html>
//! Differs: a completed snapshot that is not what its owner said is in error a moment after `CompleteSnapshot` has answered; a
//! parent must be the caller's own.

mod access;
mod block;
mod complete;
mod errors;
mod list;
mod new;
pub mod recycle_bin;
mod sweep;
mod token;

pub use sweep::sweep;

use api_ebs::ops;
use control::{Arn, Context, Schema, Service, Sweep, Tables, Touched};
use model::SnapshotId;
use model::record::snapshot::Snapshot;

/// What the clock does.
pub fn sweeps() -> Vec<Sweep> {
    vec![Sweep::new("snapshots", async |cloud| sweep(&cloud).await)]
}

/// The nouns that are kept here.
pub fn schema(schema: &mut Schema) {
    schema.add::<model::record::recycle_bin::Rule>();
}

/// What operations on one snapshot touch.
fn one(ctx: &Context, tables: &Tables, id: &str) -> Vec<Touched> {
    let found = SnapshotId::parse(id).ok().and_then(|id| tables.get::<Snapshot>(&ctx.region, &id));
    found.map_or_else(Touched::anything, |snapshot| {
        let arn = Arn::ownerless("ec2", &ctx.region, "snapshot", snapshot.snapshot);
        vec![Touched::new(arn).tagged(&snapshot.tags)]
    })
}

/// The service with every operation that is built.
pub fn service() -> Service {
    let mut service = Service::new(&api_ebs::SERVICE);
    service
        .call(
            ops::ListSnapshotBlocks,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            list::snapshot,
        )
        .call(
            ops::ListChangedBlocks,
            |ctx, request, tables| {
                let mut touched = one(ctx, tables, &request.second_snapshot_id);
                if let Some(first) = &request.first_snapshot_id {
                    touched.extend(one(ctx, tables, first));
                }
                touched
            },
            list::changed,
        )
        .call(
            ops::GetSnapshotBlock,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            block::get,
        )
        .call(
            ops::PutSnapshotBlock,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            block::put,
        )
        .exclusive(
            ops::StartSnapshot,
            |ctx, _, _| vec![Touched::new(Arn::ownerless("ec2", &ctx.region, "snapshot", "*"))],
            new::start,
        )
        .write(
            ops::CompleteSnapshot,
            |ctx, request, tables| one(ctx, tables, &request.snapshot_id),
            complete::complete,
        );
    service
}
