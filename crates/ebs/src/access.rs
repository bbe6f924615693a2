//! Which snapshots a caller may read, and what the host says of them.

use crate::errors;
use control::keys::{self, choice};
use control::{Context, Result, Tables};
use model::host::blocks::{BlockReply, BlockRequest};
use model::host::{Reply, Request};
use model::record::snapshot::Snapshot;
use model::{SnapshotId, Timestamp};
use std::sync::Arc;
use std::time::Duration;

pub fn parse(id: &str) -> Result<SnapshotId> {
    SnapshotId::parse(id).map_err(|_| errors::invalid_snapshot("The snapshot's id is malformed."))
}

/// A snapshot that the caller may see: its own, or one that is shared with it.
pub fn visible<'a>(ctx: &Context, tables: &'a Tables, id: &str) -> Result<&'a Arc<Snapshot>> {
    let parsed = parse(id)?;
    let found = tables.get::<Snapshot>(&ctx.region, &parsed).filter(|snapshot| {
        let is_there = !snapshot.is_deleting() && snapshot.binned.is_none();
        is_there && (snapshot.account == ctx.account() || snapshot.shared.with(ctx.account()))
    });
    found.ok_or_else(|| errors::not_found(parsed))
}

/// Whether the caller may see the data of a snapshot in the clear.
pub fn may_open(ctx: &Context, tables: &Tables, snapshot: &Snapshot) -> Result<()> {
    let Some(encryption) = &snapshot.encryption else { return Ok(()) };
    let key = keys::behind(ctx, tables, encryption).map_err(errors::of_key)?;
    choice::usable(ctx, tables, key, "Decrypt").map_err(errors::of_key)
}

/// Nothing of an archived snapshot can be read, or built upon.
pub fn must_be_usable(snapshot: &Snapshot, now: Timestamp) -> Result<()> {
    if snapshot.is_usable(now) {
        return Ok(());
    }
    Err(errors::invalid_snapshot(format!("The snapshot '{}' is in the archive tier.", snapshot.snapshot)))
}

/// A completed snapshot whose data the caller may read.
pub fn readable(ctx: &Context, id: &str) -> Result<Arc<Snapshot>> {
    let tables = ctx.cloud.view.read();
    let snapshot = visible(ctx, &tables, id)?;
    if !snapshot.is_completed() {
        return Err(errors::invalid_snapshot(format!(
            "The snapshot '{}' is '{}', not 'completed'.",
            snapshot.snapshot,
            snapshot.state_name()
        )));
    }
    must_be_usable(snapshot, ctx.now)?;
    may_open(ctx, &tables, snapshot)?;
    Ok(Arc::clone(snapshot))
}

/// How long the host may take to hear of a snapshot that was just started.
const HEARS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Asks the host.
pub async fn ask(ctx: &Context, request: BlockRequest, about: SnapshotId) -> Result<BlockReply> {
    let mut waited = Duration::ZERO;
    loop {
        match ctx.cloud.host.request(Request::Blocks(request.clone())).await {
            Ok(Reply::Blocks(reply)) => return Ok(reply),
            // Its wish may be on its way.
            Ok(Reply::NotFound) if waited < HEARS_WITHIN => {
                tokio::time::sleep(LOOK_AGAIN).await;
                waited += LOOK_AGAIN;
            }
            Ok(Reply::NotFound) => {
                return Err(errors::invalid_snapshot(format!(
                    "The snapshot '{about}' cannot be written to or read from now."
                )));
            }
            Ok(Reply::Failed { reason }) => return Err(errors::internal(reason)),
            Ok(other) => return Err(errors::internal(format!("the host answered {other:?}"))),
            Err(unreachable) => return Err(errors::internal(unreachable.to_string())),
        }
    }
}
